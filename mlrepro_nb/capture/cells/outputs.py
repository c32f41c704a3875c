"""Outputs by digest, from a notebook's file or from what a live kernel sends."""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from mlrepro_nb.model import digest_bytes, digest_text

STDOUT = "application/vnd.jupyter.stdout"
STDERR = "application/vnd.jupyter.stderr"
ERROR = "application/vnd.jupyter.error"

OUTPUT_TYPES = frozenset({"stream", "display_data", "execute_result", "error"})
_MESSAGES = OUTPUT_TYPES | {"update_display_data", "clear_output", "status", "comm_open"}

_KEPT_EXECUTIONS = 64
"""Executions whose displays are still followed: an update may come cells later."""


def output_digests(output: Mapping[str, Any]) -> dict[str, str]:
    """Return the digest of an nbformat output's content, by MIME type.

    The forms that nbformat allows for one content (a text or a list of lines,
    base64 with or without line ends, JSON in any key order) have one digest. An
    exception's is over its name and message: a traceback names paths.
    """
    kind = output.get("output_type")
    if kind == "stream":
        mime = STDERR if output.get("name") == "stderr" else STDOUT
        return {mime: digest_text(_text(output.get("text", "")))}
    if kind == "error":
        return {ERROR: digest_text(f"{output.get('ename', '')}: {output.get('evalue', '')}")}
    return {
        str(mime): _content_digest(str(mime), value)
        for mime, value in sorted((output.get("data") or {}).items())
    }


def _content_digest(mime: str, value: Any) -> str:
    is_json = mime == "application/json" or mime.endswith("+json")
    if is_json or not isinstance(value, str | list | tuple):
        if is_json and isinstance(value, str):
            try:
                value = json.loads(value)
            except ValueError:
                return digest_text(value)
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
        return digest_text(text)
    text = _text(value)
    if mime.startswith(("image/", "audio/", "video/")) and not mime.endswith("+xml"):
        try:
            return digest_bytes(base64.b64decode("".join(text.split()), validate=True))
        except (binascii.Error, ValueError):
            pass
    return digest_text(text)


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "".join(str(part) for part in value)
    return value if isinstance(value, str) else str(value)


class OutputTap:
    """Listens to what a kernel publishes for its executions.

    Wraps ``send`` of the kernel's session, which every output passes; what is
    sent is not changed. A stream is coalesced as nbformat does it. Only digests
    are kept: a cell may print gigabytes.

    Parameters
    ----------
    session : jupyter_client.session.Session
        The kernel's.
    on_idle : callable
        Called with the id of a request once all that it published has passed.
    on_data : callable
        Called with the MIME bundle of what a cell displays.
    """

    def __init__(
        self, session: Any, on_idle: Callable[[str], None],
        on_data: Callable[[Any], None] = lambda _: None,
    ) -> None:  # fmt: skip
        self._session = session
        self._on_idle = on_idle
        self._on_data = on_data
        self._outputs: dict[str, list[dict[str, Any]]] = {}
        self._clear: set[str] = set()
        self._displays: dict[str, list[tuple[str, dict[str, Any]]]] = {}
        self.changed: set[str] = set()
        """Requests whose outputs changed since they were read last."""
        self._read: set[str] = set()
        self.comms: dict[str, str] = {}
        """The request during which the kernel opened each comm, by its id."""
        self._send = session.send
        self._wrapper: Any = None

    def start(self) -> None:
        """Begin to listen."""
        original, note = self._send, self._note

        def send(stream: Any, msg_or_type: Any, *args: Any, **kwargs: Any) -> Any:
            sent = original(stream, msg_or_type, *args, **kwargs)
            kind = msg_or_type["msg_type"] if isinstance(msg_or_type, dict) else msg_or_type
            if kind in _MESSAGES:
                # The user's output was sent, which is what counts.
                with contextlib.suppress(Exception):
                    note(kind, msg_or_type, *args, **kwargs)
            return sent

        self._wrapper = send
        self._session.send = send

    def stop(self) -> None:
        """Listen no more."""
        if self._session.__dict__.get("send") is self._wrapper:
            del self._session.send

    def open(self, request: str) -> None:
        """Expect outputs of a request."""
        while len(self._outputs) >= _KEPT_EXECUTIONS:
            oldest = next(iter(self._outputs))
            del self._outputs[oldest]
            self._read.discard(oldest)
        self._outputs[request] = []

    def digests(self, request: str) -> list[dict[str, Any]]:
        """Return the outputs of a request so far: their types and digests."""
        self.changed.discard(request)
        self._read.add(request)
        return [
            {"output_type": output["output_type"], "data": _digests_of(output)}
            for output in self._outputs.get(request, ())
        ]

    def _note(
        self, kind: str, message: Any, content: Any = None, parent: Any = None, *_: Any, **__: Any
    ) -> None:
        if isinstance(message, dict):
            content, parent = message["content"], message.get("parent_header")
        parent = parent or {}
        request = str((parent.get("header") or parent).get("msg_id"))
        if kind == "status":
            if content.get("execution_state") == "idle" and request in self._outputs:
                self._on_idle(request)
            return
        if kind == "update_display_data":
            self._update(content)
            return
        if kind == "comm_open":
            self.comms[str(content.get("comm_id"))] = request
            return
        outputs = self._outputs.get(request)
        if outputs is None:
            return
        if kind == "clear_output":
            if content.get("wait"):
                self._clear.add(request)
            else:
                outputs.clear()
            return
        if request in self._clear:
            self._clear.discard(request)
            outputs.clear()
        if request in self._read:  # a thread prints when its cell is done
            self.changed.add(request)
        if kind == "stream":
            last = outputs[-1] if outputs else None
            if not (last and last["output_type"] == "stream" and last["name"] == content["name"]):
                last = {"output_type": "stream", "name": content["name"], "sum": hashlib.sha256()}
                outputs.append(last)
            last["sum"].update(str(content["text"]).encode("utf-8", "surrogatepass"))
            return
        output = {"output_type": kind, **{k: content.get(k) for k in ("data", "ename", "evalue")}}
        outputs.append(output)
        if output["data"]:
            self._on_data(output["data"])
        display = (content.get("transient") or {}).get("display_id")
        if display:
            self._displays.setdefault(display, []).append((request, output))

    def _update(self, content: Any) -> None:
        display = str((content.get("transient") or {}).get("display_id"))
        for request, output in self._displays.get(display, ()):
            output.pop("digests", None)
            output["data"] = content.get("data")
            self.changed.add(request)


def _digests_of(output: dict[str, Any]) -> dict[str, str]:
    """Return an output's digests, and let go of its content."""
    if "sum" in output:
        mime = STDERR if output["name"] == "stderr" else STDOUT
        return {mime: f"sha256:{output['sum'].hexdigest()}"}
    if "digests" not in output:
        output["digests"] = output_digests(output)
        for name in ("data", "ename", "evalue"):
            output.pop(name, None)
    digests: dict[str, str] = output["digests"]
    return digests

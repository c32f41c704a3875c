"""Widgets that a person sets by hand between two cells."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

from mlrepro_nb.capture.cells.names import NameWatch
from mlrepro_nb.capture.secrets import MASK, is_secret_name, mask
from mlrepro_nb.capture.watch import Execution, Recording, Watch
from mlrepro_nb.model import digest_bytes

_LONGEST = 200
_MANY = 500
_LOOKS = ("LayoutModel", "StyleModel")


class WidgetWatch(Watch):
    """Looks at the messages that widgets get from the front end.

    Several moves of one widget between two cells are one: from the value that
    the last cell left to the value that the next one found.

    Parameters
    ----------
    recording : Recording
        The recorder. It gets ``widget`` events.
    names : NameWatch
        Is told that a widget's callback may have run.
    made : callable
        Returns the order of the execution that showed a widget, by its comm's id.
    """

    title = "widgets"

    def __init__(
        self, recording: Recording, names: NameWatch, made: Callable[[str], int | None]
    ) -> None:
        self._recording = recording
        self._names = names
        self._made = made
        self._moves: dict[tuple[str, str], dict[str, Any]] = {}
        self._last: int | None = None
        self._undo: Callable[[], None] | None = None

    def start(self) -> None:
        """Begin to listen."""
        kernel = getattr(self._recording.shell, "kernel", None)
        handlers = getattr(kernel, "shell_handlers", None)
        original = (handlers or {}).get("comm_msg")
        if handlers is None or original is None:
            return
        watch = self

        def comm_msg(stream: Any, ident: Any, msg: Any) -> Any:
            before = watch._guarded(watch._before, msg)
            requests = watch._names.requests
            try:
                return original(stream, ident, msg)
            finally:
                watch._names.requests = requests  # a comm announces a callback as it does a cell
                if before is not None:
                    watch._guarded(watch._after, before)

        handlers["comm_msg"] = comm_msg

        def undo() -> None:
            if handlers.get("comm_msg") is comm_msg:
                handlers["comm_msg"] = original

        self._undo = undo

    def stop(self) -> None:
        """Listen no more."""
        if self._undo is not None:
            self._undo()

    def cell_begins(self, execution: Execution) -> None:
        """Report the moves since the last cell."""
        if self._moves:
            self._report(execution.order)
        self._last = execution.order

    def seal(self, timeout: float) -> None:
        """Report the moves since the last cell."""
        if self._moves:
            self._report(None)

    def _guarded(self, function: Callable[[Any], Any], value: Any) -> Any:
        try:
            return function(value)
        except Exception as error:  # noqa: BLE001 - the widget goes on
            self._recording.gap(f"A widget's move could not be noted: {type(error).__name__}")
            return None

    def _before(self, msg: Mapping[str, Any]) -> dict[str, Any] | None:
        content = msg.get("content") or {}
        data = content.get("data") or {}
        comm = str(content.get("comm_id"))
        widget = _find(comm)
        if widget is None:
            return None
        self._names.widgets += 1
        model = str(getattr(widget, "_model_name", None) or type(widget).__name__)
        if model.endswith(_LOOKS):
            return None
        if data.get("method") == "custom":
            clicked = (data.get("content") or {}).get("event") == "click"
            return {"comm": comm, "widget": widget, "model": model, "click": True} if (
                clicked) else None  # fmt: skip
        if data.get("method") != "update":
            return None
        traits = [key for key in data.get("state") or {} if not key.startswith("_")]
        values = {key: _told(widget, key) for key in traits}
        return {"comm": comm, "widget": widget, "model": model, "values": values}

    def _after(self, seen: dict[str, Any]) -> None:
        widget = seen["widget"]
        if seen.get("click"):
            self._note(seen, "click", None, None)
        for key, before in seen.get("values", {}).items():
            after = _told(widget, key)
            if after != before or (seen["comm"], key) in self._moves:
                self._note(seen, key, before, after)

    def _note(self, seen: dict[str, Any], key: str, before: str | None, after: str | None) -> None:
        move = self._moves.setdefault(
            (seen["comm"], key),
            {"model": seen["model"], "trait": key, "before": before, "times": 0,
             "description": _description(seen["widget"])},
        )  # fmt: skip
        move["after"] = after
        move["times"] += 1

    def _report(self, order: int | None) -> None:
        moves, self._moves = self._moves, {}
        namespace = self._recording.shell.user_ns
        for (comm, _), move in moves.items():
            if move["before"] == move["after"] and move["trait"] != "click":
                continue  # moved there and back
            widget = _find(comm)
            names = [k for k, v in namespace.items() if v is widget and not k.startswith("_")]
            self._recording.emit(
                "widget",
                {**move, "names": names if widget is not None else [], "made": self._made(comm),
                 "previous": self._last, "next": order},
            )  # fmt: skip


def _find(comm: str) -> Any:
    module = sys.modules.get("ipywidgets.widgets.widget")
    if module is None:
        return None
    # ipywidgets 8, and 7
    held = getattr(module, "_instances", None)
    if held is None:
        held = getattr(getattr(module, "Widget", None), "widgets", None)
    return held.get(comm) if isinstance(held, Mapping) else None


def _description(widget: Any) -> str | None:
    with contextlib.suppress(Exception):
        text = getattr(widget, "description", None)
        return mask(text)[:_LONGEST] if isinstance(text, str) and text else None
    return None


def _told(widget: Any, key: str) -> str | None:
    """Return a trait's value as short JSON."""
    description = str(getattr(widget, "description", "")).replace(" ", "_")
    if "Password" in type(widget).__name__ or is_secret_name(description) or is_secret_name(key):
        # That it was changed shows; what to does not.
        value = getattr(widget, key, None)
        return f'"{MASK}"' if value else '""'
    return mask(_json(getattr(widget, key, None)))[:_LONGEST]


def _json(value: Any) -> str:
    if isinstance(value, list | tuple | dict | str) and len(value) > _MANY:
        return digest_bytes(repr(value).encode("utf-8", "replace"))
    return json.dumps(value, default=_plain, sort_keys=True, ensure_ascii=False)


def _plain(value: Any) -> Any:
    if isinstance(value, bytes | bytearray | memoryview):
        return digest_bytes(bytes(value))
    if isinstance(value, set | frozenset):
        return sorted(map(str, value))
    return str(value) if hasattr(value, "isoformat") else type(value).__name__

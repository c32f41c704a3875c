"""The form that makes an image of a record and rolls it out."""

from __future__ import annotations

import contextlib
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any, Literal

import anywidget
import traitlets

from mlrepro_nb import image, rollout
from mlrepro_nb.capture.data.audit import unwatched
from mlrepro_nb.errors import MlreproError, ToolError
from mlrepro_nb.faces.widgets import _display
from mlrepro_nb.model import Image, Record, Step, short
from mlrepro_nb.store import Store

MIME = "application/vnd.mlrepro.containerize+json"
_HERE = Path(__file__).parent
_LOG_LINES = 500
_EVERY = 0.2
"""Seconds between two updates of the log: a build may print faster than a comm should carry."""


class ContainerizeWidget(anywidget.AnyWidget):  # type: ignore[misc]
    """A form filled from a record. The front end edits `fields` and asks for deeds.

    Work runs in a thread, so that the kernel stays free. Everything that is
    shown is a trait; none ever holds a secret.
    """

    _esm = _HERE / "containerize.js"
    _css = _HERE / "containerize.css"
    key = traitlets.Unicode().tag(sync=True)
    facts = traitlets.Dict().tag(sync=True)
    """What the record says: shown, not edited."""
    fields = traitlets.Dict().tag(sync=True)
    placeholders = traitlets.Dict().tag(sync=True)
    """What an empty field means."""
    sources = traitlets.Dict().tag(sync=True)
    """Where inferred resources come from."""
    texts = traitlets.Dict().tag(sync=True)
    problems = traitlets.List().tag(sync=True)
    notes = traitlets.List().tag(sync=True)
    busy = traitlets.Unicode().tag(sync=True)
    progress = traitlets.Dict().tag(sync=True)
    log = traitlets.Unicode().tag(sync=True)
    error = traitlets.Dict().tag(sync=True)
    result = traitlets.Dict().tag(sync=True)

    def __init__(self, store: Store, digest: str, record: Record) -> None:
        self._store, self._digest, self._record = store, digest, record
        self._lines: deque[str] = deque(maxlen=_LOG_LINES)
        self._shown = 0.0
        self._state = threading.Lock()
        self._previewing = threading.Lock()
        self._wanted = 0
        self._cancelled = threading.Event()
        self.worker: threading.Thread | None = None
        super().__init__(key=uuid.uuid4().hex, facts=_facts(digest, record), fields=dict(_FIELDS))
        self.preview()
        self.on_msg(self._asked)

    # --- what the front end asks for

    def _asked(self, _: Any, content: Any, buffers: Any) -> None:
        deed = content.get("do") if isinstance(content, dict) else None
        if deed == "preview":
            self._wanted += 1
            threading.Thread(target=self._preview_latest, args=(self._wanted,), daemon=True).start()
        elif deed == "build":
            self.build(push=bool(content.get("push")))
        elif deed == "rollout":
            self.rollout()
        elif deed == "cancel":
            self._cancelled.set()

    def _preview_latest(self, number: int) -> None:
        with self._previewing, unwatched():
            if number == self._wanted:
                self.preview()

    def preview(self) -> None:
        """Render all texts from the fields as they are."""
        values = _cleaned(self.fields)
        problems: list[str] = []
        texts: dict[str, str] = {}
        notes: list[str] = []
        try:
            texts = image.preview(self._digest, store=self._store, **_image_options(values))
            problems += texts.pop("problems", "").splitlines()
            notes += texts.pop("notes", "").splitlines()
        except MlreproError as error:
            problems.append(str(error))
        placeholders = _chosen_for_image(texts)
        try:
            kind: Literal["Job", "Deployment"] = "Job" if values["kind"] == "job" else "Deployment"
            asked = {key: values.get(key) for key in ("cpu", "memory", "gpus")}
            found = rollout.resources(self._record, workload=kind, **asked)
            inferred = rollout.resources(self._record, workload=kind)
            placeholders |= {
                "cpu": inferred.cpu, "memory": inferred.memory, "gpus": str(inferred.gpus),
            }  # fmt: skip
            self.sources = {k: v for k, v in found.source.items() if k in (*asked, "threads")}
            texts["manifests.yaml"] = rollout.preview(
                self._record,
                self._digest,
                self.result.get("reference") or placeholders.get("repository"),
                **_rollout_options(values),
            )
            placeholders |= _chosen_for_rollout(texts["manifests.yaml"])
        except MlreproError as error:
            problems.append(str(error))
        with self.hold_sync():
            self.texts, self.problems, self.notes = texts, problems, notes
            self.placeholders = placeholders

    def build(self, *, push: bool = False) -> None:
        """Build the image, and push it if told, in the background."""

        def work() -> None:
            options = _image_options(_cleaned(self.fields))
            digest, built = image.build(
                self._digest, push=push, store=self._store, report=self._report, **options
            )
            self.result = _built(digest, built)
            self.preview()

        self._start("Building and pushing" if push else "Building", work)

    def rollout(self) -> None:
        """Roll the pushed image out, in the background."""
        reference = self.result.get("reference")
        if not reference:
            self.error = {"message": "The image was not pushed yet.", "remedy": "Push it first."}
            return

        def work() -> None:
            options = _rollout_options(_cleaned(self.fields))
            _, done, _ = rollout.rollout(
                reference, apply=True, store=self._store, report=self._report, **options
            )
            told = {"name": done.name, "namespace": done.namespace, "workload": done.workload}
            if done.status == "failed":
                message = getattr(done, "reason", None) or f"{done.workload} {done.name} failed."
                self.error = {"message": message, "remedy": rollout.remedy(done)}
            else:
                self.result = {**self.result, "rollout": {**told, "status": done.status}}

        self._start("Rolling out", work)

    # --- work in the background

    def _start(self, what: str, work: Callable[[], None]) -> None:
        with self._state:
            if self.busy:
                return
            self.busy = what
        self._lines.clear()
        self._cancelled.clear()
        self.log, self.error, self.progress = "", {}, {"message": what}
        self.worker = threading.Thread(target=self._run, args=(work,), daemon=True)
        self.worker.start()

    def _run(self, work: Callable[[], None]) -> None:
        try:
            with unwatched():  # what a build reads is not the notebook's doing
                work()
        except _Cancelled:
            self.error = {"message": "Cancelled.", "remedy": "What was built so far is cached."}
        except MlreproError as error:
            self.error = {
                "message": error.message,
                "remedy": error.remedy,
                "output": error.output if isinstance(error, ToolError) else "",
            }
        except Exception as error:  # noqa: BLE001 - a thread has nobody else to tell
            self.error = {
                "message": f"mlrepro-nb itself failed: {type(error).__name__}: {error}",
                "remedy": "Please report it.",
            }
        finally:
            self.log = "\n".join(self._lines)
            self.progress = {}
            self.busy = ""

    def _report(self, step: Step) -> None:
        if self._cancelled.is_set():
            raise _Cancelled
        if step.log:
            self._lines.append(step.message)
            if time.monotonic() - self._shown > _EVERY:
                self._shown = time.monotonic()
                self.log = "\n".join(self._lines)
            return
        self._lines.append(f"• {step.message}")
        self.progress = {"message": step.message, "done": step.done, "total": step.total}
        self.log = "\n".join(self._lines)

    # --- how it is shown

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        data, metadata = super()._repr_mimebundle_(**kwargs) or ({}, {})
        return {**data, **self._copy()}, metadata

    def _ipython_display_(self) -> None:
        _display.show(self._repr_mimebundle_()[0], self._copy(), MIME)

    def _copy(self) -> dict[str, Any]:
        facts = {
            **self.facts,
            "context": "",
            "image": self.result.get("reference") or self.texts.get("tags", ""),
        }
        rows = "".join(
            f'<tr><th style="text-align:left">{escape(name)}</th>'
            f'<td style="text-align:left">{escape(str(value))}</td></tr>'
            for name, value in facts.items()
            if value not in ("", None, [])
        )
        page = f"<table>{rows}</table>" + "".join(
            f"<details{' open' if name == 'Containerfile' else ''}><summary>{escape(name)}"
            f"</summary><pre>{escape(text)}</pre></details>"
            for name, text in self.texts.items()
        )
        lines = (f"{name}: {value}" for name, value in facts.items() if value)
        return {
            "text/html": _display.static(self.key, page),
            "text/plain": "\n".join(lines),
            MIME: {"record": self._digest, "texts": dict(self.texts)},
        }


class _Cancelled(Exception):  # noqa: N818 - it is none
    """Unwinds the worker from inside a report."""


def _facts(digest: str, record: Record) -> dict[str, Any]:
    models = sorted({model.name for model in record.results.models})
    return {
        "notebook": record.code.notebook,
        "record": short(digest),
        "commit": (record.code.commit or "none")[:12],
        "uncommitted changes": "yes" if record.code.dirty else "",
        "models": models,
        "context": _context(),
    }


def _context() -> str:
    from mlrepro_nb.connect.kubernetes import current_context

    with contextlib.suppress(MlreproError):
        found = current_context()
        return (found.name or "") if found else ""
    return ""


_FIELDS: dict[str, Any] = {
    "kind": "job",
    "base": "", "repository": "", "version": "", "build_id": "", "allow_dirty": False,
    "name": "", "namespace": "", "replicas": "", "cpu": "", "memory": "", "gpus": "",
}  # fmt: skip
"""What the form shows at first: an empty field leaves the choice to the verbs."""


def _cleaned(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields that were filled, numbers as numbers."""
    found: dict[str, Any] = {"kind": "job"}
    for name, value in fields.items():
        text = value.strip() if isinstance(value, str) else value
        if text in ("", None):
            continue
        if name in ("gpus", "replicas") and isinstance(text, str):
            # What is no number goes on as it is: the verb's own error names the field.
            text = int(text) if text.isascii() and text.isdigit() else -1
        found[name] = text
    return found


def _chosen_for_image(texts: dict[str, str]) -> dict[str, str]:
    """Return what the image's empty fields came to, as its texts tell."""
    tags = texts.get("tags", "").split()
    if not tags:
        return {}
    lines = texts["Containerfile"].splitlines()
    base = next((line.split()[1] for line in lines if line.startswith("FROM ")), "")
    repository, _, version = tags[0].rpartition(":")
    build = next((tag for tag in tags if ":build-" in tag), "").rpartition(":build-")[2]
    return {"base": base, "repository": repository, "version": version, "build_id": build}


def _chosen_for_rollout(manifests: str) -> dict[str, str]:
    """Return what the rollout's empty fields came to."""
    import yaml

    for manifest in yaml.safe_load_all(manifests):
        if manifest and manifest.get("kind") in ("Deployment", "Job"):
            meta = manifest["metadata"]
            replicas = str(manifest["spec"].get("replicas", 1))
            return {
                "name": meta["name"], "namespace": meta.get("namespace", ""), "replicas": replicas,
            }  # fmt: skip
    return {}


def _image_options(values: dict[str, Any]) -> dict[str, Any]:
    names = ("kind", "base", "repository", "version", "build_id", "allow_dirty")
    return {name: values[name] for name in names if name in values}


def _rollout_options(values: dict[str, Any]) -> dict[str, Any]:
    names = ("kind", "name", "namespace", "replicas", "cpu", "memory", "gpus")
    return {name: values[name] for name in names if name in values}


def _built(digest: str, built: Image) -> dict[str, Any]:
    return {
        "document": digest,
        "id": built.id,
        "digest": built.digest or "",
        "references": [f"{built.repository}:{tag}" for tag in built.tags],
        "reference": f"{built.repository}@{built.digest}" if built.digest else "",
        "kind": built.image_kind,
        "finished": built.created,
    }

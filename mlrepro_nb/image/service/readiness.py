"""Whether a service may be sent requests: it proves itself first."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any, Literal

import msgspec

from mlrepro_nb.connect.mlflow import digest_of_files
from mlrepro_nb.connect.mlflow_serving import Answer, ScoringError, ServedModel
from mlrepro_nb.image.service import payload
from mlrepro_nb.image.service.predictions import FILE, Predictions, decoded, difference
from mlrepro_nb.image.service.settings import Settings
from mlrepro_nb.image.service.signature import RefusedError, Signature, signature
from mlrepro_nb.image.service.telemetry import say

Phase = Literal["starting", "ready", "draining", "failed"]


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """Which model of which record is in the image."""

    record: str
    name: str
    uri: str
    digest: str | None = None
    notebook: str | None = None
    run: str | None = None


class Service:
    """The model and how far it is.

    Parameters
    ----------
    folder
        Folder with ``model`` and ``record``.
    """

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.settings = settings
        self.facts = msgspec.json.decode(
            (folder / "record" / "model.json").read_bytes(), type=Facts
        )
        self.phase: Phase = "starting"
        self.reason = "the model is being loaded"
        self.model: ServedModel | None = None
        self.signature: Signature | None = None
        self.predictions: Predictions | None = None
        self.failed_at: float | None = None
        self._folder = folder
        self._lock = threading.Lock()

    @property
    def ready(self) -> bool:
        """Whether it may be sent requests."""
        return self.phase == "ready"

    def prove(self) -> None:
        """Load the model and check it; from then on it is ready, or failed."""
        started = time.monotonic()
        try:
            wrong = self._proof()
        except Exception as error:  # noqa: BLE001 - whatever unpickling a model raises
            wrong = f"the model cannot be loaded: {type(error).__name__}: {error}"
        with self._lock:
            if wrong:
                self.phase, self.reason = "failed", wrong
                self.failed_at = time.monotonic()
            elif self.phase == "starting":
                self.phase, self.reason = "ready", ""
        if wrong:
            say(
                f"not ready: {wrong}", level="error", record=self.facts.record,
                model=self.facts.digest, ends_in=self.settings.fail_after,
            )  # fmt: skip
            return
        rows = "none were recorded" if self.predictions is None else "reproduced"
        say(
            f"serving {self.facts.name}", record=self.facts.record, model=self.facts.digest,
            predictions=rows, seconds=round(time.monotonic() - started, 3),
        )  # fmt: skip

    def drain(self) -> None:
        """Be ready no more."""
        with self._lock:
            if self.phase != "failed":
                self.phase, self.reason = "draining", "the service is shutting down"

    def score(self, body: bytes, content_type: str | None) -> Answer:
        """Predict from a request's body.

        Raises
        ------
        RefusedError
            The body is not what the model takes.
        ScoringError
            The model does not take it all the same.
        """
        assert self.model is not None
        kind = payload.media_type(content_type)
        data = payload.read(body, kind, self.signature, extra=self.settings.extra_columns)
        return self.model.score(data, kind)

    def told(self) -> dict[str, Any]:
        """Return what `/ready` says."""
        checked = None if self.predictions is None else {"rtol": self._rtol(self.predictions)}
        found: dict[str, Any] = {
            "status": self.phase, "record": self.facts.record, "model": self.facts.digest,
            "predictions": checked,
        }  # fmt: skip
        return {**found, "reason": self.reason} if self.reason else found

    def _proof(self) -> str | None:
        """Return what is wrong, None if nothing."""
        folder = self._folder / "model"
        if not (folder / "MLmodel").is_file():
            return f"there is no model at {folder}; build the image again"
        found = digest_of_files(folder)
        if self.facts.digest and found != self.facts.digest:
            return f"the model at {folder} is {found}, not {self.facts.digest} as recorded"
        model = ServedModel(folder)
        self.signature = signature(model.inputs)
        self.model = model
        recorded = self._folder / "record" / FILE
        if not recorded.is_file():
            say(
                "no predictions were recorded, so only the model's digest was checked; log the "
                "model with input_example= and build again", level="warning",
            )  # fmt: skip
            return None
        self.predictions = decoded(recorded.read_bytes())
        return self._replayed(self.predictions)

    def _replayed(self, recorded: Predictions) -> str | None:
        body = json.dumps(recorded.input).encode()
        rtol = self._rtol(recorded)
        try:
            found = json.loads(self.score(body, payload.JSON).content)
            wrong = difference(recorded.output, found, rtol)
            if wrong is None:
                return None
            again = json.loads(self.score(body, payload.JSON).content)
        except (RefusedError, ScoringError, ValueError) as error:
            return f"the recorded input cannot be predicted from any more: {error}"
        varies = difference(found, again, rtol)
        if varies is None:
            return f"the recorded predictions are not reproduced: {wrong}"
        say(
            f"the model does not predict the same twice ({varies}), so only its digest was checked",
            level="warning",
        )
        self.predictions = None
        return None

    def _rtol(self, recorded: Predictions) -> float:
        return recorded.rtol if self.settings.rtol is None else self.settings.rtol

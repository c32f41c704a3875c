"""Which MLflow runs and models the notebook makes."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from mlrepro_nb.capture.data.digests import Digests
from mlrepro_nb.capture.imports import ImportHook
from mlrepro_nb.capture.secrets import holds_secret
from mlrepro_nb.capture.watch import Execution, Recording, Watch
from mlrepro_nb.capture.worker import Worker
from mlrepro_nb.connect import mlflow, mlflow_context


class RunWatch(Watch):
    """Notes runs and models as they are made; asks the tracking store about them in a thread.

    A store that is slow or gone therefore never keeps a cell waiting.

    Parameters
    ----------
    recording : Recording
        The recorder. It gets ``run``, ``model`` and ``artifact`` events.
    digests : Digests
        Learns what the logged files hold.
    tags : mapping
        Tags for the runs that are made.
    """

    title = "MLflow runs"

    def __init__(
        self, recording: Recording, digests: Digests, tags: Mapping[str, str] = {}
    ) -> None:
        self._digests = digests
        self._emit = recording.emit
        self._execution = recording.current
        self._gap = recording.gap
        self._runs: dict[str, int | None] = {}
        self._touched: set[str] = set()
        self._asked: set[str] = set()
        """Runs that the thread is yet to ask about."""
        self._tags = dict(tags)
        self._undo: list[Callable[[], None]] = []
        self._worker = Worker("mlrepro-mlflow", self._work)
        self._pending = 0
        self._idle = threading.Condition()
        self._hook = ImportHook(
            {
                "mlflow.tracking.fluent": self._see_runs,
                "mlflow.models.model": self._see_models,
                "mlflow.tracking._tracking_service.client": self._see_artifacts,
            }
        )

    def start(self) -> None:
        """Begin to watch."""
        mlflow_context.announce(self._tags)
        self._hook.start()

    def stop(self) -> None:
        """Watch no more."""
        mlflow_context.withdraw()
        self._hook.stop()
        for undo in self._undo:
            undo()
        self._undo.clear()

    def cell_ended(self, execution: Execution) -> None:
        """Look again at the runs that a cell may have logged to."""
        if "mlflow.tracking.fluent" not in sys.modules or not self._runs:
            return
        active = set(mlflow.active_run_ids())
        for run_id in (active | self._touched) & set(self._runs):
            self._ask(run_id)
        self._touched.clear()

    def seal(self, timeout: float) -> None:
        """Look at every run once more and wait for the answers."""
        if not self._runs:
            return
        for run_id in self._runs:
            self._ask(run_id)
        with self._idle:
            if not self._idle.wait_for(lambda: self._pending == 0, timeout):
                self._gap("MLflow's tracking store did not answer in time.")

    def _see_runs(self, module: ModuleType) -> None:
        self._undo.append(mlflow.observe_runs(module, self._note_run))

    def _see_models(self, module: ModuleType) -> None:
        self._undo.append(mlflow.observe_models(module, self._note_model))

    def _see_artifacts(self, module: ModuleType) -> None:
        self._undo.append(mlflow.observe_artifacts(module, self._note_artifact))

    def _note_artifact(self, run_id: str, path: str, local: str | None) -> None:
        told = {"run_id": run_id, "path": path, "order": self._execution()}
        self._emit("artifact", told)
        if local is not None:
            self._digests.hold(
                local,
                lambda found: self._emit(
                    "artifact", {**told, "digest": found.digest, "size": found.size}
                ),
            )

    def _note_run(self, run_id: str, tracking_uri: str) -> None:
        try:
            self._touched.add(run_id)
            if run_id in self._runs:
                return
            order = self._execution()
            self._runs[run_id] = order
            self._emit("run", {"run_id": run_id, "tracking_uri": tracking_uri, "order": order})
        except Exception as error:  # noqa: BLE001 - it must not become the user's exception
            self._gap(f"An MLflow run could not be noted: {type(error).__name__}: {error}")

    def _note_model(self, model: dict[str, Any]) -> None:
        try:
            if holds_secret(model.get("answer") or "", named=True):
                model = {**model, "answer": None}
            self._emit("model", {**model, "order": self._execution()})
            # The later event adds to the first, by its URI.
            named = {"uri": model["uri"]}
            self._do(lambda: self._emit("model", {**named, **mlflow.describe_model(model)}))
        except Exception as error:  # noqa: BLE001
            self._gap(f"An MLflow model could not be noted: {type(error).__name__}: {error}")

    def _ask(self, run_id: str) -> None:
        if run_id in self._asked:
            return
        self._asked.add(run_id)

        def ask() -> None:
            self._asked.discard(run_id)
            self._emit("run", mlflow.describe_run(run_id))

        self._do(ask)

    def _do(self, job: Callable[[], None]) -> None:
        with self._idle:
            self._pending += 1
        self._worker.put(job)

    def _work(self, jobs: list[Callable[[], None]]) -> None:
        for job in jobs:
            try:
                job()
            except Exception as error:  # noqa: BLE001 - MLflow and its stores raise anything
                self._gap(f"MLflow could not be asked: {type(error).__name__}")
            with self._idle:
                self._pending -= 1
                self._idle.notify_all()

"""The one door to MLflow.

MLflow is only ever looked at when the notebook has imported it; nothing here
imports it into a process that lacks it, except where a verb was asked to reach
a tracking server.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import posixpath
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import unquote, urlparse

import msgspec

from mlrepro_nb.connect import mlflow_answer
from mlrepro_nb.connect.command import redact
from mlrepro_nb.model import digest, digest_bytes

RECORD_TAG = "mlrepro.record"
"""Tag of an MLflow run that names the record."""

RECORD_FILE = "mlrepro/record.json"
"""Artifact of an MLflow run that is the record, in its canonical form."""

OURS = "mlrepro."
"""How the names of parameters, tags and datasets' tags that are ours begin."""


def observe_runs(fluent: ModuleType, note: Callable[[str, str], None]) -> Callable[[], None]:
    """Call ``note(run_id, tracking_uri)`` for each run that is started from now on.

    Parameters
    ----------
    fluent : module
        ``mlflow.tracking.fluent``. Every run that ``start_run`` returns is an
        ``ActiveRun``, however the notebook took ``start_run`` into its names.

    Returns
    -------
    callable
        Puts the class back as it was.
    """
    active_run: Any = fluent.ActiveRun
    original = active_run.__init__

    @functools.wraps(original)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807
        original(self, *args, **kwargs)
        note(str(self.info.run_id), tracking_uri())

    active_run.__init__ = __init__
    return functools.partial(_put_back, active_run, "__init__", __init__, original)


def observe_models(
    module: ModuleType, note: Callable[[dict[str, Any]], None]
) -> Callable[[], None]:
    """Call ``note(model)`` for each model that is logged from now on.

    `module` is ``mlflow.models.model``: every flavor's ``log_model`` ends in
    ``Model.log``. `model` has ``name uri model_id version flavor run_id answer``; the last is
    what it answered when MLflow tried it, see `mlflow_answer`.
    """
    model_class: Any = module.Model
    original = model_class.__dict__["log"]
    function = original.__func__
    trial = threading.local()
    undo: list[Callable[[], None]] = []

    @functools.wraps(function)
    def log(cls: Any, *args: Any, **kwargs: Any) -> Any:
        if not undo:  # not before: MLflow's modules import each other
            undo.append(mlflow_answer.observe(lambda text: setattr(trial, "answer", text)))
        trial.answer = None
        info = function(cls, *args, **kwargs)
        note({**_of_model_info(info, kwargs), "answer": trial.answer})
        return info

    ours = classmethod(log)
    model_class.log = ours

    def restore() -> None:
        _put_back(model_class, "log", ours, original)
        for one in undo:
            one()

    return restore


def observe_artifacts(
    module: ModuleType, note: Callable[[str, str, str | None], None]
) -> Callable[[], None]:
    """Call ``note(run_id, path, local file or None)`` for each artifact before it is logged.

    `module` is ``mlflow.tracking._tracking_service.client``, through which figures,
    texts, dictionaries, files and folders all go. The local file may be a temporary
    one; None where there is none (an image that a thread of MLflow's writes later).
    """
    client: Any = module.TrackingServiceClient
    undo = []

    def wrap(name: str, found: Callable[..., Iterator[tuple[str, str | None]]]) -> None:
        original = getattr(client, name, None)
        if original is None:
            return

        @functools.wraps(original)
        def method(self: Any, run_id: str, *args: Any, **kwargs: Any) -> Any:
            with contextlib.suppress(Exception):  # it must not become the user's exception
                for path, local in found(*args, **kwargs):
                    if not path.startswith("mlrepro/"):
                        note(str(run_id), path, local)
            return original(self, run_id, *args, **kwargs)

        setattr(client, name, method)
        undo.append(functools.partial(_put_back, client, name, method, original))

    wrap("log_artifact", _artifacts_of_path)
    wrap("log_artifacts", _artifacts_of_folder)
    wrap("_log_artifact_async", _artifact_to_come)

    def restore() -> None:
        for one in undo:
            one()

    return restore


def _artifacts_of_path(
    local_path: Any, artifact_path: str | None = None
) -> Iterator[tuple[str, str | None]]:
    local = os.path.abspath(local_path)  # noqa: PTH100 - links in it are kept
    inside = posixpath.join(artifact_path or "", posixpath.basename(local))
    if Path(local).is_dir():
        yield from _artifacts_of_folder(local, inside)
    else:
        yield inside, local


def _artifacts_of_folder(
    local_dir: Any, artifact_path: str | None = None
) -> Iterator[tuple[str, str | None]]:
    folder = Path(os.path.abspath(local_dir))  # noqa: PTH100
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            inside = file.relative_to(folder).as_posix()
            yield posixpath.join(artifact_path or "", inside), str(file)


def _artifact_to_come(
    filename: str, artifact_path: str | None = None, *_: Any, **__: Any
) -> Iterator[tuple[str, str | None]]:
    yield posixpath.join(artifact_path or "", filename), None


def _put_back(owner: Any, name: str, ours: Any, original: Any) -> None:
    if owner.__dict__.get(name) is ours:
        setattr(owner, name, original)


def _of_model_info(info: Any, arguments: dict[str, Any]) -> dict[str, Any]:
    registered = arguments.get("registered_model_name")
    version = getattr(info, "registered_model_version", None)
    flavors = [name for name in (info.flavors or {}) if name != "python_function"]
    name = registered or getattr(info, "name", None) or info.artifact_path or "model"
    return {
        "name": str(name),
        "uri": str(info.model_uri),
        "model_id": getattr(info, "model_id", None),
        "version": str(version) if version is not None else None,
        "flavor": flavors[0] if flavors else None,
        "run_id": info.run_id,
    }


def active_run_ids() -> list[str]:
    """Return the runs that are active in this process, or were last; nothing without MLflow."""
    fluent: Any = sys.modules.get("mlflow.tracking.fluent")
    if fluent is None:
        return []
    found: list[str] = []
    try:
        for stack in fluent._active_run_stack.get_all_thread_values().values():  # noqa: SLF001
            found += [run.info.run_id for run in stack]
        last = fluent._last_active_run_id.get()  # noqa: SLF001
        found += [last] if last else []
    except AttributeError:
        active = fluent.active_run()
        found += [active.info.run_id] if active else []
    return list(dict.fromkeys(found))


def tracking_uri() -> str:
    """Return where MLflow of this process tracks, without credentials."""
    mlflow: Any = sys.modules["mlflow"]
    return redact(absolute_uri(str(mlflow.get_tracking_uri()), Path.cwd()) or "")


def absolute_uri(uri: str | None, folder: Path | None) -> str | None:
    """Return a tracking URI that means the same from any folder; `folder` is where it was meant."""
    if uri is None or folder is None:
        return uri
    if uri.startswith("sqlite:///"):
        path = uri.removeprefix("sqlite:///")
        return uri if path.startswith(("/", ":")) else f"sqlite:///{folder / path}"
    if "://" in uri or uri in ("databricks", "uc") or uri.startswith("file:"):
        return uri
    return str(folder / uri)


def describe_run(run_id: str) -> dict[str, Any]:
    """Return a run's experiment, parameters and metrics, as its tracking store has them."""
    mlflow: Any = sys.modules["mlflow"]
    client = mlflow.MlflowClient()
    run = client.get_run(run_id)
    return {
        "run_id": run_id,
        "experiment": client.get_experiment(run.info.experiment_id).name,
        "params": {k: v for k, v in run.data.params.items() if not k.startswith(OURS)},
        "metrics": {k: v for k, v in run.data.metrics.items() if not k.startswith(OURS)},
        "datasets": list(_datasets(run)),
    }


def _datasets(run: Any) -> Iterator[dict[str, str | None]]:
    """Yield the datasets that the notebook logged, not those that were logged of its record."""
    inputs = getattr(run, "inputs", None)
    for one in getattr(inputs, "dataset_inputs", None) or ():
        tags = {tag.key: tag.value for tag in one.tags}
        if not any(key.startswith(OURS) for key in tags):
            yield {
                "name": one.dataset.name,
                "digest": one.dataset.digest,
                "source": _source(one.dataset.source),
                "context": tags.get("mlflow.data.context"),
            }


def _source(text: str | None) -> str | None:
    """Return the path or URL that a dataset's source tells, if it has one."""
    try:
        told = json.loads(text or "")
    except ValueError:
        return None
    for key in ("uri", "url", "path", "table_name", "delta_table_name"):
        found = told.get(key) if isinstance(told, dict) else None
        if isinstance(found, str) and found:
            return redact(found)
    return None


def describe_model(model: dict[str, Any]) -> dict[str, Any]:
    """Return ``path`` and ``digest`` of a logged model's files, where they are on this machine."""
    mlflow: Any = sys.modules["mlflow"]
    location = None
    if model.get("model_id"):
        location = mlflow.MlflowClient().get_logged_model(model["model_id"]).artifact_location
    elif str(model["uri"]).startswith("runs:/"):
        run_id, _, inside = str(model["uri"]).removeprefix("runs:/").partition("/")
        location = f"{mlflow.MlflowClient().get_run(run_id).info.artifact_uri}/{inside}"
    folder = local_folder(location) if location else None
    if folder is None:
        return {}
    return {"path": str(folder), "digest": digest_of_files(folder)}


def local_folder(uri: str) -> Path | None:
    """Return the folder that an artifact URI means on this machine, or None."""
    parsed = urlparse(uri)
    if parsed.scheme == "file":
        folder = Path(unquote(parsed.path))
    elif parsed.scheme == "":
        folder = Path(uri)
    else:
        return None
    folder = Path(os.path.abspath(folder))  # noqa: PTH100 - links in it are kept
    return folder if folder.is_dir() else None


_LOADED = "registered_model_meta"


def files_of_model(folder: Path) -> dict[str, Path]:
    """Return a model's files by path, sorted.

    What whoever loads a model leaves in its folder is none of them: bytecode of the code that it
    brings, and MLflow's note of its registered name.
    """
    files = {path.relative_to(folder): path for path in sorted(folder.rglob("*"))}
    return {
        name.as_posix(): path
        for name, path in files.items()
        if "__pycache__" not in name.parts and name.as_posix() != _LOADED and path.is_file()
    }


def digest_of_files(folder: Path) -> str:
    """Return the digest of a model's files: over their sorted paths and digests."""
    files = files_of_model(folder)
    return digest({name: digest_bytes(path.read_bytes()) for name, path in files.items()})


class Dataset(msgspec.Struct, frozen=True, kw_only=True):
    """A file or folder of a record, as MLflow is told of it."""

    name: str
    digest: str
    """``b3:`` and 32 hex digits: MLflow takes 36 characters."""
    source: str
    tags: dict[str, str]


def log_record(
    run_id: str,
    uri: str | None,
    *,
    digest: str,
    record: bytes,
    datasets: Sequence[Dataset] = (),
    params: Mapping[str, str] = {},
) -> None:
    """Write a record and what it says to a run in the tracking store at `uri`.

    Its digest becomes a tag, the record an artifact, its files datasets; parameters
    are added where the run has none of that name: they cannot be changed.

    Through MLflow's own client, though importing it takes seconds: its databases
    are its own affair. A local database that is gone is left so (the client
    would make a new one).

    Raises
    ------
    Exception
        Whatever the store raises, ImportError where MLflow is not installed here.
    """
    database = (uri or "").partition("sqlite:///")[2]
    if database and not Path(database).exists():
        return
    if "mlflow" not in sys.modules:
        # Loaded on our behalf, not the user's: it has nothing to tell its makers, and
        # a server that is down is not to be waited for for minutes.
        for name, value in _IMPATIENT.items():
            os.environ.setdefault(name, value)
    from mlflow import MlflowClient
    from mlflow.entities import Dataset as Entity
    from mlflow.entities import DatasetInput, InputTag, Param

    client = MlflowClient(tracking_uri=uri)
    client.set_tag(run_id, RECORD_TAG, digest)
    known = client.get_run(run_id).data.params
    fresh = [Param(k, v[:6000]) for k, v in params.items() if k not in known]
    for start in range(0, len(fresh), 100):
        client.log_batch(run_id, params=fresh[start : start + 100])
    inputs = [
        DatasetInput(
            Entity(
                name=one.name[:500], digest=one.digest, source_type="local",
                source=json.dumps({"uri": one.source}),
            ),
            [InputTag(key, value[:500]) for key, value in one.tags.items()],
        )
        for one in datasets
    ]  # fmt: skip
    if inputs:
        client.log_inputs(run_id, inputs)
    client.log_text(run_id, record.decode(), RECORD_FILE)


_IMPATIENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}

"""What the served model predicts on its input example, recorded where the notebook ran.

The service repeats it before it takes requests. The record has it where MLflow tried the model
as it was logged. Else it is recorded now, with the kernel's own interpreter: one whose
distributions are others would record another model's answers.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
from pathlib import Path

import msgspec

from mlrepro_nb.capture.secrets import MASK
from mlrepro_nb.connect import command, oci
from mlrepro_nb.connect.mlflow_serving import saved_signature, serving_example
from mlrepro_nb.errors import ToolError
from mlrepro_nb.image._contents import ContextFile, identity
from mlrepro_nb.image._logged import digest_of_model
from mlrepro_nb.image._plan import Plan
from mlrepro_nb.image.service import payload, predictions
from mlrepro_nb.image.service.predictions import FILE
from mlrepro_nb.image.service.recording import NOT_RECORDED
from mlrepro_nb.image.service.signature import RefusedError, signature
from mlrepro_nb.model import Environment, Record, Report, Step, digest_bytes, digest_text
from mlrepro_nb.store import Store

_FORMAT = 3
_LONGEST = 600


def with_predictions(planned: Plan, root: Path, store: Store, report: Report) -> Plan:
    """Return the plan of a service with its recorded predictions; others as they are.

    Where there can be none, a step says why, and how to get them.
    """
    if planned.kind != "service":
        return planned
    content = (
        _told_by_the_run(planned, store)
        or _known(planned, store)
        or _recorded(planned, root, store, report)
    )
    if content is None:
        return planned
    file = ContextFile(layer="record", path=FILE, content=content)
    return msgspec.structs.replace(
        planned, files=(*planned.files, file), predictions=store.blobs.put(content)
    )


def _told_by_the_run(planned: Plan, store: Store) -> bytes | None:
    """Return what the run itself recorded, if the whole of it is in the record.

    The same from every machine, even where the run's environment is gone.
    """
    if planned.model is None:
        return None
    models = store.get(Record, planned.record).results.models
    answer = next((m.answer for m in reversed(models) if m.digest == planned.model), None)
    folder = _model_folder(planned)
    body = serving_example(folder)
    if answer is None or MASK in answer or body is None or predictions.shortened(body) != body:
        return None
    encoded = json.dumps(body).encode()
    if len(encoded) > predictions.LARGEST:
        return None
    try:
        inputs, outputs = saved_signature(folder)
        payload.read(encoded, payload.JSON, signature(inputs))
        return predictions.of(body, answer, outputs).encoded()
    except (RefusedError, ValueError):
        return None  # the model itself tells why


def _recorded(planned: Plan, root: Path, store: Store, report: Report) -> bytes | None:
    from mlrepro_nb.execute import interpreter

    folder = _model_folder(planned)
    if serving_example(folder) is None:
        _note(
            report, "it has no input example",
            "log the model with input_example= and record again",
        )  # fmt: skip
        return None
    report(Step(message="recording what the model predicts on its input example"))
    environment = store.get(Record, planned.record).environment
    candidates = [interpreter(environment.kernelspec), sys.executable]
    reasons = []
    for python in dict.fromkeys(p for p in candidates if p):
        ended, content = _ask(python, folder, planned, environment, root)
        if content is not None:
            _keep(planned, store, content)
            return content
        told = (ended.stdout.strip().splitlines() or ended.stderr.strip().splitlines() or ["?"])[-1]
        if ended.status == NOT_RECORDED:
            _note(report, told, "the service will only check its digest")
            return None
        reasons.append(f"{python}: {told}")
    why = "; ".join(reasons) or "its interpreter is not on this machine"
    _note(
        report, f"the recorded environment is not here any more ({why})",
        "build where it is, or record again",
    )  # fmt: skip
    return None


def _note(report: Report, why: str, remedy: str) -> None:
    message = f"The model's predictions cannot be recorded: {why}; {remedy}."
    report(Step(message=message, log=True))


def _ask(
    python: str, folder: Path, planned: Plan, environment: Environment, root: Path
) -> tuple[command.Ended, bytes | None]:
    wanted = {"python": environment.python, "distributions": _distributions(planned, environment)}
    with tempfile.TemporaryDirectory(prefix="mlrepro-predict-") as scratch:
        output = Path(scratch) / FILE
        try:
            ended = command.run(
                [python, "-m", "mlrepro_nb.image.service.recording", str(folder), str(output)],
                cwd=Path(scratch), stdin=json.dumps(wanted), timeout=_LONGEST,
                environment=_variables(planned, root),
            )  # fmt: skip
        except ToolError as error:
            return command.Ended(status=-1, stderr=error.message), None
        return ended, output.read_bytes() if ended.ok and output.is_file() else None


def _variables(planned: Plan, root: Path) -> dict[str, str]:
    """Return what the process is given: the image's variables, its paths those of the project."""
    found = {**os.environ, **planned.variables}
    paths = planned.variables.get("PYTHONPATH", "").split(":")
    here = [str(root / p.removeprefix("/app/project").lstrip("/")) for p in paths if p]
    found["PYTHONPATH"] = os.pathsep.join([*here, os.environ.get("PYTHONPATH", "")]).strip(":")
    return found


def _distributions(planned: Plan, environment: Environment) -> dict[str, str]:
    """Return the versions of what the image gets."""
    names = {re.split(r"==| @ ", pin, maxsplit=1)[0] for pin in planned.pins}
    names |= {d.name for d in planned.local}
    return {d.name: d.version for d in environment.distributions if d.name in names}


def _model_folder(planned: Plan) -> Path:
    found = next(f for f in planned.layer("model") if f.path == "MLmodel")
    assert found.source is not None
    return Path(found.source).parent


def _about(planned: Plan, store: Store) -> dict[str, object]:
    """Return what predictions depend on: the model itself, which a rerun may log once more."""

    def told(file: ContextFile) -> str:
        logged = file.layer == "model" and file.source is not None
        same = digest_of_model(Path(str(file.source))) if logged else None
        return same or identity(file, store)

    files = {
        layer: [[file.path, told(file)] for file in planned.layer(layer)]
        for layer in ("model", "code")
    }
    return {
        "predictions": _FORMAT, **files, "python": planned.python,
        "machine": planned.machine, "variables": planned.variables,
        "pins": digest_text("\n".join(planned.pins)),
        "local": [[d.name, d.version, d.commit or "", d.diff or ""] for d in planned.local],
    }  # fmt: skip


def _known(planned: Plan, store: Store) -> bytes | None:
    """Return what was recorded of the same model in the same environment before.

    Two machines may differ in last digits: what is known is not recorded anew.
    """
    if planned.model is None:
        return None
    cache = oci.Cache()
    digest = cache.note(_about(planned, store))
    if not isinstance(digest, str) or not cache.has(digest):
        return None
    content = cache.blob(digest).read_bytes()
    return content if digest_bytes(content) == digest else None


def _keep(planned: Plan, store: Store, content: bytes) -> None:
    if planned.model is not None:
        cache = oci.Cache()
        cache.write_note(_about(planned, store), cache.put(content))

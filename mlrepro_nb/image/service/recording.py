"""Record what a model predicts, in the environment that its notebook ran in.

``python -m mlrepro_nb.image.service.recording MODEL OUTPUT`` with that environment's
interpreter; standard input says what must be installed. It ends with 4 where that
is not so, and with 5 where the model cannot be recorded; standard output says why.
"""

from __future__ import annotations

import gc
import json
import os
import platform
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

OTHER = 4
NOT_RECORDED = 5


def main() -> int:
    """Write the predictions on a model's input example and return the exit code."""
    folder, output = map(Path, sys.argv[1:3])
    wanted = json.load(sys.stdin)
    wrong = drift(wanted["python"], wanted["distributions"])
    if wrong:
        return _end(OTHER, wrong)
    # Imports make millions of objects that stay: looking for garbage among them is a tenth of it.
    gc.disable()
    from mlrepro_nb.connect.mlflow_serving import ScoringError, ServedModel, serving_example
    from mlrepro_nb.image.service import payload, predictions
    from mlrepro_nb.image.service.signature import RefusedError, signature

    body = serving_example(folder)
    if body is None:
        return _end(NOT_RECORDED, "its input example is no request")
    body = predictions.shortened(body)
    encoded = json.dumps(body).encode()
    if len(encoded) > predictions.LARGEST:
        return _end(NOT_RECORDED, f"its input example has {len(encoded) >> 20} MiB")
    model = ServedModel(folder)
    gc.freeze()
    gc.enable()
    try:
        data = payload.read(encoded, payload.JSON, signature(model.inputs))
        first = predictions.of(body, model.score(data, payload.JSON).content, model.outputs)
        data = payload.read(encoded, payload.JSON, signature(model.inputs))
        again = model.score(data, payload.JSON).content
    except (RefusedError, ScoringError) as error:
        return _end(NOT_RECORDED, f"its own input example is refused: {error}")
    other = predictions.difference(first.output, json.loads(again), first.rtol)
    if other:
        return _end(NOT_RECORDED, f"it does not predict the same twice: {other}")
    output.write_bytes(first.encoded())
    return 0


def drift(python: str, distributions: Mapping[str, str]) -> str | None:
    """Return the first thing in which this environment is another one, None if nothing."""
    here = platform.python_version()
    if here != python:
        return f"it has Python {here}, not {python}"
    for name, version in sorted(distributions.items()):
        try:
            found = metadata.version(name)
        except metadata.PackageNotFoundError:
            return f"it lacks {name}"
        if found != version:
            return f"it has {name} {found}, not {version}"
    return None


def _end(code: int, why: str) -> int:
    sys.stdout.write(f"\n{why}\n")
    return code


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    # Not by way of the interpreter's own end: it takes all apart that was imported, for a
    # sixth of the whole time.
    os._exit(status)

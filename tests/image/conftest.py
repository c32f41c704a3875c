"""A recorded project, made by hand: no kernel runs here."""

from __future__ import annotations

import json
import platform
import re
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec
import pytest
from blake3 import blake3

from mlrepro_nb.model import (
    Code,
    DataAccess,
    Distribution,
    Environment,
    LocalModule,
    Record,
    ThreadPool,
    digest_text,
)
from mlrepro_nb.store import Store
from tests.conftest import git
from tests.records import a_cell, a_record

PYTHON = platform.python_version()
PINS = ("six==1.17.0",)
"""What `small` needs of the index."""

SOURCES = (
    "import pandas\nimport helpers.scale",
    "table = pandas.read_csv('data.csv')\nprint(helpers.scale.twice(int(table['a'].sum())))",
)


def notebook(sources: tuple[str, ...] = SOURCES, outputs: Any = ()) -> dict[str, Any]:
    """Return a notebook with an output in its last cell."""
    cells = [
        {
            "cell_type": "code", "id": f"cell-{i}", "metadata": {"tags": ["x"], "noise": 1},
            "source": source, "execution_count": i + 1, "outputs": [],
        }
        for i, source in enumerate(sources)
    ]  # fmt: skip
    cells[-1]["outputs"] = list(outputs) or [
        {"output_type": "stream", "name": "stdout", "text": "12\n"}
    ]
    spec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return {
        "nbformat": 4, "nbformat_minor": 5, "cells": cells, "metadata": {"kernelspec": spec}
    }  # fmt: skip


def installed(*imported: str) -> tuple[Distribution, ...]:
    """Return the distributions that are really installed here, some of them imported."""
    found = {}
    for distribution in metadata.distributions():
        name = re.sub(r"[-_.]+", "-", distribution.metadata["Name"]).lower()
        origin: dict[str, Any] = {}
        if text := distribution.read_text("direct_url.json"):
            url = json.loads(text)
            if url.get("dir_info", {}).get("editable"):
                origin = {"origin": "editable", "source": url["url"].removeprefix("file://")}
        found[name] = Distribution(
            name=name, version=distribution.version, imported=name in imported, **origin
        )
    return tuple(found[name] for name in sorted(found))


def blake(content: bytes) -> str:
    return f"blake3:{blake3(content).hexdigest()}"


@pytest.fixture
def recorded(repository: Path, store: Store) -> tuple[Path, Store, Record]:
    """A committed project with a notebook, a module, a data file and their record."""
    (repository / "train.ipynb").write_text(json.dumps(notebook()), encoding="utf-8")
    (repository / "data.csv").write_text("a,b\n1,2\n5,6\n", encoding="utf-8")
    (repository / "helpers").mkdir()
    (repository / "helpers" / "scale.py").write_text("def twice(x):\n    return 2 * x\n")
    (repository / ".gitignore").write_text(".mlrepro/\nbig.bin\n", encoding="utf-8")
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "Train")
    return repository, store, put(repository, store)


@pytest.fixture
def small(
    recorded: tuple[Path, Store, Record], base_image: str, monkeypatch: pytest.MonkeyPatch
) -> tuple[Path, Store, Record]:
    """The recorded project, whose plan is of one small distribution, not of this checkout."""
    from mlrepro_nb import image
    from mlrepro_nb.connect import uv

    folder, store, record = recorded
    environment = msgspec.structs.replace(record.environment, python=PYTHON)
    record = put(folder, store, environment=environment)
    lock = uv.lock(PINS, python=PYTHON)
    real = image.plan

    def little(*arguments: Any, **options: Any) -> image.Plan:
        full = real(*arguments, **{**options, "offline": True})
        return msgspec.structs.replace(full, local=(), pins=PINS, lock=lock, problems=())

    monkeypatch.setattr("mlrepro_nb.image._build.plan", little)
    monkeypatch.setattr("mlrepro_nb.image._check.plan", little)
    return folder, store, record


def put(folder: Path, store: Store, **changes: Any) -> Record:
    """Put a record of the project as it is now into the store."""
    data = (folder / "data.csv").read_bytes()
    module = (folder / "helpers" / "scale.py").read_text()
    executed = (folder / "train.ipynb").read_bytes()
    sources = [c["source"] for c in json.loads(executed)["cells"]]
    record = a_record()
    record = msgspec.structs.replace(
        record,
        code=Code(
            notebook="train.ipynb",
            commit=git(folder, "rev-parse", "HEAD"),
            remote="https://example.com/team/project.git",
            cells=tuple(a_cell(i, source) for i, source in enumerate(sources)),
            modules=(
                LocalModule(
                    name="helpers.scale", path="helpers/scale.py", digest=digest_text(module)
                ),
            ),
        ),
        data=(
            DataAccess(
                path="data.csv", repo_path="data.csv", digest=blake(data), size=len(data),
                access="read", cell=1, execution=1, tracked=True, layers=("audit",),
            ),
        ),
        environment=Environment(
            python="3.11.7", implementation="CPython", kernelspec="python3",
            distributions=installed("pandas"),
            system=record.environment.system,
            threadpools=(ThreadPool(api="openmp", implementation="libgomp", threads=2),),
            variables={"PYTHONHASHSEED": "7", "SECRET": "s3cret", "HOME": "/home/someone"},
        ),
        results=msgspec.structs.replace(
            record.results, notebook=store.blobs.put(executed), models=()
        ),
    )  # fmt: skip
    record = msgspec.structs.replace(record, **changes)
    store.put(record)
    return record

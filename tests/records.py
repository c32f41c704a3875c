"""Records made by hand, for tests that need one but no kernel."""

from __future__ import annotations

from typing import Any

import msgspec

from mlrepro_nb.model import (
    Code,
    DataAccess,
    Distribution,
    Environment,
    ExecutedCell,
    Hardware,
    MlflowRun,
    Model,
    Origin,
    Record,
    Results,
    System,
    digest_text,
)


def a_cell(order: int, source: str, **fields: Any) -> ExecutedCell:
    """Return a cell that ran."""
    return ExecutedCell(
        order=order, index=fields.pop("index", order), source=source, digest=digest_text(source),
        started="2026-11-23T10:00:00Z", duration=0.1, **fields,
    )  # fmt: skip


def a_record(**fields: Any) -> Record:
    """Return a small, complete record; keyword arguments replace its parts."""
    record = Record(
        code=Code(
            notebook="train.ipynb",
            commit="1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d",
            cells=(a_cell(0, "import numpy"), a_cell(1, "data = open('data.csv').read()")),
        ),
        data=(
            DataAccess(
                path="data.csv", repo_path="data.csv", digest=f"blake3:{'ab' * 32}", size=3,
                access="read", cell=1, execution=1, tracked=True, layers=("audit",),
            ),
        ),
        environment=Environment(
            python="3.11.7", implementation="CPython", kernelspec="python3",
            distributions=(
                Distribution(name="numpy", version="2.4.6", imported=True, modules=("numpy",)),
                Distribution(name="six", version="1.16.0"),
            ),
            system=System(name="debian", version="12", kernel="6.1", machine="x86_64"),
        ),
        hardware=Hardware(cpu="A CPU", cores=2, memory=2**34),
        results=Results(
            metrics={"accuracy": 0.9},
            models=(
                Model(name="m", uri="models:/m-1", model_id="m-1", digest=f"sha256:{'cd' * 32}"),
            ),
        ),
        lineage=Origin(
            mode="headless", who="tester", started="2026-11-23T10:00:00Z",
            ended="2026-11-23T10:00:09Z", tool="mlrepro-nb 0",
            runs=(MlflowRun(run_id="f" * 32, experiment="e"),),
        ),
    )  # fmt: skip
    return msgspec.structs.replace(record, **fields)

"""What only a child process imports is its cell's doing: distributions, and the project's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mlrepro_nb.model import Distribution, Record
from tests.capture.installs import install
from tests.capture.pools import POOLS

LOAD = "%load_ext mlrepro_nb"

TASKS = """
import os
def task(n):
    import cowlib.inner, helper_of_workers
    return n
def plain(n): return n
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    found = tmp_path / "more" / "site-packages"
    install(
        found, "cow-lib",
        files={"cowlib/__init__.py": "", "cowlib/inner/__init__.py": "import needed_by_cows\n"},
        requires=("needed",),
    )  # fmt: skip
    install(found, "needed", files={"needed_by_cows.py": ""})
    install(found, "optional", files={"nobodys.py": ""})
    return found


@pytest.fixture
def run(kernel: Callable, site: Path, repository: Path) -> Callable[..., Record]:
    (repository / "tasks.py").write_text(TASKS)
    (repository / "helper_of_workers.py").write_text("import os\n")

    def run(*cells: str) -> Record:
        live = kernel(PYTHONPATH=str(site))
        live.run(LOAD)
        for cell in cells:
            done = live.run(cell)
            assert not done["errors"], (cell, done["errors"])
        live.close()
        found: Record = live.record()
        return found

    return run


def of(record: Record, name: str) -> Distribution:
    return next(d for d in record.environment.distributions if d.name == name)


@pytest.mark.parametrize("pool", POOLS.values(), ids=POOLS.keys())
def test_what_workers_import_is_in_the_record(run: Callable, pool: str) -> None:
    record = run("import tasks", pool, "run(tasks.plain)", "run(tasks.task)")
    cows = of(record, "cow-lib")
    assert (cows.imported, cows.modules, cows.loaded_by) == (True, ("cowlib",), ())
    assert of(record, "needed").imported
    assert not of(record, "optional").modules
    assert {"cowlib", "cowlib.inner"} <= set(record.environment.packages)
    assert {m.path for m in record.code.modules} == {"tasks.py", "helper_of_workers.py"}
    ours = {"blake3", "mlrepro-nb", "msgspec", "rfc8785"}
    assert not {d.name for d in record.environment.distributions if d.imported} & ours
    assert record.lineage.gaps == ()

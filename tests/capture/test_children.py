"""What only a child process imports is its cell's doing: distributions, and the project's own."""

from __future__ import annotations

import sys
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


PROGRAMS = {
    "shell": "!{python} tools/child.py",
    "run": "import subprocess, sys; subprocess.run([sys.executable, 'tools/child.py'], check=True)",
    "module": "!{python} -m tools.child",
    "package": "!{python} -W ignore -m tools",
    "code": "!cd . && {python} -c 'import tools.child'",
    "by itself": "!chmod +x tools/child.py && tools/child.py",
}


@pytest.mark.parametrize("cell", PROGRAMS.values(), ids=PROGRAMS.keys())
def test_what_a_python_program_imports_is_used_by_the_run(
    run: Callable, repository: Path, cell: str
) -> None:
    tools = repository / "tools"
    (tools / "sub" / "unused").mkdir(parents=True)
    (tools / "sub" / "__init__.py").touch()
    (tools / "__main__.py").write_text("import tools.child\n")
    sub = "tools.sub" if "tools.child" in cell or "-m" in cell else "sub"
    (tools / "child.py").write_text(
        f"#!{sys.executable}\ndef f():\n    import cowlib\nfrom {sub} import part\nimport rich\n"
    )
    (tools / "sub" / "part.py").write_text("import json\nfrom . import other as o, nothing\n")
    (tools / "sub" / "other.py").write_text("import nobodys\n")
    (tools / "sub" / "unused.py").write_text("import needed_by_cows\n")
    (tools / "sub" / "nothing.py").write_text("")
    record = run(cell.format(python=sys.executable))
    read = {d.repo_path for d in record.data if d.access == "read"}
    assert of(record, "cow-lib").imported
    assert {"tools/child.py", "tools/sub/part.py", "tools/sub/other.py"} <= read
    assert "tools/sub/unused.py" not in read
    assert of(record, "optional").imported
    assert of(record, "rich").imported
    assert not of(record, "needed").modules

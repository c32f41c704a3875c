"""Verification from outside: targets, outputs, hostile notebooks, the command."""

import json
import os
import subprocess
import sys
import threading

import nbformat
import nbformat.v4 as v4
import pytest
from click.testing import CliRunner

from mlrepro_nb.errors import KernelError, NotFoundError, UsageError
from mlrepro_nb.faces.cli import main
from mlrepro_nb.model import REPRODUCED, Record, Verification
from mlrepro_nb.record import record
from mlrepro_nb.store import Store
from mlrepro_nb.verify import verify


def write(path, *cells, executed=True):
    nb = v4.new_notebook()
    for count, (source, text) in enumerate(cells, 1):
        cell = v4.new_code_cell(source, execution_count=count if executed else None)
        if text:
            cell.outputs = [v4.new_output("stream", name="stdout", text=text)]
        nb.cells.append(cell)
    nbformat.write(nb, path)
    return path


def test_without_git_nothing_is_stored(folder):
    path = write(folder / "a.ipynb", ("print(1)", "1\n"))
    before = path.read_bytes()
    found = verify(path)
    assert (found.verdict, found.record, found.notebook) == ("bitwise", None, "a.ipynb")
    assert [p.name for p in folder.iterdir()] == ["a.ipynb"]
    assert path.read_bytes() == before
    assert not found.executed.startswith(str(folder))
    assert nbformat.read(found.executed, as_version=4).cells[0].outputs[0].text == "1\n"


def test_a_notebook_without_outputs_or_record_is_inconclusive(folder):
    assert (
        verify(write(folder / "a.ipynb", ("print(1)", ""), executed=False)).verdict
        == "inconclusive"
    )


def test_the_original_is_never_written_over(folder):
    path = write(folder / "a.ipynb", ("print(1)", "1\n"))
    with pytest.raises(UsageError, match="overwrite"):
        verify(path, output=path)
    with pytest.raises(UsageError, match="cannot be written"):
        verify(path, output=folder / "nowhere" / "b.ipynb")


def test_absolute_paths_into_the_project_are_led_into_the_copy(folder):
    target = folder / "out.txt"
    path = write(
        folder / "a.ipynb",
        (f"import os\nos.makedirs('{folder}/new')\n_ = open('{target}', 'w').write('x')", ""),
        (f"print(open('{target}').read(), os.path.exists('{target}'))", "x True\n"),
    )
    assert verify(path).verdict in REPRODUCED
    assert sorted(p.name for p in folder.iterdir()) == ["a.ipynb"]


@pytest.mark.parametrize(
    "source",
    ["import os; os.kill(os.getpid(), 9)", "while True: pass", "while True: print('x' * 10000)"],
)
def test_hostile_notebooks_end_in_a_verdict(folder, source):
    path = write(folder / "a.ipynb", ("print(1)", "1\n"), (source, "x\n"), ("print(2)", "2\n"))
    found = verify(path, timeout=4)
    assert [c.verdict for c in found.cells] == ["bitwise", "failed", "failed"]
    assert [(c.kind, c.cell) for c in found.causes] == [("exception", 1)]


def test_a_missing_kernel_is_an_error_and_not_a_finding(folder):
    path = write(folder / "a.ipynb", ("print(1)", "1\n"))
    nb = nbformat.read(path, as_version=4)
    nb.metadata["kernelspec"] = {"name": "my-env", "display_name": "", "language": "python"}
    nbformat.write(nb, path)
    with pytest.raises(KernelError, match="my-env"):
        verify(path)
    assert verify(path, kernel="python3").verdict == "bitwise"


def test_several_causes_are_all_named(folder):
    path = write(
        folder / "a.ipynb",
        ("print(undefined_thing)", "3\n"),
        ("import nonexistent_package_xyz", ""),
        ("print(open('gone.csv').read())", "1\n"),
    )
    kinds = [cause.kind for cause in verify(path).causes]
    assert kinds == ["deleted-definition", "undeclared-dependency", "missing-file"]


@pytest.fixture
def recorded(folder):
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    (folder / "n.csv").write_text("a\n1\n2\n")
    cells = [("k = 2", ""), ("print(k * sum(map(int, open('n.csv').read().split()[1:])))", "")]
    path = write(folder / "a.ipynb", *cells, executed=False)
    digest, _ = record(path, inplace=True)
    return path, digest


def test_a_record_is_a_target_and_the_rerun_is_kept(recorded):
    path, digest = recorded
    store = Store.find(path)
    for target in (digest[7:19], path):
        found = verify(target, store=store)
        assert (found.verdict, found.record) == ("bitwise", digest)
        rerun = store.get(Record, found.rerun)
        assert (rerun.lineage.mode, rerun.lineage.parent) == ("verify", digest)
    assert store.find_by_key(f"record:{digest}", Verification)
    assert store.latest_record("a.ipynb") == digest


def test_a_record_alone_is_enough(recorded, tmp_path, monkeypatch):
    path, digest = recorded
    store = Store.find(path)
    alone = tmp_path / "image"
    alone.mkdir()
    (alone / "record.json").write_bytes(store.blobs.get(digest))
    executed = store.get(Record, digest).results.notebook
    (alone / "executed.ipynb").write_bytes(store.blobs.get(executed))
    (alone / "a.ipynb").write_bytes(path.read_bytes())
    (alone / "n.csv").write_text("a\n1\n2\n")
    monkeypatch.chdir(alone)
    found = verify("record.json", notebook=alone / "a.ipynb", reference=alone / "executed.ipynb")
    assert (found.verdict, found.record) == ("bitwise", digest)
    assert verify("record.json", notebook=alone / "a.ipynb").verdict == "bitwise"
    with pytest.raises(NotFoundError):
        verify("absent.json")


def test_a_change_that_no_output_shows_is_still_told(recorded):
    path, _ = recorded
    (path.parent / "n.csv").write_text("b\n1\n2\n")
    found = verify(path)
    assert found.verdict == "bitwise"
    assert [(c.kind, c.cell, c.subject) for c in found.causes] == [("changed-data", 1, "n.csv")]


def test_parameters_are_those_of_the_record(folder):
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    path = write(folder / "a.ipynb", ("n = 1", ""), ("print(n * 10)", ""), executed=False)
    nb = nbformat.read(path, as_version=4)
    nb.cells[0].metadata["tags"] = ["parameters"]
    nbformat.write(nb, path)
    record(path, parameters={"n": 4})
    found = verify(path)
    assert found.verdict == "bitwise"
    assert [c.index for c in found.cells] == [0, 1]


def package(folder, version, value):
    (folder / "planted").mkdir(parents=True, exist_ok=True)
    (folder / "planted" / "__init__.py").write_text(f"def scale(x):\n    return x * {value}\n")
    for old in folder.glob("*.dist-info"):
        subprocess.run(["rm", "-r", str(old)], check=True)
    info = folder / f"planted-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: planted\nVersion: {version}\n")
    (info / "RECORD").write_text("planted/__init__.py,,\n")
    (info / "INSTALLER").write_text("pip\n")
    (info / "top_level.txt").write_text("planted\n")


def test_one_package_version_is_version_drift(folder, tmp_path, monkeypatch):
    site = tmp_path / "lib" / "site-packages"
    package(site, "1.0", 2)
    monkeypatch.setenv("PYTHONPATH", str(site))
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    cells = [("from planted import scale", ""), ("y = scale(21)", ""), ("print(y)", "")]
    path = write(folder / "a.ipynb", *cells, executed=False)
    record(path, inplace=True)
    package(site, "1.1", 3)
    found = verify(path)
    assert [(c.kind, c.cell, c.subject) for c in found.causes] == [("version-drift", 0, "planted")]
    assert "1.0" in found.causes[0].evidence
    assert "1.1" in found.causes[0].evidence
    assert "planted==1.0" in found.causes[0].fix
    (site / "planted" / "__init__.py").write_text("def scaled(x):\n    return x\n")
    found = verify(path)
    assert [(c.kind, c.subject) for c in found.causes] == [("version-drift", "planted")]


def test_two_at_once_do_not_disturb_one_another(recorded):
    path, _ = recorded
    found = []
    threads = [threading.Thread(target=lambda: found.append(verify(path))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [f.verdict for f in found] == ["bitwise"] * 2
    assert len({f.executed for f in found}) == 2


def test_the_command(folder):
    path = write(folder / "a.ipynb", ("print(1)", "1\n"), ("print(2)", "3\n"))
    result = CliRunner().invoke(main, ["verify", str(path), "--json"])
    assert result.exit_code == 1
    told = json.loads(result.stdout)
    assert {"verdict", "notebook", "record", "cells", "causes"} <= set(told)
    assert [c["index"] for c in told["cells"]] == [0, 1]
    assert {"kind", "cell", "subject", "evidence", "fix"} <= set(told["cells"][1]["cause"])
    assert told["cells"][0]["cause"] is None
    result = CliRunner().invoke(main, ["verify", str(path)])
    assert result.exit_code == 1
    assert "not reproduced" in result.stdout
    assert "cell" in result.stderr


@pytest.mark.parametrize("content", ["{}", "nope", None])
def test_bad_input_is_one_sentence_and_exit_code_2(folder, content):
    path = folder / "a.ipynb"
    if content is not None:
        path.write_text(content)
    process = subprocess.run(
        [sys.executable, "-m", "mlrepro_nb", "verify", str(path), "--json"],
        capture_output=True, text=True, check=False, env={**os.environ},
    )  # fmt: skip
    assert process.returncode == 2
    assert process.stdout == ""
    assert "Traceback" not in process.stderr

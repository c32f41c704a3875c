"""Verification from outside: targets, outputs, hostile notebooks, the command."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import nbformat
import nbformat.v4 as v4
import pytest
from click.testing import CliRunner

from mlrepro_nb.errors import KernelError, NotFoundError, UsageError
from mlrepro_nb.execute import Limits
from mlrepro_nb.faces.cli import main
from mlrepro_nb.model import REPRODUCED, Record, Verification
from mlrepro_nb.record import record
from mlrepro_nb.store import Store
from mlrepro_nb.verify import verify, verify_and_repair
from mlrepro_nb.verify._verify import elsewhere


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


@pytest.mark.parametrize(
    ("name", "language", "version", "kind"),
    [
        ("my-env", "python", "3.9.1", "kernelspec"),
        ("ir", "R", "4.0.3", "kernelspec"),
        ("python2", "python", "2.7.12", "python2"),
    ],
)
def test_a_kernel_that_is_not_installed_is_a_verdict(folder, name, language, version, kind):
    path = write(folder / "a.ipynb", ("print(1)", "1\n"))
    nb = nbformat.read(path, as_version=4)
    nb.metadata["kernelspec"] = {"name": name, "display_name": "", "language": language}
    nb.metadata["language_info"] = {"name": language, "version": version}
    nbformat.write(nb, path)
    found = verify(path)
    assert found.verdict == "failed"
    assert [(c.kind, c.cell, c.subject) for c in found.causes] == [(kind, None, name)]
    assert ("--kernel python3" in found.causes[0].fix) == (language == "python")
    assert [c.verdict for c in found.cells] == ["failed"]


def test_only_the_executed_copies_that_are_told_stay(folder):
    there = set(elsewhere().iterdir())
    found = verify(write(folder / "a.ipynb", ("print(1)", "1\n")))
    draws = ("print(random.random())", "0.5\n")
    repaired = verify_and_repair(write(folder / "b.ipynb", ("import random", ""), draws))
    assert "outputs" in [edit.action for edit in repaired.edits]  # so it ran once more
    told = {found.executed, repaired.before.executed, repaired.after.executed} - {None}
    assert {str(path) for path in set(elsewhere().iterdir()) - there} == told
    assert {Path(path).parent for path in told} == {elsewhere()}


def test_another_kernel_may_be_named_for_one_that_is_not_installed(folder):
    path = write(folder / "a.ipynb", ("print(1)", "1\n"))
    nb = nbformat.read(path, as_version=4)
    nb.metadata["kernelspec"] = {"name": "my-env", "display_name": "", "language": "python"}
    nbformat.write(nb, path)
    assert verify(path, kernel="python3").verdict == "bitwise"
    with pytest.raises(KernelError, match="nope"):
        verify(path, kernel="nope")
    repaired = verify_and_repair(path)
    assert [(e.cause, e.action, e.source) for e in repaired.edits] == [
        ("kernelspec", "kernel", "python3")
    ]
    assert repaired.after.verdict == "bitwise"


def test_a_notebook_of_an_older_python_is_not_said_to_be_edited(folder):
    path = write(
        folder / "a.ipynb",
        ("words = {'b': 1, 'a': 2}", ""),
        ("for word in words:\n    print(word)", "a\nb\n"),
    )
    kinds = []
    for version in ("2.7.12", "3.5.1", f"{sys.version_info[0]}.{sys.version_info[1]}.0", None):
        nb = nbformat.read(path, as_version=4)
        nb.metadata["language_info"] = {
            "name": "python",
            **({"version": version} if version else {}),
        }
        nbformat.write(nb, path)
        found = verify(path)
        assert found.verdict == "different"
        kinds.append(found.causes[0].kind)
    assert kinds[:2] == ["python2", "version-drift"]
    assert not {"python2", "version-drift"} & set(kinds[2:])


def test_what_a_library_refuses_since_it_is_of_today_is_an_api_change(folder):
    path = write(folder / "a.ipynb", ("import yaml\nprint(yaml.safe_load('a: ['))", "{'a': []}\n"))
    nb = nbformat.read(path, as_version=4)
    found = []
    for version in ("3.5.1", f"{sys.version_info[0]}.{sys.version_info[1]}.0"):
        nb.metadata["language_info"] = {"name": "python", "version": version}
        nbformat.write(nb, path)
        found += [(c.kind, c.cell, c.subject) for c in verify(path).causes]
    assert found == [("api-change", 0, "yaml"), ("exception", 0, "ParserError")]


def test_what_the_network_refused_is_remote_data_in_whatever_words(folder):
    source = """\
import urllib.request
url = 'https://data.example.invalid/pretty.mplstyle'
try:
    urllib.request.urlopen(url)
except OSError as error:
    raise ValueError(f'{url!r} is no valid style') from error
"""
    found = verify(write(folder / "a.ipynb", (source, "")), limits=Limits(offline=True))
    assert [(c.kind, c.cell) for c in found.causes] == [("remote-data", 0)]


def test_several_causes_are_all_named(folder):
    path = write(
        folder / "a.ipynb",
        ("print(undefined_thing)", "3\n"),
        ("import nonexistent_package_xyz", ""),
        ("print(open('gone.csv').read())", "1\n"),
    )
    kinds = [cause.kind for cause in verify(path).causes]
    assert kinds == ["deleted-definition", "undeclared-dependency", "missing-file"]


def test_in_an_image_what_is_missing_comes_by_its_settings(folder, monkeypatch):
    monkeypatch.setenv("MLREPRO_IMAGE", "1")
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    (folder / "nb").mkdir()
    path = write(
        folder / "nb" / "a.ipynb",
        ("import nonexistent_package_xyz", ""),
        ("print(open('../d/gone.csv').read())", "1\n"),
        ("print(1)", "2\n"),
    )
    library, file, other = verify(path).causes
    assert "--set include=nonexistent-package-xyz" in library.fix
    assert "--set files=" in library.fix
    assert "pip install" not in library.fix
    assert "requirements file" not in library.evidence
    assert "--set files=d/gone.csv`" in file.fix
    assert "--set" not in other.fix


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

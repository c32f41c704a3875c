"""An old notebook runs in an environment as of its date."""

import os
import sys
from datetime import datetime, timezone

import nbformat
import nbformat.v4 as v4
import pytest

from mlrepro_nb.connect import releases
from mlrepro_nb.errors import UsageError
from mlrepro_nb.execute import Limits, dated
from mlrepro_nb.verify import verify, verify_and_repair
from mlrepro_nb.verify._dated import date_of, requirements
from mlrepro_nb.verify._reference import locate
from tests.conftest import git


def notebook(path, *sources, **metadata):
    nb = v4.new_notebook(metadata={"kernelspec": {"name": "python3", "display_name": ""}})
    nb.metadata |= metadata
    nb.cells = [v4.new_code_cell(s, execution_count=i + 1) for i, s in enumerate(sources)]
    nbformat.write(nb, path)
    return path


def found(path):
    return locate(path, store=None, notebook=None, outputs=None)


def test_a_notebook_is_as_old_as_git_says_else_as_its_last_cell_else_as_its_file(tmp_path):
    path = notebook(tmp_path / "a.ipynb", "1")
    os.utime(path, (1_600_000_000, 1_600_000_000))
    at, how = date_of(found(path))
    assert (at.date().isoformat(), how) == ("2020-09-13", ", when its file was written")
    nb = nbformat.read(path, as_version=4)
    nb.cells[0].metadata["execution"] = {"iopub.execute_input": "2019-05-06T07:08:09.123456Z"}
    nbformat.write(nb, path)
    at, how = date_of(found(path))
    assert (at.date().isoformat(), how) == ("2019-05-06", ", when its last cell ran")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "All", "--date", "2021-01-01T00:00:00Z")
    assert date_of(found(path))[1] == ", when git last saw it change"


def test_it_needs_what_it_and_the_projects_modules_import_and_what_is_required(tmp_path, index):
    for name in ("demo", "other-thing", "third"):
        index.add(name, "1.0", {f"{name.replace('-', '_')}.py": ""})
    (tmp_path / "helper.py").write_text("import third\n")
    (tmp_path / "requirements.txt").write_text("demo>=0.5  # why\nfourth\n")
    path = notebook(tmp_path / "a.ipynb", "import os, demo, helper\nfrom other_thing import *",
                    "!pip install -q 'fifth==2' sixth",
                    "%load_ext autoreload\n%load_ext third")  # fmt: skip
    (tmp_path / "helper.py").write_text("")
    assert requirements(found(path)) == [
        "demo>=0.5", "fifth==2", "fourth", "other-thing", "sixth", "third",
    ]  # fmt: skip


def test_the_moment_moves_to_when_something_was_there_for_this_python(index):
    index.add("demo", "1.0", {}, tag="cp27-cp27m-win32", uploaded="2018-01-01T00:00:00Z")
    index.add("demo", "2.0", {}, uploaded="2020-01-01T00:00:00Z")
    index.add("plain", "1.0", {}, uploaded="2017-01-01T00:00:00Z")
    at = datetime(2019, 1, 1, tzinfo=timezone.utc)
    moved, why = dated._possible(["demo", "plain"], at, "3.11")
    assert moved.year == 2020
    assert "demo (2020-01-01)" in why[0]
    assert dated._possible(["plain"], at, "3.11") == (at, [])


def test_what_is_compiled_waits_for_a_wheel_though_it_once_had_none(index):
    index.add_source("demo", "0.9", {}, uploaded="2015-01-01T00:00:00Z")
    index.add("demo", "2.0", {}, tag="cp311-cp311-manylinux2014_x86_64",
              uploaded="2022-10-01T12:00:00.5Z")  # fmt: skip
    index.add_source("plain", "0.9", {}, uploaded="2015-01-01T00:00:00Z")
    index.add("plain", "2.0", {}, uploaded="2022-10-01T00:00:00Z")
    at = datetime(2016, 1, 1, tzinfo=timezone.utc)
    moved, _ = dated._possible(["demo"], at, "3.11")
    # uv takes what is older than the moment, and the files of a release take their time.
    assert moved > datetime(2022, 10, 1, 13, tzinfo=timezone.utc)
    assert dated._possible(["plain"], at, "3.11") == (at, [])


def test_the_next_newer_python_on_the_machine_stands_in(monkeypatch):
    asked = []

    def find(version):
        asked.append(version)
        return "/python3.9" if version == "3.9.*" else None

    monkeypatch.setattr(dated.interpreters, "find", find)
    assert dated._nearest("3.8.1") == ("/python3.9", "3.9")
    assert asked == ["3.8.*", "3.9.*"]
    assert dated._nearest("2.7.6") == ("/python3.9", "3.9")
    assert dated._nearest("3") == ("/python3.9", "3.9")
    assert dated._nearest(None)[0] == sys.executable
    monkeypatch.setattr(dated.interpreters, "find", lambda _: None)
    assert dated._nearest("3.5")[0] == sys.executable


def test_what_was_newer_then_is_not_taken(tmp_path, index, monkeypatch):
    """The mirror in use may lack upload times: this index has them."""
    for number, year in enumerate((2019, 2020, 2022)):
        index.add("demo", f"1.{number}", {"demo.py": f"value = {number}\n"},
                  uploaded=f"{year}-01-01T00:00:00Z")  # fmt: skip
    at = datetime(2021, 1, 1, tzinfo=timezone.utc)
    monkeypatch.setattr(dated, "add_recorder", lambda *_, **__: [])
    made = dated.build(["demo", "nowhere-to-be-had"], at, root=tmp_path)
    import subprocess

    ended = subprocess.run(
        [made.python, "-c", "import demo; print(demo.value)"], capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert ended.stdout == "1\n"
    assert any("nowhere-to-be-had could not be had" in note for note in made.notes)
    again = dated.build(["demo", "nowhere-to-be-had"], at, root=tmp_path)
    assert again == made


def test_a_python_that_cannot_be_had_is_stood_in_for(tmp_path, index, monkeypatch):
    monkeypatch.setattr(dated.interpreters, "find", lambda _: None)
    monkeypatch.setattr(dated.interpreters, "fetch", lambda _: None)
    monkeypatch.setattr(dated, "add_recorder", lambda *_, **__: [])
    at = datetime(2021, 1, 1, tzinfo=timezone.utc)
    made = dated.build([], at, python="3.6.9", root=tmp_path)
    assert "stands in for it" in made.notes[0]
    assert "Python 3.6.9" in made.notes[0]


def test_a_notebook_runs_with_what_the_real_index_had(tmp_path):
    releases.forget()
    version = ".".join(map(str, sys.version_info[:3]))
    path = notebook(tmp_path / "a.ipynb", "import humanize\nprint(humanize.__version__)",
                    language_info={"name": "python", "version": version})  # fmt: skip
    nb = nbformat.read(path, as_version=4)
    nb.cells[0].outputs = [v4.new_output("stream", name="stdout", text="4.9.0\n")]
    nbformat.write(nb, path)
    made = verify(path, exclude_newer="2024-03-01", reruns=0)
    assert made.verdict == "bitwise"
    assert "as of 2024-03-01, of humanize" in made.notes[0]


@pytest.mark.parametrize("recordable", [True, False], ids=["recorded", "a Python too old for it"])
def test_what_fails_with_every_newer_library_is_repaired_by_those_of_its_day(
    tmp_path, monkeypatch, recordable
):
    if not recordable:
        monkeypatch.setattr(dated, "_recordable", lambda _: False)
        monkeypatch.setattr(dated, "_FORMAT", "unrecorded")
    source = (
        "import humanize\n"
        "if 'QB' in humanize.naturalsize(1e30): raise RuntimeError('no such unit')\n"
        "print(humanize.naturalsize(1e30))"
    )
    path = notebook(tmp_path / "a.ipynb", source)
    nb = nbformat.read(path, as_version=4)
    nb.cells[0].outputs = [v4.new_output("stream", name="stdout", text="1000000.0 YB\n")]
    nb.cells[0].execution_count = 1
    nbformat.write(nb, path)
    then = datetime(2024, 3, 1, tzinfo=timezone.utc).timestamp()
    os.utime(path, (then, then))
    done = verify_and_repair(path)
    assert done.before.verdict == "failed"
    assert done.after.verdict == "bitwise"
    assert [edit.action for edit in done.edits] == ["environment"]
    assert done.edits[0].source == "2024-03-01T00:00:00Z"
    assert "humanize==4.9.0" in (tmp_path / "a.fixed.requirements.txt").read_text().splitlines()
    version = ".".join(map(str, sys.version_info[:3]))
    assert f"Python {version} and what the package index had" in done.edits[0].what


def test_what_is_no_date_or_must_not_use_the_network_is_refused(tmp_path):
    path = notebook(tmp_path / "a.ipynb", "1")
    with pytest.raises(UsageError, match="is no date"):
        verify(path, exclude_newer="last year")
    with pytest.raises(UsageError, match="--offline"):
        verify(path, exclude_newer="2021-01-01", limits=Limits(offline=True))

"""The line in a notebook's metadata: it leads to the record, survives the tools, stays one line."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from mlrepro_nb import stamp
from mlrepro_nb.errors import NotebookError
from mlrepro_nb.faces.cli import main
from mlrepro_nb.stamp import Stamp, stamped, stamped_text
from tests.capture.conftest import kernel
from tests.conftest import git

__all__ = ["kernel"]
ONE = Stamp(record="sha256:" + "1" * 64)
TWO = Stamp(record="sha256:" + "2" * 64, verdict="within-tolerance")
BIN = Path(sys.executable).parent

KERNEL = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python", "version": "3.11.7"},
}


def notebook(metadata: Any = KERNEL, source: str = "print(1)") -> dict[str, Any]:
    cell = {"cell_type": "code", "id": "aaaaaaaa", "metadata": {}, "source": source,
            "execution_count": 1,
            "outputs": [{"output_type": "stream", "name": "stdout", "text": ["1\n"]}]}  # fmt: skip
    return {"cells": [cell], "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


FORMS = {
    "nbformat": lambda nb: json.dumps(nb, indent=1, ensure_ascii=False, sort_keys=True) + "\n",
    "no newline at the end": lambda nb: json.dumps(nb, indent=1, sort_keys=True),
    "four spaces": lambda nb: json.dumps(nb, indent=4, ensure_ascii=False) + "\n",
    "tabs, windows lines": lambda nb: json.dumps(nb, indent="\t").replace("\n", "\r\n"),
    "metadata first": lambda nb: json.dumps(
        {k: nb[k] for k in ("metadata", "nbformat", "nbformat_minor", "cells")}, indent=2
    ),
    "byte order mark": lambda nb: "\ufeff" + json.dumps(nb, indent=1, sort_keys=True),
}
METADATA = {
    "plain": KERNEL,
    "with more": {**KERNEL, "toc": {"x": 1}, "widgets": {"a": {"b": []}}},
    "upper case": {"Author": "ä é 日本", **KERNEL},
    "one key": {"language_info": {"name": "python"}},
}


def numstat(folder: Path) -> tuple[int, int]:
    added, deleted, _ = git(folder, "diff", "--numstat").split("\t")
    return int(added), int(deleted)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("metadata", METADATA)
def test_it_is_one_line_of_a_diff(repository: Path, form: str, metadata: str) -> None:
    path = repository / "nb.ipynb"
    before = FORMS[form](notebook(METADATA[metadata])).encode()
    path.write_bytes(before)
    git(repository, "add", "."), git(repository, "commit", "-qm", "a")
    first = stamped_text(before.decode(), ONE)
    path.write_bytes(first.encode())
    assert numstat(repository) == (1, 0)
    git(repository, "commit", "-qam", "b")
    second = stamped_text(first, TWO)
    path.write_bytes(second.encode())
    assert numstat(repository) == (1, 1)
    assert stamp.read(json.loads(second.removeprefix("\ufeff"))["metadata"]) == TWO
    assert stamped_text(second, TWO) == second
    assert stamped_text(second, ONE) == first, "every other byte is as it was"


@pytest.mark.parametrize("metadata", [{}, None])
def test_without_any_metadata_it_is_still_one_line(repository: Path, metadata: Any) -> None:
    path = repository / "nb.ipynb"
    text = FORMS["nbformat"](notebook({}))
    path.write_text(text, encoding="utf-8")
    git(repository, "add", "."), git(repository, "commit", "-qm", "a")
    path.write_text(stamped_text(text, ONE), encoding="utf-8")
    assert numstat(repository) == (1, 1)


def test_what_nbformat_and_an_editor_write_keeps_the_line_where_it_is(repository: Path) -> None:
    path = repository / "nb.ipynb"
    path.write_text(FORMS["nbformat"](notebook()), encoding="utf-8")
    nb = nbformat.read(path, as_version=4)
    nbformat.write(nb, path)
    git(repository, "add", "."), git(repository, "commit", "-qm", "a")
    path.write_text(stamped_text(path.read_text(encoding="utf-8"), ONE), encoding="utf-8")
    ours = path.read_bytes()
    nb = nbformat.read(path, as_version=4)
    nbformat.validate(nb)
    nbformat.write(nb, path)
    assert path.read_bytes() == ours
    assert numstat(repository) == (1, 0)


def test_the_old_form_is_read_and_replaced() -> None:
    old = {"mlrepro": {"record": ONE.record}}
    assert stamp.read(old) == ONE
    for metadata in ({**KERNEL, **old}, old, {**old, **KERNEL}, {**old, "zzz": 1}):
        for form in FORMS.values():
            changed = json.loads(stamped_text(form(notebook(metadata)), TWO).removeprefix("\ufeff"))
            assert changed["metadata"] == {**{k: v for k, v in metadata.items() if k != "mlrepro"},
                                           stamp.KEY: str(TWO)}  # fmt: skip


@pytest.mark.parametrize(
    "metadata",
    [None, [], "x", {}, {"mlrepro": 7}, {"mlrepro": {"record": 7}}, {"_mlrepro": 7},
     {"_mlrepro": "sha256:12"}, {"_mlrepro": {"record": ONE.record}}, {"mlrepro": {"record": "x"}}],
)  # fmt: skip
def test_what_is_no_stamp_is_none(metadata: Any) -> None:
    assert stamp.read(metadata) is None


def test_a_stamp_of_a_later_version_is_read_as_far_as_it_is_known() -> None:
    line = f"{ONE.record} statistically-equivalent v3 and more"
    assert stamp.read({stamp.KEY: line}) == Stamp(
        record=ONE.record, verdict="statistically-equivalent", schema=3
    )


@pytest.mark.parametrize("text", ["", "[]", "{", "{}", '{"metadata": 3}', '{"metadata": {', "\0",
                                  '{"metadata": {}} x', "[" * 100_000])  # fmt: skip
def test_what_is_no_notebook_is_refused(text: str) -> None:
    with pytest.raises(NotebookError):
        stamped_text(text, ONE)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(
    metadata=st.dictionaries(
        st.text() | st.sampled_from(["mlrepro", "_mlrepro", "metadata"]), JSON, max_size=4
    ),
    cells=st.lists(JSON, max_size=3),
    indent=st.sampled_from([None, 0, 1, 4, "\t"]),
    ascii_only=st.booleans(),
)  # fmt: skip
def test_nothing_else_of_any_notebook_changes(
    metadata: Any, cells: Any, indent: Any, ascii_only: bool
) -> None:
    nb = {"cells": cells, "metadata": metadata, "nbformat": 4}
    text = json.dumps(nb, indent=indent, ensure_ascii=ascii_only)
    done = stamped_text(text, ONE)
    wanted = json.dumps(stamped(nb, ONE), sort_keys=True)
    assert json.dumps(json.loads(done), sort_keys=True) == wanted
    assert stamped_text(stamped_text(done, TWO), ONE) == done


# --- the tools that change notebooks


def tool(folder: Path, name: str, *arguments: str) -> None:
    done = subprocess.run(
        [str(BIN / name), *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture
def marked(repository: Path) -> Path:
    path = repository / "nb.ipynb"
    path.write_text(stamped_text(FORMS["nbformat"](notebook()), ONE), encoding="utf-8")
    return path


def line(path: Path) -> Stamp | None:
    return stamp.read(json.loads(path.read_text(encoding="utf-8"))["metadata"])


@pytest.mark.parametrize(
    "options",
    [(), ("--keep-output",), ("--drop-empty-cells",), ("--strip-init-cells",),
     ("--extra-keys", "metadata.kernelspec metadata.language_info.version metadata.widgets"),
     ("--keep-metadata-keys", "metadata.collapsed"), ("--keep-id",)],
)  # fmt: skip
def test_nbstripout_keeps_it(marked: Path, options: tuple[str, ...]) -> None:
    tool(marked.parent, "nbstripout", *options, marked.name)
    assert line(marked) == ONE


@pytest.mark.parametrize("script", ["py:percent", "py:light", "md", "Rmd", "md:myst"])
def test_jupytext_keeps_it_in_a_paired_notebook(marked: Path, script: str) -> None:
    folder = marked.parent
    tool(folder, "jupytext", "--set-formats", f"ipynb,{script}", marked.name)
    text = folder / f"nb.{script.partition(':')[0]}"
    changed = text.read_text(encoding="utf-8").replace("print(1)", "print(2)")
    text.write_text(changed, encoding="utf-8")
    tool(folder, "jupytext", "--sync", text.name)
    assert "print(2)" in marked.read_text(encoding="utf-8")
    assert line(marked) == ONE
    marked.write_text(stamped_text(marked.read_text(encoding="utf-8"), TWO), encoding="utf-8")
    tool(folder, "jupytext", "--sync", marked.name)
    assert line(marked) == TWO


def test_jupytext_keeps_it_there_and_back(marked: Path) -> None:
    folder = marked.parent
    tool(folder, "jupytext", "--to", "py:percent", marked.name)
    tool(folder, "jupytext", "--to", "ipynb", "--update", "nb.py")
    assert line(marked) == ONE
    # A text alone keeps it where jupytext is told to keep the key.
    keep = ("--opt", "notebook_metadata_filter=_mlrepro")
    tool(folder, "jupytext", *keep, "--to", "py:percent", marked.name)
    marked.unlink()
    tool(folder, "jupytext", "--to", "ipynb", "nb.py")
    assert line(marked) == ONE


# --- the command


def run(*arguments: str) -> Any:
    return CliRunner().invoke(main, list(arguments))


@pytest.fixture
def small(repository: Path) -> Path:
    """A notebook that runs at once, committed."""
    path = repository / "small.ipynb"
    path.write_text(FORMS["nbformat"](notebook()), encoding="utf-8")
    (repository / ".gitignore").write_text(".mlrepro/\n", encoding="utf-8")
    git(repository, "add", "."), git(repository, "commit", "-qm", "Small")
    return path


def test_the_command_stamps_what_was_recorded_and_verified(small: Path) -> None:
    path, project = small, small.parent
    before = path.read_bytes()
    said = run("stamp", path.name)
    assert (said.exit_code, path.read_bytes()) == (0, before)
    assert "was never recorded" in said.stderr
    assert run("stamp", "--check", path.name).exit_code == 1
    digest = json.loads(run("record", path.name, "--json").stdout)["digest"]
    assert path.read_bytes() == before, "recording leaves the file as it is"
    assert run("stamp", "--check", path.name).exit_code == 1
    assert path.read_bytes() == before
    assert digest in run("stamp", path.name).stdout
    assert line(path) == Stamp(record=digest)
    assert numstat(project) == (1, 0)
    assert run("stamp", "--check", path.name).exit_code == 0
    assert run("verify", path.name, "--stamp").exit_code == 0
    marked = line(path)
    assert marked is not None
    assert (marked.record, marked.verdict) == (digest, "bitwise")
    assert numstat(project) == (1, 0)
    assert run("trace", path.name).exit_code == 0
    nb = json.loads(path.read_text(encoding="utf-8"))
    code = next(cell for cell in nb["cells"] if cell["cell_type"] == "code")
    code["source"] = "x = 'other'"
    path.write_text(json.dumps(nb), encoding="utf-8")
    assert "edited" in run("stamp", path.name).stdout


def test_the_executed_copies_lead_to_their_own_records(small: Path) -> None:
    folder = small.parent
    digest = json.loads(run("record", small.name, "-o", "out.ipynb", "--json").stdout)["digest"]
    assert line(folder / "out.ipynb") == Stamp(record=digest)
    verified = json.loads(run("verify", small.name, "-o", "again.ipynb", "--json", "-q").stdout)
    again = Stamp(record=verified["rerun"], verdict=verified["verdict"])
    assert line(folder / "again.ipynb") == again


@pytest.mark.parametrize("content", ["", "{}", "[]", "\0"])
def test_the_command_refuses_what_is_no_notebook(repository: Path, content: str) -> None:
    (repository / "nb.ipynb").write_text(content, encoding="utf-8")
    said = run("stamp", "nb.ipynb")
    assert said.exit_code == 2
    assert "Traceback" not in said.output
    assert (repository / "nb.ipynb").read_text(encoding="utf-8") == content


def test_a_notebook_that_a_live_kernel_has_open_is_left_alone(
    small: Path, kernel: Callable
) -> None:
    before = small.read_bytes()
    k = kernel(JPY_SESSION_NAME=small.name)
    k.run("%load_ext mlrepro_nb")
    digest = "sha256:" + k.run("%mlrepro record")["text"].partition("sha256:")[2][:64]
    said = run("stamp", small.name)
    assert said.exit_code == 0
    assert "open in a live kernel" in said.stderr
    assert small.read_bytes() == before
    assert run("stamp", "--force", small.name).exit_code == 0
    marked = line(small)
    assert marked is not None
    assert marked.record == digest
    k.close()
    assert run("stamp", small.name).exit_code == 0
    assert small.stat().st_mode & 0o777 == 0o644

"""Notebooks that a person ran by hand, recorded live, saved, and run again from the top."""

import json

import pytest

from mlrepro_nb.model import REPRODUCED
from mlrepro_nb.record import recover
from mlrepro_nb.verify import verify
from tests.capture.conftest import kernel
from tests.capture.test_state import console, move

__all__ = ["console", "kernel"]
LOAD = "%load_ext mlrepro_nb"


class Notebook:
    """A notebook in a front end: cells are run, edited, moved and deleted; then it is saved."""

    def __init__(self, kernel):
        self.kernel = kernel
        self.cells = {}
        self.count = 0
        self.run("load", LOAD)

    def run(self, identity, source=None):
        cell = self.cells.setdefault(identity, {"source": source})
        if source is not None:
            cell["source"] = source
        self.count += 1
        done = self.kernel.run(cell["source"], cell=identity)
        cell["count"] = self.count
        outputs = []
        if done["text"] and not done["bundles"]:
            outputs.append({"output_type": "stream", "name": "stdout", "text": done["text"]})
        result = {"output_type": "execute_result", "execution_count": self.count, "metadata": {}}
        outputs += [{**result, "data": data} for data in done["bundles"]]
        outputs += [
            {"output_type": "error", "ename": ename, "evalue": evalue, "traceback": []}
            for ename, evalue in done["errors"]
        ]
        cell["outputs"] = outputs

    def edit(self, identity, source):
        self.cells[identity]["source"] = source

    def delete(self, identity):
        del self.cells[identity]

    def save(self, *order):
        cells = [
            {"cell_type": "code", "id": identity, "metadata": {},
             "source": self.cells[identity]["source"],
             "outputs": self.cells[identity].get("outputs", []),
             "execution_count": self.cells[identity].get("count")}
            for identity in (order or self.cells)
        ]  # fmt: skip
        path = self.kernel.folder / "nb.ipynb"
        metadata = {"kernelspec": {"name": "python3", "display_name": "P", "language": "python"}}
        nb = {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
        path.write_text(json.dumps(nb), encoding="utf-8")
        self.kernel.close()
        recover(self.kernel.store())  # on a busy machine the kernel is killed while it seals
        return path


@pytest.fixture
def notebook(kernel):
    return Notebook(kernel(JPY_SESSION_NAME="nb.ipynb"))


def causes(path):
    found = verify(path)
    assert found.record is not None
    return [(cause.kind, cause.cell, cause.subject) for cause in found.causes], found


def test_what_was_run_from_the_top_reproduces(notebook):
    notebook.run("a", "x = [1, 2]")
    notebook.run("b", "x.append(3)\nprint(x)")
    named, found = causes(notebook.save())
    assert named == []
    assert found.verdict in REPRODUCED


def test_a_deleted_cell_is_named_with_its_source(notebook):
    notebook.run("a", "rate = 1.19\nfees = 2")
    notebook.run("b", "price = 100")
    notebook.run("c", "print(price * rate)")
    notebook.delete("a")
    named, found = causes(notebook.save())
    assert named == [("deleted-definition", 2, "rate")]
    assert "rate = 1.19" in found.causes[0].fix


@pytest.mark.parametrize(
    "brings", ["exec('rate = 1.19')", "from rates import *", "%run -i rates.py"]
)
def test_a_deleted_cell_whose_source_does_not_tell_is_named_too(notebook, brings):
    (notebook.kernel.folder / "rates.py").write_text("rate = 1.19\n")
    notebook.run("a", "rate = 1")
    notebook.run("b", brings)
    notebook.run("c", "print(100 * rate)")
    notebook.delete("b")
    named, found = causes(notebook.save())
    assert named == [("deleted-definition", 2, "rate")]
    assert brings in found.causes[0].fix


def test_a_function_keeps_what_a_deleted_cell_gave_it(notebook):
    notebook.run("a", "scale = 10")
    notebook.run("b", "def f(v):\n    return v * scale")
    notebook.run("s", "scale = 3")
    notebook.run("c", "y = f(2)")
    notebook.run("d", "print(y)")
    notebook.delete("s")
    assert causes(notebook.save())[0] == [("deleted-definition", 3, "scale")]


def test_a_scratch_cell_without_effect_is_not_blamed(notebook):
    notebook.run("a", "x = 1")
    notebook.run("s", "z = 3\nx")
    notebook.run("b", "print(x)")
    notebook.edit("a", "x = 2")
    notebook.delete("s")
    assert causes(notebook.save())[0] == [("edited-after-run", 1, "x")]


def test_cells_that_ran_in_another_order(notebook):
    notebook.run("a", "x = 1")
    notebook.run("c", "x = 10")
    notebook.run("b", "print(x)")
    assert causes(notebook.save("load", "a", "b", "c"))[0] == [("out-of-order", 2, "x")]


def test_a_cell_that_ran_twice(notebook):
    notebook.run("a", "total = 0")
    notebook.run("b", "total += 5")
    notebook.run("b")
    notebook.run("c", "print(total)")
    assert causes(notebook.save())[0] == [("repeated-execution", 2, "total")]


def test_a_cell_that_was_edited_after_it_ran(notebook):
    notebook.run("a", "threshold = 5")
    notebook.run("b", "print(len([v for v in range(10) if v > threshold]))")
    notebook.edit("a", "threshold = 3")
    named, found = causes(notebook.save())
    assert named == [("edited-after-run", 1, "threshold")]
    assert "threshold = 5" in found.causes[0].evidence


@pytest.mark.parametrize(
    ("typed", "says"),
    [("x = 5", "[5]"), ("x.append(7)", "7"), ("import sys; x = [sys.maxsize]", "sys")],
)
def test_what_was_typed_at_a_console(notebook, console, typed, says):
    notebook.run("a", "x = [1]")
    console(notebook.kernel).run(typed)
    notebook.run("b", "print(x)")
    named, found = causes(notebook.save())
    assert named == [("console-state", 2, "x")]
    assert "console" in found.causes[0].evidence
    assert typed in found.causes[0].fix


def test_a_name_that_only_a_console_made(notebook, console):
    console(notebook.kernel).run("only_there = 5")
    notebook.run("b", "print(only_there)")
    named, found = causes(notebook.save())
    assert named == [("console-state", 1, "only_there")]
    assert found.verdict == "failed"


def test_what_a_debugger_or_inspector_set(notebook, console):
    notebook.run("a", "x = 1")
    console(notebook.kernel).run("x = 2", silent=True)
    notebook.run("b", "print(x)")
    assert causes(notebook.save())[0] == [("console-state", 2, "x")]


def test_a_console_that_only_looks_is_not_blamed(notebook, console):
    notebook.run("a", "x = 1")
    console(notebook.kernel).run("x")
    notebook.run("b", "print(x)")
    named, found = causes(notebook.save())
    assert named == []
    assert found.verdict in REPRODUCED


def test_a_slider_that_was_moved_by_hand(notebook):
    notebook.run("a", "import ipywidgets as w\ns = w.IntSlider(description='depth', value=3)")
    move(notebook.kernel, "s", {"value": 7})
    notebook.run("b", "depth = s.value")
    notebook.run("c", "print('depth', depth)")
    named, found = causes(notebook.save())
    assert named == [("widget-state", 2, "s")]
    assert "from 3 to 7" in found.causes[0].evidence
    assert "depth" in found.causes[0].evidence
    assert "cell 1" in found.causes[0].fix


def test_a_slider_that_was_made_anew_is_not_blamed(notebook):
    notebook.run("a", "import ipywidgets as w\ns = w.IntSlider(value=3)")
    move(notebook.kernel, "s", {"value": 7})
    notebook.run("x", "n = 0")
    notebook.run("a")
    notebook.run("x2", "n += 1")
    notebook.run("x2")
    notebook.run("b", "print(s.value, n)")
    assert causes(notebook.save())[0] == [("repeated-execution", 3, "n")]


def test_a_buttons_callback(notebook):
    notebook.run(
        "a", "import ipywidgets as w\nmode = 'slow'\n"
        "def go(_):\n    global mode\n    mode = 'fast'\n"
        "b = w.Button()\nb.on_click(go)",
    )  # fmt: skip
    move(notebook.kernel, "b", event="click")
    notebook.run("c", "print(mode)")
    assert causes(notebook.save())[0] == [("widget-state", 2, "mode")]


def test_a_result_taken_by_its_number(notebook):
    notebook.run("a", "x = 20")
    notebook.run("c", "y = 1")
    notebook.run("b", "x + 1")
    notebook.run("d", "print(Out[4] * 2)")
    named, _ = causes(notebook.save("load", "a", "b", "c", "d"))
    assert named == [("out-of-order", 4, "Out[4]")]

"""What a record says of the notebook's state: names, consoles, widgets, effects."""

# ruff: noqa: E501
from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlrepro_nb.capture.cells.client import origins
from mlrepro_nb.capture.cells.commands import commands
from mlrepro_nb.dataflow import parse
from mlrepro_nb.model import ExecutedCell, Record
from mlrepro_nb.record import recover
from tests.capture.conftest import Kernel

LOAD = "%load_ext mlrepro_nb"


class Console:
    """A second client of a kernel, as ``jupyter console --existing`` is one."""

    def __init__(self, kernel: Kernel) -> None:
        from jupyter_client.blocking import BlockingKernelClient

        self.client = BlockingKernelClient(connection_file=kernel.manager.connection_file)
        self.client.load_connection_file()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)

    def run(self, code: str, **how: Any) -> None:
        request = self.client.execute(code, **how)
        while True:
            reply = self.client.get_shell_msg(timeout=60)
            if reply["parent_header"].get("msg_id") == request:
                return

    def close(self) -> None:
        self.client.stop_channels()


@pytest.fixture
def console() -> Iterator[Callable[[Kernel], Console]]:
    opened: list[Console] = []

    def attach(kernel: Kernel) -> Console:
        opened.append(Console(kernel))
        return opened[-1]

    yield attach
    for one in opened:
        one.close()


def save(folder: Path, *cells: tuple[str, str], name: str = "nb.ipynb") -> Path:
    """Write a notebook's file: ids and sources."""
    path = folder / name
    nb = {
        "cells": [
            {"cell_type": "code", "id": identity, "source": source, "metadata": {},
             "outputs": [], "execution_count": None}
            for identity, source in cells
        ],
        "metadata": {}, "nbformat": 4, "nbformat_minor": 5,
    }  # fmt: skip
    path.write_text(json.dumps(nb), encoding="utf-8")
    return path


def sealed(kernel: Kernel) -> Record:
    """Close a kernel and return the record that it left, made with the notebook's file."""
    kernel.close()
    store = kernel.store()
    recover(store)  # on a busy machine the kernel is killed while it seals
    (session,) = store.sessions()
    assert session.record is not None
    return store.get(Record, session.record)


def by_source(record: Record, source: str) -> ExecutedCell:
    return [cell for cell in record.code.cells if cell.source == source][-1]


# --- names


def test_the_record_names_the_execution_that_defined_what_a_cell_read(kernel: Callable) -> None:
    k = kernel()
    k.run(LOAD)
    k.run("rate = 1.19")
    k.run("def gross(v):\n    return v * rate")
    k.run("total = gross(100)")
    k.run("rate = 1.07")
    k.run("print(gross(total))")
    k.run("del total")
    k.run("[total for total in range(3)]\nimport math as m")
    k.close()
    cells = k.record().code.cells
    assert cells[1].defines == ("rate",)
    assert cells[3].uses == {"gross": 2, "rate": 1}
    assert cells[5].uses == {"gross": 2, "rate": 4, "total": 3}
    assert cells[6].deletes == ("total",)
    assert cells[6].defines == ()
    assert cells[7].defines == ("m",), "a comprehension's variable is its own"


BRINGS = {
    "run": ("%run -i helper.py", "made", "print(made)"),
    "star": ("from helper import *", "made", "print(made)"),
    "exec": ("exec('made = 3')", "made", "print(made)"),
    "globals": ("globals()['made'] = 3", "made", "print(made)"),
    "capture": ("%%capture made\nprint(1)", "made", "print(made)"),
    "store": ("made = 4\n%store made\ndel made\n%store -r made", "made", "made"),
    "assigned magic": ("made = !echo 1", "made", "print(made)"),
    "walrus": ("print((made := 3))", "made", "made"),
    "in a function": ("def f():\n    global made\n    made = 1\nf()", "made", "made"),
    "for": ("for made in range(3): pass", "made", "made"),
    "time": ("%time made = 3", "made", "made"),
    "async": ("import asyncio\nasync def g(): return 1\nmade = await g()", "made", "made"),
    "await loop": ("import asyncio\nfor made in [1]:\n    await asyncio.sleep(0)", "made", "made"),
}  # fmt: skip


def test_names_are_known_whatever_brings_them(kernel: Callable, repository: Path) -> None:
    (repository / "helper.py").write_text("made = 7\n", encoding="utf-8")
    k = kernel(IPYTHONDIR=str(repository.parent / "ipython"))
    k.run(LOAD)
    for brings, _, uses in BRINGS.values():
        assert not k.run(brings)["errors"], brings
        assert not k.run(uses)["errors"]
        k.run("del made")
    k.close()
    cells = list(k.record().code.cells)[1:]
    for i, (label, (brings, name, _)) in enumerate(BRINGS.items()):
        definition, use, deletion = cells[3 * i : 3 * i + 3]
        assert definition.source == brings
        assert name in definition.defines, label
        assert use.uses[name] == definition.order, label
        assert deletion.deletes == (name,)


def test_a_failed_cell_defines_what_it_got_to(kernel: Callable) -> None:
    k = kernel()
    k.run(LOAD)
    k.run("a = 1\nraise ValueError\nb = 2")
    k.run("if False:\n    never = 1\nalways = 2")
    k.run("syntax error here")
    k.run("a")
    k.close()
    cells = k.record().code.cells
    assert (cells[1].status, cells[1].defines) == ("error", ("a",))
    assert cells[2].defines == ("always",)
    assert (cells[3].status, cells[3].defines) == ("error", ())
    assert cells[4].uses == {"a": 1}


def test_an_interrupted_cell_keeps_what_it_had_done(kernel: Callable, repository: Path) -> None:
    k = kernel()
    k.run(LOAD)
    k.run("import time, pathlib")
    k.client.execute("began = 1\npathlib.Path('here').touch()\ntime.sleep(600)\nended = 2")
    queued = k.client.execute("queued = 1")
    deadline = time.monotonic() + 60
    while not (repository / "here").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    k.manager.interrupt_kernel()
    while (reply := k.client.get_shell_msg(timeout=60))["parent_header"]["msg_id"] != queued:
        pass
    assert reply["content"]["status"] == "aborted"
    k.run("began")
    k.close()
    cells = k.record().code.cells
    assert [c.status for c in cells] == ["ok", "ok", "interrupted", "ok"]
    assert cells[2].defines == ("began",)
    assert 0 < cells[2].duration < 60
    assert cells[3].uses == {"began": 2}
    assert "queued" not in str(cells), "what was aborted did not run"


def test_results_of_the_history_are_uses_too(kernel: Callable) -> None:
    k = kernel()
    k.run(LOAD)  # [1]
    k.run("40 + 2")  # [2]
    k.run("x = 1")  # [3]
    k.run("_ + 1")  # [4]
    k.run("Out[2] + _4")  # [5]
    k.close()
    cells = k.record().code.cells
    assert cells[3].uses == {"_": 1}
    assert cells[4].uses == {"Out[2]": 1, "_4": 3}


def test_changes_while_no_cell_runs_are_told(kernel: Callable, console: Callable) -> None:
    k = kernel()
    k.run(LOAD)
    k.run("x = 1")
    other = console(k)
    other.run("x = 2", silent=True)
    other.run("y = 3", store_history=False)
    k.run("import threading, time\nready = threading.Event()\n"
          "def later():\n    global z\n    ready.wait()\n    time.sleep(.2)\n    z = 1\n"
          "threading.Thread(target=later).start()\nready.set()")  # fmt: skip
    time.sleep(1)
    k.run("print(x, y, z)")
    k.close()
    record = k.record()
    first, second = record.code.outside
    assert (first.names, first.after, first.before, first.by) == (("x", "y"), 1, 2, ("tool",))
    assert (second.names, second.after, second.before) == (("z",), 2, 3)
    assert second.by == ("background",)
    assert record.code.cells[-1].uses == {"x": None, "y": None, "z": None}
    assert [c.source for c in record.code.cells][1:2] == ["x = 1"]
    assert len(record.code.cells) == 4, "code that a tool runs unseen is no cell"


def test_objects_are_not_kept_alive_while_a_cell_runs(kernel: Callable) -> None:
    k = kernel()
    k.run(LOAD)
    k.run("import weakref\nclass C: pass\nbig = C()\nr = weakref.ref(big)")
    assert k.run("del big\nprint(r() is None)")["text"] == "True\n"
    k.run("big = C(); r = weakref.ref(big)")
    assert k.run("big = None\nprint(r() is None)")["text"] == "True\n"


def test_a_huge_namespace_is_left_to_the_source(kernel: Callable) -> None:
    k = kernel()
    k.run(LOAD)
    k.run("globals().update({f'n{i}': i for i in range(6000)})")
    k.run("x = n5")
    k.run("x")
    k.close()
    cells = k.record().code.cells
    assert cells[2].defines == ("x",)
    assert cells[3].uses == {"x": 2}


# --- who typed it


def test_what_a_console_ran_is_told_from_the_notebooks_cells(
    kernel: Callable, console: Callable, repository: Path
) -> None:
    k = kernel(JPY_SESSION_NAME="nb.ipynb")
    k.run(LOAD, cell="a")
    k.run("x = 1", cell="b")
    other = console(k)
    other.run("x = 5")
    other.run("x")
    k.run("x", cell="c")
    k.run("gone = 1", cell="d")
    time.sleep(0.01)
    save(repository, ("a", LOAD), ("b", "x = 1"), ("c", "x"), ("e", "never = 1"), ("f", " "))
    record = sealed(k)
    cells = record.code.cells
    assert [c.origin for c in cells] == ["notebook", "notebook", "console", "console", "notebook", "notebook"]  # fmt: skip
    assert [c.index for c in cells] == [0, 1, None, None, 2, None], "the console's x is no cell"
    assert cells[4].uses == {"x": 2}
    assert [c.in_file for c in cells] == ["same", "same", "gone", "gone", "same", "gone"]
    assert record.code.unexecuted == (3,)


def test_an_edit_after_the_run_shows_once_the_file_is_saved(
    kernel: Callable, repository: Path
) -> None:
    save(repository, ("a", LOAD), ("b", "x = 1"))
    k = kernel(JPY_SESSION_NAME="nb.ipynb")
    k.run(LOAD, cell="a")
    k.run("x = 2", cell="b")
    said = k.run("%mlrepro record", cell="q")["text"]
    record = k.store().get(Record, "sha256:" + said.partition("sha256:")[2][:64])
    assert [c.in_file for c in record.code.cells] == ["same", None, None], "not saved since"
    save(repository, ("a", LOAD), ("b", "x = 3"))
    time.sleep(0.01)
    k.run("y = 1", cell="r")
    assert [c.in_file for c in sealed(k).code.cells] == ["same", "edited", "gone", None]


def begin(order: int, client: str, **more: Any) -> dict[str, Any]:
    return {
        "order": order,
        "client": client,
        "digest": f"d{order}",
        "started": f"2026-01-01T00:00:0{order}Z",
        **more,
    }


def test_origins() -> None:
    def of(
        *begins: dict[str, Any], ids: Any = (), digests: Any = (), saved: str | None = None
    ) -> list[str]:
        return list(origins({b["order"]: b for b in begins}, ids, digests, saved).values())

    lab = {"front": "notebook"}
    assert of(begin(0, "a"), begin(1, "a")) == ["notebook"] * 2
    assert of(begin(0, "a", **lab), begin(1, "b", id="x")) == ["notebook", "console"]
    # the page was loaded anew, its new cell is not saved yet
    new = begin(0, "a", id="one", **lab), begin(1, "b", id="two", **lab)
    assert of(*new, ids={"one"}, saved="2026-01-01T00:00:00Z") == ["notebook", "notebook"]
    # saved, and still none of its cells are in the file: another notebook
    assert of(*new, ids={"one"}, saved="2026-01-01T00:00:09Z") == ["notebook", "other"]
    # front ends without ids
    assert of(begin(0, "a"), begin(1, "b"), digests={"d1"}) == ["console", "notebook"]
    assert of(begin(0, "a"), begin(1, "b")) == ["notebook", "console"]


# --- widgets


def move(kernel: Kernel, widget: str, state: dict[str, Any] | None = None, **custom: Any) -> None:
    """Do what the front end does when a person sets a widget."""
    comm = kernel.run(f"print({widget}.model_id)")["text"].strip()
    data = {"method": "custom", "content": custom} if state is None else (
        {"method": "update", "state": state, "buffer_paths": []})  # fmt: skip
    message = kernel.client.session.msg("comm_msg", {"comm_id": comm, "data": data})
    kernel.client.shell_channel.send(message)


def test_widgets_that_were_set_by_hand_are_in_the_record(kernel: Callable) -> None:
    k = kernel()
    k.run(LOAD)
    k.run("import ipywidgets as w\nslider = w.IntSlider(description='depth', value=3)\nslider")
    k.run("secret = w.Password()\ntext = w.Text(description='name')\nbutton = w.Button()\n"
          "held = [w.FloatSlider(value=.5)]\nbutton.on_click(lambda b: globals().update(clicked=1))")  # fmt: skip
    k.run("slider.value = 4")
    for value in (5, 6, 7):
        move(k, "slider", {"value": value})
    move(k, "secret", {"value": "hunter2hunter2"})
    move(k, "text", {"value": "tok" + "x" * 900})
    move(k, "button", event="click")
    move(k, "held[0]", {"value": 0.75})
    move(k, "slider.layout", {"width": "50px"})
    k.run("print(slider.value)")
    move(k, "slider", {"value": 8})
    k.run("slider.value")
    k.close()
    record = k.record()
    by = {(m.model, m.trait, m.after): m for m in record.code.widgets}
    one = [m for m in record.code.widgets if m.names == ("slider",)]
    assert [m.after for m in one] == ["5", "6", "7", "8"], "each print() of its id is a cell"
    assert one[0].before == "4"
    assert one[0].description == "depth"
    assert one[0].made == 1
    assert record.code.cells[one[0].next].order == one[0].previous + 1
    assert by["PasswordModel", "value", '"***"'].before == '""'
    assert "hunter2" not in str(record)
    assert by["ButtonModel", "click", None].names == ("button",)
    assert by["FloatSliderModel", "value", "0.75"].names == ()
    assert not [m for m in record.code.widgets if "Layout" in m.model]
    assert [(c.names, c.by) for c in record.code.outside] == [(("clicked",), ("widget",))]


def test_moves_between_two_cells_are_one(kernel: Callable) -> None:
    k = kernel()
    k.run(LOAD)
    comm = k.run(
        "import ipywidgets as w\ns = w.IntSlider()\nt = w.IntSlider()\nprint(s.model_id, t.model_id)"
    )["text"].split()
    for which, value in ((0, 1), (0, 2), (1, 9), (0, 3), (1, 0)):
        data = {"method": "update", "state": {"value": value}, "buffer_paths": []}
        k.client.shell_channel.send(
            k.client.session.msg("comm_msg", {"comm_id": comm[which], "data": data})
        )
    assert k.run("s.value")["text"] == "3"
    k.close()
    (only,) = k.record().code.widgets
    assert (only.names, only.before, only.after, only.times) == (("s",), "0", "3", 3)


def test_broken_widget_messages_change_nothing(kernel: Callable) -> None:
    k = kernel()
    k.run(LOAD)
    comm = k.run("import ipywidgets as w\ns = w.IntSlider()\nprint(s.model_id)")["text"].strip()
    for content in (
        {}, {"comm_id": comm}, {"comm_id": comm, "data": None}, {"comm_id": comm, "data": 3},
        {"comm_id": comm, "data": {"method": "update"}},
        {"comm_id": comm, "data": {"method": "update", "state": {"value": "no number"}, "buffer_paths": []}},
        {"comm_id": "nobody", "data": {"method": "update", "state": {"value": 3}, "buffer_paths": []}},
    ):  # fmt: skip
        k.client.shell_channel.send(k.client.session.msg("comm_msg", content))
    assert k.run("s.value")["text"] == "0"
    k.close()
    record = k.record()
    assert record.code.cells[-1].status == "ok"
    assert record.code.widgets == ()


# --- effects


def test_what_a_cell_changes_in_its_process_is_in_the_record(
    kernel: Callable, repository: Path
) -> None:
    (repository / "data").mkdir()
    k = kernel(OLD_ONE="1")
    k.run(LOAD)
    k.run(
        "import os, sys\nos.environ['MY_TOKEN_X'] = 'v3ry-s3cret-value'\ndel os.environ['OLD_ONE']"
    )
    k.run("%cd data\nsys.path.append('/srv/lib')")
    k.run("!echo hello; curl -u u:pw http://u:pw1234@127.0.0.1:1/x\n%env FLAG=1\nfiles = !ls")
    k.run("%%bash\necho from bash")
    k.run("x = 1")
    k.close()
    record = k.record()
    cells = record.code.cells
    assert cells[0].effects.commands == ("%load_ext mlrepro_nb",)
    assert cells[1].effects.variables == ("+MY_TOKEN_X", "-OLD_ONE")
    assert "v3ry" not in str(record)
    assert cells[2].effects.folder == "data"
    assert cells[2].effects.path == ("+/srv/lib",)
    assert cells[2].effects.commands == ("%cd data",)
    shell, env, listing = cells[3].effects.commands
    assert shell.startswith("!echo hello; curl")
    assert "pw1234" not in shell
    assert (env, listing) == ("%env FLAG=1", "!ls")
    assert cells[3].effects.variables == ("+FLAG",)
    assert cells[4].effects.commands == ("%%bash\necho from bash",)
    assert cells[5].effects is None


def test_what_a_cell_installs_is_in_the_record(kernel: Callable, repository: Path) -> None:
    site = repository.parent / "env" / "site-packages"
    site.mkdir(parents=True)
    k = kernel(PYTHONPATH=str(site))
    k.run(LOAD)
    new = "import pathlib\nd = pathlib.Path({!r}) / 'demo_pkg-1.2.dist-info'\nd.mkdir()"
    k.run(new.format(str(site)))
    k.run("d.rename(d.with_name('demo_pkg-1.3.dist-info'))")
    k.run("x = 1")
    k.close()
    cells = k.record().code.cells
    assert cells[1].effects.distributions == ("+demo_pkg==1.2",)
    assert cells[2].effects.distributions == ("+demo_pkg==1.3", "-demo_pkg==1.2")
    assert cells[3].effects is None


def test_pip_really_installs(kernel: Callable, repository: Path) -> None:
    package = repository / "tiny"
    package.mkdir()
    (package / "pyproject.toml").write_text(
        "[build-system]\nrequires=[]\nbuild-backend='back'\nbackend-path=['.']\n", encoding="utf-8"
    )
    (package / "back.py").write_text(
        "import zipfile\n"
        "def build_wheel(d, *a, **k):\n"
        "    n = 'tiny_demo-0.1-py3-none-any.whl'\n"
        "    with zipfile.ZipFile(d + '/' + n, 'w') as z:\n"
        "        i = 'tiny_demo-0.1.dist-info/'\n"
        "        z.writestr('tiny_demo.py', 'x = 1')\n"
        "        z.writestr(i + 'METADATA', 'Metadata-Version: 2.1\\nName: tiny-demo\\nVersion: 0.1\\n')\n"
        "        z.writestr(i + 'WHEEL', 'Wheel-Version: 1.0\\nGenerator: t\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')\n"
        "        z.writestr(i + 'RECORD', '')\n"
        "    return n\n", encoding="utf-8",
    )  # fmt: skip
    site = repository.parent / "target" / "site-packages"
    site.mkdir(parents=True)
    k = kernel(PYTHONPATH=str(site))
    pip = k.run("import importlib.util as u; print(u.find_spec('pip') is not None)")["text"]
    tool = f"{sys.executable} -m pip install" if "True" in pip else "uv pip install -q"
    k.run(LOAD)
    said = k.run(f"!{tool} --no-build-isolation --no-index --target {site} ./tiny")
    k.close()
    cell = k.record().code.cells[-1]
    assert cell.effects.distributions == ("+tiny_demo==0.1",), said
    assert "install" in cell.effects.commands[0]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("%pip install -q x", ("%pip install -q x",)),
        ("%conda install y", ("%conda install y",)),
        ("if True:\n    !apt-get install z", ("!apt-get install z",)),
        ("%%time\n!wget http://h/x", ("!wget http://h/x",)),
        ("%%sh -e\nrm -r out", ("%%sh -e\nrm -r out",)),
        ("%time x = 1\n%matplotlib inline", ("%matplotlib inline",)),
        ("lines = %sx ls", ("%sx ls",)),
        ("%%writefile a.py\nsecret text", ("%%writefile a.py",)),
        ("%who\n%timeit 1", ()),
        ("not python (", ()),
        ("x = '!no command'", ()),
    ],
)
def test_commands_are_read_off_the_source(source: str, expected: tuple[str, ...]) -> None:
    assert commands(parse(source)) == expected


@given(st.text(max_size=200))
def test_no_source_breaks_the_reading(source: str) -> None:
    assert isinstance(commands(parse(source)), tuple)

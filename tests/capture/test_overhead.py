"""What recording does between two cells, counted: what a clock says here is another's noise."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from mlrepro_nb.record import LiveSession
from mlrepro_nb.store import Store
from tests.capture.forked import Shell, recorded

LOAD = "%load_ext mlrepro_nb"


@pytest.fixture
def session(repository: Path, store: Store) -> Iterator[tuple[Shell, LiveSession]]:
    shell, live = recorded(store.root)
    for _ in range(3):
        shell.run_cell("x = 1")
    yield shell, live
    live.stop()


def between_cells(shell: Shell, source: str) -> Counter[str]:
    """Run a cell and count the functions that are called around it, in its thread."""
    shell.run_cell("w = 0")  # pytest sets a variable for each phase of a test
    calls: Counter[str] = Counter()

    def note(frame: FrameType, event: str, function: Any) -> None:
        if event == "call":
            calls["Python"] += 1
        elif event == "c_call":
            owner = type(getattr(function, "__self__", None)).__module__
            calls["sqlite3" if owner == "sqlite3" else function.__name__] += 1

    sys.setprofile(note)
    try:
        shell.run_cell(source)
    finally:
        sys.setprofile(None)
    return calls


def test_a_cell_that_touches_no_data_costs_three_writes_and_no_other_disk(session: Any) -> None:
    shell, _ = session
    calls = between_cells(shell, "y = 2")
    assert calls["write"] <= 4, "begin, end, its output, and what it did"
    for name in ("sqlite3", "open", "listdir", "scandir", "fsync", "fork_exec"):
        assert not calls[name], (name, calls)


def test_what_a_cell_costs_does_not_grow_with_the_session(session: Any) -> None:
    shell, _ = session
    first = between_cells(shell, "y = 2")
    for number in range(200):
        shell.run_cell(f"z = {number}")
    later = between_cells(shell, "y = 3")
    assert sum(later.values()) <= sum(first.values()) * 1.1 + 20


def test_the_recorder_itself_makes_few_calls(session: Any) -> None:
    shell, live = session
    live.recorder._hooked = {}  # no watch
    calls = between_cells(shell, "y = 2")
    # 200 of them; a word of another thread may come between.
    assert calls["Python"] < 230, calls
    assert sum(calls.values()) < 500, calls


def test_loading_imports_no_heavy_library(kernel: Callable) -> None:
    k = kernel()
    k.run("import sys; before = set(sys.modules)")
    k.run(LOAD)
    k.run("x = 1")
    # What is surveyed in the background counts, too: not before that is done.
    for _ in range(600):
        (session,) = k.store().sessions()
        if "hardware" in [kind for kind, _ in k.store().events(session.id)]:
            break
        time.sleep(0.1)
    added = k.run("print(*{name.split('.')[0] for name in set(sys.modules) - before})")["text"]
    heavy = {
        "numpy", "pandas", "requests", "papermill", "nbclient", "nbformat", "mlflow", "kubernetes",
        "rich", "anywidget", "click", "psutil", "yaml", "threadpoolctl", "rfc8785",
    }  # fmt: skip
    assert not heavy & set(added.split())


HOSTILE_TEXTS = {
    "dashes": "a-" * 500_000,
    "names": "password_" * 100_000,
    "open quotes": 'password="' * 100_000,
    "open triple quotes": 'password = """' * 70_000,
    "schemes": "a://" * 250_000,
    "userinfo": "://a:" * 200_000,
    "queries": "?token" * 160_000,
    "one long name": "token" * 200_000,
    "web tokens": "eyJ-" * 250_000,
    "spaces": "token" + " " * 1_000_000,
    "keys": "-----BEGIN PRIVATE KEY-----" * 40_000,
    "commands": "%env " + "A_TOKEN_" * 120_000,
    "flags": "--token " * 120_000,
    "backslashes": 'secret = "' + "\\" * 1_000_000,
    "source": "def f(password, token=None):\n    return g(token, auth=auth)\n" * 16_000,
}


@pytest.mark.parametrize("text", HOSTILE_TEXTS.values(), ids=HOSTILE_TEXTS.keys())
def test_masking_a_megabyte_ends(text: str) -> None:
    # What is not linear takes hours here; a slow machine takes seconds.
    program = (
        "import sys, signal; from mlrepro_nb.capture.secrets import mask, scrub\n"
        "text = sys.stdin.read(); mask(text); scrub({'text': text}); mask(text, code=False)"
    )
    subprocess.run([sys.executable, "-c", program], input=text, text=True, timeout=120, check=True)


def test_ctrl_c_between_two_cells_breaks_no_record_and_reaches_the_next(
    repository: Path, store: Store
) -> None:
    shell, live = recorded(store.root)
    done = threading.Event()
    main = threading.main_thread().ident
    assert main is not None

    def press() -> None:
        while not done.is_set():
            signal.pthread_kill(main, signal.SIGINT)
            time.sleep(0.004)

    presses = threading.Thread(target=press)
    caught = ran = 0
    outside = signal.signal(signal.SIGINT, signal.SIG_IGN)
    presses.start()
    try:
        for number in range(100):
            try:
                # As ipykernel does it: an interrupt counts while a request is handled.
                signal.signal(signal.SIGINT, signal.default_int_handler)
                error = shell.run_cell(f"for _ in range(200_000): x = {number}")
                signal.signal(signal.SIGINT, signal.SIG_IGN)
                caught += isinstance(error, KeyboardInterrupt)
                ran += 1
            except KeyboardInterrupt:  # noqa: PERF203 - outside of cell and recorder
                signal.signal(signal.SIGINT, signal.SIG_IGN)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        done.set()
        presses.join()
        time.sleep(0.1)
        signal.signal(signal.SIGINT, outside)
    live.stop()
    assert caught, "an interrupt reaches a cell"
    events_told = store.events(store.sessions()[0].id)
    begun = {data["order"] for kind, data in events_told if kind == "begin"}
    ended = {data["order"] for kind, data in events_told if kind == "end"}
    assert len(begun) >= ran
    assert len(ended) >= ran
    assert not [data for kind, data in events_told if kind == "gap" and "failed" in data["text"]]

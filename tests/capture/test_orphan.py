"""A program of ours is nobody's child, and while a cell runs not even for a moment."""

from __future__ import annotations

import subprocess
import sys
import textwrap

CELLS = textwrap.dedent("""
    import os, threading, time
    from mlrepro_nb.capture import orphan

    started = []

    def ours():
        while len(started) < 40:
            started.append(orphan.start(["/bin/sleep", "0"]))

    thread = threading.Thread(target=ours)
    thread.start()
    met = cells = 0
    while thread.is_alive():
        orphan.cell_begins()
        cells += 1
        try:
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            met += 1
        except ChildProcessError:
            pass
        orphan.cell_ends()
        time.sleep(0.001)
    print(met, cells > 10, len(started))
""")


def test_a_cell_meets_no_child_of_ours() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", CELLS], capture_output=True, text=True, check=True, timeout=120
    )
    assert ended.stdout.split() == ["0", "True", "40"]


def test_a_long_cell_keeps_it_waiting_only_a_moment() -> None:
    code = (
        "import threading\nfrom mlrepro_nb.capture import orphan\norphan.cell_begins()\n"
        "found = []\n"
        "other = threading.Thread(target=lambda: found.append(orphan.start(['/bin/true'])))\n"
        "other.start(); other.join(60); print(len(found))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert ended.stdout.strip() == "1"

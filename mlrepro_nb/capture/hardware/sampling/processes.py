"""What a process and its descendants use, from /proc."""

from __future__ import annotations

import os
import time
from typing import NamedTuple

_TICK = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


_SHARE = 0.004
"""Share of a core that reading PSS may take: some 10 ms for each GB of a process."""
_SHARE_OF_NEW = 0.04
"""The same when a process came or went."""


_LOOKS = 2


class Use(NamedTuple):
    """What a process tree uses at a moment."""

    memory: int
    """Bytes: PSS, where a page that n processes share counts 1/n to each, so that forked
    workers are not counted n times; RSS of processes whose PSS is not shown. Between two
    readings of PSS, which walk all pages, it is the last and what grew since."""
    shared: int
    """Bytes of it that are shared memory: /dev/shm, memfd, anonymous shared mappings."""
    cpu: float
    """Seconds of CPU, those of ended and waited-for descendants included."""
    pids: tuple[int, ...]
    walk: float
    """Seconds of CPU that reading PSS took just now; `Tree` sees itself to that being rare."""
    exact: bool
    """Whether none of `memory` is the RSS of a process whose PSS is not shown."""


class _Stat(NamedTuple):
    parent: int
    session: int
    cpu: float
    started: str


class Tree:
    """A process and what it started.

    A descendant that was seen once stays one after its parent has ended. What nobody saw
    in time is found by its session, where the process leads one, as Jupyter's kernels do.

    Parameters
    ----------
    root : int
        Process id.
    leave_out : str
        What runs a program of this folder, is none of it: the recorder's own processes.
    """

    def __init__(self, root: int, *, leave_out: str = "") -> None:
        self.root = root
        self._leave_out = leave_out.encode()
        self._fresh: dict[int, int] = {}
        self._members: dict[int, str] = {}
        self._others: set[int] = set()
        self._own = os.getpid()
        self._pss: dict[int, int] = {}
        self._ram: dict[int, tuple[int, int]] = {}
        self._shared = 0
        self._exact = True
        self._walked = self._cost = 0.0
        stat = _stat(root)
        self._leads = stat is not None and stat.session == root
        if stat is not None:
            self._members[root] = stat.started

    def read(self) -> Use | None:
        """Return what the tree uses now, or None once its root is gone."""
        members = self._look()
        if self.root not in members:
            return None
        present = {pid: ram(pid) for pid in members}
        since = time.monotonic() - self._walked
        same = present.keys() == self._pss.keys()
        walk = 0.0
        if since >= self._cost / _SHARE or (not same and since >= self._cost / _SHARE_OF_NEW):
            walk = self._walk(present)
        memory = 0
        for pid, pss in self._pss.items():
            if pid in present:
                (before, before_private), (now, private) = self._ram[pid], present[pid]
                # What many have in common would count once for each of them.
                grown = now - before if len(present) == 1 else private - before_private
                memory += max(0, pss + grown)
        cpu = sum(stat.cpu for stat in members.values())
        return Use(memory, self._shared, cpu, tuple(members), walk, self._exact)

    def _walk(self, present: dict[int, tuple[int, int]]) -> float:
        begun = time.thread_time()
        self._pss, self._ram, self._shared, self._exact = {}, present, 0, True
        for pid in present:
            read = _pss(pid)
            if read is None:
                self._exact = False
                read = present[pid][0], 0
            self._pss[pid] = read[0]
            self._shared += read[1]
        self._walked = time.monotonic()
        self._cost = time.thread_time() - begun
        return self._cost

    def _look(self) -> dict[int, _Stat]:
        try:
            listed = {int(name) for name in os.listdir("/proc") if name.isdigit()}  # noqa: PTH208
        except OSError:
            return {}
        found: dict[int, _Stat] = {}
        for pid, started in list(self._members.items()):
            stat = _stat(pid) if pid in listed else None
            if stat is None or stat.started != started:
                del self._members[pid]
            else:
                found[pid] = stat
        # Nobody becomes a descendant later than at birth: only new processes are looked at.
        self._others &= listed
        new = {pid: _stat(pid) for pid in sorted(listed - self._others - found.keys())}
        grown = True
        while grown:
            grown = False
            for pid, stat in list(new.items()):
                if stat is not None and self._belongs(pid, stat, found):
                    self._members[pid] = stat.started
                    self._fresh[pid] = _LOOKS
                    found[pid] = stat
                    del new[pid]
                    grown = True
        self._others |= new.keys()
        self._leave_out_own(found)
        return found

    def _leave_out_own(self, found: dict[int, _Stat]) -> None:
        # More than once: a new process is its parent's image until it begins its program.
        for pid, looks in list(self._fresh.items()):
            if self._leave_out and pid != self.root and self._leave_out in _command(pid):
                self._members.pop(pid, None)
                found.pop(pid, None)
                self._others.add(pid)
                looks = 0
            if looks <= 1:
                del self._fresh[pid]
            else:
                self._fresh[pid] = looks - 1

    def _belongs(self, pid: int, stat: _Stat, found: dict[int, _Stat]) -> bool:
        if pid == self._own and pid != self.root:
            return False
        return stat.parent in found or (self._leads and stat.session == self.root)


def started(pid: int) -> str | None:
    """Return when a process began, in ticks since boot: with it, an id is never another's."""
    stat = _stat(pid)
    return stat.started if stat else None


def ram(pid: int) -> tuple[int, int]:
    """Return the bytes that a process has in RAM, and those of them that no file backs."""
    try:
        with open(f"/proc/{pid}/statm", "rb", buffering=0) as file:
            _, resident, backed, *_ = file.read().split()
        return int(resident) * _PAGE, (int(resident) - int(backed)) * _PAGE
    except (OSError, ValueError):
        return 0, 0


def rss_marks(pid: int) -> tuple[int, int]:
    """Return the bytes that a process has in RAM: the most since it began its program, and now.

    Not `resource.getrusage`: its figure includes that of the parent at the fork.
    """
    try:
        with open(f"/proc/{pid}/status", "rb", buffering=0) as file:
            text = file.read(2048)
        return _kilobytes(text, b"\nVmHWM:"), _kilobytes(text, b"\nVmRSS:")
    except (OSError, ValueError, IndexError):
        return 0, 0


def _kilobytes(text: bytes, name: bytes) -> int:
    return int(text.partition(name)[2].split(maxsplit=1)[0]) * 1024


def _command(pid: int) -> bytes:
    try:
        with open(f"/proc/{pid}/cmdline", "rb", buffering=0) as file:
            return file.read(4096)
    except OSError:
        return b""


def _stat(pid: int) -> _Stat | None:
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            # The program's name may hold spaces and brackets.
            fields = file.read(1024).rpartition(b")")[2].split()
        ticks = sum(int(field) for field in fields[11:15])
        return _Stat(int(fields[1]), int(fields[3]), ticks / _TICK, fields[19].decode())
    except (OSError, ValueError, IndexError):
        return None


def _pss(pid: int) -> tuple[int, int] | None:
    """Return PSS and the shared memory in it, or None where the system does not show them."""
    total = shared = -1
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb", buffering=0) as file:
            for line in file.read(4096).splitlines():
                if line.startswith(b"Pss:"):
                    total = int(line.split()[1]) * 1024
                elif line.startswith(b"Pss_Shmem:"):
                    shared = int(line.split()[1]) * 1024
    except (ProcessLookupError, FileNotFoundError):
        # One that just ended has no memory; a system without the file has no PSS.
        return None if os.path.exists(f"/proc/{pid}/statm") else (0, 0)  # noqa: PTH110
    except (OSError, ValueError, IndexError):
        return None
    return (total, max(shared, 0)) if total >= 0 else None

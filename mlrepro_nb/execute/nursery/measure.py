"""What a kernel and all that it started take: processes, memory, disk."""

# Paths stay strings here: this runs ten times a second.
# ruff: noqa: PTH110, PTH115, PTH116, PTH208, PERF203
from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import Iterable, Sequence

_PAGE = resource.getpagesize()


def descendants(root: int) -> list[int]:
    """Return the processes below one, which is not itself among them."""
    found: list[int] = []
    waiting = [root]
    try:
        while waiting:
            children = _children(waiting.pop())
            found += children
            waiting += children
    except FileNotFoundError:
        return _by_parents(root)
    return found


def _children(pid: int) -> list[int]:
    folder = f"/proc/{pid}/task"
    try:
        threads = os.listdir(folder)
    except OSError:
        return []
    found: list[int] = []
    for thread in threads:
        name = f"{folder}/{thread}/children"
        try:
            with open(name, "rb") as file:
                found += map(int, file.read().split())
        except (ProcessLookupError, PermissionError):
            continue
        except FileNotFoundError:
            if not os.path.exists("/proc/self/task/" + str(os.getpid()) + "/children"):
                raise  # a kernel of Linux without these files
    return found


def _by_parents(root: int) -> list[int]:
    parents: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with (
                contextlib.suppress(OSError, ValueError, IndexError),
                open(f"/proc/{name}/stat", "rb") as file,
            ):
                parent = int(file.read().rpartition(b")")[2].split()[1])
                parents.setdefault(parent, []).append(int(name))
    found: list[int] = []
    waiting = [root]
    while waiting:
        children = parents.get(waiting.pop(), [])
        found += children
        waiting += children
    return found


def memory(pids: Iterable[int]) -> int:
    """Return bytes of memory that processes hold; what they share counts once."""
    own = shared = 0
    for pid in pids:
        with (
            contextlib.suppress(OSError, ValueError, IndexError),
            open(f"/proc/{pid}/statm", "rb") as file,
        ):
            _, resident, common = map(int, file.read().split()[:3])
            own += resident - common
            shared = max(shared, common)
    return (own + shared) * _PAGE


def written(pids: Iterable[int]) -> int:
    """Return bytes that living processes caused to be written."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError, ValueError), open(f"/proc/{pid}/io", "rb") as file:
            for line in file:
                if line.startswith(b"wchar:"):
                    total += int(line.split()[1])
    return total


def free(folder: str) -> int | None:
    """Return bytes that are free on the disk of a folder."""
    try:
        status = os.statvfs(folder)
    except OSError:
        return None
    return status.f_bavail * status.f_frsize


def size(folder: str, enough: int) -> int:
    """Return bytes on disk below a folder; the counting stops where it is more than enough."""
    total = 0
    waiting = [folder]
    while waiting and total <= enough:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    with contextlib.suppress(OSError):
                        if entry.is_dir(follow_symlinks=False):
                            waiting.append(entry.path)
                        else:
                            total += entry.stat(follow_symlinks=False).st_blocks * 512
        except OSError:
            continue
    return total


def deleted(pids: Sequence[int], folder: str) -> int:
    """Return bytes of files below a folder that are open and have no name any more."""
    seen: dict[tuple[int, int], int] = {}
    for pid in pids:
        try:
            names = os.listdir(f"/proc/{pid}/fd")
        except OSError:
            continue
        for name in names:
            path = f"/proc/{pid}/fd/{name}"
            with contextlib.suppress(OSError):
                there = os.readlink(path)
                if there.startswith(folder) and there.endswith(" (deleted)"):
                    status = os.stat(path)
                    seen[status.st_dev, status.st_ino] = status.st_blocks * 512
    return sum(seen.values())

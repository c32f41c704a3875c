"""Control groups, where this user may make some: the operating system then holds the limits."""

from __future__ import annotations

import contextlib
import os
import signal

_PREFIX = "mlrepro-"
_MARGIN = 64
"""Processes beyond the limit that may be: the keeper, which sees them, then says which limit."""


class Group:
    """The control groups of one kernel.

    `folders` is empty where none could be made.
    """

    def __init__(self, memory: int | None, processes: int | None) -> None:
        self.folders: list[str] = []
        name = f"{_PREFIX}{os.getpid()}"
        for controller, base in _bases().items():
            if controller == "unified":
                settings = {
                    "memory.max": memory, "memory.swap.max": 0 if memory else None,
                    "pids.max": processes and processes + _MARGIN,
                }  # fmt: skip
            elif controller == "memory":
                settings = {"memory.limit_in_bytes": memory}
            else:
                settings = {"pids.max": processes and processes + _MARGIN}
            _sweep(base)
            self._make(f"{base}/{name}", {k: v for k, v in settings.items() if v is not None})

    def _make(self, folder: str, settings: dict[str, int]) -> None:
        if not settings:
            return
        try:
            os.mkdir(folder)  # noqa: PTH102
        except OSError:
            return
        self.folders.append(folder)
        for name, value in settings.items():
            with contextlib.suppress(OSError), open(f"{folder}/{name}", "w") as file:
                file.write(str(value))

    def enter(self) -> None:
        """Put this process into the groups."""
        for folder in self.folders:
            with contextlib.suppress(OSError), open(f"{folder}/cgroup.procs", "w") as file:
                file.write(str(os.getpid()))

    def exhausted(self) -> bool:
        """Whether the system killed something for memory."""
        for folder in self.folders:
            for name in ("memory.events", "memory.oom_control"):
                with contextlib.suppress(OSError, ValueError), open(f"{folder}/{name}") as file:
                    for line in file:
                        if line.startswith("oom_kill ") and int(line.split()[1]):
                            return True
        return False

    def members(self) -> list[int]:
        """Return the processes in the groups, also those that are nobody's descendants."""
        found: list[int] = []
        for folder in self.folders:
            with contextlib.suppress(OSError), open(f"{folder}/cgroup.procs") as file:
                found += map(int, file.read().split())
        return found

    def remove(self) -> None:
        """Remove the groups, whose processes are gone."""
        for folder in self.folders:
            with contextlib.suppress(OSError), open(f"{folder}/cgroup.kill", "w") as file:
                file.write("1")
            for pid in self.members():
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(OSError):
                os.rmdir(folder)  # noqa: PTH106


def _sweep(base: str) -> None:
    """Remove what keepers left that were killed: empty groups of processes that are no more."""
    with contextlib.suppress(OSError):
        for name in os.listdir(base):  # noqa: PTH208
            number = name[len(_PREFIX) :]
            if name.startswith(_PREFIX) and number.isdigit():
                with contextlib.suppress(OSError):
                    os.kill(int(number), 0)
                    continue
                with contextlib.suppress(OSError):
                    os.rmdir(f"{base}/{name}")  # noqa: PTH106


def _bases() -> dict[str, str]:
    """Return where groups can be made below the one that this process is in, by controller."""
    own: dict[str, str] = {}
    found: dict[str, str] = {}
    with contextlib.suppress(OSError):
        with open("/proc/self/cgroup") as file:
            for line in file:
                number, controllers, path = line.rstrip("\n").split(":", 2)
                for controller in controllers.split(",") if number != "0" else ["unified"]:
                    own[controller] = path
        with open("/proc/self/mountinfo") as file:
            for line in file:
                before, _, after = line.partition(" - ")
                root, point = before.split()[3:5]
                kind, _, options = after.split()[:3]
                for controller in _controllers(kind, options):
                    path = own.get(controller, "/")
                    if root != "/" and path.startswith(root):
                        path = path[len(root) :]
                    base = (point + path).rstrip("/")
                    if controller in found or not os.access(base, os.W_OK):
                        continue
                    if controller != "unified" or _delegated(base):
                        found[controller] = base
    return found


def _controllers(kind: str, options: str) -> list[str]:
    if kind == "cgroup2":
        return ["unified"]
    if kind != "cgroup":
        return []
    return [name for name in ("memory", "pids") if name in options.split(",")]


def _delegated(base: str) -> bool:
    """Whether a group of the second version passes on both controllers."""
    with contextlib.suppress(OSError), open(f"{base}/cgroup.subtree_control") as file:
        return {"memory", "pids"} <= set(file.read().split())
    return False

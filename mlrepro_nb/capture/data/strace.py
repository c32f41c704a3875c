"""The deep layer: what strace says of a kernel and its children. Pure.

Every open is a system call, so nothing escapes it: C libraries, static programs,
children of children. `Trace` takes strace's lines one by one and keeps a line a
file, so that a run that opens files for days fills no memory.
"""

# Paths stay strings here: a run opens a great many files.
# ruff: noqa: PTH118
from __future__ import annotations

import os.path
import re
from typing import Literal

import msgspec

MARK = "/.mlrepro-mark/"
"""Prefix of the paths by which a traced kernel marks its cells (`markers`)."""

SYSCALLS = (
    "open", "openat", "openat2", "creat", "truncate", "rename", "renameat", "renameat2",
    "link", "linkat", "clone", "clone3", "fork", "vfork",
)  # fmt: skip

_LINE = re.compile(r"^(\d+)\s+(\d+\.\d+)\s+(.*)$", re.DOTALL)
_CALL = re.compile(r"^(\w+)\((.*)\)\s+=\s+(-?\d+|0x[0-9a-f]+|\?)(.*)$", re.DOTALL)
_RESUMED = re.compile(r"^<\.\.\. (\w+) resumed>(.*)$", re.DOTALL)
_UNFINISHED = "<unfinished ...>"
_TEXT = re.compile(r'"((?:[^"\\]|\\.)*)"')
_FOLDER = re.compile(r"(?:AT_FDCWD|\d+)<((?:[^>\\]|\\.)*)>")
_ESCAPE = re.compile(rb"\\([0-7]{1,3}|x[0-9a-fA-F]{2}|.)", re.DOTALL)
_CHARACTERS = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"v": b"\v", b"f": b"\f", b"a": b"\a",
               b"b": b"\b"}  # fmt: skip


class Opened(msgspec.Struct):
    """A file that was opened."""

    absolute: str
    access: Literal["read", "write"]
    order: int | None
    """The execution of the first time."""
    path: str
    """As it was given then."""
    first: float
    """Seconds since 1970, of the first time."""
    time: float
    """Of the last time."""
    threads: set[int]
    """Who opened it."""


class Trace:
    """Takes strace's lines (``-f -ttt -y``) and keeps what was opened."""

    def __init__(self) -> None:
        self.opened: dict[tuple[str, str], Opened] = {}
        self.made: set[str] = set()
        """Paths that were created while it looked."""
        self.order: int | None = None
        self.kernel: int | None = None
        """The thread that marks the cells."""
        self.running = False
        self._parents: dict[int, int] = {}
        self._processes: dict[int, int] = {}
        """Of a thread that is not its process's first: that one."""
        self._folders: dict[int, str] = {}
        self._half: dict[int, str] = {}

    def feed(self, line: str) -> None:
        """Take a line, without its end. What is no call of interest is passed over."""
        match = _LINE.match(line)
        if match is None:
            return
        thread, time, rest = int(match[1]), float(match[2]), match[3]
        if rest.endswith(_UNFINISHED):
            self._half[thread] = rest.removesuffix(_UNFINISHED)
            return
        if resumed := _RESUMED.match(rest):
            rest = self._half.pop(thread, "") + resumed[2].removeprefix(" ")
        elif rest.startswith("+++"):
            self._half.pop(thread, None)
            self._folders.pop(thread, None)
            return
        call = _CALL.match(rest)
        if call is not None:
            self._take(thread, time, call[1], call[2], call[3], call[4])

    def process(self, thread: int) -> int:
        """Return the process of a thread."""
        return self._processes.get(thread, thread)

    def descends(self, thread: int, ancestors: set[int]) -> bool:
        """Return whether a thread or process is one of some, or was started by one."""
        seen: set[int] = set()
        at: int | None = thread
        while at is not None and at not in seen:
            if at in ancestors:
                return True
            seen.add(at)
            at = self._parents.get(at)
        return False

    def _take(self, thread: int, time: float, name: str, arguments: str, result: str,
              after: str) -> None:  # fmt: skip
        if name in ("clone", "clone3", "fork", "vfork"):
            if result.isdigit() and result != "0":
                self._parents[int(result)] = thread
                if "CLONE_THREAD" in arguments:
                    self._processes[int(result)] = self.process(thread)
            return
        texts = [unescaped(text) for text in _TEXT.findall(arguments)]
        if not texts:
            return
        folders = _FOLDER.findall(arguments)
        if folders and "AT_FDCWD<" in arguments:
            self._folders[thread] = unescaped(folders[0])
        if name in ("open", "openat", "openat2", "creat"):
            if texts[0].startswith(MARK):
                self._mark(thread, texts[0])
                return
            self._open(thread, time, name, texts[0], arguments, result, after, folders)
        elif result != "0":
            return
        elif name.startswith(("rename", "link")) and len(texts) >= 2:
            source, target = (
                self._absolute(thread, text, folders[min(i, len(folders) - 1)] if folders else "")
                for i, text in enumerate(texts[:2])
            )
            self._moved(thread, time, source, target, keep=name.startswith("link"))
        elif name == "truncate":
            self._note(self._absolute(thread, texts[0], ""), "write", texts[0], time, thread)

    def _open(self, thread: int, time: float, name: str, given: str, arguments: str, result: str,
              after: str, folders: list[str]) -> None:  # fmt: skip
        if not result.isdigit():
            return
        if "O_DIRECTORY" in arguments or "O_PATH" in arguments:
            return
        target = _FOLDER.match(f"0{after}".strip()) if after.startswith("<") else None
        absolute = self._absolute(thread, given, folders[0] if folders else "")
        if target is not None:
            real = unescaped(target[1]).removesuffix(" (deleted)")
            if not real.startswith("/"):
                return  # a pipe, a socket
            absolute = absolute if absolute.startswith("/") else real
        if not absolute.startswith("/"):
            return
        if name == "creat" or "O_CREAT" in arguments:
            self.made.add(absolute)
        if name == "creat" or "O_WRONLY" in arguments or "O_TRUNC" in arguments:
            self._note(absolute, "write", given, time, thread)
        elif "O_RDWR" in arguments:
            self._note(absolute, "read", given, time, thread)
            self._note(absolute, "write", given, time, thread)
        else:
            self._note(absolute, "read", given, time, thread)

    def _absolute(self, thread: int, path: str, folder: str) -> str:
        base = unescaped(folder) if folder else self._folders.get(thread, "")
        return os.path.normpath(os.path.join(base, path)) if path else ""

    def _moved(self, thread: int, time: float, source: str, target: str, *, keep: bool) -> None:
        was = self.opened.get((source, "write"))
        if was is not None and not keep:
            del self.opened[source, "write"]
        self.made.add(target)
        self._note(target, "write", target, time, thread)

    def _note(self, absolute: str, access: Literal["read", "write"], given: str, time: float,
              thread: int) -> None:  # fmt: skip
        if not self.running and (self.kernel is None or thread == self.kernel):
            return  # the kernel's own doing, between the cells
        if access == "read" and (absolute, "write") in self.opened and absolute in self.made:
            return  # what the run made itself is no input
        known = self.opened.get((absolute, access))
        if known is None:
            self.opened[absolute, access] = Opened(
                absolute, access, self.order, given, time, time, {thread}
            )
        else:
            known.time = time
            known.threads.add(thread)

    def _mark(self, thread: int, path: str) -> None:
        what, _, order = path.removeprefix(MARK).partition("/")
        if not order.isdigit() or self.kernel not in (None, thread):
            return  # of another kernel, that the notebook started
        self.kernel = thread
        self.running = what == "begin"
        if self.running:
            self.order = int(order)


def unescaped(text: str) -> str:
    """Return what strace's C-style escapes stand for, as a path that the system would take."""
    if "\\" not in text:
        return text

    def character(match: re.Match[bytes]) -> bytes:
        code = match[1]
        if code.isdigit():
            return bytes([int(code, 8) & 0xFF])
        if len(code) == 3:
            return bytes([int(code[1:], 16)])
        return _CHARACTERS.get(code, code)

    raw = text.encode("utf-8", "surrogateescape")
    return os.fsdecode(_ESCAPE.sub(character, raw))

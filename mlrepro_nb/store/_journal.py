"""Journals: what live kernels have reported so far, an append-only file a session.

An event is a line of JSON, ``[kind, data]``, that one ``write`` hands to the
system before the next cell runs. It outlives the process from then on (killed,
out of memory), costs microseconds where a database's transaction costs a
hundred, and no kernel ever waits for another's. The index need not know:
folding a journal into a record is what reads it.

- A line that was cut short by the kernel's death is left out, the rest is whole.
- While the disk is full, events wait in memory and are written in order once
  there is room.
- On a network file system, or once a write has taken long, a thread writes and
  a cell waits for it at most `PATIENCE` seconds; the first time that runs out
  cells stop waiting until the disk has caught up. A local disk that hangs
  hangs a cell, as it hangs what the cell itself writes.
- Closed descriptors (``os.closerange``), a descriptor that is another file's by
  now, a deleted file: the journal is opened anew, and never written elsewhere.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any

import msgspec

PATIENCE = 1.0
"""Seconds that a cell waits for a disk that does not answer."""
_SLOW = 0.25
"""Seconds: a write that took longer is the last that a cell waits for without limit."""
_MOST_HELD = 64 << 20
"""Bytes of events that are held in memory while the disk takes none."""
_DAY = 86400.0
_CUT = "The journal was deleted while the kernel ran: what was recorded before is lost."

# As they were when this module was imported: a cell may replace them.
_write, _fstat, _open = os.write, os.fstat, os.open
_now = time.monotonic
_encoder = msgspec.json.Encoder(enc_hook=str)


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """A live kernel's journal."""

    id: str
    notebook: str
    started: float
    pid: int
    record: str | None = None
    """Digest of the last record that was sealed from it."""
    place: str = ""
    """Boot and process namespace in which `pid` counts."""
    cells: bool = True
    """Whether a cell began that is not in `record`."""


class Journal:
    """Appends events to a file; safe for several threads.

    Parameters
    ----------
    path : Path
        The file; it is made with the first event, and its folder with it.
    first : object, optional
        An event, (kind, data), that every new file starts with.
    slow : bool, optional
        Whether a thread writes; by default where the file is another machine's.
    """

    def __init__(
        self, path: Path, first: tuple[str, Any] | None = None, *, slow: bool | None = None
    ) -> None:
        self.path = path.absolute()  # a cell may change the working folder
        self._first = first
        self._handle: int | None = None
        self._identity: tuple[int, int] | None = None
        self._torn = b""
        self._waiting: deque[bytes] = deque()
        self._held = 0
        self._moved = threading.Condition(threading.RLock())
        self._threaded = is_remote(path) if slow is None else slow
        self._thread: threading.Thread | None = None
        self._busy = False
        self._behind = False
        self._closed = False
        self._error: OSError | None = None

    def open(self) -> None:
        """Make the file if it is not there."""
        with self._moved:
            if self._ours() is None:
                self._opened()

    def append(self, kind: str, data: Any) -> None:
        """Add an event; it survives the death of the process once this returns.

        Raises
        ------
        OSError
            It could not be written yet. It is kept and written with a later one.
        """
        line = encode(kind, data)
        with self._moved:
            if self._held > _MOST_HELD:
                raise OSError(f"{self.path} takes no more, and too much is waiting")
            self._waiting.append(line)
            self._held += len(line)
            if self._threaded:
                self._hand_over()
            else:
                began = _now()
                self._write_all()
                self._threaded = _now() - began > _SLOW

    def close(self, timeout: float = PATIENCE) -> bool:
        """Write what is waiting and close the file; return whether all is written."""
        with self._moved:
            self._closed = True
            if self._thread is not None:
                self._moved.notify_all()
                self._moved.wait_for(self._is_idle, timeout)
            elif self._waiting:
                with contextlib.suppress(OSError):
                    self._write_all()
            if self._is_idle():
                self._let_go()
            return self._is_idle()

    def _is_idle(self) -> bool:
        return not self._waiting and not self._busy

    @property
    def is_behind(self) -> bool:
        """Whether the disk takes so long that cells no longer wait for it."""
        return self._behind

    # --- writing

    def _write_all(self) -> None:
        while self._waiting:
            self._write_line(self._waiting[0])
            self._held -= len(self._waiting.popleft())

    def _write_line(self, line: bytes) -> None:
        handle = self._ours()
        if handle is None:
            handle = self._opened()
        rest = self._torn + line
        while rest:
            written = _write(handle, rest)
            rest = rest[written:]
            # What a full disk cuts stands alone on its line; the event is written again.
            self._torn = b"\n" if rest else b""

    def _ours(self) -> int | None:
        """Return the descriptor if it is still that of the journal."""
        if self._handle is None:
            return None
        try:
            status = _fstat(self._handle)
        except OSError:
            self._handle = None  # the cell closed it
            return None
        if (status.st_dev, status.st_ino) != self._identity:
            self._handle = None  # and something else has its number
        elif not status.st_nlink:
            self._let_go()
        return self._handle

    def _opened(self) -> int:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        handle = _open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        handle = _out_of_the_way(handle)
        status = _fstat(handle)
        identity = (status.st_dev, status.st_ino)
        with contextlib.suppress(OSError):  # how others see that this kernel lives
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        try:
            if not status.st_size:
                again = [("gap", {"text": _CUT})] if self._identity is not None else []
                head = [self._first] if self._first else []
                lines = b"".join(encode(*event) for event in (*head, *again))
                if lines and _write(handle, lines) != len(lines):
                    os.ftruncate(handle, 0)
                    raise OSError("no space left")
        except OSError:
            os.close(handle)
            raise
        # An empty line after what a killed writer may have left unfinished.
        self._torn = b"\n\n" if status.st_size else b""
        self._handle, self._identity = handle, identity
        return handle

    def _let_go(self) -> None:
        if self._handle is not None:
            with contextlib.suppress(OSError):
                os.close(self._handle)
            self._handle = None

    # --- a disk that is slow

    def _hand_over(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="mlrepro-journal", daemon=True)
            self._thread.start()
        self._moved.notify_all()
        if not self._behind and not self._moved.wait_for(self._is_idle, PATIENCE):
            self._behind = self._error is None
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def _work(self) -> None:
        while True:
            with self._moved:
                self._moved.wait_for(lambda: self._waiting or self._closed)
                if not self._waiting:
                    return
                line = self._waiting[0]
                self._busy = True
            error = None
            try:
                self._write_line(line)
            except OSError as found:
                error = found
            with self._moved:
                self._busy = False
                if error is None:
                    self._held -= len(self._waiting.popleft())
                else:
                    self._error = error
                if not self._waiting:
                    self._behind = False
                self._moved.notify_all()
                if error is not None:
                    if self._closed:
                        return
                    self._moved.wait(PATIENCE)  # a full disk is tried again


def _out_of_the_way(handle: int) -> int:
    """Return the descriptor under a high number.

    The numbers that a cell gets stay those that it gets without us, and a program
    that takes 1 or 2 for the terminal does not write here.
    """
    for least in (900, 200, 60, 3):
        with contextlib.suppress(OSError):
            high = fcntl.fcntl(handle, fcntl.F_DUPFD_CLOEXEC, least)
            os.close(handle)
            return high
    return handle


def encode(kind: str, data: Any) -> bytes:
    """Return an event's line; what JSON cannot hold is written as it can be."""
    try:
        return _encoder.encode((kind, data)) + b"\n"
    except (UnicodeEncodeError, OverflowError, TypeError, msgspec.MsgspecError):
        return _encoder.encode((kind, _cleaned(data))) + b"\n"


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()  # a lone surrogate has no UTF-8
    if isinstance(value, dict):
        return {_cleaned(str(key)): _cleaned(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_cleaned(item) for item in value]
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return str(value)
    return value if isinstance(value, int | float | None) else _cleaned(str(value))


def read_events(path: Path) -> list[tuple[str, Any]]:
    """Return a journal's events, oldest first; a damaged line becomes a ``damaged`` event.

    A line that the kernel's death cut is the last, or an empty one follows, and one
    that a full disk cut is followed by the whole: they are left out.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    events: list[tuple[str, Any]] = []
    last = len(lines) - 1
    for number, line in enumerate(lines):
        if not line:
            continue
        try:
            kind, data = json.loads(line)
        except (ValueError, TypeError, RecursionError):
            after = lines[number + 1] if number < last else b""
            if after and not after.startswith(line[:4096]):
                events.append(("damaged", {}))
            continue
        if kind not in ("session", "sealed"):
            events.append((kind, data))
    return events


# --- the journals of a store


class Journals:
    """The journals in a folder, ``<session>.jsonl`` each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._open: dict[str, Journal] = {}
        self._lock = threading.RLock()

    def path(self, session: str) -> Path:
        """Return where a session's journal is."""
        return self.folder / f"{session}.jsonl"

    def begin(self, session: str, notebook: str) -> Journal:
        """Begin a session's journal."""
        head = {
            "notebook": notebook, "started": time.time(), "pid": os.getpid(), "place": _place(),
        }  # fmt: skip
        journal = Journal(self.path(session), ("session", head))
        self._open[session] = journal
        journal.open()
        return journal

    def of(self, session: str) -> Journal:
        """Return a session's journal, to append to."""
        journal = self._open.get(session)
        if journal is None:
            with self._lock:
                journal = self._open.setdefault(session, Journal(self.path(session)))
        return journal

    def close(self) -> None:
        """Close the files; the next event opens its file again."""
        with self._lock:
            for journal in self._open.values():
                journal.close()

    def sessions(self) -> list[Session]:
        """Return the sessions, newest first."""
        found = [self._session(path) for path in self.folder.glob("*.jsonl")]
        return sorted((s for s in found if s), key=lambda s: (s.started, s.id), reverse=True)

    @staticmethod
    def _session(path: Path) -> Session | None:
        try:
            data = path.read_bytes()
            kind, head = json.loads(data[: data.find(b"\n")])
        except (OSError, ValueError, TypeError):
            return None
        if kind != "session":
            return None
        sealed, begun = data.rfind(b'\n["sealed",'), data.rfind(b'\n["begin",')
        record = None
        if sealed >= 0:
            with contextlib.suppress(ValueError, TypeError, KeyError):
                record = json.loads(data[sealed:].split(b"\n", 2)[1])[1]["record"]
        try:
            return Session(
                id=path.stem, notebook=str(head["notebook"]), started=float(head["started"]),
                pid=int(head["pid"]), place=str(head.get("place", "")), record=record,
                cells=begun > sealed,
            )  # fmt: skip
        except (KeyError, TypeError, ValueError):
            return None

    def prune(self) -> int:
        """Delete the journals of ended kernels that a record holds; return how many."""
        count = 0
        for path in self.folder.glob("*.jsonl"):
            session = self._session(path)
            with contextlib.suppress(OSError):
                if session is None:
                    # Its kernel was killed while it wrote the first line, or is about to.
                    done = time.time() - path.stat().st_mtime > _DAY
                elif done := not self.is_alive(session):
                    # Looked at again: it may have begun a cell before it died.
                    session = self._session(path)
                    done = session is not None and not session.cells
                if done:
                    path.unlink()
                    count += 1
        return count

    def is_alive(self, session: Session) -> bool:
        """Return whether the kernel that writes a journal is still there."""
        if session.place == _place():
            if session.pid == os.getpid():
                return True
            import psutil

            try:
                # A process that began after the session is another with the same number.
                return bool(psutil.Process(session.pid).create_time() <= session.started + 1)
            except psutil.Error:
                return False
        # Another machine's or container's: it holds a lock on the file while it lives.
        try:
            handle = os.open(self.path(session.id), os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
        finally:
            os.close(handle)
        return False


def _place() -> str:
    """Return what tells the numbers of processes of this boot and container from others'."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}:{Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return os.uname().nodename


_REMOTE = ("nfs", "cifs", "smb", "fuse", "ceph", "lustre", "gpfs", "beegfs", "9p", "afs", "gluster",
           "virtiofs", "ocfs2", "gfs2")  # fmt: skip


def is_remote(path: Path, mounts: str | None = None) -> bool:
    """Return whether a path is on a file system that another machine may keep waiting.

    `mounts` is as in ``/proc/self/mountinfo``, which is read by default.
    """
    folder = next((p for p in (path, *path.parents) if p.exists()), None)
    try:
        if folder is None:
            return False
        device = folder.stat().st_dev
        wanted = f"{os.major(device)}:{os.minor(device)}"
        if mounts is None:
            mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    for line in mounts.splitlines():
        fields, _, rest = line.partition(" - ")
        if fields.split()[2] == wanted:
            return rest.split()[0].startswith(_REMOTE)
    return False

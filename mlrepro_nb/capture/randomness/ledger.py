"""What a cell seeded and drew, while it runs."""

from __future__ import annotations

import mmap
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

from mlrepro_nb.capture.randomness.callers import from_clock
from mlrepro_nb.capture.randomness.replay import Replay
from mlrepro_nb.capture.randomness.states import fingerprint
from mlrepro_nb.model import digest_text

_MOST_FED = 2_000
"""Numbers kept of one cell to be fed back: 40 bytes each."""
_MOST_STATES = 200
"""States kept of one cell, of a generator that the system seeded: 3 kB each."""
_MOST_NOTED = 1_000
_MOST_REMEMBERED = 100_000

Entry = dict[str, Any]


class Ledger:
    """Collects what the taps tell, and hands it over at the end of a cell.

    Parameters
    ----------
    gap : callable
        Report what could not be recorded.
    replay : Replay
        What is fed back; empty in a recording.
    """

    def __init__(self, gap: Callable[[str], None], replay: Replay) -> None:
        self.gap, self.replay = gap, replay
        self.seeded: dict[str, bool] = {}
        """Of each global generator, whether it has been seeded."""
        self.instances: weakref.WeakKeyDictionary[Any, Entry] = weakref.WeakKeyDictionary()
        """Of each `random.Random`: ``seeded``, ``seed`` (an event to come), ``entropy``."""
        self.forked = False
        """Whether this is a child process, which has no journal."""
        self.on = True
        self.fed = 0
        """How many draws were fed back."""
        self._drawn: set[int] = set()
        self._running = False
        self._source, self._begun = "", time.time()
        self._shared = mmap.mmap(-1, mmap.PAGESIZE)
        self._tell: Callable[[str], None] = self._flag
        self._lock = threading.Lock()
        self._making = threading.local()
        self._waiting: list[tuple[int, Any, Entry]] = []
        self._clear()

    def _clear(self) -> None:
        self.seeds: list[Entry] = []
        self.entropy: list[Entry] = []
        self._feed: list[Entry] = []
        self._states = 0

    def begin(self, source: str) -> None:
        """Open a cell; what was drawn since the last is kept as drawn outside of cells."""
        self._settle()
        self._feed.clear()
        self._states = 0
        self._source, self._begun = source, time.time()
        self._running = True
        if self.replay.on:
            self.replay.begin(digest_text(source))

    def end(self) -> dict[str, Any]:
        """Return the cell's ``seeds``, ``entropy`` and ``feed``, and close it."""
        self._settle()
        if self._shared[0]:
            self._shared[0] = 0
            self.entropy.append({"source": "a forked process", "replayable": False, "worker": True})
        did = {
            "seeds": self.seeds,
            "entropy": _distinct(self.entropy),
            "feed": _compact(self._feed),
        }
        self._clear()
        self._running = False
        self._begun = time.time()
        return did

    def in_child(self, tell: Callable[[str], None] | None = None) -> None:
        """Go on in a child process: all that its kernel can still be told is that it drew.

        Parameters
        ----------
        tell : callable, optional
            Takes the source of entropy; without it a forked child only says that it drew.
        """
        self.forked, self.replay.on = True, False
        self._tell = tell or self._flag

    def _flag(self, _source: str) -> None:
        self._shared[0] = 1

    # --- seeds

    def origin(self, value: Any) -> str:
        """Return where a seed came from: ``value``, ``clock`` or ``entropy``."""
        number = _number(value)
        if number is not None:
            if number in self._drawn and not self.spelled(number):
                return "entropy"
            if from_clock(number, self._begun, time.time(), self._source):
                return "clock"
        return "value"

    def spelled(self, value: Any) -> bool:
        """Return whether the cell that is running spells a number out."""
        return str(value) in self._source or (type(value) is int and hex(value) in self._source)

    def seed(self, generator: str, value: Any, origin: str | None = None) -> str:
        """Note that a generator was seeded; return where the seed came from."""
        origin = origin or self.origin(value)
        if len(self.seeds) < _MOST_NOTED:
            self.seeds.append({"generator": generator, "value": shown(value), "source": origin})
        number = _number(value)
        if origin in ("clock", "entropy") and number is not None:
            self._keep({"seed": generator, "value": str(number)})
        return origin

    # --- entropy

    def remember(self, value: int) -> None:
        """Know a number again that came from the operating system. It is never reported."""
        if len(self._drawn) < _MOST_REMEMBERED:
            self._drawn.add(value)

    def was_drawn(self, value: Any) -> bool:
        """Return whether a number is one that the operating system gave."""
        try:
            return value in self._drawn
        except TypeError:
            return False

    def draw(self, source: str, feed: Entry | None = None) -> Entry:
        """Note a draw of entropy; `feed` is what gives the same again."""
        entry: Entry = {"source": source, "replayable": feed is not None}
        if self.forked:
            self._tell(source)
            return entry
        if not self._running:
            entry["outside"] = True
        if len(self.entropy) < _MOST_NOTED or feed is not None:
            self.entropy.append(entry)
        if feed is not None:
            entry["feed"] = feed
            self._keep(feed)
        return entry

    def feed_back(self, source: str, shown_: str) -> None:
        """Note that a draw was given what the recorded run's was: it is seeded by that."""
        self.fed += 1
        self.seed(source, shown_, "replay")

    def withdraw(self, entry: Entry | None) -> None:
        """Take a draw back: what it seeded was seeded anew before anything was drawn from it."""
        if entry is not None:
            entry["cancelled"] = True
            feed = entry.get("feed")
            if feed is not None:
                kind = next(iter(feed))
                feed.clear()
                feed["skip"], feed["n"] = kind, 1

    def _keep(self, feed: Entry) -> None:
        if not self._running or self.forked:
            return
        if "random" in feed:
            self._states += 1
        if len(self._feed) >= _MOST_FED * 5 or self._states > _MOST_STATES:
            self.gap(
                "A cell seeded more generators from the system than are kept to be fed back: "
                "`verify --replay` cannot repeat it."
            )
            return
        self._feed.append(feed)

    # --- RandomState takes entropy also where it is given a seed

    def expect(self) -> None:
        """Await what a RandomState that is being made in this thread draws."""
        self._making.entry = None

    def made(self, bits: Any) -> None:
        """Look, as soon as that RandomState is complete, whether what it drew was of use."""
        entry = getattr(self._making, "entry", None)
        if entry is not None:
            with self._lock:
                self._waiting.append((threading.get_ident(), bits, entry))

    def drew_numpy(self, entry: Entry) -> None:
        """Tell a RandomState that is being made what it drew."""
        self._settle(threading.get_ident())
        self._making.entry = entry

    def _settle(self, thread: int | None = None) -> None:
        if not self._waiting:
            return
        with self._lock:
            waiting = [w for w in self._waiting if thread in (None, w[0])]
            self._waiting = [w for w in self._waiting if w not in waiting]
        for _, bits, entry in waiting:
            # A RandomState that is given a number forgets the sequence it began with.
            if getattr(bits, "_seed_seq", entry) is None:
                self.withdraw(entry)


def shown(value: Any) -> str:
    """Return a seed as text; a big one by its fingerprint."""
    if isinstance(value, bool | int | str | float):
        return str(value)[:200]
    number = _number(value)
    if number is not None:
        return str(number)[:200]
    try:
        if isinstance(value, list | tuple) and len(value) <= 16:
            return str([int(item) for item in value])[:200]
        if isinstance(value, bytes | bytearray):
            return f"bytes:{fingerprint(bytes(value))}"
        if hasattr(value, "tobytes") and hasattr(value, "shape"):
            return f"array:{fingerprint(value)}"
    except Exception:  # noqa: BLE001 - the user's class
        pass
    return f"<{type(value).__name__}>"[:200]


def _number(value: Any) -> int | float | None:
    if isinstance(value, int | float):
        return value
    index = getattr(value, "__index__", None)
    if index is None or getattr(value, "shape", ()) != ():
        return None
    try:
        return int(index())
    except Exception:  # noqa: BLE001 - an array, a tracer
        return None


def _distinct(entries: list[Entry]) -> list[Entry]:
    found: dict[tuple[str, bool], Entry] = {}
    for entry in entries:
        if entry.get("cancelled"):
            continue
        key = entry["source"], bool(entry.get("outside"))
        one = found.setdefault(key, {"source": key[0], "replayable": True, "count": 0})
        one["count"] += 1
        one["replayable"] = one["replayable"] and bool(entry["replayable"])
        if key[1]:
            one["outside"] = True
        if entry.get("worker"):
            one["worker"] = True
    return list(found.values())


def _compact(feed: list[Entry]) -> list[Entry]:
    """Return a feed in which what is not needed is counted, not kept."""
    found: list[Entry] = []
    for entry in feed:
        last = found[-1] if found else {}
        if "skip" in entry and last.get("skip") == entry["skip"]:
            last["n"] += entry["n"]
        else:
            found.append(dict(entry))
    while found and "skip" in found[-1]:
        found.pop()
    return found

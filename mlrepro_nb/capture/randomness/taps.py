"""Where the standard library and NumPy are seeded, and take entropy."""

from __future__ import annotations

import functools
import os
import random
import sys
import threading
from collections.abc import Callable
from typing import Any

from mlrepro_nb.capture.randomness.callers import caller, drawer, is_users
from mlrepro_nb.capture.randomness.ledger import Ledger
from mlrepro_nb.capture.randomness.states import PythonRandom, fingerprint
from mlrepro_nb.capture.stand_ins import let_pickle_find

_MOST_COPIES = 1_000


class Patches:
    """Replaces attributes, and puts back what is still ours."""

    def __init__(self) -> None:
        self._undo: list[tuple[Any, str, Any, Any]] = []

    def replace(self, owner: Any, name: str, make: Callable[[Any], Any]) -> None:
        """Replace an attribute by what `make` makes of it; one that is missing stays so."""
        original = (
            owner.__dict__.get(name) if isinstance(owner, type) else getattr(owner, name, None)
        )
        if original is None:
            return
        ours = make(original)
        setattr(owner, name, ours)
        let_pickle_find(ours, owner, name)
        self._undo.append((owner, name, original, ours))

    def undo(self) -> None:
        """Put back what is still ours."""
        for owner, name, original, ours in reversed(self._undo):
            now = (
                owner.__dict__.get(name) if isinstance(owner, type) else getattr(owner, name, None)
            )
            if now is ours:
                setattr(owner, name, original)
        self._undo.clear()


def _own(owner: Any, name: str) -> Any:
    # Of a class, what it says itself: a method stays a function.
    return owner.__dict__.get(name) if isinstance(owner, type) else getattr(owner, name, None)


class Taps:
    """Tells a ledger of every seeding call, and of every draw of entropy that Python can see.

    Parameters
    ----------
    ledger : Ledger
        What is told.
    patches : Patches
        What replaces.
    before_seed, after_seed : callable
        Called with a global generator's name before and after it is seeded.
    importing : callable
        Return whether a library is being imported in this thread.
    """

    def __init__(
        self, ledger: Ledger, patches: Patches, *,
        before_seed: Callable[[str], None], after_seed: Callable[[str], None],
        importing: Callable[[], bool],
    ) -> None:  # fmt: skip
        self._ledger, self._patches = ledger, patches
        self._before_seed, self._after_seed = before_seed, after_seed
        self._importing = importing
        self._quiet = threading.local()
        self._copies: dict[int, bool] = {}
        """Of states that were read out, whether the generator had been seeded."""

    # --- the standard library

    def standard_library(self) -> None:
        """Tap `random` and `os.urandom`."""
        replace = self._patches.replace
        replace(random, "seed", self._seed("random", "a", on_none=self._seeded_by_system))
        replace(random, "setstate", self._set_state("random"))
        replace(random, "getstate", self._get_state("random"))
        replace(random.Random, "seed", self._instance_seed)
        replace(random.Random, "setstate", self._instance_setstate)
        replace(os, "urandom", self._urandom)
        if getattr(random, "_urandom", None) is not None:
            replace(random, "_urandom", lambda _: os.urandom)

    def _seeded_by_system(self) -> None:
        self._random_drew(random._inst, "random.seed()")  # noqa: SLF001

    def _random_drew(self, instance: Any, source: str) -> Any:
        """Note, or feed back, the state of a `random.Random` that the system seeded."""
        ledger = self._ledger
        if drawer() == "library" or self._importing():
            return None
        reader = PythonRandom(instance)
        fed = ledger.replay.take("random")
        if fed is not None:
            quiet, self._quiet.on = getattr(self._quiet, "on", False), True
            try:
                reader.restore(fed["random"])
            finally:
                self._quiet.on = quiet
            ledger.feed_back(source, f"state:{fingerprint(reader.read())}")
            return None
        return ledger.draw(source, {"random": reader.portable(reader.read())})

    def _instance_seed(self, original: Any) -> Any:
        @functools.wraps(original)
        def seed(self_: Any, *args: Any, **kwargs: Any) -> Any:
            __tracebackhide__ = True
            told = self._ledger.on and not getattr(self._quiet, "on", False)
            if told:
                self._safely(self._overwritten, self_)
            result = original(self_, *args, **kwargs)
            if told:
                self._safely(self._instance_seeded, self_, _first(args, kwargs, "a"))
            return result

        return seed

    def _instance_seeded(self, instance: Any, value: Any) -> None:
        ledger = self._ledger
        if instance is random._inst or isinstance(instance, random.SystemRandom):  # noqa: SLF001
            return
        if value is None:
            entry = self._random_drew(instance, "random.Random()")
            ledger.instances[instance] = {
                "seeded": entry is None, "entropy": entry,
                "fresh": _print(instance) if entry else None,
            }  # fmt: skip
        else:
            origin = ledger.origin(value)
            ledger.instances[instance] = {"seeded": origin == "value", "seed": (value, origin)}

    def _instance_setstate(self, original: Any) -> Any:
        @functools.wraps(original)
        def setstate(self_: Any, state: Any) -> Any:
            __tracebackhide__ = True
            if self._ledger.on and not getattr(self._quiet, "on", False):
                self._safely(self._instance_set, self_, state)
            return original(self_, state)

        return setstate

    def _instance_set(self, instance: Any, state: Any) -> None:
        self._overwritten(instance)
        seeded = self._copies.get(_key(state), True)
        self._ledger.instances[instance] = {"seeded": seeded}

    def _overwritten(self, instance: Any) -> None:
        """Forget the entropy of a generator that is seeded anew before it was drawn from.

        A copy is made that way, and ``random.Random()`` with a later ``seed(1)``.
        """
        known = self._ledger.instances.get(instance)
        if known and known.get("fresh") == _print(instance):
            self._ledger.withdraw(known["entropy"])

    def _urandom(self, original: Callable[[int], bytes]) -> Callable[[int], bytes]:
        @functools.wraps(original)
        def urandom(size: int, /) -> bytes:
            value = original(size)
            if self._ledger.on and not getattr(self._quiet, "on", False):
                self._safely(self._user_drew, value)
            return value

        return urandom

    def _user_drew(self, value: bytes) -> None:
        if drawer() != "user":
            return
        # To know a seed again that is made of it; the bytes themselves go nowhere.
        if len(value) <= 16:
            for order in ("big", "little"):
                self._ledger.remember(int.from_bytes(value, order))
        self._ledger.draw(_through())

    # --- NumPy

    def numpy(self, module: Any) -> None:
        """Tap `numpy.random`."""
        replace = self._patches.replace
        replace(module, "seed", self._seed("numpy", "seed"))
        replace(module, "set_state", self._set_state("numpy"))
        replace(module, "get_state", self._get_state("numpy"))
        bits = sys.modules.get("numpy.random.bit_generator")
        if bits is None or not callable(getattr(bits, "randbits", None)):
            self._ledger.gap("This NumPy's draws of entropy cannot be seen.")
            return
        replace(bits, "randbits", self._randbits)
        mtrand = sys.modules.get("numpy.random.mtrand")
        if isinstance(getattr(mtrand, "_MT19937", None), type):
            replace(mtrand, "_MT19937", lambda original: _Twister(original, self._ledger))

    def _randbits(self, original: Callable[[int], int]) -> Callable[[int], int]:
        # Without a seed, NumPy's SeedSequence takes its entropy here.
        @functools.wraps(original)
        def randbits(count: int) -> int:
            quiet, self._quiet.on = getattr(self._quiet, "on", False), True
            try:
                value = original(count)
            finally:
                self._quiet.on = quiet
            if not self._ledger.on or quiet:
                return value
            fed = self._safely(self._numpy_drew, value, count)
            return value if fed is None else int(fed)

        return randbits

    def _numpy_drew(self, value: int, count: int) -> int:
        ledger = self._ledger
        if self._importing() or drawer() == "library":
            return value
        fed = ledger.replay.take("numpy")
        if fed is not None:
            if fed["numpy"] == count:
                value = int(fed["value"], 16)
                ledger.feed_back("numpy.random", f"0x{value:x}")
                return value
            ledger.replay.odd()
        ledger.remember(value)
        ledger.drew_numpy(ledger.draw("numpy.random", {"numpy": count, "value": f"{value:x}"}))
        return value

    # --- seeding a global generator

    def _seed(
        self, generator: str, parameter: str, on_none: Callable[[], None] | None = None
    ) -> Callable[[Any], Any]:
        def make(original: Any) -> Any:
            @functools.wraps(original)
            def seed(*args: Any, **kwargs: Any) -> Any:
                __tracebackhide__ = True
                if not self._ledger.on:
                    return original(*args, **kwargs)
                given = _first(args, kwargs, parameter)
                self._safely(self._before_seed, generator)
                before = self._ledger.fed
                fed = self._safely(self._fed_seed, generator, given)
                if fed is not None:
                    kwargs.pop(parameter, None)
                    args = (fed, *args[1:])
                result = original(*args, **kwargs)
                self._safely(self._was_seeded, generator, given, fed, on_none, before)
                return result

            return seed

        return make

    def _fed_seed(self, generator: str, given: Any) -> int | float | None:
        replay = self._ledger.replay
        if not replay.on or given is None or self._ledger.origin(given) == "value":
            return None
        fed = replay.take(f"seed:{generator}")
        if fed is None:
            return None
        return float(fed["value"]) if isinstance(given, float) else int(fed["value"])

    def _was_seeded(
        self, generator: str, value: Any, fed: Any, on_none: Callable[[], None] | None, before: int
    ) -> None:
        ledger = self._ledger
        self._after_seed(generator)
        if fed is not None:
            ledger.feed_back(generator, str(fed))
        elif value is None and on_none is not None:
            on_none()
        if value is None or fed is not None:
            ledger.seeded[generator] = ledger.fed > before
        else:
            ledger.seeded[generator] = ledger.seed(generator, value) == "value"

    def _get_state(self, generator: str) -> Callable[[Any], Any]:
        def make(original: Any) -> Any:
            @functools.wraps(original)
            def getstate(*args: Any, **kwargs: Any) -> Any:
                __tracebackhide__ = True
                state = original(*args, **kwargs)
                if self._ledger.on:
                    self._safely(self._copied, generator, state)
                return state

            return getstate

        return make

    def _copied(self, generator: str, state: Any) -> None:
        if len(self._copies) >= _MOST_COPIES:
            self._copies.pop(next(iter(self._copies)))
        self._copies[_key(state)] = self._ledger.seeded.get(generator, False)

    def _set_state(self, generator: str) -> Callable[[Any], Any]:
        def make(original: Any) -> Any:
            @functools.wraps(original)
            def setstate(*args: Any, **kwargs: Any) -> Any:
                __tracebackhide__ = True
                if self._ledger.on:
                    self._safely(self._before_seed, generator)
                result = original(*args, **kwargs)
                if self._ledger.on:
                    self._safely(self._was_set, generator, _first(args, kwargs, "state"))
                return result

            return setstate

        return make

    def _was_set(self, generator: str, state: Any) -> None:
        self._after_seed(generator)
        seeded = self._copies.get(_key(state))
        # What is put back is no seed, and no more seeded than it was when it was read out.
        self._ledger.seeded[generator] = seeded is not False
        if seeded is None:
            self._ledger.seed(generator, f"state:{fingerprint(state)}", "state")

    def _safely(self, function: Callable[..., Any], *args: Any) -> Any:
        try:
            return function(*args)
        except Exception:  # noqa: BLE001 - the user's call must go on
            return None


def _key(state: Any) -> int:
    try:
        return hash(state)
    except TypeError:  # NumPy's
        return hash(fingerprint(state))


def _print(instance: Any) -> str:
    return fingerprint(PythonRandom(instance).read())


class _Twister:
    """Stands for NumPy's MT19937 where RandomState makes one, and is taken for it."""

    def __init__(self, original: Any, ledger: Ledger) -> None:
        self._original, self._ledger = original, ledger

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not self._ledger.on:
            return self._original(*args, **kwargs)
        self._ledger.expect()
        bits = self._original(*args, **kwargs)
        self._ledger.made(bits)
        return bits

    def __instancecheck__(self, instance: Any) -> bool:
        return isinstance(instance, self._original)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._original, name)


def _first(args: tuple[Any, ...], kwargs: dict[str, Any], name: str) -> Any:
    return args[0] if args else kwargs.get(name)


def _through() -> str:
    """Return by which function of the standard library the user's code asked for entropy."""
    frame, name = caller(), "os.urandom"
    while frame is not None and not is_users(frame):
        module = str(frame.f_globals.get("__name__") or "")
        name = {"random": "random.SystemRandom"}.get(module, module) or name
        frame = frame.f_back
    return name

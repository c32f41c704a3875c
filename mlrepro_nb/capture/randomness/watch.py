"""What the random generators do: their states around each cell, seeds, entropy.

A state that a cell changed shows that the cell drew; whether it had been
seeded shows that a rerun draws the same.
"""

from __future__ import annotations

import functools
import hashlib
import os
import random
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from mlrepro_nb.capture.imports import ImportHook
from mlrepro_nb.capture.watch import Execution, Recording, Watch

_MOST_GENERATORS = 64
_STDLIB_USERS = frozenset({"uuid", "secrets", "random", "tempfile"})


class RandomnessWatch(Watch):
    """Fingerprints of the generators, seeding calls and draws of entropy.

    Parameters
    ----------
    recording : Recording
        The recorder; the generators in its shell's namespace are watched.
    """

    title = "random generators"
    part = "randomness"

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._before: dict[str, str] = {}
        self._seeded: dict[str, bool] = {}
        self._drawn_unseeded: set[str] = set()
        self._entropy_values: set[int] = set()
        self._torch_initial: int | None = None
        self._seeds: list[dict[str, Any]] = []
        self._entropy: list[str] = []
        self._undo: list[tuple[Any, str, Any, Any]] = []
        self._random_key: Any = None
        self._random_print = ""
        self._modules = ImportHook(
            {
                "numpy.random": self._watch_numpy,
                "torch": self._watch_torch,
            }
        )

    def start(self) -> None:
        """Begin to watch."""
        self._replace(random, "seed", self._seeder("random", random.seed))
        self._replace(random, "setstate", self._seeder("random", random.setstate))
        urandom = self._watched_urandom(os.urandom)
        self._replace(os, "urandom", urandom)
        if hasattr(random, "_urandom"):
            self._replace(random, "_urandom", urandom)
        self._modules.start()
        self._begin()

    def stop(self) -> None:
        """Put back what is still ours."""
        self._modules.stop()
        for owner, name, original, ours in reversed(self._undo):
            if getattr(owner, name, None) is ours:
                setattr(owner, name, original)
        self._undo.clear()

    # --- around a cell

    def cell_begins(self, execution: Execution) -> None:
        """Take the states before a cell."""
        self._begin()

    def _begin(self) -> None:
        self._drawn_unseeded.clear()
        self._seeds, self._entropy = [], []
        self._before = self._states()

    def cell_ended(self, execution: Execution) -> dict[str, Any]:
        """Return what the cell did: JSON-able ``seeds``, ``uses``, ``entropy``."""
        self._notice_torch_seed()
        before, after = self._before, self._states()
        uses = []
        for name, state in after.items():
            was = before.get(name)
            if was == state:
                continue
            seeded = self._is_seeded(name) and name not in self._drawn_unseeded
            uses.append({"generator": name, "before": was or "", "after": state, "seeded": seeded})
        self._before = after
        return {"seeds": self._seeds, "uses": uses, "entropy": self._entropy}

    # --- states

    def _namespace(self) -> Mapping[str, Any]:
        return getattr(self._recording.shell, "user_ns", {})

    def _states(self) -> dict[str, str]:
        states = {"random": self._random_state()}
        numpy_random = sys.modules.get("numpy.random")
        if numpy_random is not None and hasattr(numpy_random, "get_state"):
            state = numpy_random.get_state(legacy=False)
            states["numpy"] = _of_bit_generator(state)
            states |= self._named(numpy_random)
        torch = sys.modules.get("torch")
        if torch is not None and hasattr(torch, "default_generator"):
            states["torch"] = _fingerprint(torch.get_rng_state().numpy().tobytes())
            cuda = getattr(torch, "cuda", None)
            if cuda is not None and cuda.is_initialized():
                for index in range(cuda.device_count()):
                    state = cuda.get_rng_state(index).cpu().numpy().tobytes()
                    states[f"torch.cuda:{index}"] = _fingerprint(state)
        return states

    def _random_state(self) -> str:
        state = random.getstate()
        # Hashing the tuple is ten times cheaper than making its fingerprint.
        key = hash(state)
        if key != self._random_key:
            self._random_key, self._random_print = key, _fingerprint(repr(state).encode())
        return self._random_print

    def _named(self, numpy_random: Any) -> dict[str, str]:
        generator, legacy = numpy_random.Generator, numpy_random.RandomState
        found: dict[str, str] = {}
        kinds = (generator, legacy, random.Random)
        names = [(n, v) for n, v in list(self._namespace().items()) if type(v) in kinds]
        for name, value in names[:_MOST_GENERATORS]:
            kind = type(value)
            if kind is generator:
                key = f"numpy.Generator:{name}"
                found[key] = _of_bit_generator(value.bit_generator.state)
                seed_sequence = getattr(value.bit_generator, "seed_seq", None)
                entropy = getattr(seed_sequence, "entropy", None)
                self._seeded[key] = entropy not in self._entropy_values
            elif kind is legacy:
                key = f"numpy.RandomState:{name}"
                found[key] = _of_bit_generator(value.get_state(legacy=False))
                bits = getattr(value, "_bit_generator", None)
                seed_sequence = getattr(bits, "_seed_seq", None)
                entropy = getattr(seed_sequence, "entropy", None)
                self._seeded[key] = entropy is None or entropy not in self._entropy_values
            else:
                key = f"random.Random:{name}"
                found[key] = _fingerprint(repr(value.getstate()).encode())
                self._seeded.setdefault(key, True)
        return found

    def _is_seeded(self, name: str) -> bool:
        return self._seeded.get("torch" if name.startswith("torch") else name, False)

    # --- seeding calls

    def _seeder(self, generator: str, original: Any) -> Any:
        @functools.wraps(original)
        def seed(*args: Any, **kwargs: Any) -> Any:
            __tracebackhide__ = True
            self._notice_seed(generator, original, args, kwargs)
            return original(*args, **kwargs)

        return seed

    def _notice_seed(self, generator: str, original: Any, args: Any, kwargs: Any) -> None:
        try:
            if generator not in self._drawn_unseeded and not self._seeded.get(generator):
                # It drew in this cell before it is seeded now.
                now = self._states().get(generator)
                if generator in self._before and now != self._before[generator]:
                    self._drawn_unseeded.add(generator)
            value = next(iter((*args, *kwargs.values())), None)
            self._seeded[generator] = value is not None
            name = getattr(original, "__name__", "seed")
            if value is not None:
                shown = str(value) if isinstance(value, int | str | float) else f"<{name}>"
                self._seeds.append({"generator": generator, "value": shown[:200]})
            else:
                self._entropy.append(f"{generator}.{name}()")
        except Exception:  # noqa: BLE001 - seeding must go on
            pass

    def _watch_numpy(self, module: Any) -> None:
        for name in ("seed", "set_state"):
            self._replace(module, name, self._seeder("numpy", getattr(module, name)))
        self._before["numpy"] = _of_bit_generator(module.get_state(legacy=False))
        bits = sys.modules.get("numpy.random.bit_generator")
        draw = getattr(bits, "randbits", None)
        if draw is None:
            return

        @functools.wraps(draw)
        def randbits(count: int) -> int:
            # Without a seed, NumPy's SeedSequence takes its entropy here.
            value: int = draw(count)
            self._entropy_values.add(value)
            if not _importing():
                self._entropy.append("numpy.random")
            return value

        self._replace(bits, "randbits", randbits)

    def _watch_torch(self, module: Any) -> None:
        self._torch_initial = module.initial_seed()
        self._before["torch"] = _fingerprint(module.get_rng_state().numpy().tobytes())
        original = module.seed

        @functools.wraps(original)
        def seed() -> Any:
            value = original()
            self._seeded["torch"] = False
            self._torch_initial = module.initial_seed()
            self._entropy.append("torch.seed()")
            return value

        self._replace(module, "seed", seed)

    def _notice_torch_seed(self) -> None:
        torch = sys.modules.get("torch")
        if torch is None or self._torch_initial is None:
            return
        # `manual_seed` itself stays as it is: torch.compile knows it by identity.
        initial = torch.initial_seed()
        if initial != self._torch_initial:
            self._torch_initial = initial
            self._seeded["torch"] = True
            self._seeds.append({"generator": "torch", "value": str(initial)})

    def _watched_urandom(self, original: Callable[[int], bytes]) -> Callable[[int], bytes]:
        @functools.wraps(original)
        def urandom(size: int, /) -> bytes:
            value = original(size)
            caller = sys._getframe(1)  # noqa: SLF001
            through = ""
            while caller is not None:
                module = caller.f_globals.get("__name__", "")
                if module not in _STDLIB_USERS:
                    if module == "__main__":
                        self._entropy.append(through or "os.urandom")
                    break
                through = module
                caller = caller.f_back  # type: ignore[assignment]
            return value

        return urandom

    def _replace(self, owner: Any, name: str, ours: Any) -> None:
        original = getattr(owner, name)
        setattr(owner, name, ours)
        self._undo.append((owner, name, original, ours))


def _importing() -> bool:
    """Return whether a module is being imported: what it draws for itself is no cell's doing."""
    frame = sys._getframe(2)  # noqa: SLF001
    while frame is not None and frame.f_globals.get("__name__") != "__main__":
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back  # type: ignore[assignment]
    return False


def _fingerprint(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def _of_bit_generator(state: Any) -> str:
    return _fingerprint(b"\0".join(_flat(state)))


def _flat(state: Any) -> Iterator[bytes]:
    if isinstance(state, dict):
        for key in sorted(state):
            yield from _flat(state[key])
    elif hasattr(state, "tobytes"):
        yield state.tobytes()  # an array, which repr would abbreviate
    else:
        yield repr(state).encode()

"""What the random generators do: their states around each cell, seeds, entropy.

A state that a cell changed shows that the cell drew; whether it had been
seeded shows that a rerun draws the same.
"""

from __future__ import annotations

import contextlib
import functools
import os
import random
import sys
from typing import Any

from mlrepro_nb.capture.data import sending
from mlrepro_nb.capture.data.children import Reporter, reporter
from mlrepro_nb.capture.imports import ImportHook
from mlrepro_nb.capture.randomness import workers
from mlrepro_nb.capture.randomness.frameworks import Frameworks
from mlrepro_nb.capture.randomness.generators import Generators, kind_of
from mlrepro_nb.capture.randomness.ledger import Ledger
from mlrepro_nb.capture.randomness.libraries import DRAWING, LibraryDraws
from mlrepro_nb.capture.randomness.replay import Replay
from mlrepro_nb.capture.randomness.states import (
    NumpyGenerator,
    NumpyLegacy,
    PythonRandom,
    Reader,
    TorchGenerator,
    fingerprint,
    looks_untouched,
    untouched,
)
from mlrepro_nb.capture.randomness.taps import Patches, Taps
from mlrepro_nb.capture.watch import Execution, Recording, Watch

_MOST_KEPT = 500
"""States kept of a recording, to be put back in a replay: 3 to 7 kB each."""


class RandomnessWatch(Watch):
    """States of the generators, seeding calls and draws of entropy.

    Parameters
    ----------
    recording : Recording
        The recorder; the generators in its shell's namespace are watched.
    children : Children, optional
        Who hears what child processes drew.
    """

    title = "random generators"
    part = "randomness"

    def __init__(self, recording: Recording, children: workers.Children | None = None) -> None:
        self._recording = recording
        self._children = children
        self._replay = Replay.from_environment(recording.gap)
        self._ledger = Ledger(recording.gap, self._replay)
        self._patches = Patches()
        self._libraries = LibraryDraws(self._glances)
        self._frameworks = Frameworks(self._ledger, self._patches)
        self._taps = Taps(
            self._ledger, self._patches, before_seed=self._before_seed,
            after_seed=self._after_seed, importing=lambda: self._libraries.inside,
        )  # fmt: skip
        self._global: dict[str, Reader] = {}
        self._before: dict[str, Any] = {}
        self._outside: list[dict[str, Any]] = []
        self._drawn: dict[str, bool] = {}
        """Of the generators that this cell drew from before it seeded them: were they seeded?"""
        self._fresh: dict[str, bytes | None] = {}
        """Words of each generator right after it was seeded, unless it was drawn from before."""
        self._generators = Generators()
        self._named: dict[int, _Named] = {}
        self._reporter: Reporter | None = None
        """In a child process: who tells the kernel."""
        self._kept = 0
        frameworks = self._frameworks
        self._modules = ImportHook(
            {
                "numpy.random": self._numpy_imported,
                "torch": self._torch_imported,
                "tensorflow.python.framework.random_seed": frameworks.tensorflow,
                "jax.random": frameworks.jax,
                "cupy.random": frameworks.cupy,
                "polars": frameworks.polars,
                **dict.fromkeys(DRAWING, self._drawing),
            }
        )

    def start(self) -> None:
        """Begin to watch."""
        self._global["random"] = PythonRandom(random._inst)  # noqa: SLF001
        self._taps.standard_library()
        sending.attach(self.tell_draws)
        self._modules.start()
        self._libraries.start()
        os.register_at_fork(after_in_child=self._forked)
        self._before = self._states(sure=True)
        self._libraries.reset(self._before)

    def stop(self) -> None:
        """Put back what is still ours."""
        self._ledger.on = False
        sending.detach(self.tell_draws)
        self._libraries.stop()
        self._modules.stop()
        self._patches.undo()
        self._named.clear()

    # --- modules that come

    def _numpy_imported(self, module: Any) -> None:
        legacy = getattr(sys.modules.get("numpy.random.mtrand"), "_rand", None)
        if legacy is not None:
            self._came("numpy", NumpyLegacy(legacy))
        self._taps.numpy(module)

    def _torch_imported(self, module: Any) -> None:
        self._frameworks.torch(module)
        self._came("torch", TorchGenerator(module.default_generator))

    def _came(self, name: str, reader: Reader) -> None:
        """Take in a global generator that an import has brought."""
        self._global[name] = reader
        self._put_back(name)
        self._before[name] = reader.read()

    def _drawing(self, module: Any) -> None:
        bracket = functools.partial(
            self._libraries.bracket, library=module.__name__.partition(".")[0]
        )
        for path in DRAWING[module.__name__]:
            owner, _, name = path.rpartition(".")
            self._patches.replace(getattr(module, owner) if owner else module, name, bracket)

    # --- around a cell

    def cell_begins(self, execution: Execution) -> None:
        """Take the states before a cell."""
        last, now = self._before, self._states()
        self._outside = [
            use
            for name, state in now.items()
            if name in last
            and last[name] != state
            and (use := self._use_outside(name, last[name], state)) is not None
        ]
        self._ledger.begin(execution.source)
        if self._replay.states:
            for name in list(self._replay.states):
                self._put_back(name)
            now = self._states(sure=True)
        for named in self._named.values():
            named.glance()
        self._before = now
        self._drawn.clear()
        self._fresh.clear()
        self._libraries.reset(now)

    def cell_ended(self, execution: Execution) -> dict[str, Any]:
        """Return what the cell did: ``seeds``, ``uses``, ``entropy``, and how to do it again."""
        self._frameworks.notice()
        uses, states = list(self._outside), dict[str, Any]()
        after = self._states(sure=True)
        for name, state in after.items():
            before = self._before.get(name)
            if before is None or not self._moved(name, before, state):
                continue
            by = self._libraries.by(name, state)
            use = self._use(name, before, state) | ({"by": by} if by else {})
            uses.append(use)
            if not use["seeded"] and not by and (kept := self._keep(name, before)) is not None:
                states[name] = kept
        uses += self._frameworks.tensorflow_uses()
        uses += self._named_uses()
        self._before, self._outside = after, []
        self._drawn.clear()
        self._libraries.reset(after)
        did = {"uses": uses, "states": states} | self._ledger.end()
        if self._children is not None and (drawn := self._children.drawn()):
            did["uses"] += workers.uses(drawn)
            did["entropy"] += workers.entropy(drawn)
        return did

    def _use_outside(self, name: str, before: Any, after: Any) -> dict[str, Any] | None:
        """Return what was drawn between two cells; a library's own only where it shifts a seed."""
        use = self._use(name, before, after) | {"outside": True}
        by = self._libraries.by(name, after)
        if by is None:
            return use
        return use | {"by": by} if use["seeded"] else None

    def _moved(self, name: str, before: Any, state: Any) -> bool:
        """Return whether a generator was drawn from: to be seeded is no draw."""
        if name in self._drawn:
            return True
        if before == state:
            return False
        if name.startswith("torch"):
            return not self._frameworks.only_seeded(name, state)
        return not (name in self._fresh and state == (self._fresh[name], None))

    def _use(self, name: str, before: Any, after: Any) -> dict[str, Any]:
        return {
            "generator": name, "before": fingerprint(before), "after": fingerprint(after),
            "seeded": self._seeded(name),
        }  # fmt: skip

    def _seeded(self, name: str) -> bool:
        return self._ledger.seeded.get(name, False) and self._drawn.get(name, True)

    def _keep(self, name: str, state: Any) -> Any:
        """Return a state as it can be put back."""
        self._kept += 1
        if self._kept > _MOST_KEPT:
            self._recording.gap(
                "More cells drew from unseeded generators than have their states kept: "
                "`verify --replay` cannot repeat the later ones."
            )
            return None
        return self._global[name].portable(state)

    def _put_back(self, name: str) -> None:
        """In a replay, give a generator the state that it had in the recorded run."""
        reader, state = self._global.get(name), self._replay.states.get(name)
        if reader is None or state is None:
            return
        del self._replay.states[name]
        reader.restore(state)
        self._ledger.seeded[name] = True
        self._ledger.seed(name, f"state:{fingerprint(reader.read())}", "replay")

    # --- in a child process

    def _forked(self) -> None:
        """Go on in a forked child."""
        if not self._ledger.on:
            return
        # Python seeds it anew in each; NumPy's goes on as it was.
        self._ledger.seeded["random"] = False
        self.tell(reporter())

    def tell(self, reporter: Reporter | None) -> None:
        """In a child process: tell from now on what is drawn, if there is who tells the kernel."""
        self._reporter = reporter
        self._ledger.in_child(functools.partial(reporter.drew, seeded=None) if reporter else None)
        self._before = {
            name: (words, None)
            for name, reader in self._global.items()
            if isinstance(reader, PythonRandom | NumpyLegacy) and (words := reader.words())
        }
        self._drawn.clear()
        self._fresh.clear()
        self._libraries.reset(self._before)

    def tell_draws(self) -> None:
        """In a child process: tell what was drawn from since the last time.

        No lock is taken unless this process drew: another thread of its parent's may have held
        NumPy's when it was forked.
        """
        if self._reporter is None:
            return
        for name, before in list(self._before.items()):
            reader = self._global.get(name)
            if not isinstance(reader, PythonRandom | NumpyLegacy):
                continue
            if reader.words() == before[0] and name not in self._drawn:
                continue
            with contextlib.suppress(Exception):
                state = reader.glance()
                if self._moved(name, before, state) and not self._libraries.by(name, state):
                    self._reporter.drew(name, self._seeded(name))
                self._before[name] = state
                self._drawn.pop(name, None)
                self._fresh.pop(name, None)

    # --- states

    def _states(self, *, sure: bool = False) -> dict[str, Any]:
        """Return the tokens of the global generators; None where one cannot be read."""
        if "torch" in self._global:
            for name, reader in self._frameworks.readers().items():
                self._global.setdefault(name, reader)
        found = {}
        for name, reader in self._global.items():
            try:
                found[name] = reader.read() if sure else reader.glance()
            except Exception as error:  # noqa: BLE001, PERF203 - a lost device, a captured graph
                self._unreadable(f"The state of {name}", error)
        return found

    def _unreadable(self, what: str, error: Exception) -> None:
        self._recording.gap(f"{what} could not be read: {type(error).__name__}: {error}"[:300])

    def _glances(self) -> dict[str, Any]:
        """Return the tokens of the generators that libraries draw from for themselves."""
        return {
            name: reader.glance()
            for name, reader in list(self._global.items())
            if name in ("random", "numpy")
        }

    def _before_seed(self, name: str) -> None:
        """Note that a generator is being seeded that the cell may have drawn from already."""
        reader, before = self._global.get(name), self._before.get(name)
        if name in self._drawn or not isinstance(reader, PythonRandom | NumpyLegacy):
            return
        words = reader.words()
        if before is None or words in (None, before[0], self._fresh.get(name)):
            return
        if self._libraries.by(name, reader.read()) is None:
            self._drawn[name] = self._ledger.seeded.get(name, False)

    def _after_seed(self, name: str) -> None:
        """Note what a generator was seeded to: that is no draw."""
        reader = self._global.get(name)
        if isinstance(reader, PythonRandom | NumpyLegacy) and name not in self._drawn:
            self._fresh[name] = reader.words()

    # --- generators with names

    def _named_uses(self) -> list[dict[str, Any]]:
        shell = self._recording.shell
        found = self._generators.find(
            getattr(shell, "user_ns", {}), getattr(shell, "user_ns_hidden", ())
        )
        uses, now = [], dict[int, _Named]()
        for name, generator in found.items():
            known = self._named.get(id(generator))
            if known is None:
                known = self._met(name, generator)
                if known is None:
                    continue
            elif type(generator).__module__.startswith("torch"):
                self._torch_reseeded(known, generator)
            now[id(generator)] = known
            use = self._named_use(known, generator)
            if use is not None:
                uses.append(use)
        self._named = now
        if self._generators.cut:
            self._recording.gap(
                "The namespace holds more than is searched for random generators: "
                "some may have been overlooked."
            )
        return uses

    def _named_use(self, known: _Named, generator: Any) -> dict[str, Any] | None:
        state = known.reader.read()
        info = self._ledger.instances.get(generator) if known.python else None
        if info is not None:
            known.seeded = info["seeded"]
            if "seed" in info:
                value, origin = info.pop("seed")
                self._ledger.seed(known.label, value, origin)
        if known.state == state:
            return None
        before, known.state = known.state, state
        after = fingerprint(state)
        was = known.began if before is None else fingerprint(before)
        known.began = None
        if before is None and any(
            other.print() == after for other in self._named.values() if other is not known
        ):
            return None  # a copy
        if was == after or (was is None and looks_untouched(known.reader.portable(state))):
            return None
        return {
            "generator": known.label, "before": was or "", "after": after, "seeded": known.seeded,
        }  # fmt: skip

    def _met(self, name: str, generator: Any) -> _Named | None:
        """Take in a generator that is seen for the first time."""
        kind = kind_of(generator)
        known = _Named(f"{kind}:{name}")
        try:
            if kind == "random.Random":
                self._met_random(known, generator)
            elif kind == "torch.Generator":
                known.reader = TorchGenerator(generator)
                self._torch_reseeded(known, generator)
                again = type(generator)(device=generator.device).manual_seed(known.seed)
                known.began = fingerprint(TorchGenerator(again).read())
            else:
                legacy = kind.endswith("RandomState")
                known.reader = (NumpyLegacy if legacy else NumpyGenerator)(generator)
                known.began = untouched(generator)
                self._numpy_seed(known, generator)
        except Exception as error:  # noqa: BLE001 - a generator of somebody else's making
            self._unreadable(f"The generator {name}", error)
            return None
        return known

    def _met_random(self, known: _Named, generator: random.Random) -> None:
        known.reader, known.python = PythonRandom(generator), True
        info = self._ledger.instances.get(generator) or {}
        known.began = info.get("fresh")
        if "seed" in info and isinstance(info["seed"][0], int | str | float | bytes):
            again = random.Random(info["seed"][0])
            known.began = fingerprint(PythonRandom(again).read())

    def _numpy_seed(self, known: _Named, generator: Any) -> None:
        bits = getattr(generator, "bit_generator", None) or getattr(
            generator, "_bit_generator", None
        )
        sequence = getattr(bits, "seed_seq", None) or getattr(bits, "_seed_seq", None)
        entropy = getattr(sequence, "entropy", None)
        if entropy is None:
            return  # a RandomState that was given a number does not know it any more
        if self._ledger.was_drawn(entropy):
            known.seeded = False
            return
        spawned = tuple(getattr(sequence, "spawn_key", ()))
        origin = self._ledger.origin(entropy)
        known.seeded = origin == "value"
        text = f"{entropy} spawned {spawned}" if spawned else entropy
        self._ledger.seed(known.label, text, origin)

    def _torch_reseeded(self, known: _Named, generator: Any) -> None:
        seed, origin = self._frameworks.of_generator(generator)
        if seed != known.seed:
            known.seed, known.seeded = seed, origin == "value"
            if origin == "entropy":
                self._ledger.draw(f"{known.label}.seed()")
            else:
                self._ledger.seed(known.label, seed, origin)


class _Named:
    """A generator that a name of the user's leads to."""

    reader: Reader

    def __init__(self, label: str) -> None:
        self.label = label
        self.state: Any = None
        self.began: str | None = None
        """Fingerprint of the state that it was made with, until it is first read."""
        self.seeded = True
        self.seed: int | None = None
        self.python = False

    def print(self) -> str:
        """Return the fingerprint of the state."""
        return fingerprint(self.state)

    def glance(self) -> None:
        """Take the state before a cell, so that what ran between two cells is not the next's."""
        self.state = self.reader.glance()

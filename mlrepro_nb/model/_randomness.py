"""What was seeded and drawn."""

from __future__ import annotations

from typing import Literal

import msgspec


class Seed(msgspec.Struct, frozen=True, kw_only=True):
    """A call that seeded a generator."""

    generator: str
    """``random``, ``numpy``, ``numpy.Generator:<name>``, ``torch``, ``torch.cuda:0``, ``jax``…"""
    value: str
    """The number; of what is longer, a fingerprint."""
    source: Literal["value", "state", "clock", "entropy", "replay"] = "value"
    """Where it came from: the code (``value``, ``state``), which a rerun repeats; the time or the
    operating system, which it does not; a recorded run that was fed back."""
    cell: int | None = None
    execution: int | None = None


class GeneratorUse(msgspec.Struct, frozen=True, kw_only=True):
    """A generator whose state a cell changed."""

    generator: str
    cell: int | None = None
    execution: int
    before: str
    after: str
    seeded: bool
    """Whether it had been seeded since the kernel started when the cell drew from it, by
    something that a rerun repeats."""
    by: str | None = None
    """The library that alone drew, for an id or while it was imported: no draw of the cell's."""
    outside: bool = False
    """Whether it was drawn from between this execution and the one before: by a thread, a
    widget's callback."""
    worker: bool = False
    """Whether child processes drew, each from its own; `before` and `after` are empty then, and
    `seeded` is whether it was so in all of them. Which task draws what is up to who comes first,
    where a worker goes on with the state that it was forked with."""


class Entropy(msgspec.Struct, frozen=True, kw_only=True):
    """A draw of operating-system entropy, by the user's code or to seed a generator for it."""

    source: str
    """``numpy.random``, ``random.seed()``, ``uuid``, ``secrets``, ``a forked process``…"""
    count: int = 1
    replayable: bool = False
    """Whether `Randomness.replay` gives the same again. Never so for bytes that the user's code
    asked for itself, which may be a key."""
    outside: bool = False
    """Whether it was drawn between this execution and the one before."""
    worker: bool = False
    """Whether child processes drew it."""
    cell: int | None = None
    execution: int | None = None


class Randomness(msgspec.Struct, frozen=True, kw_only=True):
    """Seeds, generator states and entropy."""

    seeds: tuple[Seed, ...] = ()
    uses: tuple[GeneratorUse, ...] = ()
    entropy: tuple[Entropy, ...] = ()
    cells: dict[str, Literal["seeded", "unseeded", "none"]] = {}
    """By execution order, as a string."""
    replay: str | None = None
    """Digest of the blob that `mlrepro verify --replay` feeds back: the entropy that seeded
    generators, and the states of those that were drawn from unseeded."""
    variation: int | None = None
    """What the seeds of this run were varied by; None where they are as they are written."""

"""The runs that a notebook's metrics are held against: those that were as the record's was."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec

from mlrepro_nb.errors import MlreproError
from mlrepro_nb.model import Record
from mlrepro_nb.verify._reference import Reference
from mlrepro_nb.verify.statistical._sample import is_seeded
from mlrepro_nb.verify.statistical._seeds import apart_from_seeds, parameters_apart_from_seeds

_MOST = 500
"""Entries of the store that are looked at."""


class References(msgspec.Struct, frozen=True):
    """Records of runs that differ by chance alone, that which is verified first."""

    records: tuple[Record, ...]
    left_out: dict[str, int]
    """How many records of the notebook do not count, by what was otherwise."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What to say of those that do not count."""
        if not self.left_out:
            return ()
        total = sum(self.left_out.values())
        why = ", ".join(f"{count} {what}" for what, count in sorted(self.left_out.items()))
        which = "One earlier run does" if total == 1 else f"{total} earlier runs do"
        return (f"{which} not count as reference: {why}.",)


def references(found: Reference) -> References:
    """Return the record of a reference, and all earlier ones that are of the same experiment.

    That is the same code, data, parameters and packages on a like machine, seeds apart. Runs
    that `verify` made count, too. Of runs that chance was no part of one counts.
    """
    assert found.record is not None
    own = found.record
    records, left_out = [own], Counter[str]()
    seen = {_draw(own)}
    if found.store is not None:
        for entry in found.store.entries(Record, limit=_MOST):
            if entry.notebook != found.name or entry.digest == found.digest:
                continue
            try:
                record = found.store.get(Record, entry.digest)
            except MlreproError:
                continue
            other = _otherwise(own, record)
            if other is not None:
                left_out[other] += 1
            elif (draw := _draw(record)) not in seen:
                records.append(record)
                if draw is not None:
                    seen.add(draw)
    return References(tuple(records), dict(left_out))


def _otherwise(own: Record, other: Record) -> str | None:
    """Return what was not the same in another run."""
    if other.results.status != "ok":
        return "failed"
    return next((what for what, of in _PARTS.items() if of(own) != of(other)), None)


def _code(record: Record) -> list[str]:
    last = {
        cell.index: cell.source for cell in record.code.cells
        if cell.origin == "notebook" and cell.index is not None
    }  # fmt: skip
    cells = [apart_from_seeds(last[index]) for index in sorted(last)]
    modules = sorted(f"{module.path} {module.digest}" for module in record.code.modules)
    return [cell for cell in cells if cell] + modules


def _parameters(record: Record) -> dict[str, Any]:
    return parameters_apart_from_seeds(record.parameters.papermill)


def _data(record: Record) -> dict[str, str | None]:
    written = {a.repo_path or a.path for a in record.data if a.access == "write"}
    return {
        a.repo_path or a.path: a.digest for a in record.data
        if a.access == "read" and (a.repo_path or a.path) not in written
    }  # fmt: skip


def _packages(record: Record) -> tuple[str, dict[str, str]]:
    found = {d.name: d.version for d in record.environment.distributions if d.imported}
    return record.environment.python, found


def _machine(record: Record) -> tuple[Any, ...]:
    return record.hardware.cpu, [gpu.product for gpu in record.hardware.gpus if gpu.visible]


_PARTS: dict[str, Callable[[Record], Any]] = {
    "of other code": _code,
    "with other parameters": _parameters,
    "of other data": _data,
    "with other packages": _packages,
    "on another machine": _machine,
}


def _draw(record: Record) -> tuple[Any, ...] | None:
    """Return what a run has in common with those that are it again; None where chance decides."""
    if not is_seeded(record):
        return None
    results = record.results
    values = (*results.metrics.items(), *results.scraps.items(), *results.variables.items())
    seeds = tuple((seed.generator, seed.value) for seed in record.randomness.seeds)
    code = tuple(cell.digest for cell in record.code.cells if apart_from_seeds(cell.source))
    given = tuple(sorted((k, repr(v)) for k, v in record.parameters.papermill.items()))
    return record.randomness.variation, seeds, code, given, tuple(sorted(values))

"""Which conditions are worth a rerun: read from the notebook, its modules and what differs."""

from __future__ import annotations

import msgspec

from mlrepro_nb.dataflow import Flow, read_cell
from mlrepro_nb.verify.attribute import Case, circumstantial, draws, drift_suspected, near
from mlrepro_nb.verify.attribute.environment import recorded_versions
from mlrepro_nb.verify.attribute.sources import Source, find_sources, in_slice
from mlrepro_nb.verify.differential._conditions import Condition

_CONDITION: dict[str, Condition] = {
    "random": "seeds", "entropy": "entropy", "clock": "clock", "hash": "hash-seed",
    "listing": "listing",
}  # fmt: skip
_PARALLEL = frozenset(
    {"torch", "tensorflow", "jax", "sklearn", "xgboost", "lightgbm", "catboost", "numba", "joblib",
     "dask", "numexpr", "polars", "faiss", "umap", "cupy", "keras"}
)  # fmt: skip
_CONCURRENT = frozenset({"concurrent", "multiprocessing", "threading", "joblib", "dask", "ray"})
_HINTED: dict[str, Condition] = {
    "date": "clock", "uuid": "entropy", "opaque": "entropy", "order": "hash-seed",
}  # fmt: skip
_LIKELY: tuple[Condition, ...] = (
    "seeds", "hash-seed", "listing", "one-thread", "entropy", "clock", "data", "environment",
)  # fmt: skip


class Suspicion(msgspec.Struct, frozen=True, kw_only=True):
    """A condition that may explain some cells, and what speaks for it."""

    condition: Condition
    cells: frozenset[int]
    why: str


def suspicions(case: Case, *, chance: bool) -> list[Suspicion]:
    """Return what may explain the cells whose cause is not sure yet, the likeliest first.

    With `chance` for the cells in which two clean runs differ, else for those where they agree.
    """
    found: dict[Condition, tuple[set[int], str]] = {}
    for cell in case.cells.values():
        if cell.error is not None and not chance and drift_suspected(case, cell.index):
            found.setdefault("environment", (set(), _drift(case)))[0].add(cell.index)
        if not cell.differs or cell.error is not None or (cell.repeats is False) != chance:
            continue
        suspects = _by_chance(case, cell.index) if chance else _by_change(case, cell.index)
        for condition, why in suspects.items():
            found.setdefault(condition, (set(), why))[0].add(cell.index)
    return [
        Suspicion(condition=c, cells=frozenset(found[c][0]), why=found[c][1])
        for c in _LIKELY if c in found
    ]  # fmt: skip


def _by_chance(case: Case, index: int) -> dict[Condition, str]:
    """Return the suspects of a cell; none where there is only one and it is seen."""
    upstream = case.flow.upstream(index)
    difference = case.cells[index].difference
    hints = difference.hints if difference else frozenset()
    sources = [*in_slice(case.sources, upstream), *_in_modules(case, upstream)]
    found: dict[Condition, str] = {}
    for source in sources:
        if source.kind in _CONDITION:
            found.setdefault(_CONDITION[source.kind], f"`{source.text}` ({source.kind})")
    if any(True for _ in draws(case, upstream)):
        found.setdefault("seeds", "the recorder saw an unseeded draw")
    if not found and any(source.kind in ("timer", "identity") for source in sources):
        return {}
    roots = _roots(case, upstream)
    if near(case, index) and roots & _PARALLEL:
        found["one-thread"] = f"{', '.join(sorted(roots & _PARALLEL))} may add up in threads"
    elif roots & _CONCURRENT:
        found["one-thread"] = f"{', '.join(sorted(roots & _CONCURRENT))} is used"
    if not found:
        for hint in sorted(hints & set(_HINTED)):
            found[_HINTED[hint]] = f"what differs looks like it ({hint})"
        for condition in ("seeds", "hash-seed", "one-thread"):
            found.setdefault(condition, "nothing in the source says what it is")
        return found
    return found if len(found) > 1 or "one-thread" in found else {}


def _by_change(case: Case, index: int) -> dict[Condition, str]:
    """Return what a rerun can tell of a cell that is stable, and differs from the reference."""
    found: dict[Condition, str] = {}
    for kind in circumstantial(case, index):
        if kind == "clock":
            found["clock"] = "the code reads the clock"
        elif kind == "listing-order":
            found["listing"] = "the code takes files in the order of the file system"
        elif kind == "changed-data" and case.record is not None:
            found["data"] = "a file that was read has changed, and so has something else"
    if drift_suspected(case, index):
        found["environment"] = _drift(case)
    return found


def _drift(case: Case) -> str:
    versions = recorded_versions(case)
    names = [f"{name} {version}" for name, version in sorted(versions.items())]
    if not names:
        return "the record is of another Python"
    more = f" and {len(names) - 3} more" if len(names) > 4 else ""
    return f"the record has {', '.join(names[: 3 if more else 4])}{more}"


def _roots(case: Case, upstream: frozenset[int]) -> frozenset[str]:
    names: set[str] = set()
    for cell in upstream:
        flow = case.flow.by_index.get(cell)
        if flow is None:
            continue
        names |= {n.partition(".")[0] for n in (*flow.imports.values(), *flow.stars)}
        names |= {case.flow.resolve(n).partition(".")[0] for n in flow.loads}
    return frozenset(names)


def _in_modules(case: Case, upstream: frozenset[int]) -> list[Source]:
    """Return what the project's own modules take in that some cells import."""
    found: list[Source] = []
    for root in sorted(_roots(case, upstream)):
        for folder in {case.folder, case.root}:
            for path in (folder / f"{root}.py", folder / root / "__init__.py"):
                try:
                    text = path.read_text(encoding="utf-8") if root.isidentifier() else ""
                except (OSError, UnicodeDecodeError):
                    continue
                found += find_sources(Flow([read_cell(0, text)]))
    return found

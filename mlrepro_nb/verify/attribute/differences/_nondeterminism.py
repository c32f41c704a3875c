"""Two clean runs differ: which chance it is that shows."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction

import msgspec

from mlrepro_nb.model import Cause, GeneratorUse, Record
from mlrepro_nb.verify.attribute import recorded
from mlrepro_nb.verify.attribute.case import Case, cause
from mlrepro_nb.verify.attribute.differences._shown import hints, shown
from mlrepro_nb.verify.attribute.order import imports_only
from mlrepro_nb.verify.attribute.sources import Kind, Source, in_slice

NONDETERMINISTIC: tuple[Kind, ...] = (
    "random",
    "clock",
    "entropy",
    "hash",
    "timer",
    "identity",
    "listing",
)


_CAUSE_OF = {
    "random": "unseeded-randomness", "clock": "clock", "entropy": "entropy", "hash": "hash-seed",
    "listing": "listing-order", "timer": "clock", "identity": "entropy",
}  # fmt: skip


_TOKEN = re.compile(r"\d[\d.]*|\w+")
_FEW = 5
"""Digits of what runs may show by chance twice, or five times."""
_ROWS = 500
"""Of which a rate may be."""


def may_be_nondeterministic(case: Case, index: int) -> bool:
    """Whether a second clean run could tell anything about a cell."""
    upstream = case.flow.upstream(index)
    return bool(in_slice(case.sources, upstream, *NONDETERMINISTIC)) or bool(
        list(drawn(case, upstream))
    )


def may_agree_by_chance(case: Case, index: int) -> bool:
    """Whether clean runs that agree on a cell may be others next time: it hangs on a draw."""
    upstream = case.flow.upstream(index)
    return bool(list(drawn(case, upstream)) or in_slice(case.sources, upstream, "random", "hash"))


def one_of_few(case: Case, index: int) -> Cause | None:
    """Name the draw that a cell hangs on, if what it shows has so few values that runs agree.

    An accuracy on thirty rows is the same in every third run or so.
    """
    difference = case.cells[index].difference
    if difference is None or _room(difference.before, difference.after) > _FEW:
        return None
    upstream = case.flow.upstream(index)
    chance = "; it shows one of few values, of which clean runs may give the same one"
    for found in drawn(case, upstream):
        return msgspec.structs.replace(found, evidence=found.evidence.rstrip(".") + chance + ".")
    if "order" in difference.hints:
        hashed = in_slice(case.sources, upstream, "hash")
        return of_source(case, index, hashed, "hash") if hashed else None
    return None


def _room(before: str, after: str) -> int:
    """Return about how many digits it takes to tell what differs; a word is one of ten."""
    known = Counter(_TOKEN.findall(before))
    new = Counter(_TOKEN.findall(after)) - known
    return sum(map(_digits, new.elements()))


def _digits(token: str) -> int:
    if re.fullmatch(r"0\.\d+", token):
        # A rate of few: 0.9666666666666667 is 29 of 30.
        rate = Fraction(float(token)).limit_denominator(_ROWS)
        if abs(float(rate) - float(token)) < 1e-12:
            return len(str(rate.denominator))
    return sum(map(str.isdigit, token)) or 1


def nondeterminism(case: Case, index: int) -> Cause | None:
    upstream = case.flow.upstream(index)
    looks = hints(case, index)
    sources = in_slice(case.sources, upstream, *NONDETERMINISTIC)
    draws = list(drawn(case, upstream))
    kinds = {source.kind for source in sources} | ({"random"} if draws else set())
    # What the differing place looks like says more than where it may come from.
    if "uuid" in looks or ("opaque" in looks and "entropy" in kinds):
        return of_source(case, index, sources, "entropy") or _entropy(case, index)
    if "date" in looks and "clock" in kinds:
        return of_source(case, index, sources, "clock")
    if "order" in looks and "hash" in kinds:
        return of_source(case, index, sources, "hash")
    seen = {s.cell for s in sources if s.kind == "random"}
    if draws and (not seen or any(found.cell in seen for found in draws)):
        return next((found for found in draws if found.cell in seen), draws[0])
    for kind in ("random", "entropy", "hash", "clock"):
        if kind in kinds:
            return of_source(case, index, sources, kind)
    if kinds & {"timer", "identity"}:
        return None
    if "order" in looks:
        return cause(
            "hash-seed", index, f"output of cell {index}",
            "Two clean runs give the same items in different orders",
            "Sort before showing, or fix PYTHONHASHSEED when the kernel starts",
        )  # fmt: skip
    if "date" in looks:
        return cause(
            "clock", index, f"output of cell {index}",
            "Two clean runs one after the other show different times",
            "Do not show the time of the run, or take it from a parameter",
        )  # fmt: skip
    return cause(
        "unseeded-randomness", index, f"output of cell {index}",
        f"Two clean runs in the same environment differ at cell {index}"
        + shown(case.cells[index]),
        "Seed the generators that the libraries used upstream of it draw from",
    )  # fmt: skip


def drawn(case: Case, upstream: frozenset[int]) -> Iterator[Cause]:
    """Yield the unseeded draws that the recorder saw in the rerun, or in the recorded run."""
    for record, own in ((case.rerun, True), (case.record, False)):
        if record is None:
            continue
        for use in record.randomness.uses:
            find = case.ran if own else case.here
            cell = find(use.execution, use.cell)
            # Importing a library may draw; that shows in no result.
            if cell is not None and imports_only(case, cell):
                continue
            # What a library drew for an id, or a thread between two cells, is not the cell's.
            if use.seeded or use.by is not None or use.outside:
                continue
            if cell not in upstream or cell is None:
                continue
            if use.worker:
                yield _in_worker(cell, use.generator)
            else:
                yield _unseeded(cell, use.generator, f"the state of {use.generator} moved in cell "
                                f"{cell}, and {_not_seeded(record, use)}")  # fmt: skip


def _not_seeded(record: Record, use: GeneratorUse) -> str:
    seeds = [
        s for s in record.randomness.seeds
        if s.generator == use.generator and (s.execution or 0) <= use.execution
    ]  # fmt: skip
    last = seeds[-1] if seeds else None
    if last is None or last.source not in ("clock", "entropy"):
        return "nothing had seeded it"
    source = "the time" if last.source == "clock" else "the operating system's entropy"
    return f"it had been seeded with {source}, which is another in each run"


def _unseeded(cell: int, generator: str, evidence: str) -> Cause:
    family = generator.partition(":")[0]
    seeding = {
        "numpy": "np.random.seed(0), or give random_state=0", "random": "random.seed(0)",
        "torch": "torch.manual_seed(0)", "tensorflow": "tf.random.set_seed(0)",
        "numpy.Generator": "np.random.default_rng(0)", "Random": "random.Random(0)",
    }.get(family, "a fixed seed")  # fmt: skip
    return cause(
        "unseeded-randomness", cell, generator,
        f"Cell {cell} draws from an unseeded generator: {evidence}",
        f"Seed it before cell {cell} draws: {seeding}",
    )  # fmt: skip


def _in_worker(cell: int, generator: str) -> Cause:
    return cause(
        "unseeded-randomness", cell, generator,
        f"The worker processes of cell {cell} draw from {generator}, which nothing seeded there",
        "Give each task a number of its own, and have the task seed what it draws from with it",
    )  # fmt: skip


def _entropy(case: Case, index: int) -> Cause:
    return cause(
        "entropy", index, f"output of cell {index}",
        f"Cell {index} shows an identifier that is drawn anew each time{shown(case.cells[index])}",
        "Derive it from the data (uuid.uuid5, a digest), or do not show it",
    )  # fmt: skip


def of_source(case: Case, index: int, sources: list[Source], kind: str) -> Cause | None:
    mine = [s for s in sources if s.kind == kind]
    if not mine:
        return None
    mine = [s for s in mine if not s.inner] or mine
    # The cell itself before its ancestors; of those the first, from which the rest follows.
    source = next((s for s in mine if s.cell == index), mine[0])
    if kind == "random":
        return _unseeded(source.cell, source.subject, f"`{source.text}` without a seed")
    told = {
        "clock": ("reads the clock", "Do not show it, or take the time from a parameter"),
        "entropy": ("draws operating-system entropy", "Derive it from the data or a seed"),
        "hash": (
            "goes through a set, whose order hangs on the hash seed",
            "Sort it first: sorted(…); or set PYTHONHASHSEED when the kernel starts",
        ),
        "listing": (
            "takes files in the order in which the file system lists them",
            "Sort the listing: sorted(…)",
        ),
    }[kind]
    return cause(
        _CAUSE_OF[kind], source.cell, source.subject,
        f"Cell {source.cell} {told[0]}: `{source.text}`{shown(case.cells[index])}", told[1],
    )  # fmt: skip


def clock(case: Case, index: int) -> Cause | None:
    """The clock moves slowly: two runs on a day agree on its date."""
    sources = in_slice(case.sources, case.flow.upstream(index), "clock")
    return of_source(case, index, sources, "clock") if sources else None


def listing(case: Case, index: int) -> Cause | None:
    sources = in_slice(case.sources, case.flow.upstream(index), "listing")
    return of_source(case, index, sources, "listing") if sources else None


_KIND_OF = {
    "seeds": "random", "replay": "random", "clock": "clock", "entropy": "entropy",
    "hash-seed": "hash", "listing": "listing",
}  # fmt: skip
_TOLD = {
    "seeds": ("unseeded-randomness", "a generator that a library draws from unseeded",
              "Seed the generators in the first cell"),
    "clock": ("clock", "the time of the run", "Take the time from a parameter"),
    "entropy": ("entropy", "entropy of the operating system", "Derive it from the data or a seed"),
    "hash-seed": ("hash-seed", "the order of a set, and so on the hash seed",
                  "Sort it first: sorted(…); or set PYTHONHASHSEED when the kernel starts"),
    "listing": ("listing-order", "the order in which the file system lists files",
                "Sort the listing: sorted(…)"),
    "one-thread": ("parallel-reduction", "the order in which threads finish",
                   "Run it on one thread (OMP_NUM_THREADS=1, max_workers=1, "
                   "torch.use_deterministic_algorithms(True)), or declare a tolerance"),
    "data": ("changed-data", "an input that has changed", "Put the input back, or record again"),
}  # fmt: skip


def of_condition(case: Case, index: int, condition: str, evidence: str) -> Cause:
    """Return the cause that a rerun under a condition has shown."""
    upstream = case.flow.upstream(index)
    found: Cause | None = None
    kind = _KIND_OF.get(condition)
    if kind is not None:
        found = of_source(case, index, in_slice(case.sources, upstream), kind)
    if found is None and condition in ("seeds", "replay"):
        found = next(drawn(case, upstream), None)
    if found is None and condition == "data":
        found = next((c for c, cell in recorded.changed_files(case) if cell in upstream), None)
    if found is None:
        name, on, fix = _TOLD[condition]
        # What takes results as they come stands after what starts the threads.
        started = in_slice(case.sources, upstream, "parallel") if condition == "one-thread" else []
        place = started[-1].cell if started else index
        where = f": `{started[-1].text}` in cell {place}" if started else ""
        found = cause(
            name, place, started[-1].subject if started else f"output of cell {index}",
            f"The output of cell {index} hangs on {on}{where}{shown(case.cells[index])}", fix,
        )  # fmt: skip
    told = f"{found.evidence} Reruns show it: {evidence}."
    return msgspec.structs.replace(found, evidence=told, confidence="confirmed")

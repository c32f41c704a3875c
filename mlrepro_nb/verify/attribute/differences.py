"""Why a cell gave something else than before, without raising."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

from mlrepro_nb.model import Cause, GeneratorUse, Record
from mlrepro_nb.verify.attribute import environment, order, recorded, state
from mlrepro_nb.verify.attribute.case import Case, Seen, cause
from mlrepro_nb.verify.attribute.sources import (
    Kind,
    Source,
    file_literals,
    in_slice,
    string_literals,
    written_files,
)
from mlrepro_nb.verify.compare import contradictory

_NONDETERMINISTIC: tuple[Kind, ...] = (
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


def may_be_nondeterministic(case: Case, index: int) -> bool:
    """Whether a second clean run could tell anything about a cell."""
    upstream = case.flow.upstream(index)
    return bool(in_slice(case.sources, upstream, *_NONDETERMINISTIC)) or bool(
        list(_drawn(case, upstream))
    )


def cause_of_difference(case: Case, index: int) -> Cause | None:
    """Name why a cell's output is another; None when it is only time that passed."""
    cell = case.cells[index]
    if cell.repeats is False:
        return _nondeterminism(case, index)
    for explain in _EXPLANATIONS:
        found = explain(case, index)
        if found is not None:
            return found
    return _unexplained(case, cell)


# --- two clean runs differ


def _nondeterminism(case: Case, index: int) -> Cause | None:
    upstream = case.flow.upstream(index)
    hints = _hints(case, index)
    sources = in_slice(case.sources, upstream, *_NONDETERMINISTIC)
    drawn = list(_drawn(case, upstream))
    kinds = {source.kind for source in sources} | ({"random"} if drawn else set())
    # What the differing place looks like says more than where it may come from.
    if "uuid" in hints or ("opaque" in hints and "entropy" in kinds):
        return _source(case, index, sources, "entropy") or _entropy(case, index)
    if "date" in hints and "clock" in kinds:
        return _source(case, index, sources, "clock")
    if "order" in hints and "hash" in kinds:
        return _source(case, index, sources, "hash")
    seen = {s.cell for s in sources if s.kind == "random"}
    if drawn and (not seen or any(found.cell in seen for found in drawn)):
        return next((found for found in drawn if found.cell in seen), drawn[0])
    for kind in ("random", "entropy", "hash", "clock"):
        if kind in kinds:
            return _source(case, index, sources, kind)
    if kinds & {"timer", "identity"}:
        return None
    if "order" in hints:
        return cause(
            "hash-seed", index, f"output of cell {index}",
            "Two clean runs give the same items in different orders",
            "Sort before showing, or fix PYTHONHASHSEED when the kernel starts",
        )  # fmt: skip
    if "date" in hints:
        return cause(
            "clock", index, f"output of cell {index}",
            "Two clean runs one after the other show different times",
            "Do not show the time of the run, or take it from a parameter",
        )  # fmt: skip
    return cause(
        "unseeded-randomness", index, f"output of cell {index}",
        f"Two clean runs in the same environment differ at cell {index}"
        + _shown(case.cells[index]),
        "Seed the generators that the libraries used upstream of it draw from",
    )  # fmt: skip


def _drawn(case: Case, upstream: frozenset[int]) -> Iterator[Cause]:
    """Yield the unseeded draws that the recorder saw in the rerun, or in the recorded run."""
    for record, own in ((case.rerun, True), (case.record, False)):
        if record is None:
            continue
        ids = {c.id: i for i, c in case.cells.items()}
        for use in record.randomness.uses:
            executions = [e for e in record.code.cells if e.order == use.execution]
            cell = ids.get(executions[0].id) if executions else use.cell
            if not own:
                cell = case.here(use.execution, use.cell)
            # Importing a library may draw; that shows in no result.
            if cell is not None and _only_imports(case, cell):
                continue
            # What a library drew for an id, or a thread between two cells, is not the cell's.
            if use.seeded or use.by is not None or use.outside:
                continue
            if cell in upstream and cell is not None:
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


def _only_imports(case: Case, cell: int) -> bool:
    flow = case.flow.by_index.get(cell)
    return flow is not None and flow.tree is not None and all(
        isinstance(statement, ast.Import | ast.ImportFrom) for statement in flow.tree.body
    )  # fmt: skip


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


def _entropy(case: Case, index: int) -> Cause:
    return cause(
        "entropy", index, f"output of cell {index}",
        f"Cell {index} shows an identifier that is drawn anew each time{_shown(case.cells[index])}",
        "Derive it from the data (uuid.uuid5, a digest), or do not show it",
    )  # fmt: skip


def _source(case: Case, index: int, sources: list[Source], kind: str) -> Cause | None:
    mine = [s for s in sources if s.kind == kind]
    if not mine:
        return None
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
        f"Cell {source.cell} {told[0]}: `{source.text}`{_shown(case.cells[index])}", told[1],
    )  # fmt: skip


# --- two clean runs agree, or one was enough


def _edited_output(case: Case, index: int) -> Cause | None:
    """The record knows what was printed, and the rerun printed that."""
    found = recorded.edited_output(case, index)
    cell = case.cells[index]
    if found is None:
        return None
    again = recorded.stored_digests(cell.outputs) == recorded.recorded_outputs(case, index)
    # Else both are off: what changed upstream says more.
    return found if again else None


def _edited_source(case: Case, index: int) -> Cause | None:
    edited, upstream = recorded.edited_cells(case), case.flow.upstream(index)
    return next((edited[cell] for cell in sorted(edited) if cell in upstream), None)


def _changed_data(case: Case, index: int) -> Cause | None:
    upstream = case.flow.upstream(index)
    rest = None
    for found, cell in recorded.changed_files(case):
        if cell in upstream:
            return found
        if cell is None:
            rest = rest or found
    return rest


def _local_edit(case: Case, index: int) -> Cause | None:
    edits = {**recorded.local_edits(case), **environment.edited_packages(case)}
    for cell in case.flow.upstream(index):
        flow = case.flow.by_index.get(cell)
        for name in flow.imports.values() if flow else ():
            for module, found in edits.items():
                if name == module or name.startswith(f"{module}.") or module.startswith(f"{name}."):
                    return found
    return None


def _version_shown(case: Case, index: int) -> Cause | None:
    """The cell prints a version, and that is what differs."""
    cell = case.cells[index]
    found = re.search(r"\b(\w+)\.(?:__)?version(?:__|_info)?\b", cell.source)
    if not found or cell.difference is None:
        return None
    if not re.search(r"\d+\.\d+", cell.difference.before + cell.difference.after):
        return None
    module = case.flow.resolve(found[1])
    name = "python" if module in ("sys", "platform") else module
    return cause(
        "version-drift", index, name,
        f"Cell {index} shows the version of {name}{_shown(cell)}",
        f"Install the {name} that the notebook ran with",
    )  # fmt: skip


def _clock(case: Case, index: int) -> Cause | None:
    """The clock moves slowly: two runs on a day agree on its date."""
    sources = in_slice(case.sources, case.flow.upstream(index), "clock")
    return _source(case, index, sources, "clock") if sources else None


def _listing(case: Case, index: int) -> Cause | None:
    sources = in_slice(case.sources, case.flow.upstream(index), "listing")
    return _source(case, index, sources, "listing") if sources else None


def _variable(case: Case, index: int) -> Cause | None:
    """A variable that is not set, or that the record knows with another value."""
    import os

    if "lost" in _hints(case, index) and case.cells[index].outputs == []:
        return None
    for source in in_slice(case.sources, case.flow.upstream(index), "variable"):
        name = source.subject
        before = case.record.environment.variables.get(name) if case.record else None
        now = os.environ.get(name)
        if now is None or (before is not None and before != now):
            was = f" (it was {before!r})" if before is not None else ""
            return cause(
                "environment-variable", source.cell, name,
                f"Cell {source.cell} reads the environment variable {name}, which is "
                f"{'not set' if now is None else 'another'} here{was}",
                f"Set {name} as it was, or make it a parameter",
            )  # fmt: skip
    return None


def _remote(case: Case, index: int) -> Cause | None:
    sources = in_slice(case.sources, case.flow.upstream(index), "remote")
    if not sources:
        return None
    source = sources[-1]
    return cause(
        "remote-data", source.cell, source.subject,
        f"Cell {source.cell} takes {source.subject} from the network, which may serve something "
        "else by now",
        "Keep a copy of the data in the project (DVC, git) and read that",
    )  # fmt: skip


def _lost(case: Case, index: int) -> Cause | None:
    cell = case.cells[index]
    if "lost" not in _hints(case, index) or cell.difference is None:
        return None
    return cause(
        "output-loss", index, f"output of cell {index}",
        f"Cell {index} ran without an error and gave out less: {cell.difference.detail}",
        f"See which branch of cell {index} was not taken, or which exception it swallows; "
        "have it fail instead",
    )  # fmt: skip


def _interrupted(case: Case, index: int) -> Cause | None:
    error = next((o for o in case.cells[index].reference if o["output_type"] == "error"), None)
    if error is None:
        return None
    if error["ename"] == "KeyboardInterrupt":
        return cause(
            "interrupted", index, "KeyboardInterrupt",
            f"Cell {index} was interrupted in the reference run and ran to its end now",
            f"Run cell {index} to its end and save",
        )  # fmt: skip
    return None


def _skipped(case: Case, index: int) -> Cause | None:
    """A cell that the reference run left out feeds this one."""
    if not any(cell.count for cell in case.cells.values()):
        return None
    for cell in sorted(case.flow.upstream(index) - {index}):
        seen, flow = case.cells.get(cell), case.flow.by_index.get(cell)
        if seen is None or seen.executed or flow is None or not flow.tree or not flow.tree.body:
            continue
        if flow.defines - set(flow.imports) or flow.mutates:
            name = sorted(flow.defines | flow.mutates)[0]
            return cause(
                "skipped-cell", cell, name,
                f"Cell {cell} sets {name!r} and was not run in the reference run",
                f"Delete cell {cell}, or run the notebook from the top and save",
            )  # fmt: skip
    return None


def _written_since(case: Case, index: int) -> Cause | None:
    """Without a record: an input that was written after the notebook had run."""
    ran = _ran(case)
    if case.record is not None or ran is None:
        return None
    # A checkout or a copy writes all files at once: then their times tell nothing.
    ran = max(ran, _saved(case))
    written = {name for cell in case.flow.cells for name in written_files(cell)}
    for cell in sorted(case.flow.upstream(index)):
        flow = case.flow.by_index[cell]
        for literal in dict.fromkeys([*file_literals(flow), *string_literals(flow)]):
            path = _file_of(case, literal)
            if path is None or literal in written:
                continue
            changed = datetime.fromtimestamp(path.stat().st_mtime, timezone.utc)
            if changed > ran:
                return cause(
                    "changed-data", cell, literal,
                    f"{literal}, which cell {cell} reads, was written on {changed:%Y-%m-%d %H:%M} "
                    f"UTC, after the notebook ran ({ran:%Y-%m-%d %H:%M} UTC)",
                    f"Put back the {literal} that it ran with, or run the notebook again",
                )  # fmt: skip
        for module in flow.imports.values():
            path = case.folder / f"{module.partition('.')[0]}.py"
            if path.is_file() and datetime.fromtimestamp(path.stat().st_mtime, timezone.utc) > ran:
                return cause(
                    "local-edit", cell, path.name,
                    f"{path.name}, which cell {cell} imports, was written after the notebook ran",
                    f"Put {path.name} back as it was, or run the notebook again",
                )  # fmt: skip
    return None


def _ran(case: Case) -> datetime | None:
    """Return when the last cell of the reference run started, as its front end noted."""
    found = []
    for cell in case.cells.values():
        if cell.started:
            try:
                moment = datetime.fromisoformat(cell.started.replace("Z", "+00:00"))
            except ValueError:
                continue
            found.append(moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc))
    return max(found) if found else None


def _saved(case: Case) -> datetime:
    """Return when the notebook's own file was written, and the second that a checkout takes."""
    try:
        moment = (case.folder / case.notebook.name).stat().st_mtime
    except OSError:
        moment = 0.0
    return datetime.fromtimestamp(moment, timezone.utc) + timedelta(seconds=1)


def _file_of(case: Case, literal: str) -> Path | None:
    if not literal or len(literal) > 300 or "\0" in literal or "\n" in literal:
        return None
    try:
        path = case.folder / literal
        return path if path.is_file() else None
    except (OSError, ValueError):
        return None


def _self_overwrite(case: Case, index: int) -> Cause | None:
    """An upstream file is read first and written later: by the record, else by the source."""
    for found, cell in recorded.changed_files(case):
        if found.kind == "self-overwrite" and cell in case.flow.upstream(index):
            return found
    read: dict[str, int] = {}
    for flow in case.flow.cells:
        writes = written_files(flow)
        for name in writes:
            if name in read and read[name] in case.flow.upstream(index):
                return cause(
                    "self-overwrite", flow.index, name,
                    f"Cell {read[name]} reads {name} and cell {flow.index} overwrites it, so that "
                    "a second run starts from another file",
                    f"Write to another file than {name}",
                )  # fmt: skip
        for name in file_literals(flow):
            if name not in writes and _file_of(case, name):
                read.setdefault(name, flow.index)
    return None


_EXPLANATIONS: tuple[Callable[[Case, int], Cause | None], ...] = (
    _edited_output,
    _edited_source,
    _self_overwrite,
    _changed_data,
    _local_edit,
    state.moved_widget,
    state.made_elsewhere,
    state.taken_from_history,
    order.out_of_order,
    _version_shown,
    recorded.version_drift,
    order.shifted_stream,
    order.repeated,
    _interrupted,
    _skipped,
    order.run_again_after,
    _clock,
    _written_since,
    _variable,
    _lost,
    _remote,
    _listing,
    environment.startup_changed,
    recorded.edited_output,
)


def is_explained(case: Case, index: int) -> bool:
    """Whether one run is enough to name why a cell's output is another."""
    return any(explain(case, index) is not None for explain in _EXPLANATIONS)


def _unexplained(case: Case, cell: Seen) -> Cause:
    """Nothing outside the file has changed: then the file was edited, its code or its outputs."""
    index, flow = cell.index, case.flow.by_index[cell.index]
    if contradictory(cell.reference) and not contradictory(cell.outputs):
        return _pasted(cell, "its own forms (text, HTML) do not show the same numbers")
    blamed = _localised(case, index)
    missing = order.gaps(case)
    if blamed in missing and len(missing) == 1 and case.cells[blamed].count != 1 + missing[blamed]:
        names = ", ".join(sorted(flow.uses & _variables(case))) or "what it uses"
        return cause(
            "deleted-definition", blamed, names,
            f"Cell {blamed} gave another result with {names}; an execution is missing right "
            f"before its [{case.cells[blamed].count}], of a cell that is no longer there",
            f"Put back the cell that ran before cell {blamed}, or run from the top and save",
        )  # fmt: skip
    own = re.findall(r"(?<![\w.])\d+\.?\d*|'[^']*'|\"[^\"]*\"", cell.source)
    later = [
        c for c in case.cells.values() if c.index > index and index in case.flow.upstream(c.index)
    ]
    agreeing = [c for c in later if c.compared and c.reference and not c.differs and not c.error]
    if blamed == index and (agreeing or (not _constants(own) and not later)):
        return _pasted(cell, "the code as it stands, run twice, gives something else, and what "
                       "is computed from it agrees" if agreeing else
                       "the code above it as it stands agrees everywhere else")  # fmt: skip
    return cause(
        "edited-after-run", blamed, f"cell {blamed}",
        f"In a clean run the code of cell {blamed} as it stands does not give what is stored"
        f"{_shown(cell)}; nothing else that it depends on is seen to have changed",
        f"Run the notebook from the top and save, or restore cell {blamed} from git",
    )  # fmt: skip


def _constants(literals: list[str]) -> bool:
    return any(re.search(r"\d", text) for text in literals if not text.startswith(("'", '"')))


def _variables(case: Case) -> set[str]:
    return {name for cell in case.flow.cells for name in cell.defines - set(cell.imports)}


def _pasted(cell: Seen, why: str) -> Cause:
    return cause(
        "edited-output", cell.index, f"output of cell {cell.index}",
        f"The stored output of cell {cell.index} is not what its code gives{_shown(cell)}: {why}",
        f"Run cell {cell.index} again and save; outputs are not to be typed in",
    )  # fmt: skip


def _localised(case: Case, index: int) -> int:
    """Return the first cell that all differing cells depend on and no agreeing one does."""
    differing = [c.index for c in case.cells.values() if c.differs and c.repeats is not False]
    shared = set(case.flow.upstream(index))
    for other in differing:
        upstream = case.flow.upstream(other)
        if shared & upstream:
            shared &= upstream
    for cell in case.cells.values():
        if cell.compared and cell.reference and not cell.differs and cell.error is None:
            shared -= case.flow.upstream(cell.index)
    edited = [i for i in shared if _computes(case, i)]
    return min(edited) if edited else index


def _computes(case: Case, index: int) -> bool:
    flow = case.flow.by_index[index]
    return bool(flow.defines - set(flow.imports) or flow.mutates or case.cells[index].differs)


def _hints(case: Case, index: int) -> frozenset[str]:
    difference = case.cells[index].difference
    return difference.hints if difference else frozenset()


def _shown(cell: Seen) -> str:
    return f" ({cell.difference.detail})" if cell.difference and cell.difference.detail else ""

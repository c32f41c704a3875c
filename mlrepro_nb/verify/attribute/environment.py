"""What ran before the first cell, what is of another version, and installed files edited since."""

from __future__ import annotations

from msgspec.structs import replace

from mlrepro_nb.model import Cause, Distribution, Record, Startup
from mlrepro_nb.verify.attribute import recorded
from mlrepro_nb.verify.attribute.case import Case, cause, near
from mlrepro_nb.verify.attribute.sources import in_slice


def startup_name(case: Case, index: int, name: str) -> Cause | None:
    """Say whether a name that a cell uses was defined before the first cell ran."""
    for made in _only_recorded(case):
        if name in made.defines:
            return cause(
                "startup-state", index, name,
                f"Cell {index} uses {name!r}, which {_said(made)} when the notebook was recorded, "
                "and nothing does here",
                f"Define {name!r} in a cell above cell {index}",
            )  # fmt: skip
    return None


def startup_changed(case: Case, index: int) -> Cause | None:
    """Say whether what ran before the first cell is not what ran when it was recorded."""
    upstream = case.flow.upstream(index)
    used = {n for i in upstream if (flow := case.flow.by_index.get(i)) for n in flow.uses}
    missing = [made for made in _only_recorded(case) if made.kind != "pth"]
    # One that defines a name that is used comes before one that perhaps sets an option.
    missing.sort(key=lambda made: not used & set(made.defines))
    if not missing:
        return None
    made = missing[0]
    if made.defines and not used & set(made.defines):
        return None
    return cause(
        "startup-state", None, made.name,
        f"{_capital(_said(made))} before the first cell of the recorded run, and not, or "
        "otherwise, in this one",
        f"Do what {made.name} does in the notebook's first cell",
    )  # fmt: skip


def hardware(case: Case, index: int) -> Cause | None:
    """Say whether a cell tells of the machine, or adds up on another than it was recorded on."""
    known = case.record is not None and case.rerun is not None
    if known and _silicon(case.record) == _silicon(case.rerun):
        return None
    for source in in_slice(case.sources, case.flow.upstream(index), "machine"):
        return other_machine(case, source.cell, f"asks for it: `{source.text}`")
    if known and near(case, index):
        return other_machine(case, index, "computes what is near to it, and not the same")
    return None


def other_machine(case: Case, index: int, what: str) -> Cause:
    """Return the cause of what hangs on the machine, with both machines where they are known."""
    told = [_told(r) if r is not None else None for r in (case.record, case.rerun)]
    here = f"; this machine is {told[1]}" if told[1] else ""
    was = f"; it was recorded on {told[0]}" if told[0] else ""
    return cause(
        "hardware", index, "machine", f"Cell {index} hangs on the machine: it {what}{was}{here}",
        "Run it on such a machine, or have the notebook not depend on it",
    )  # fmt: skip


def _silicon(record: Record | None) -> tuple[object, ...]:
    assert record is not None
    own = record.hardware
    return own.cpu, own.cores, own.flags, [gpu.product for gpu in own.gpus]


def _told(record: Record) -> str:
    own = record.hardware
    gpus = ", ".join(gpu.product for gpu in own.gpus) or "no GPU"
    return f"{own.cpu} with {own.cores} cores and {gpus}"


def recorded_versions(case: Case) -> dict[str, str]:
    """Return the recorded versions of what was imported and is of another version now.

    None where the Python itself is another: its distributions are built for it.
    """
    if case.record is None or case.rerun is None or other_python(case):
        return {}
    return {one.name: one.version for one, _ in recorded.drifted(case) if one is not None}


def other_python(case: Case) -> bool:
    """Whether the record is of another Python than the rerun."""
    if case.record is None or case.rerun is None:
        return False
    before, after = case.record.environment.python, case.rerun.environment.python
    return before.split(".")[:2] != after.split(".")[:2]


def imported_by(case: Case, index: int) -> list[str]:
    """Return the distributions of another version that a cell and what it rests on import."""
    used: set[str] = set()
    for cell in case.flow.upstream(index):
        flow = case.flow.by_index.get(cell)
        if flow is not None:
            used |= {n.partition(".")[0] for n in (*flow.imports.values(), *flow.stars)}
    found = []
    for one, other in recorded.drifted(case):
        modules = {m for d in (one, other) if d for m in (*d.modules, d.name.replace("-", "_"))}
        if one is not None and used & modules:
            found.append(one.name)
    return found


def confirmed_drift(case: Case, index: int, evidence: str, name: str | None = None) -> Cause | None:
    """Return the cause of a cell that comes out as recorded with the recorded versions.

    Parameters
    ----------
    case : Case
        With the record.
    index : int
        The cell.
    evidence : str
        What the reruns have shown.
    name : str, optional
        The one distribution that does it, where that is known.
    """
    found = recorded.version_drift(case, index)
    if name is not None:
        found = recorded.drift_of(case, index, name) or found
    if found is None:
        return None
    pairs = {d.name: (one, now) for one, now in recorded.drifted(case) if (d := one or now)}
    rest = [other for other in imported_by(case, index) if other != found.subject and not name]
    told = [
        f"{other} was {before} and is {after}"
        for other in rest for before, after in (recorded.states(*pairs[other]),)
    ]  # fmt: skip
    also = f" The cell rests on others, too, that differ: {', '.join(told)}." if told else ""
    return replace(
        found, evidence=f"{found.evidence} Reruns show it: {evidence}.{also}",
        confidence="confirmed",
    )  # fmt: skip


def edited_packages(case: Case) -> dict[str, Cause]:
    """Return the distributions with files edited by hand, by their modules.

    Only where the recorded run and the rerun had other files.
    """
    if case.record is None or case.rerun is None:
        return {}
    now = {d.name: d for d in case.rerun.environment.distributions}
    found: dict[str, Cause] = {}
    for before in case.record.environment.distributions:
        after = now.get(before.name)
        if after is None or before.version != after.version:
            continue
        edited = None not in (before.edited, after.edited) and before.edited != after.edited
        in_place = before.origin == after.origin == "editable" and before.diff != after.diff
        if not edited and not in_place:
            continue
        made = _edit(case, before, after)
        found |= dict.fromkeys({*before.modules, *after.modules}, made)
    return found


def _edit(case: Case, before: Distribution, after: Distribution) -> Cause:
    modules = {*before.modules, *after.modules}
    importing = next(
        (c.index for c in case.flow.cells
         if any(v.partition(".")[0] in modules for v in c.imports.values())), None,
    )  # fmt: skip
    if before.edited == after.edited or before.edited is None or after.edited is None:
        return cause(
            "local-edit", importing, before.name,
            f"The source tree that {before.name} is installed from had other uncommitted changes "
            "when the notebook was recorded",
            f"Put it back as it was at {(before.commit or 'the record')[:12]}, or record again",
        )  # fmt: skip
    then = {file.path: file.digest for file in before.edited}
    here = {file.path: file.digest for file in after.edited}
    path = next(p for p in (*then, *here) if then.get(p) != here.get(p))
    when = "when the notebook was recorded" if path in then else "since it was recorded"
    return cause(
        "local-edit", importing, path,
        f"{path} of {before.name} {before.version} was edited by hand {when}: it is not what was "
        "installed",
        f"pip install --force-reinstall --no-deps {before.name}=={before.version}, and record "
        "again"
        if path in then
        else f"pip install --force-reinstall --no-deps {before.name}=={before.version}",
    )  # fmt: skip


def _only_recorded(case: Case) -> list[Startup]:
    """Return what ran before the first recorded cell and not, or otherwise, in the rerun."""
    if case.record is None or case.rerun is None:
        return []
    here = {(s.kind, s.name, s.digest) for s in case.rerun.environment.startup}
    return [
        made
        for made in case.record.environment.startup
        # What %store brings back is not in the line that does it.
        if (made.kind, made.name, made.digest) not in here or made.kind == "store"
    ]


def _said(made: Startup) -> str:
    if made.kind == "store":
        return f"{made.name} brought back from IPython's database"
    return f"{made.name} ({made.kind}) set up"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]

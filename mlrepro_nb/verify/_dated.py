"""What an old notebook needs, and the time it is from: for an environment as of then."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

from msgspec.structs import replace

from mlrepro_nb.connect import git
from mlrepro_nb.dataflow import Flow, read_cell
from mlrepro_nb.errors import ToolError, UsageError
from mlrepro_nb.execute import NATIVE
from mlrepro_nb.execute.overlay import normal, pinned
from mlrepro_nb.model import Report
from mlrepro_nb.verify._reference import Reference, reference_cells
from mlrepro_nb.verify._surroundings import Surroundings
from mlrepro_nb.verify.attribute import Case
from mlrepro_nb.verify.attribute._declared import declared
from mlrepro_nb.verify.attribute.providers import provider

_REQUIREMENTS = ("requirements.txt", "environment.yml", "environment.yaml")
"""The project's files that are taken whole; of others only what the notebook imports."""
_PIP = re.compile(r"(?m)^\s*[!%]\s*(?:python3? -m )?pip3? install\s+(.+)$")

_EXTENSION = re.compile(r"(?m)^\s*%(?:re)?load_ext\s+(?!autoreload\b|storemagic\b)([\w.]+)")
_WORD = re.compile(r"['\"]?([A-Za-z][\w.\[\]-]*(?:[<>=!~]=?[\w.,*]+)*)['\"]?(?=\s|$)")


def dated_environment(
    reference: Reference, where: Surroundings, moment: str, report: Report, *, index: bool = True
) -> Surroundings:
    """Return surroundings whose environment is as of a moment.

    Parameters
    ----------
    reference : Reference
        The notebook.
    where : Surroundings
        All else.
    moment : str
        An ISO date or time, or ``auto`` for the notebook's own.
    report : callable
        Is told the progress.
    index : bool
        Whether the package index may be asked.

    Raises
    ------
    UsageError
        It is no date, or the network is not to be used.
    ToolError
        The environment cannot be built.
    """
    from mlrepro_nb.execute import dated

    at, how = date_of(reference) if moment == "auto" else (_parsed(moment), "")
    if not index:
        raise UsageError(
            "An environment of another time is made from the package index, which --offline rules "
            "out.", "Add --index: the notebook itself runs without a network all the same.",
        )  # fmt: skip
    needed = requirements(reference)
    language = reference.nb.metadata.get("language_info") or {}
    built = dated.build(needed, at, python=str(language.get("version") or "") or None,
                        report=report)  # fmt: skip
    note = (f"Run in an environment as of {at:%Y-%m-%d}{how}, of "
            f"{', '.join(needed) or 'nothing but a kernel'}.")  # fmt: skip
    pins = (f"{name}=={version}" for name, version in pinned(built.python).items())
    return replace(
        where, interpreter=built.python, extra=built.extra, kernel=NATIVE, pins=tuple(pins),
        notes=(*where.notes, note, *built.notes),
    )  # fmt: skip


def requirements(reference: Reference) -> list[str]:
    """Return what a notebook and its project need installed, as pip takes it."""
    cells = reference_cells(reference)
    case = Case(
        cells, record=None, rerun=None, root=reference.root, folder=reference.folder,
        notebook=reference.path, asks=True,
    )  # fmt: skip
    found: dict[str, str] = {}
    for cell in cells.values():
        for line in _PIP.findall(cell.source):
            for word in _WORD.findall(re.sub(r"(?:^|\s)-\S+", " ", line)):
                found.setdefault(normal(word), word)
    for known in declared(reference.root, reference.folder).values():
        if known.file in _REQUIREMENTS:
            found[known.name] = known.text
    for index, module in _imported(case):
        made = provider(case, index, module)
        if made.exists:
            found.setdefault(normal(made.name), made.requirement or made.name)
    return [found[name] for name in sorted(found)]


def _imported(case: Case) -> Iterator[tuple[int, str]]:
    """Yield the modules from elsewhere that cells import, and those of the project's modules."""
    seen: set[str] = set()
    read: set[str] = set()
    waiting: list[tuple[int, Flow]] = [(cell.index, Flow([cell])) for cell in case.flow.cells]
    extensions = {
        index: _EXTENSION.findall(cell.source) for index, cell in case.cells.items()
        if "load_ext" in cell.source
    }  # fmt: skip
    while waiting:
        index, flow = waiting.pop(0)
        names = [n for cell in flow.cells for n in (*cell.imports.values(), *cell.stars)]
        for name in (*names, *extensions.pop(index, ())):
            top = name.partition(".")[0]
            if not top or name in seen or top in sys.stdlib_module_names:
                continue
            seen.add(name)
            own = [
                path for folder in {case.folder, case.root}
                for path in (folder / f"{top}.py", folder / top / "__init__.py") if path.is_file()
            ]  # fmt: skip
            if not own:
                yield index, name
            elif top not in read:
                read.add(top)
                text = own[0].read_text(encoding="utf-8", errors="replace")
                waiting.append((index, Flow([read_cell(index, text)])))


def date_of(reference: Reference) -> tuple[datetime, str]:
    """Return when a notebook is from, and how that is known."""
    path = reference.path
    root = git.root(path)
    if root is not None:
        try:
            told = git.last_change(root, path.resolve().relative_to(root.resolve()).as_posix())
        except (ToolError, ValueError):
            told = None
        if told:
            return _parsed(told), ", when git last saw it change"
    ran = sorted(_moments(reference.nb))
    if ran:
        return ran[-1], ", when its last cell ran"
    try:
        saved = path.stat().st_mtime
    except OSError:
        raise UsageError(
            f"Nothing says from when {reference.name} is.",
            "Name a date: --exclude-newer 2021-06-01",
        ) from None
    return datetime.fromtimestamp(saved, timezone.utc), ", when its file was written"


def _moments(nb: Any) -> Iterator[datetime]:
    """Yield the times that front ends and papermill write into a notebook."""
    told = [(nb.metadata.get("papermill") or {}).get("end_time")]
    for cell in nb.cells:
        told += (cell.metadata.get("execution") or {}).values()
        told.append((cell.metadata.get("papermill") or {}).get("end_time"))
        told.append((cell.metadata.get("ExecuteTime") or {}).get("end_time"))
    for text in told:
        if isinstance(text, str):
            try:
                yield _parsed(text)
            except UsageError:
                continue


def _parsed(text: str) -> datetime:
    text = text.strip()
    if len(text) == 10:
        text += "T23:59:59"  # that day still counts, as it does for uv
    try:
        # Python 3.10 wants exactly three or six digits of a second.
        plain = re.sub(r"\.\d+", "", text.replace("Z", "+00:00"))
        at = datetime.fromisoformat(plain)
    except ValueError:
        raise UsageError(
            f"{text!r} is no date.", "Write 2021-06-01, 2021-06-01T12:00:00Z or auto."
        ) from None
    return at if at.tzinfo else at.replace(tzinfo=timezone.utc)

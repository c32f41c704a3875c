"""Events about cells and state to parts of the record."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Set
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from mlrepro_nb.capture.cells.commands import commands
from mlrepro_nb.capture.data.paths import relative
from mlrepro_nb.capture.secrets import mask
from mlrepro_nb.dataflow import Cell, read_cell
from mlrepro_nb.model import Effects, ExecutedCell, OutsideChange, WidgetMove, digest_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlrepro_nb.capture.cells._match import Cells
    from mlrepro_nb.capture.told import Told

InFile = Literal["same", "edited", "gone"]
_HISTORY = re.compile(r"_(?:\d+|_{0,2})$")


class _State:
    """Which execution bound each name, as the executions go by."""

    def __init__(self) -> None:
        self.bound: dict[str, int | None] = {}
        self.deferred: dict[str, frozenset[str]] = {}
        self.results: list[int] = []
        self.numbered: dict[int, int] = {}

    def bind(self, name: str, order: int | None, deferred: frozenset[str] = frozenset()) -> None:
        self.bound[name], self.deferred[name] = order, deferred

    def unbind(self, name: str) -> None:
        self.bound.pop(name, None)
        self.deferred.pop(name, None)

    def needed(self, cell: Cell) -> set[str]:
        """Return what a cell needs, what the functions that it uses need included."""
        found, todo, seen = set(cell.uses), list(cell.loads), set(cell.loads)
        while todo:
            for inner in self.deferred.get(todo.pop(), ()):
                if inner not in seen and inner not in cell.defines:
                    seen.add(inner)
                    found.add(inner)
                    todo.append(inner)
        return found


def with_state(
    told: Told,
    executed: Sequence[ExecutedCell],
    cells: Cells,
    root: Path | None,
) -> tuple[ExecutedCell, ...]:
    """Return the executions with what they did to the notebook's names and to the process."""
    state, found = _State(), []
    modules: Set[str] = frozenset()
    read: dict[str, Cell] = {}
    between = {change.get("before"): change for change in told.outside}
    showing = {
        order
        for order, outputs in told.outputs.items()
        if any(output["output_type"] == "execute_result" for output in outputs)
    }
    for execution in executed:
        if (change := between.get(execution.order)) is not None:
            for name in change["bound"]:
                state.bind(name, None)
            for name in change["unbound"]:
                state.unbind(name)
        if (cell := read.get(execution.digest)) is None:
            cell = read[execution.digest] = read_cell(-1, execution.source)
        seen = (told.ends.get(execution.order) or {}).get("names")
        uses = {n: state.bound[n] for n in sorted(state.needed(cell)) if n in state.bound}
        uses |= dict(_from_history(cell, state))
        defines = _defined(cell, seen, state, execution)
        deletes = set(seen["unbound"]) if seen else set(cell.deletes) - defines
        for name in deletes:
            state.unbind(name)
        for name in defines:
            state.bind(name, execution.order, cell.deferred)
        modules = (modules - defines) | cell.modules
        if execution.order in showing:
            state.results.append(execution.order)
        if execution.execution_count is not None:
            state.numbered[execution.execution_count] = execution.order
        found.append(
            msgspec.structs.replace(
                execution,
                origin=cells.origin(execution.order),
                in_file=cells.in_file(execution.order),
                defines=tuple(sorted(defines)),
                deletes=tuple(sorted(deletes)),
                mutates=tuple(sorted(cell.knowing(modules).mutates - defines)),
                uses=uses,
                effects=_effects(told, execution.order, cell, root),
                lists=_lists(told, execution.order, root),
            )
        )
    return tuple(found)


def outside(told: Told) -> tuple[OutsideChange, ...]:
    """Return what changed the notebook's names while no cell ran."""
    return tuple(
        OutsideChange(
            names=tuple(change["bound"]),
            deleted=tuple(change["unbound"]),
            after=change.get("after"),
            before=change.get("before"),
            by=tuple(change.get("by") or ()),
        )
        for change in told.outside
    )


def widgets(told: Told) -> tuple[WidgetMove, ...]:
    """Return the widgets that were set by hand."""
    fields = WidgetMove.__struct_fields__
    return tuple(
        WidgetMove(**{**{k: v for k, v in move.items() if k in fields},
                      "names": tuple(move.get("names") or ())})
        for move in told.widgets
    )  # fmt: skip


def _defined(
    cell: Cell, seen: Mapping[str, Any] | None, state: _State, execution: ExecutedCell
) -> set[str]:
    if seen is None:
        return set(cell.defines) if execution.status == "ok" else set()
    bound = set(seen["bound"])
    if execution.status == "ok":
        # A name that got the same object again is bound all the same; one that the
        # source binds and that is nowhere afterwards was in a branch not taken.
        bound |= {name for name in cell.defines if name in state.bound} - set(seen["unbound"])
    return bound


def _from_history(cell: Cell, state: _State) -> Iterator[tuple[str, int]]:
    """Yield the earlier results that a cell takes from IPython's history."""
    for node in ast.walk(cell.tree) if cell.tree is not None else ():
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            if not _HISTORY.match(node.id) or node.id in cell.defines:
                continue
            if node.id.strip("_"):
                order = state.numbered.get(int(node.id[1:]))
            else:
                order = state.results[-len(node.id)] if len(state.results) >= len(node.id) else None
            if order is not None:
                yield node.id, order
        elif (
            isinstance(node, ast.Subscript)
            and isinstance(node.value, ast.Name)
            and node.value.id in ("Out", "_oh")
            and isinstance(node.slice, ast.Constant)
            and isinstance(node.slice.value, int)
            and (order := state.numbered.get(node.slice.value)) is not None
        ):
            yield f"Out[{node.slice.value}]", order


def _effects(told: Told, order: int, cell: Cell, root: Path | None) -> Effects | None:
    seen = (told.ends.get(order) or {}).get("effects") or {}
    folder = seen.get("folder")
    found = Effects(
        commands=commands(cell.tree),
        folder=None if folder is None else _inside(folder, root),
        path=tuple(f"{p[:1]}{_inside(p[1:], root)}" for p in seen.get("path") or ()),
        variables=tuple(mask(name) for name in seen.get("variables") or ()),
        distributions=tuple(told.installed.get(order, ())),
    )
    return None if found == Effects() else found


def _lists(told: Told, order: int, root: Path | None) -> tuple[str, ...]:
    found = {_inside(folder, root) for folder in told.listed.get(order, ())}
    return tuple(sorted(path for path in found if not path.startswith("/")))


def _inside(path: str, root: Path | None) -> str:
    try:
        if root is not None and Path(path) == root:
            return "."
        return relative(path, root) or mask(path)
    except (ValueError, OSError):
        return mask(path)


def in_file(
    begins: Mapping[int, Mapping[str, Any]],
    positions: Mapping[int, int],
    cells: Sequence[Mapping[str, Any]] | None,
    saved: str | None,
) -> dict[int, InFile]:
    """Return for executions what the file holds of their cells.

    A file that was written before an execution began can only confirm it: what
    was typed since is not in it yet.
    """
    if cells is None:
        return {}
    found: dict[int, InFile] = {}
    for order, begin in begins.items():
        position = positions.get(order)
        if position is not None and source_digest(cells[position]) == begin["digest"]:
            found[order] = "same"
        elif saved is not None and saved >= begin["started"]:
            found[order] = "gone" if position is None else "edited"
    return found


def unexecuted(
    positions: Mapping[int, int], cells: Sequence[Mapping[str, Any]] | None
) -> list[int]:
    """Return the positions of the file's code cells that did not run, empty ones left out."""
    ran = set(positions.values())
    return [
        i
        for i, cell in enumerate(cells or ())
        if i not in ran and cell.get("cell_type") == "code" and source_text(cell).strip()
    ]


def source_text(cell: Mapping[str, Any]) -> str:
    """Return a cell's source, whichever form nbformat has it in."""
    source = cell.get("source", "")
    return source if isinstance(source, str) else "".join(source)


def source_digest(cell: Mapping[str, Any]) -> str:
    """Return the digest of a cell's source."""
    return digest_text(source_text(cell))

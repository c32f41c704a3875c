"""Where a notebook takes in what another run may not give again: read from the source."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec

from mlrepro_nb.dataflow import Cell, Flow, dotted
from mlrepro_nb.verify.attribute._names import (
    CLOCKS,
    ENTROPY,
    LISTING_METHODS,
    LISTINGS,
    LOCAL_TIME,
    MACHINE,
    NUMPY_NOT_DRAWN,
    ORDER_FREE,
    PARALLEL,
    RANDOM_NOT_DRAWN,
    REMOTE,
    SEEDED_BY_NUMPY,
    SEEDERS,
    TIMERS,
    TORCH_DRAWN,
    UNSEEDED_GENERATORS,
    WIDGET_STATE,
)
from mlrepro_nb.verify.attribute.spelled import bindings

Kind = Literal[
    "random", "clock", "timer", "entropy", "hash", "listing", "variable", "remote", "identity",
    "machine", "widget", "parallel", "zone",
]  # fmt: skip


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """A place of a cell that takes something in from outside the notebook."""

    kind: Kind
    cell: int
    subject: str
    """The generator, function, variable or address."""
    text: str
    """The expression, as written."""
    inner: bool = False
    """A part of what is made there: its order shows, if at all, elsewhere."""


def find_sources(flow: Flow, *, seeded: bool = False) -> list[Source]:
    """Return the sources of a notebook in file order.

    Of the draws from random generators, those that were seeded before are left
    out; with `seeded` only they are returned.
    """
    found: list[Source] = []
    drawn: list[Source] = []
    fixed: set[str] = set()
    elapsed, widgets = _elapsed(flow), _widgets(flow)
    for cell in flow.cells:
        here = [*_in_cell(cell, flow, elapsed), *_set_by_hand(cell, widgets)]
        seeds = {source.subject for source in here if source.text == "seed"}
        for source in here:
            if source.text == "seed":
                continue
            if source.kind == "random" and source.subject.partition(":")[0] in fixed | seeds:
                # In a cell that seeds for others, the drawing is its own affair.
                if source.subject.partition(":")[0] not in seeds:
                    drawn.append(source)
            else:
                found.append(source)
        fixed |= seeds
    return drawn if seeded else found


def _in_cell(cell: Cell, flow: Flow, elapsed: set[int]) -> Iterator[Source]:
    def source(kind: Kind, subject: str, node: ast.AST) -> Source:
        return Source(kind=kind, cell=cell.index, subject=subject, text=_text(node))

    if re.search(r"^\s*%%?(?:time|timeit|prun|memit)\b", cell.source, re.MULTILINE):
        yield Source(kind="timer", cell=cell.index, subject="%time", text="%time")
    if re.search(r"^\s*!\s*date\b", cell.source, re.MULTILINE):
        yield Source(kind="clock", cell=cell.index, subject="date", text="!date")
    if cell.tree is None:
        return
    parents = {child: node for node in ast.walk(cell.tree) for child in ast.iter_child_nodes(node)}
    for node in ast.walk(cell.tree):
        if isinstance(node, ast.Call):
            for kind, subject in _call(node, flow, parents, elapsed):
                if subject.startswith("seed "):
                    yield Source(kind=kind, cell=cell.index, subject=subject[5:], text="seed")
                else:
                    yield source(kind, subject, node)
        if isinstance(node, ast.Set | ast.SetComp) and not _order_free(node, parents):
            inner = isinstance(parents.get(node), ast.Dict | ast.List | ast.Tuple | ast.DictComp)
            yield msgspec.structs.replace(source("hash", "set order", node), inner=inner)
        if (
            isinstance(node, ast.Subscript)
            and flow.resolve(dotted(node.value) or "") == "os.environ"
        ):
            yield source("variable", _constant(node.slice), node)
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            address = re.match(r"(?:https?|ftp|s3|gs|abfss?)://\S+", node.value)
            call = parents.get(node)
            # An address that is only printed takes nothing in.
            if address and not (isinstance(call, ast.Call) and dotted(call.func) == "print"):
                yield source("remote", address[0], node)


def _call(
    node: ast.Call, flow: Flow, parents: dict[ast.AST, ast.AST], elapsed: set[int]
) -> Iterator[tuple[Kind, str]]:
    name = flow.resolve(dotted(node.func) or "")
    method = node.func.attr if isinstance(node.func, ast.Attribute) else ""
    if name in SEEDERS:
        if _fixed(node, flow):
            for generator in SEEDERS[name]:
                yield "random", f"seed {generator}"
    elif name in UNSEEDED_GENERATORS:
        if not _fixed(node, flow):
            yield "random", f"numpy.Generator:{name}" if "numpy" in name else f"Random:{name}"
    elif name in CLOCKS:
        if not _converts(node, name):
            yield ("timer" if id(node) in elapsed else "clock"), name
    elif name in LOCAL_TIME and len(node.args) == 1 and not node.keywords:
        yield "zone", "TZ"
    elif name in LISTINGS or method in LISTING_METHODS:
        if not _order_free(node, parents):
            yield "listing", name or method
    elif name in ("set", "frozenset"):
        joined = getattr(parents.get(node), "attr", "") in ("union", "symmetric_difference")
        if (node.args or joined) and not _order_free(node, parents):
            yield "hash", "set order"
    elif name in ("os.getenv", "os.environ.get"):
        if node.args:
            yield "variable", _constant(node.args[0])
    elif plain_kind := _by_name(name):
        yield plain_kind, name
    else:
        yield from _drawn(node, name, method)


def _by_name(name: str) -> Kind | None:
    if name in ENTROPY or name.startswith("secrets."):
        return "entropy"
    if name in TIMERS or name.startswith("timeit."):
        return "timer"
    if name in REMOTE:
        return "remote"
    if name in MACHINE:
        return "machine"
    if name in PARALLEL:
        return "parallel"
    kinds: dict[str, Kind] = {"hash": "hash", "id": "identity"}
    return kinds.get(name)


def _converts(node: ast.Call, name: str) -> bool:
    """Whether a function of the clock is given the time that it formats."""
    if name in ("time.strftime",):
        return len(node.args) > 1
    return name in ("time.localtime", "time.gmtime", "time.ctime") and bool(node.args)


def _drawn(node: ast.Call, name: str, method: str) -> Iterator[tuple[Kind, str]]:
    keywords = {keyword.arg for keyword in node.keywords}
    first, _, last = name.rpartition(".")
    if first == "numpy.random" and last not in NUMPY_NOT_DRAWN:
        yield "random", "numpy"
    elif first == "random" and last not in RANDOM_NOT_DRAWN:
        yield "random", "random"
    elif (
        name in TORCH_DRAWN
        or name.startswith("torch.nn.init.")
        or (name.startswith("torch.nn.") and last[:1].isupper() and "Loss" not in last)
    ):
        yield "random", "torch"
    elif name.startswith(("tensorflow.random.", "tensorflow.keras.layers.", "keras.layers.")):
        yield "random", "tensorflow"
    elif name.startswith(("sklearn.", "umap.", "imblearn.")) and last in SEEDED_BY_NUMPY:
        if not _seeded_by_keyword(node, "random_state") and not _shuffle_off(node, last):
            yield "random", f"numpy:{last}"
    elif (
        method in ("sample", "rvs")
        and not keywords & {"random_state", "seed"}
        and first not in ("random", "numpy.random")
    ):
        yield "random", f"numpy:{method}"


def _shuffle_off(node: ast.Call, last: str) -> bool:
    shuffle = next((k.value for k in node.keywords if k.arg == "shuffle"), None)
    value = shuffle.value if isinstance(shuffle, ast.Constant) else None
    if last in ("KFold", "StratifiedKFold", "GroupKFold"):
        return value is not True
    return value is False


def _seeded_by_keyword(node: ast.Call, word: str) -> bool:
    return any(
        keyword.arg == word
        and not (isinstance(keyword.value, ast.Constant) and keyword.value.value is None)
        for keyword in node.keywords
    )


def _fixed(node: ast.Call, flow: Flow) -> bool:
    """Whether a seeding call is given a seed, and not one taken from the clock."""
    given = [*node.args, *(keyword.value for keyword in node.keywords)]
    if not given or (isinstance(given[0], ast.Constant) and given[0].value is None):
        return False
    for part in ast.walk(given[0]):
        if isinstance(part, ast.Call):
            name = flow.resolve(dotted(part.func) or "")
            if name in CLOCKS or name in TIMERS or name in ENTROPY:
                return False
    return True


def _order_free(node: ast.AST, parents: dict[ast.AST, ast.AST]) -> bool:
    """Whether the order of what an expression gives cannot show in what is made of it."""
    parent = parents.get(node)
    if isinstance(parent, ast.comprehension | ast.GeneratorExp | ast.ListComp):
        while isinstance(parent, ast.comprehension | ast.GeneratorExp | ast.ListComp):
            parent = parents.get(parent)
    if isinstance(parent, ast.Compare):
        return True
    if isinstance(parent, ast.BinOp) and isinstance(parent.op, ast.Sub | ast.BitAnd | ast.BitOr):
        return _order_free(parent, parents)
    if isinstance(parent, ast.Call):
        name = dotted(parent.func) or ""
        last = parent.func.attr if isinstance(parent.func, ast.Attribute) else name
        if last in ("list", "tuple", "set"):
            return _order_free(parent, parents)
        return last in ORDER_FREE
    return False


def _widgets(flow: Flow) -> set[str]:
    """Return the names of widgets that a person may have set."""
    return {
        name
        for name, values in bindings(flow).items()
        if any(
            isinstance(value, ast.Call)
            and flow.resolve(dotted(value.func) or "").startswith("ipywidgets.")
            for value in values
        )
    }


def _set_by_hand(cell: Cell, widgets: set[str]) -> Iterator[Source]:
    for node in ast.walk(cell.tree) if cell.tree is not None and widgets else ():
        if (
            isinstance(node, ast.Attribute)
            and isinstance(node.ctx, ast.Load)
            and node.attr in WIDGET_STATE
            and isinstance(node.value, ast.Name)
            and node.value.id in widgets
        ):
            yield Source(kind="widget", cell=cell.index, subject=node.value.id, text=_text(node))


def _elapsed(flow: Flow) -> set[int]:
    """Return the clock calls that only serve to measure how long something takes."""
    calls: set[int] = set()
    stored: dict[str, list[int]] = {}
    loads: dict[str, list[bool]] = {}
    bound = bindings(flow)
    set_dates = {name for name, values in bound.items() if all(_set(v, flow) for v in values)}
    for cell in flow.cells:
        if cell.tree is None:
            continue
        parents = {c: n for n in ast.walk(cell.tree) for c in ast.iter_child_nodes(n)}
        for node in ast.walk(cell.tree):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                loads.setdefault(node.id, []).append(_subtracted(node, parents))
            if not isinstance(node, ast.Call):
                continue
            if flow.resolve(dotted(node.func) or "") not in CLOCKS:
                continue
            parent = parents.get(node)
            if _subtracted(node, parents):
                assert isinstance(parent, ast.BinOp)
                other = parent.left if parent.right is node else parent.right
                # From a date that the code sets or reads it is not what passed during the run.
                if not (
                    (isinstance(other, ast.Name) and other.id in set_dates)
                    or _set(other, flow)
                    or _of_frame(other, flow, bound)
                ):
                    calls.add(id(node))
            elif isinstance(parent, ast.Assign):
                for target in parent.targets:
                    if isinstance(target, ast.Name):
                        stored.setdefault(target.id, []).append(id(node))
    for name, nodes in stored.items():
        if loads.get(name) and all(loads[name]):
            calls.update(nodes)
    return calls


def _set(node: ast.AST, flow: Flow) -> bool:
    """Whether an expression is of constants and libraries alone, and asks no clock."""
    names = [part.id for part in ast.walk(node) if isinstance(part, ast.Name)]
    asked = [
        flow.resolve(dotted(part.func) or "")
        for part in ast.walk(node) if isinstance(part, ast.Call)
    ]  # fmt: skip
    return all(any(name in cell.imports for cell in flow.cells) for name in names) and not any(
        name in CLOCKS or name in TIMERS or name.startswith("timeit.") for name in asked
    )


def _of_frame(
    node: ast.AST, flow: Flow, bound: dict[str, list[ast.expr]], seen: tuple[str, ...] = ()
) -> bool:
    """Whether an expression takes from what pandas made: ``df["born"]``, ``df.born``."""
    while isinstance(node, ast.Attribute | ast.Subscript | ast.Call):
        if isinstance(node, ast.Call):
            if flow.resolve(dotted(node.func) or "").startswith("pandas."):
                return True
            node = node.func
        else:
            node = node.value
    return isinstance(node, ast.Name) and node.id not in seen and any(
        _of_frame(value, flow, bound, (*seen, node.id)) for value in bound.get(node.id, ())
    )  # fmt: skip


def _subtracted(node: ast.AST, parents: dict[ast.AST, ast.AST]) -> bool:
    parent = parents.get(node)
    return isinstance(parent, ast.BinOp) and isinstance(parent.op, ast.Sub)


def _constant(node: ast.AST) -> str:
    return (
        node.value
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        else _text(node)
    )


def _text(node: ast.AST) -> str:
    try:
        text = " ".join(ast.unparse(node).split())
    except (ValueError, RecursionError, AttributeError):
        return ""
    return text if len(text) < 80 else text[:79] + "…"


def in_slice(sources: Sequence[Source], cells: frozenset[int], *kinds: Kind) -> list[Source]:
    """Return the sources of some kinds that lie in a slice of the notebook."""
    return [s for s in sources if s.cell in cells and (not kinds or s.kind in kinds)]

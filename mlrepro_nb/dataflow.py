"""Which cell defines what another uses: read from the source, nothing is run.

Names are followed through the cells of a notebook as its one namespace. A name
that a function uses counts as used by every cell that uses the function, the one
that defines it included; what a lambda uses, by the cell that it stands in.
"""

from __future__ import annotations

import ast
import builtins
import re
import warnings
from collections.abc import Iterable, Sequence, Set

import msgspec

_PROVIDED = frozenset(dir(builtins)) | frozenset(
    {
        "get_ipython", "display", "In", "Out", "_", "__", "___", "_i", "_ii", "_iii", "_oh", "_dh",
        "_ih", "exit", "quit", "open", "__name__", "__builtin__", "__builtins__", "__doc__",
        "__loader__", "__package__", "__spec__", "__session__", "__file__", "__annotations__",
    }
)  # fmt: skip


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """What a code cell does to the namespace."""

    index: int
    source: str
    tree: ast.Module | None = None
    """None where the source is not this Python's."""
    defines: frozenset[str] = frozenset()
    uses: frozenset[str] = frozenset()
    """Names that must be there before the cell runs."""
    loads: frozenset[str] = frozenset()
    """All names that it reads, also those that it defined itself."""
    deferred: frozenset[str] = frozenset()
    """Names that its functions need once they are called."""
    mutates: frozenset[str] = frozenset()
    """Names of objects that it changes in place."""
    perhaps: frozenset[str] = frozenset()
    """Those of them that are not changed if they are modules, whose functions it then calls."""
    modules: frozenset[str] = frozenset()
    """Names that it imports modules as."""
    deletes: frozenset[str] = frozenset()
    imports: dict[str, str] = {}
    """Local name to the dotted name of what it stands for."""
    stars: tuple[str, ...] = ()

    @property
    def accumulates(self) -> frozenset[str]:
        """Names whose value after the cell depends on their value before."""
        return (self.defines & self.uses) | self.mutates & self.uses

    def knowing(self, modules: Set[str]) -> Cell:
        """Return the cell as it is where some names are modules."""
        if not self.perhaps & modules:
            return self
        return msgspec.structs.replace(
            self, mutates=self.mutates - (self.perhaps & modules), perhaps=self.perhaps - modules
        )


def read_cell(index: int, source: str) -> Cell:
    """Analyse a cell; never raises, whatever the source is."""
    tree = parse(source)
    if tree is None:
        return Cell(index=index, source=source)
    names = _Names()
    try:
        names.visit(tree)
    except RecursionError:
        return Cell(index=index, source=source)
    return Cell(
        index=index,
        source=source,
        tree=tree,
        perhaps=frozenset(names.perhaps - names.mutated),
        modules=frozenset(names.modules),
        defines=frozenset(names.defined),
        uses=frozenset(names.used),
        loads=frozenset(names.loaded),
        deferred=frozenset(names.deferred - names.defined),
        mutates=frozenset(names.mutated | names.perhaps),
        deletes=frozenset(names.deleted),
        imports=names.imports,
        stars=tuple(names.stars),
    ).knowing(names.modules)


def parse(source: str) -> ast.Module | None:
    """Parse a cell, its magics taken for the calls that IPython makes of them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _parsed(source) or _parsed(plain(source))


def _parsed(text: str) -> ast.Module | None:
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return None


def plain(source: str) -> str:
    """Return a cell with its magics turned into calls; that of a cell magic is kept when Python."""
    first, _, body = source.lstrip().partition("\n")
    if first.startswith("%%"):
        words = first[2:].split()
        if words and words[0] in _RUN_BODY:
            return plain(body)
    source = _LINE_MAGIC.sub(r"\1\2", source)
    from IPython.core.inputtransformer2 import TransformerManager

    try:
        return str(TransformerManager().transform_cell(source))
    except Exception:  # noqa: BLE001 - a transformer meets any text; it is then no Python
        return source


_LINE_MAGIC = re.compile(
    r"^([ \t]*)%(?:time|timeit|prun|memit)[ \t]+(?:-\S+[ \t]+(?:\d+[ \t]+)?)*(.*)$", re.MULTILINE
)
_RUN_BODY = frozenset({"time", "timeit", "capture", "prun", "mlrepro", "memit", "mprun", "lprun"})


class Flow:
    """The cells of a notebook and what flows between them.

    Parameters
    ----------
    cells : sequence of Cell
        In file order.
    """

    def __init__(self, cells: Sequence[Cell]) -> None:
        others = {name for cell in cells for name in cell.defines - cell.modules}
        modules = {name for cell in cells for name in cell.modules} - others
        self.cells = [cell.knowing(modules) for cell in cells]
        self.by_index = {cell.index: cell for cell in self.cells}
        self._defining: dict[str, list[int]] = {}
        for cell in self.cells:
            for name in cell.defines | cell.mutates:
                self._defining.setdefault(name, []).append(cell.index)
        self._slices: dict[int, frozenset[int]] = {}
        self._needs = {cell.index: self._called(cell) for cell in cells}

    def _called(self, cell: Cell) -> frozenset[str]:
        """Return the names that a cell needs, those of the functions that it uses included."""
        needed, todo = set(cell.uses), list(cell.loads)
        seen = set(todo)
        while todo:
            name = todo.pop()
            for index in self._defining.get(name, ()):
                definer = self.by_index[index]
                if name in definer.defines:
                    for inner in definer.deferred - seen:
                        seen.add(inner)
                        needed.add(inner)
                        todo.append(inner)
        return frozenset(needed - cell.defines | cell.uses)

    def definers(self, name: str) -> list[int]:
        """Return the cells that define or change a name, in file order."""
        return self._defining.get(name, [])

    def reaching(self, index: int, order: Sequence[int] | None = None) -> dict[str, int | None]:
        """Return for each name that a cell needs the cell whose value it sees.

        `order` is the order of execution, by default that of the file. None
        stands for a name of the notebook that nothing had defined by then.
        """
        order = order or [cell.index for cell in self.cells]
        if index not in order:
            return {}
        before = order[: len(order) - 1 - list(reversed(order)).index(index)]
        found: dict[str, int | None] = {}
        for name in self._needs[index]:
            defining = set(self._defining.get(name, ()))
            last = next((i for i in reversed(before) if i in defining), None)
            if last is not None or defining:
                found[name] = last
        return found

    def upstream(self, index: int) -> frozenset[int]:
        """Return the cell and all cells that its result depends on, in file order."""
        if index not in self.by_index:
            return frozenset({index})
        if index not in self._slices:
            found, todo = {index}, [index]
            while todo:
                for name, source in self.reaching(todo.pop()).items():
                    # What was changed in place depends on all changes before.
                    for cell in self._chain(name, source):
                        if cell not in found:
                            found.add(cell)
                            todo.append(cell)
            self._slices[index] = frozenset(found)
        return self._slices[index]

    def _chain(self, name: str, last: int | None) -> Iterable[int]:
        for index in reversed(
            [i for i in self._defining.get(name, ()) if last is not None and i <= last]
        ):
            yield index
            if name in self.by_index[index].defines and name not in self.by_index[index].uses:
                return

    def resolve(self, dotted: str) -> str:
        """Return a dotted name with its first part replaced by what was imported under it."""
        first, dot, rest = dotted.partition(".")
        for cell in self.cells:
            if first in cell.imports:
                return cell.imports[first] + dot + rest
        return dotted

    def provided(self, name: str) -> bool:
        """Whether IPython or Python gives a name."""
        return name in _PROVIDED


def dotted(node: ast.AST) -> str | None:
    """Return ``a.b.c`` of an expression that is just that."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if isinstance(node, ast.Name):
        return ".".join([node.id, *reversed(parts)])
    return None


_MUTATORS = frozenset(
    {
        "append", "extend", "insert", "remove", "pop", "clear", "sort", "reverse", "update", "add",
        "discard", "setdefault", "popitem", "fit", "partial_fit", "fit_transform", "shuffle",
        "write", "add_", "step", "load_state_dict", "compile", "add_node", "add_edge", "seed",
        "fill", "resize", "put", "execute", "next",
    }
)  # fmt: skip


_LOCAL = re.compile(r"@([A-Za-z_]\w*)")
_OF_IPYTHON = frozenset({"system", "getoutput", "run_line_magic", "run_cell_magic"})
_SHELL = re.compile(r"[{$]([A-Za-z_]\w*)")
"""A variable of the notebook's in a command, or one of the shell's."""


def _texts(call: ast.Call) -> list[str]:
    """Return the arguments of a call that are just texts."""
    given = (argument.value for argument in call.args if isinstance(argument, ast.Constant))
    return [text for text in given if isinstance(text, str)]


class _Names(ast.NodeVisitor):
    """Names defined and used at the top level of a cell, in order of evaluation."""

    def __init__(self) -> None:
        self.defined: set[str] = set()
        self.used: set[str] = set()
        self.loaded: set[str] = set()
        self.deferred: set[str] = set()
        self.functions: dict[str, set[str]] = {}
        """What each function and class that is defined here needs once it is called."""
        self.mutated: set[str] = set()
        self.perhaps: set[str] = set()
        self.modules: set[str] = set()
        self.deleted: set[str] = set()
        self.imports: dict[str, str] = {}
        self.stars: list[str] = []

    # --- names

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load):
            self._use(node.id)
        elif isinstance(node.ctx, ast.Store):
            self.defined.add(node.id)
        else:
            self._use(node.id)
            self.deleted.add(node.id)

    def _use(self, name: str) -> None:
        self.loaded.add(name)
        if name not in self.defined and name not in _PROVIDED:
            self.used.add(name)
        # Once: what a function needs it may itself be.
        for inner in self.functions.pop(name, ()):
            self._use(inner)

    def visit_Assign(self, node: ast.Assign) -> None:
        if isinstance(node.value, ast.Lambda) and isinstance(node.targets[0], ast.Name):
            self.functions[node.targets[0].id] = self._lambda(node.value)
        else:
            self.visit(node.value)
        for target in node.targets:
            self._target(target)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self.visit(node.annotation)
        if node.value is not None:
            self.visit(node.value)
            self._target(node.target)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if isinstance(node.target, ast.Name):
            self._use(node.target.id)
        self.visit(node.value)
        self._target(node.target)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self.visit(node.value)
        self._target(node.target)

    def _target(self, target: ast.AST) -> None:
        if isinstance(target, ast.Attribute | ast.Subscript):
            base: ast.AST = target
            while isinstance(base, ast.Attribute | ast.Subscript):
                base = base.value
            if isinstance(base, ast.Name):
                self.mutated.add(base.id)
        self.visit(target)

    def visit_For(self, node: ast.For | ast.AsyncFor) -> None:
        self.visit(node.iter)
        self._target(node.target)
        for part in (*node.body, *node.orelse):
            self.visit(part)

    visit_AsyncFor = visit_For  # noqa: N815

    def visit_With(self, node: ast.With | ast.AsyncWith) -> None:
        for item in node.items:
            self.visit(item.context_expr)
            if item.optional_vars is not None:
                self._target(item.optional_vars)
        for part in node.body:
            self.visit(part)

    visit_AsyncWith = visit_With  # noqa: N815

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if node.type is not None:
            self.visit(node.type)
        if node.name:
            self.defined.add(node.name)
        for part in node.body:
            self.visit(part)

    def visit_MatchAs(self, node: ast.MatchAs) -> None:
        if node.name:
            self.defined.add(node.name)
        self.generic_visit(node)

    def visit_MatchStar(self, node: ast.MatchStar) -> None:
        if node.name:
            self.defined.add(node.name)

    # Of imports the local name counts.

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            local = alias.asname or alias.name.partition(".")[0]
            self.defined.add(local)
            self.imports[local] = alias.name if alias.asname else local
            self.modules.add(local)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        module = "." * node.level + (node.module or "")
        for alias in node.names:
            if alias.name == "*":
                self.stars.append(module)
            else:
                local = alias.asname or alias.name
                self.defined.add(local)
                self.imports[local] = f"{module}.{alias.name}"

    # --- calls that change what they are called on

    def visit_Call(self, node: ast.Call) -> None:
        function = node.func
        if isinstance(function, ast.Attribute):
            base: ast.AST = function.value
            while isinstance(base, ast.Attribute | ast.Subscript):
                base = base.value
            in_place = any(
                keyword.arg == "inplace"
                and isinstance(keyword.value, ast.Constant)
                and keyword.value.value is True
                for keyword in node.keywords
            )
            if isinstance(base, ast.Name) and (function.attr in _MUTATORS or in_place):
                # `np.add(a, b)` is a function of a module's; its `seed` does change something.
                own = base is function.value and function.attr != "seed" and not in_place
                (self.perhaps if own else self.mutated).add(base.id)
            if function.attr == "shuffle":
                self.mutated |= {a.id for a in node.args if isinstance(a, ast.Name)}
            if function.attr in ("query", "eval"):
                # pandas looks up in the namespace what its expressions name so.
                for text in _texts(node)[:1]:
                    for name in _LOCAL.findall(text):
                        self._use(name)
            if function.attr in _OF_IPYTHON:
                for text in _texts(node):
                    for name in _SHELL.findall(text):
                        self._use(name)
        if isinstance(function, ast.Name) and function.id in ("eval", "exec"):
            for text in _texts(node)[:1]:
                if (inner := parse(text)) is not None:
                    self.visit(inner)
        for keyword in node.keywords:
            if keyword.arg == "out" and isinstance(keyword.value, ast.Name):
                self.mutated.add(keyword.value.id)
        self.generic_visit(node)

    # --- scopes

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        for part in (*node.decorator_list, *node.args.defaults, *node.args.kw_defaults):
            if part is not None:
                self.visit(part)
        self.functions[node.name] = self._function(node.args, node.body)
        self.defined.add(node.name)

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815

    def visit_Lambda(self, node: ast.Lambda) -> None:
        # Whoever is given it calls it, as a rule at once.
        for name in self._lambda(node):
            self._use(name)

    def _lambda(self, node: ast.Lambda) -> set[str]:
        for part in (*node.args.defaults, *node.args.kw_defaults):
            if part is not None:
                self.visit(part)
        return self._function(node.args, [node.body])

    def _function(self, arguments: ast.arguments, body: Sequence[ast.AST]) -> set[str]:
        """Take in a function, and return the names that it needs once it is called."""
        inner = _Names()
        given = (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)
        local = {argument.arg for argument in given}
        local |= {a.arg for a in (arguments.vararg, arguments.kwarg) if a is not None}
        declared: set[str] = set()
        for part in body:
            inner.visit(part)
            for node in ast.walk(part):
                if isinstance(node, ast.Global):
                    declared |= set(node.names)
        # A name that is local somewhere in a function is local everywhere in it.
        needed = (inner.used | inner.deferred) - local - (inner.defined - declared) - _PROVIDED
        needed |= inner.used & declared
        self.deferred |= needed
        self.defined |= inner.defined & declared
        self.mutated |= (inner.mutated - local) - inner.defined
        self.perhaps |= (inner.perhaps - local) - inner.defined
        return needed

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        for part in (*node.decorator_list, *node.bases, *(k.value for k in node.keywords)):
            self.visit(part)
        inner = _Names()
        for statement in node.body:
            inner.visit(statement)
        for name in inner.used:
            self._use(name)
        self.deferred |= inner.deferred
        self.functions[node.name] = set(inner.deferred)
        self.defined.add(node.name)

    def _comprehension(self, node: ast.AST, generators: list[ast.comprehension]) -> None:
        inner = _Names()
        for generator in generators:
            inner.visit(generator.iter)
            inner.visit(generator.target)
            for condition in generator.ifs:
                inner.visit(condition)
        for field in ("elt", "key", "value"):
            if (part := getattr(node, field, None)) is not None:
                inner.visit(part)
        for name in inner.used:
            self._use(name)
        self.deferred |= inner.deferred - inner.defined
        self.mutated |= inner.mutated - inner.defined
        self.perhaps |= inner.perhaps - inner.defined

    def visit_ListComp(self, node: ast.ListComp) -> None:
        self._comprehension(node, node.generators)

    def visit_SetComp(self, node: ast.SetComp) -> None:
        self._comprehension(node, node.generators)

    def visit_DictComp(self, node: ast.DictComp) -> None:
        self._comprehension(node, node.generators)

    def visit_GeneratorExp(self, node: ast.GeneratorExp) -> None:
        self._comprehension(node, node.generators)

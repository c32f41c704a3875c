"""Varies the seeds that a notebook sets; runs inside its kernel, before the first cell.

The text of this file becomes part of the kernel's configuration, so that it works in any
interpreter: it imports nothing of the package. The source stays as it is: what is changed is
the tree that is compiled, in the cells and in the project's own modules. There each seed is
passed through a function that makes another number of it, in each run another.
"""

import ast
import re
from collections.abc import Callable
from typing import Any

NAME = "__mlrepro_vary__"
_NAMED = re.compile(r"(?:^|_)(?:seeds?|random_?state)(?:_?value|_?\d+)?$", re.IGNORECASE)
_COUNTS = re.compile(r"^(?:n|num|nb|count|max|min|total)_|seeds$", re.IGNORECASE)
_CALLED = frozenset({
    "seed", "seed_all", "manual_seed", "manual_seed_all", "set_seed", "set_seeds",
    "set_random_seed", "seed_everything", "fix_seed", "fix_seeds", "default_rng", "RandomState",
    "SeedSequence", "PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64", "PRNGKey", "Random",
    "check_random_state",
})  # fmt: skip
_MAGIC = re.compile(r"(\s*seed\s+)(\d+)\s*$")


class Seeds(ast.NodeTransformer):
    """Replaces each expression that is a seed.

    Parameters
    ----------
    replace : callable
        Makes of such an expression what takes its place.
    vary : callable
        Makes of the number of ``%mlrepro seed N`` another one.
    """

    def __init__(self, replace: Callable[[ast.expr], ast.expr], vary: Callable[[int], int]) -> None:
        self._replace, self._vary = replace, vary

    def visit_Call(self, node: ast.Call) -> ast.Call:
        self.generic_visit(node)
        called = node.func
        name = getattr(called, "attr", getattr(called, "id", ""))
        if name in _CALLED or (name == "key" and _is_random(called)):
            if node.args and not isinstance(node.args[0], ast.Starred):
                node.args[0] = self._replace(node.args[0])
        elif name == "run_line_magic":
            self._magic(node)
        for keyword in node.keywords:
            if keyword.arg and is_seed(keyword.arg, keyword.value):
                keyword.value = self._replace(keyword.value)
        return node

    def _magic(self, node: ast.Call) -> None:
        values = [getattr(argument, "value", None) for argument in node.args]
        if values[:1] == ["mlrepro"] and len(values) == 2:
            found = _MAGIC.match(str(values[1]))
            if found is not None:
                text = f"{found[1]}{self._vary(int(found[2]))}"
                node.args[1] = ast.copy_location(ast.Constant(text), node.args[1])

    def visit_Dict(self, node: ast.Dict) -> ast.Dict:
        self.generic_visit(node)
        for index, (key, value) in enumerate(zip(node.keys, node.values)):  # noqa: B905 - any Python
            name = getattr(key, "value", None)
            if isinstance(name, str) and is_seed(name, value):
                node.values[index] = self._replace(value)
        return node

    def visit_Assign(self, node: ast.Assign) -> ast.Assign:
        self.generic_visit(node)
        if _is_literal(node.value) and any(_targets(target, node.value) for target in node.targets):
            node.value = self._replace(node.value)
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AnnAssign:
        self.generic_visit(node)
        if node.value is not None and _is_literal(node.value) and _targets(node.target, node.value):
            node.value = self._replace(node.value)
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        self.generic_visit(node)
        named = [*node.args.posonlyargs, *node.args.args]
        count = len(node.args.defaults)
        for index, argument in enumerate(named[len(named) - count :] if count else []):
            if is_seed(argument.arg, node.args.defaults[index]):
                node.args.defaults[index] = self._replace(node.args.defaults[index])
        for index, argument in enumerate(node.args.kwonlyargs):
            value = node.args.kw_defaults[index]
            if value is not None and is_seed(argument.arg, value):
                node.args.kw_defaults[index] = self._replace(value)
        return node


def is_seed(name: str, value: Any = None) -> bool:
    """Whether a name is that of a seed; one number called ``seeds`` says how many there are."""
    if not _NAMED.search(name):
        return False
    return not (_COUNTS.search(name) and isinstance(value, ast.Constant))


def _targets(target: ast.expr, value: ast.expr) -> bool:
    name = getattr(target, "id", getattr(target, "attr", None))
    if isinstance(target, ast.Subscript):
        name = getattr(target.slice, "value", None)
    return isinstance(name, str) and is_seed(name, value)


def _is_literal(value: ast.expr) -> bool:
    if isinstance(value, (ast.List, ast.Tuple)):
        return bool(value.elts) and all(_is_literal(one) for one in value.elts)
    return isinstance(value, ast.Constant) and type(value.value) is int


def _is_random(called: ast.expr) -> bool:
    owner = getattr(called, "value", None)
    return getattr(owner, "attr", getattr(owner, "id", "")) in ("random", "jr", "jrandom")


def vary(run: int) -> None:
    """Have each seed of the notebook be another one, in each run another."""
    import builtins
    import hashlib
    import importlib.machinery
    import sysconfig

    def number(value: Any) -> int:
        told = hashlib.blake2b(f"{run}:{int(value)}".encode(), digest_size=4).digest()
        return int.from_bytes(told, "big") >> 1  # every library takes 31 bits

    def varied(value: Any) -> Any:
        kind = type(value)
        if kind is int or (kind.__module__ == "numpy" and kind.__name__[:3] in ("int", "uin")
                           and getattr(value, "shape", None) == ()):  # fmt: skip
            return number(value)
        if kind in (list, tuple, range):
            return kind([varied(one) for one in value]) if kind is not range else [
                varied(one) for one in value
            ]  # fmt: skip
        return value

    def replaced(value: ast.expr) -> ast.expr:
        function = ast.Name(NAME, ast.Load())
        return ast.copy_location(ast.Call(function, [value], []), value)

    def changed(tree: Any) -> Any:
        return ast.fix_missing_locations(Seeds(replaced, number).visit(tree))

    setattr(builtins, NAME, varied)

    from IPython.core.interactiveshell import InteractiveShell

    transform = InteractiveShell.transform_ast

    def transform_ast(self: Any, node: Any) -> Any:
        return changed(transform(self, node))

    InteractiveShell.transform_ast = transform_ast

    loader = importlib.machinery.SourceFileLoader
    compiled = loader.get_code
    paths = sysconfig.get_paths()
    installed = tuple(paths[k] for k in ("stdlib", "platstdlib", "purelib", "platlib"))

    def get_code(self: Any, fullname: str) -> Any:
        path = self.get_filename(fullname)
        own = not path.startswith(installed) and "site-packages" not in path
        if own and not fullname.startswith("mlrepro_nb"):
            data = self.get_data(path)
            if b"seed" in data.lower() or b"random" in data or b"rng" in data:
                try:
                    return compile(changed(ast.parse(data)), path, "exec", dont_inherit=True)
                except (SyntaxError, ValueError, RecursionError):
                    pass  # the loader says it better
        return compiled(self, fullname)

    loader.get_code = get_code  # type: ignore[method-assign]

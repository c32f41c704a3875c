"""Modules that are not there, and libraries that no longer have what a cell uses of them."""

from __future__ import annotations

import ast
import itertools
import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from shlex import quote

import msgspec

from mlrepro_nb.dataflow import dotted
from mlrepro_nb.model import Cause
from mlrepro_nb.verify.attribute import recorded
from mlrepro_nb.verify.attribute._fallback import exception, python2, recorded_reason
from mlrepro_nb.verify.attribute._names import DISTRIBUTIONS, PYTHON2_MODULES
from mlrepro_nb.verify.attribute.case import Case, cause
from mlrepro_nb.verify.attribute.history import last_version
from mlrepro_nb.verify.attribute.providers import provider
from mlrepro_nb.verify.attribute.spelled import string_literals
from mlrepro_nb.verify.attribute.versioned import written_since

_FILES = 4000
"""Of a library that are looked into for a class."""


def broken_import(case: Case, index: int, ename: str, evalue: str, trace: str) -> Cause:
    """Name why an import failed."""
    absent = re.search(r"No module named '?([\w.]+)'?", evalue)
    if absent:
        return _absent_module(case, index, absent[1])
    name = re.search(r"cannot import name '?(\w+)'? from '?([\w.]+)'?", evalue)
    if name:
        return _changed_interface(
            case, index, f"{name[2]}.{name[1]}", name[2].partition(".")[0],
            f"{name[2]} has no {name[1]!r} here",
        )  # fmt: skip
    if library := re.search(r"(lib[\w.+-]+\.so[\d.]*): cannot open shared object", evalue):
        return cause(
            "system-binary", index, library[1],
            f"Cell {index} imports a module that needs the shared library {library[1]}",
            f"Install the operating system's package that has {library[1]}",
        )  # fmt: skip
    needs = re.search(
        r"(?:[Mm]issing optional dependency|[Pp]lease (?:pip )?install|requires?|pip install)"
        r" ['\"`]?([\w-]+)|install the ['\"`]?([\w-]+)['\"`]? (?:package|library|module)", evalue,
    )  # fmt: skip
    if needs and "removed" not in evalue:
        wanted = needs[1] or needs[2]
        return _undeclared(case, index, wanted, wanted, evalue)
    module = _library(trace) or _mentioned(case, index, evalue)
    if module:
        return _changed_interface(case, index, module, module, evalue[:200])
    return recorded_reason(case, index) or exception(index, ename, evalue, trace)


_BUILT_FOR = re.compile(
    r"numpy\.\w+ size changed|compiled (?:using|against) (?:NumPy|ABI|API|module)"
    r"|numpy\.core\.multiarray failed to import|_ARRAY_API not found", re.I,
)  # fmt: skip


def other_numpy(case: Case, index: int, evalue: str, trace: str) -> Cause | None:
    """Say whether a library is here that was compiled for another NumPy (its ABI changed at 2)."""
    if not _BUILT_FOR.search(evalue):
        return None
    if drift := recorded.version_drift(case, index, "numpy"):
        return drift
    _, version = _version(case, "numpy")
    below = version is None or version.partition(".")[0] not in ("0", "1")
    module = next((name for name in reversed(frames(trace)) if name != "numpy"), "a library")
    return cause(
        "version-drift", index, "numpy",
        f"Cell {index} imports {module}, which was compiled for another NumPy than the "
        f"{version or 'one'} installed here: {evalue[:200]}",
        f"Install a {module} that was made for it, or the NumPy that this one was made for: "
        + ("pip install 'numpy<2'" if below else "pip install --upgrade numpy"),
        requirement="numpy<2" if below else "numpy<3",
    )  # fmt: skip


def _absent_module(case: Case, index: int, module: str) -> Cause:
    top = module.partition(".")[0]
    if top in PYTHON2_MODULES:
        return python2(index, top, f"Cell {index} imports {top!r}, which only Python 2 has")
    own = project_module(case, top)
    known = {m.name.partition(".")[0]: m for m in case.record.code.modules} if case.record else {}
    if top in known or own:
        path = known[top].path if top in known else str(own)
        state = "is gone" if top in known and not own else "is not on the import path"
        folder = import_folder(case, top)
        add = f"Add its folder to the path in a first cell (sys.path.insert(0, {folder or '.'!r}))"
        root = _relative(case.root, case.folder)
        installs = any((case.root / n).is_file() for n in ("pyproject.toml", "setup.py"))
        return cause(
            "missing-file" if state == "is gone" else "undeclared-dependency", index,
            path if state == "is gone" else top,
            f"Cell {index} imports {module!r}, the project's own {path}, which {state}",
            f"Bring back {path}" if state == "is gone" else add
            + (f", or install the project (pip install -e {quote(root)})" if installs
               else f", or put {path} beside the notebook"),
        )  # fmt: skip
    if "." in module and _installed(case, top) and not _is_shared(top):
        return _changed_interface(
            case, index, module, top, f"the installed {top} has no module {module!r}"
        )
    return _undeclared(case, index, top, module, f"No module named {module!r}")


def _undeclared(case: Case, index: int, top: str, module: str, said: str) -> Cause:
    found = provider(case, index, module)
    state = (
        "the image was built without it" if case.in_image
        else f"{found.declared} asks for it" if found.declared
        else "no requirements file of the project names it"
    )  # fmt: skip
    quoted = f"'{found.pin}'" if set(found.pin) & set("<>=[ ") else found.pin
    return cause(
        "undeclared-dependency", index, found.name,
        f"Cell {index} imports {module!r}, which is not installed here ({said[:160]}); "
        f"{found.how}; {state}",
        f"pip install {quoted}" + ("" if found.declared else ", and add it to the requirements")
        if found.exists
        else f"Put the {top} that the notebook was written with into the project, or say where to "
        "install it from",
        requirement=found.pin if found.exists else None,
    )  # fmt: skip


_NOT_OURS = frozenset({"tests", "test", "node_modules", "site-packages", "build", "dist"})


def project_module(case: Case, top: str) -> Path | None:
    """Return the project's own module or package of a name, the nearest to the notebook first."""
    inside = case.folder.is_relative_to(case.root)
    above = [f for f in case.folder.parents if f.is_relative_to(case.root)] if inside else []
    for base in dict.fromkeys((case.folder, *above, case.root)):
        try:
            below = sorted(f for f in base.iterdir() if f.is_dir())
        except OSError:
            continue
        below = [f for f in below if f.name[:1] != "." and f.name.lower() not in _NOT_OURS]
        for folder in (base, base / "src", *below):
            for found in (folder / f"{top}.py", folder / top / "__init__.py"):
                if found.is_file():
                    return found.relative_to(case.root) if (
                        found.is_relative_to(case.root)) else found  # fmt: skip
    return None


def import_folder(case: Case, top: str) -> str | None:
    """Return the folder, from the notebook's, from which the project's own module is imported."""
    path = project_module(case, top) if top.isidentifier() else None
    if path is None:
        return None
    folder = (case.root / path).parent
    if path.name == "__init__.py":
        folder = folder.parent
    # Beside the notebook it was found already, and something else is wrong with it.
    return None if folder == case.folder else _relative(folder, case.folder)


def _relative(folder: Path, start: Path) -> str:
    return Path(os.path.relpath(folder, start)).as_posix()


def _installed(case: Case, top: str) -> bool:
    if case.rerun is not None and any(
        top in d.modules or d.name == top.lower().replace("_", "-")
        for d in case.rerun.environment.distributions
    ):
        return True
    from importlib.util import find_spec

    try:
        return find_spec(top) is not None
    except (ValueError, ImportError):
        return False


def changed_interface(case: Case, index: int, ename: str, evalue: str, trace: str) -> Cause | None:
    """Say whether a library no longer has what the cell uses of it."""
    if ename == "AttributeError":
        if found := re.search(r"module '([\w.]+)' has no attribute '(\w+)'", evalue):
            return _changed_interface(
                case, index, f"{found[1]}.{found[2]}", found[1].partition(".")[0], evalue[:200]
            )
        if found := re.search(r"(?:'(\w+)' object|type object '(\w+)') has no attribute '(\w+)'",
                              evalue):  # fmt: skip
            owner = found[1] or found[2]
            if owner == "dict" and found[3] in ("iteritems", "has_key", "itervalues", "iterkeys"):
                return python2(index, found[3], f"Cell {index} calls dict.{found[3]} of Python 2")
            if owner in _BUILTIN_TYPES or any(
                owner in cell.defines and owner not in cell.imports for cell in case.flow.cells
            ):
                return None
            module = _library(trace) or _module_of_class(case, owner)
            return _changed_interface(
                case, index, f"{owner}.{found[3]}", module or owner, evalue[:200]
            )
    # Matplotlib says it with an AttributeError, of the class that it hands the keyword to.
    if ename in ("TypeError", "AttributeError") and re.search(
        r"unexpected keyword argument|takes (?:no|from|\d+) .*positional|missing \d+ required"
        r"|got multiple values", evalue,
    ):  # fmt: skip
        called = re.match(r"([\w.]+?)(?:\.__(?:init|new|call)__)?\(\)", evalue)
        name = called[1].split(".")[0] if called else ""
        if any(name in cell.defines and name not in cell.imports for cell in case.flow.cells):
            return None
        module = (
            _library(trace)
            or _called(case, index, called[1] if called else "")
            or _mentioned(case, index, name)
            or (_module_of_class(case, name) if name[:1].isupper() else None)
        )
        if module:
            return _changed_interface(case, index, called[1] if called else module, module,
                                      evalue[:200])  # fmt: skip
    if _library(trace) == "pandas" and _NOT_NUMBERS.search(evalue) and (
        _REDUCTION.search(case.cells[index].source)
    ):  # fmt: skip
        return _changed_interface(case, index, "numeric_only", "pandas", evalue[:200])
    if re.search(r"(?:was|has been|were) (?:removed|deprecated)|no longer support|deprecated since"
                 r"|is not supported anymore|expired", evalue):  # fmt: skip
        module = _library(trace)
        if module:
            return _changed_interface(case, index, module, module, evalue[:200])
    # Raised inside a library that is not what it was.
    module = _library(trace)
    return recorded.version_drift(case, index, module) if module else None


_NOT_NUMBERS = re.compile(
    r"does not support operation|agg function failed"
    r"|[Cc]ould not convert (?:string )?.* to (?:numeric|float)", re.DOTALL,
)  # fmt: skip
_REDUCTION = re.compile(
    r"\.(?:mean|median|sum|std|var|sem|skew|min|max|prod|corr|cov|quantile)\((?![^)]*numeric_only)"
)
"""What pandas took of the columns of numbers alone until 2.0, of its own accord."""

_REFUSED = re.compile(
    r"\b(?:not (?:an? )?(?:valid|supported|recogni[sz]ed|understood|available|allowed|known)"
    r"|invalid|unknown|unrecogni[sz]ed|unsupported|must be (?:one of|a str among|in)"
    r"|Got .{1,60} instead)\b",
    re.I,
)


def refused_value(case: Case, index: int, evalue: str, trace: str) -> Cause | None:
    """Say whether a library no longer takes a word that the cell gives it."""
    module, cell = _library(trace), case.cells[index]
    if module is None or cell.count is None or not _REFUSED.search(evalue):
        return None
    words = {w for w in string_literals(case.flow.by_index[index]) if len(w) > 1}
    word = next((w for w in sorted(words, key=len, reverse=True) if f"'{w}'" in evalue), None)
    if word is None or any(o.get("output_type") == "error" for o in cell.reference):
        return None
    return _changed_interface(case, index, word, module, evalue[:200])


_BUILTIN_TYPES = frozenset(
    {"NoneType", "int", "float", "str", "bytes", "list", "dict", "tuple", "set", "bool", "function",
     "method", "generator", "builtin_function_or_method", "range", "complex", "module", "type"}
)  # fmt: skip


def _is_shared(top: str) -> bool:
    """Whether several distributions may put modules into a package (PEP 420): ``google``."""
    from importlib.util import find_spec

    try:
        spec = find_spec(top)
    except (ValueError, ImportError):
        return False
    return spec is not None and spec.origin is None and spec.submodule_search_locations is not None


def _own_interface(case: Case, index: int, module: str, said: str) -> Cause | None:
    """Say whether it is the project's own module that no longer has what a cell uses."""
    top = module.partition(".")[0]
    own = project_module(case, top)
    if own is None or import_folder(case, top) is not None or any(
        top in d.modules for d in (case.rerun.environment.distributions if case.rerun else ())
    ):  # fmt: skip
        return None
    edits = recorded.local_edits(case)
    changed = next((edits[name] for name in (module, top) if name in edits), None)
    since = changed or written_since(case, index)
    if since is not None and since.kind == "local-edit":
        return msgspec.structs.replace(since, evidence=f"{since.evidence} Cell {index}: {said}.")
    importing = next(
        (c.index for c in case.flow.cells
         if any(v.partition(".")[0] == top for v in c.imports.values())), index,
    )  # fmt: skip
    return cause(
        "local-edit", importing, str(own),
        f"{own}, which cell {importing} imports, is the project's own, and {said}",
        f"Put {own} back as it was when the notebook ran (git log -- {quote(str(own))}), or "
        f"change cell {index}",
    )  # fmt: skip


def _changed_interface(case: Case, index: int, what: str, module: str, said: str) -> Cause:
    if own := _own_interface(case, index, module, said):
        return own
    drift = recorded.version_drift(case, index, module)
    if drift is not None:
        return cause(
            "version-drift", index, drift.subject, f"{drift.evidence} Cell {index}: {said}",
            drift.fix, requirement=drift.requirement,
        )  # fmt: skip
    distribution, version = _version(case, module)
    last = last_version(case, what, module, distribution, version)
    other, pin = f"install the {module} that it was written for", None
    if last is not None:
        said = f"{said.rstrip('.')}. {_capital(last.how)}"
        pin = f"{last.name}=={last.version}"
        python = f" (it has wheels for Python {last.pythons})" if last.pythons else ""
        other = f"install the last version that had it: pip install '{pin}'{python}"
    return cause(
        "api-change", index, what,
        f"Cell {index} was written for another version of {module} than the "
        f"{version or 'one'} installed here: {said}",
        f"Port cell {index} to {module} {version or 'as installed'}, or {other}",
        requirement=None if last is not None and last.pythons else pin,
    )  # fmt: skip


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _version(case: Case, module: str) -> tuple[str, str | None]:
    """Return the distribution of a library, and its version here."""
    name = DISTRIBUTIONS.get(module, module).lower().replace("_", "-")
    if case.rerun is not None:
        for distribution in case.rerun.environment.distributions:
            if module in distribution.modules or distribution.name == name:
                return distribution.name, distribution.version
    return name, None


def _library(trace: str) -> str | None:
    """Return the package that the deepest frame outside the notebook lies in."""
    found = frames(trace)
    return found[-1] if found else None


def frames(trace: str) -> list[str]:
    """Return the installed packages that the frames of a traceback lie in, the outermost first."""
    found = re.findall(r"(?:site|dist)-packages/([A-Za-z]\w*)", trace)
    return [name for name in found if name not in ("IPython", "ipykernel", "mlrepro_nb")]


def libraries(case: Case, cells: Iterable[int]) -> list[str]:
    """Return the packages that some cells, and those that they use names of, import.

    Those of Python and the project's own are left out.
    """
    found: set[str] = set()
    for index in cells:
        flow = case.flow.by_index.get(index)
        if flow is not None:
            names = (*flow.imports.values(), *flow.stars, *map(case.flow.resolve, flow.loads))
            found |= {name.partition(".")[0] for name in names if name}
    known = {c.partition(".")[0] for f in case.flow.cells for c in (*f.imports.values(), *f.stars)}
    return sorted(
        name for name in found & known
        if name not in sys.stdlib_module_names and project_module(case, name) is None
    )  # fmt: skip


def _module_of_class(case: Case, name: str) -> str | None:
    for cell in case.flow.cells:
        for local, full in cell.imports.items():
            if local == name:
                return full.partition(".")[0]
    if found := _home_of_class(case, name):
        return found
    homes = {"DataFrame": "pandas", "Series": "pandas", "Index": "pandas", "ndarray": "numpy",
             "Axes": "matplotlib", "Figure": "matplotlib", "Tensor": "torch"}  # fmt: skip
    return homes.get(name)


def _home_of_class(case: Case, name: str) -> str | None:
    """Return the installed library among those that the notebook imports that has a class.

    A call that is refused raises in the caller: no frame of the library shows.
    """
    from importlib.util import find_spec

    defines = re.compile(rf"^class {re.escape(name)}\b", re.MULTILINE)
    for root in libraries(case, case.cells):
        try:
            spec = find_spec(root)
        except (ValueError, ImportError):
            continue
        for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
            files = (path for path in Path(folder).rglob("*.py") if "tests" not in path.parts)
            for path in itertools.islice(files, _FILES):
                try:
                    text = path.read_text(encoding="utf-8", errors="replace")
                except OSError:
                    continue
                if name in text and defines.search(text):
                    return root
    return None


def _called(case: Case, index: int, name: str) -> str | None:
    """Return the library of a function of that name that a cell calls."""
    tree = case.flow.by_index[index].tree
    last = name.rpartition(".")[2]
    for node in ast.walk(tree) if tree is not None and last else ():
        full = case.flow.resolve(dotted(node.func) or "") if isinstance(node, ast.Call) else ""
        root, _, rest = full.partition(".")
        if rest.rpartition(".")[2] == last and any(
            root == value.partition(".")[0] for c in case.flow.cells for value in c.imports.values()
        ):
            return root
    return None


def _mentioned(case: Case, index: int, text: str) -> str | None:
    words = set(re.findall(r"\w+", text))
    for cell in (c for c in case.flow.cells if c.index <= index):
        for local, full in cell.imports.items():
            if local in words or full.partition(".")[0] in words:
                return full.partition(".")[0]
    return None

"""Why a cell raised that did not raise before."""

from __future__ import annotations

import re
from pathlib import Path, PureWindowsPath

from mlrepro_nb.model import Cause
from mlrepro_nb.verify.attribute import order, recorded
from mlrepro_nb.verify.attribute._names import DISTRIBUTIONS, PYTHON2_MODULES, PYTHON2_NAMES
from mlrepro_nb.verify.attribute.case import Case, Output, cause
from mlrepro_nb.verify.attribute.sources import file_literals, in_slice

_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_NETWORK = re.compile(
    r"urlopen error|Max retries exceeded|HTTP Error|Name or service not known|ConnectTimeout"
    r"|Temporary failure in name resolution|Connection refused|Network is unreachable"
    r"|getaddrinfo failed|status code [45]\d\d"
)
_NETWORK_TYPES = frozenset(
    {"URLError", "HTTPError", "ConnectionError", "ConnectTimeout", "ReadTimeout", "SSLError",
     "gaierror", "ConnectionRefusedError", "RemoteDisconnected", "NewConnectionError",
     "LocalEntryNotFoundError", "OfflineModeIsEnabled", "ProxyError"}
)  # fmt: skip
_NO_BINARY = frozenset({"TesseractNotFoundError", "ExecutableNotFound", "PDFInfoNotInstalledError",
                        "JavaNotFoundException", "WebDriverException"})  # fmt: skip
_PYTHON2_SYNTAX = re.compile(
    r"Missing parentheses in call to '(?:print|exec)'|multiple exception types must be"
    r"|leading zeros in decimal integer|invalid (?:hexadecimal|decimal) literal|0777"
)
_PYTHON2_SOURCE = re.compile(
    r"^\s*print\s+[^(=\s]|^\s*except\s+[\w.]+\s*,\s*\w+\s*:|<>|^\s*raise\s+\w+\s*,\s*['\"]"
    r"|^\s*exec\s+['\"]|\bur['\"]|\b0[0-7]+\b(?!\.)|`\w+`", re.MULTILINE
)  # fmt: skip
_MISSING = re.compile(
    r"No such file|does not exist|not found|cannot open|[Uu]nable to open|Errno 2"
)


def cause_of_error(case: Case, index: int, error: Output) -> Cause:
    """Name why a cell raised; the last resort is `exception` itself."""
    ename, evalue = str(error["ename"]), _ANSI.sub("", str(error["evalue"]))
    trace = _ANSI.sub("", "\n".join(error.get("traceback") or ()))
    if ename in ("StdinNotImplementedError", "EOFError") and (
        ename != "EOFError" or re.search(r"\binput\(", case.cells[index].source)
    ):
        return cause(
            "interactive-input", index, "input()",
            f"Cell {index} asks for input, and nobody is there to give it",
            "Take the value from a cell tagged `parameters`",
        )  # fmt: skip
    if ename in ("SyntaxError", "IndentationError", "TabError"):
        return _syntax(case, index, ename, evalue)
    if ename in ("NameError", "UnboundLocalError"):
        return _name(case, index, ename, evalue)
    if ename in ("ModuleNotFoundError", "ImportError"):
        return _import(case, index, ename, evalue, trace)
    if ename == "KeyError" and (variable := _variable(case, index, evalue, trace)):
        return variable
    if ename in _NETWORK_TYPES or _NETWORK.search(evalue):
        remote = in_slice(case.sources, case.flow.upstream(index), "remote")
        subject = remote[-1].subject if remote else evalue[:80]
        return cause(
            "remote-data", index, subject,
            f"Cell {index} needs {subject} from the network and got {ename}: {evalue[:160]}",
            "Keep a copy of the data in the project (DVC, git) and read that",
        )  # fmt: skip
    if found := _file(case, index, ename, evalue, trace):
        return found
    if found := _interface(case, index, ename, evalue, trace):
        return found
    return _recorded_reason(case, index) or _exception(index, ename, evalue, trace)


def _exception(index: int, ename: str, evalue: str, trace: str) -> Cause:
    line = _raising_line(trace)
    where = f" at `{line}`" if line else ""
    fixes = {
        "DeadKernelError": "See whether it runs out of memory or calls native code that crashes",
        "TimeoutError": "Give it more time (--timeout) or less work",
    }
    return cause(
        "exception", index, ename, f"Cell {index} raised {ename}{where}: {evalue[:240]}",
        fixes.get(ename, f"Correct cell {index}; its reference run did not raise this"),
    )  # fmt: skip


def _recorded_reason(case: Case, index: int) -> Cause | None:
    """Return what the record says has changed upstream of a cell that raised."""
    upstream = case.flow.upstream(index)
    for cell, edited in sorted(recorded.edited_cells(case).items()):
        if cell in upstream:
            return edited
    for changed, reader in recorded.changed_files(case):
        if reader in upstream:
            return changed
    moved = order.out_of_order(case, index)
    return moved or order.deleted(case, index) or recorded.version_drift(case, index)


# --- names


def _name(case: Case, index: int, ename: str, evalue: str) -> Cause:
    match = re.search(r"'(\w+)'", evalue)
    name = match[1] if match else ""
    definers = [cell for cell in case.flow.definers(name) if cell != index]
    later = [cell for cell in definers if cell > index]
    failed = [c for c in definers if c < index and case.cells[c].error is not None]
    if failed:
        root = case.cells[failed[-1]].error
        assert root is not None
        return cause_of_error(case, failed[-1], root)
    if later and not [c for c in definers if c < index]:
        here, there = case.cells[index].count, case.cells[later[0]].count
        counts = (
            f"; execution counts say that it ran first ([{there}] before [{here}])"
            if here and there and there < here
            else ""
        )
        return cause(
            "out-of-order", index, name,
            f"Cell {index} uses {name!r}, which only cell {later[0]} below it defines{counts}",
            f"Move cell {later[0]} before cell {index}",
        )  # fmt: skip
    if not definers or not name:
        for execution in order.gone(case):
            from mlrepro_nb.verify.attribute.dataflow import read_cell

            if name in read_cell(-1, execution.source).defines:
                return order.deletion(index, name, execution)
        edited = recorded.edited_cells(case)
        for cell, found in edited.items():
            ran = [e for e in case.record.code.cells if case.index_of.get(e.order) == cell] if (
                case.record) else []  # fmt: skip
            if ran and (name in ran[-1].source or cell == index):
                return found
    if name in PYTHON2_NAMES and not definers:
        return _python2(index, name, f"Cell {index} uses {name!r}, which only Python 2 has")
    if case.flow.provided(name) or ename == "UnboundLocalError":
        return _exception(index, ename, evalue, "")
    deleting = [c.index for c in case.flow.cells if name in c.deletes and c.index < index]
    if deleting:
        return cause(
            "repeated-execution", deleting[-1], name,
            f"Cell {index} uses {name!r}, which cell {deleting[-1]} deletes",
            f"Define {name!r} again between them",
        )  # fmt: skip
    return cause(
        "deleted-definition", index, name,
        f"Cell {index} uses {name!r}, and no cell of the notebook defines it",
        f"Define {name!r} in a cell above cell {index}; a cell that did so seems to have been "
        "deleted",
    )  # fmt: skip


def _syntax(case: Case, index: int, ename: str, evalue: str) -> Cause:
    if _PYTHON2_SYNTAX.search(evalue) or (_PYTHON2_SOURCE.search(case.cells[index].source)):
        return _python2(index, "syntax", f"Cell {index} is Python 2 ({evalue[:120]})")
    return recorded.edited_cells(case).get(index) or _exception(index, ename, evalue, "")


def _python2(index: int, subject: str, evidence: str) -> Cause:
    return cause(
        "python2", index, subject, evidence, "Port the notebook to Python 3: 2to3, modernize"
    )


# What is imported, and what of it is used.


def _import(case: Case, index: int, ename: str, evalue: str, trace: str) -> Cause:
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
        r" ['\"`]?([\w-]+)", evalue,
    )  # fmt: skip
    if needs and "removed" not in evalue:
        return _undeclared(case, index, needs[1], needs[1], evalue)
    module = _library(trace) or _mentioned(case, index, evalue)
    if module:
        return _changed_interface(case, index, module, module, evalue[:200])
    return _recorded_reason(case, index) or _exception(index, ename, evalue, trace)


def _absent_module(case: Case, index: int, module: str) -> Cause:
    top = module.partition(".")[0]
    if top in PYTHON2_MODULES:
        return _python2(index, top, f"Cell {index} imports {top!r}, which only Python 2 has")
    own = _project_module(case, top)
    known = {m.name.partition(".")[0]: m for m in case.record.code.modules} if case.record else {}
    if top in known or own:
        path = known[top].path if top in known else str(own)
        state = "is gone" if top in known and not own else "is not on the import path"
        return cause(
            "missing-file" if state == "is gone" else "undeclared-dependency", index,
            path if state == "is gone" else top,
            f"Cell {index} imports {module!r}, the project's own {path}, which {state}",
            f"Bring back {path}" if state == "is gone" else
            f"Put {path} beside the notebook, or install the project (pip install -e .)",
        )  # fmt: skip
    if "." in module and _installed(case, top):
        return _changed_interface(
            case, index, module, top, f"the installed {top} has no module {module!r}"
        )
    return _undeclared(case, index, top, module, f"No module named {module!r}")


def _undeclared(case: Case, index: int, top: str, module: str, said: str) -> Cause:
    provider, version = _provider(case, top, module)
    declared = _declared(case.root, provider)
    state = (
        f"{declared} asks for it" if declared else "no requirements file of the project names it"
    )
    pin = f"{provider}=={version}" if version else provider
    quoted = f"'{pin}'" if set(pin) & set("<>=") else pin
    return cause(
        "undeclared-dependency", index, provider,
        f"Cell {index} imports {module!r}, which is not installed here ({said[:160]}); {state}",
        f"pip install {quoted}" + ("" if declared else ", and add it to the requirements"),
    )  # fmt: skip


def _provider(case: Case, top: str, module: str) -> tuple[str, str | None]:
    if case.record is not None:
        for distribution in case.record.environment.distributions:
            if top in distribution.modules:
                return distribution.name, distribution.version
        wanted = {DISTRIBUTIONS.get(top, top).lower(), top.lower().replace("_", "-")}
        for distribution in case.record.environment.distributions:
            if distribution.name in wanted:
                return distribution.name, distribution.version
    for name in (".".join(module.split(".")[:3]), ".".join(module.split(".")[:2]), top):
        if name in DISTRIBUTIONS:
            return DISTRIBUTIONS[name], None
    return top.replace("_", "-"), None


def _declared(root: Path, distribution: str) -> str | None:
    wanted = re.compile(
        rf"(?im)(?:^|[\s\"'-]){re.escape(distribution.partition('<')[0])}(?:[\s\"'<>=~!\[;,]|$)"
    )
    for name in ("requirements.txt", "pyproject.toml", "environment.yml", "setup.py", "setup.cfg",
                 "Pipfile"):  # fmt: skip
        try:
            text = (root / name).read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        if wanted.search(text):
            return name
    return None


def _project_module(case: Case, top: str) -> Path | None:
    for pattern in (f"{top}.py", f"{top}/__init__.py"):
        for folder in (case.folder, case.root, *case.root.glob("*/")):
            if (folder / pattern).is_file():
                return (folder / pattern).relative_to(case.root) if (
                    folder.is_relative_to(case.root)) else folder / pattern  # fmt: skip
    return None


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


def _interface(case: Case, index: int, ename: str, evalue: str, trace: str) -> Cause | None:
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
                return _python2(index, found[3], f"Cell {index} calls dict.{found[3]} of Python 2")
            if owner in _BUILTIN_TYPES or any(
                owner in cell.defines and owner not in cell.imports for cell in case.flow.cells
            ):
                return None
            module = _library(trace) or _module_of_class(case, owner)
            return _changed_interface(
                case, index, f"{owner}.{found[3]}", module or owner, evalue[:200]
            )
    if ename == "TypeError" and re.search(
        r"unexpected keyword argument|takes (?:no|from|\d+) .*positional|missing \d+ required"
        r"|got multiple values", evalue,
    ):  # fmt: skip
        called = re.match(r"([\w.]+?)(?:\.__(?:init|new|call)__)?\(\)", evalue)
        name = called[1].split(".")[0] if called else ""
        if any(name in cell.defines and name not in cell.imports for cell in case.flow.cells):
            return None
        module = _library(trace) or _mentioned(case, index, name)
        if module:
            return _changed_interface(case, index, called[1] if called else module, module,
                                      evalue[:200])  # fmt: skip
    if re.search(r"(?:was|has been|were) (?:removed|deprecated)|no longer support|deprecated since"
                 r"|is not supported anymore|expired", evalue):  # fmt: skip
        module = _library(trace)
        if module:
            return _changed_interface(case, index, module, module, evalue[:200])
    # Raised inside a library that is not what it was.
    module = _library(trace)
    return recorded.version_drift(case, index, module) if module else None


_BUILTIN_TYPES = frozenset(
    {"NoneType", "int", "float", "str", "bytes", "list", "dict", "tuple", "set", "bool", "function",
     "method", "generator", "builtin_function_or_method", "range", "complex", "module", "type"}
)  # fmt: skip


def _changed_interface(case: Case, index: int, what: str, module: str, said: str) -> Cause:
    drift = recorded.version_drift(case, index, module)
    if drift is not None:
        return cause(
            "version-drift", index, drift.subject, f"{drift.evidence} Cell {index}: {said}",
            drift.fix,
        )  # fmt: skip
    version = _version(case, module)
    return cause(
        "api-change", index, what,
        f"Cell {index} was written for another version of {module} than the "
        f"{version or 'one'} installed here: {said}",
        f"Port cell {index} to {module} {version or 'as installed'}, or install the {module} "
        "that it was written for",
    )  # fmt: skip


def _version(case: Case, module: str) -> str | None:
    if case.rerun is not None:
        name = DISTRIBUTIONS.get(module, module).lower().replace("_", "-")
        for distribution in case.rerun.environment.distributions:
            if module in distribution.modules or distribution.name == name:
                return distribution.version
    return None


def _library(trace: str) -> str | None:
    """Return the package that the deepest frame outside the notebook lies in."""
    frames = re.findall(r"(?:site|dist)-packages/([A-Za-z]\w*)", trace)
    frames = [frame for frame in frames if frame not in ("IPython", "ipykernel", "mlrepro_nb")]
    return str(frames[-1]) if frames else None


def _module_of_class(case: Case, name: str) -> str | None:
    for cell in case.flow.cells:
        for local, full in cell.imports.items():
            if local == name:
                return full.partition(".")[0]
    homes = {"DataFrame": "pandas", "Series": "pandas", "Index": "pandas", "ndarray": "numpy",
             "Axes": "matplotlib", "Figure": "matplotlib", "Tensor": "torch"}  # fmt: skip
    return homes.get(name)


def _mentioned(case: Case, index: int, text: str) -> str | None:
    words = set(re.findall(r"\w+", text))
    for cell in (c for c in case.flow.cells if c.index <= index):
        for local, full in cell.imports.items():
            if local in words or full.partition(".")[0] in words:
                return full.partition(".")[0]
    return None


# --- files and variables


def _file(case: Case, index: int, ename: str, evalue: str, trace: str) -> Cause | None:
    missing = ename == "FileNotFoundError" or (
        _MISSING.search(evalue) is not None
        and ename not in ("KeyError", "ValueError", "LookupError")
    )
    denied = ename in ("PermissionError", "NotADirectoryError", "IsADirectoryError")
    if not missing and not denied:
        return None
    quoted = re.findall(r"'((?:[^'\\]|\\.)+)'|\"([^\"]+)\"|name = ([^,)]+)", evalue)
    paths = [next(part for part in group if part) for group in quoted]
    bare = re.search(r"(?:file|directory|exist|found)[^:]*:\s*(\S+)\s*$", evalue)
    if not paths and bare:
        paths = [bare[1]]
    if not paths:
        paths = [p for p in file_literals(case.flow.by_index[index]) if not _exists(case, p)][-1:]
    path = paths[0] if paths else ""
    if (ename in _NO_BINARY or "subprocess" in trace) and (
        "/" not in path and not re.search(r"\.\w{1,5}$", path)
    ):
        return cause(
            "system-binary", index, path or ename,
            f"Cell {index} starts the program {path!r}, which is not on this machine",
            f"Install {path}",
        )  # fmt: skip
    if not path:
        return None
    return _missing_path(case, index, path, ename)


def _missing_path(case: Case, index: int, path: str, ename: str) -> Cause:
    shown = case.local(path)
    absolute = shown.startswith(("/", "~")) or bool(PureWindowsPath(shown).drive)
    inside = shown.startswith(f"{case.root}/")
    if absolute and not inside and ename != "FileExistsError":
        # Relative in the code, made absolute by a library: then it is just missing.
        written = _absolute_literal(case, index, shown)
        if written is not None:
            cell, literal = written
            found = _same_name(case, shown)
            return cause(
                "absolute-path", cell, shown,
                f"Cell {cell} names {literal!r}, a path of the machine that it was written on"
                + (f"; the project has {found}" if found else ""),
                f"Use a path relative to the notebook: {found}" if found else
                "Keep the file in the project and use a path relative to the notebook",
            )  # fmt: skip
    name = _relative(case, shown)
    elsewhere = _same_name(case, shown)
    known = _known(case, name)
    return cause(
        "missing-file", index, name,
        f"Cell {index} reads {name}, and there is no such file{known}"
        + (f"; the project has {elsewhere}" if elsewhere else ""),
        _bring_back(case, name, elsewhere),
    )  # fmt: skip


def _absolute_literal(case: Case, index: int, path: str) -> tuple[int, str] | None:
    """Return the cell that spells the beginning of an absolute path, and how."""
    best: tuple[int, str] | None = None
    upstream = case.flow.upstream(index)
    for cell in sorted(case.flow.cells, key=lambda c: (c.index not in upstream, -c.index)):
        for literal in file_literals(cell):
            if (literal.startswith(("/", "~")) or PureWindowsPath(literal).drive) and (
                path.startswith(literal.rstrip("/\\")) or literal.startswith("~")
            ) and (best is None or len(literal) > len(best[1])):  # fmt: skip
                best = cell.index, literal
        text = cell.source
        if best is None and (match := re.search(r"(?:%cd|chdir\()\s*['\"]?(/[^'\")\s]+)", text)):
            best = cell.index, match[1]
    return best


def _relative(case: Case, path: str) -> str:
    for base in (case.folder, case.root):
        if path.startswith(f"{base}/"):
            return path[len(str(base)) + 1 :]
    return path


def _exists(case: Case, path: str) -> bool:
    try:
        return (case.folder / path).exists()
    except (OSError, ValueError):
        return False


def _same_name(case: Case, path: str) -> str | None:
    name = re.split(r"[/\\]", path)[-1]
    if not name or any(c in name for c in "*?[]"):
        return None
    for pattern in (name, f"*/{name}", f"*/*/{name}"):
        for found in sorted(case.root.glob(pattern)):
            if found.is_file() and ".mlrepro" not in found.parts:
                try:
                    return found.relative_to(case.folder).as_posix()
                except ValueError:
                    up = len(case.folder.relative_to(case.root).parts)
                    return "../" * up + found.relative_to(case.root).as_posix()
    return None


def _known(case: Case, name: str) -> str:
    for access in case.record.data if case.record else ():
        if name in (access.path, access.repo_path) and access.access == "read":
            where = "was under git" if access.tracked else "was never under git"
            if access.dvc is not None:
                where = f"is tracked by DVC ({access.dvc.file})"
            return f"; the recorded run read it ({(access.digest or '')[:19]}), and it {where}"
    for suffix in (".dvc",):
        if (case.folder / f"{name}{suffix}").is_file():
            return f"; DVC tracks it ({name}{suffix})"
    return ""


def _bring_back(case: Case, name: str, elsewhere: str | None) -> str:
    if (case.folder / f"{name}.dvc").is_file():
        return f"dvc pull {name}.dvc"
    for access in case.record.data if case.record else ():
        if name in (access.path, access.repo_path):
            if access.dvc is not None:
                return f"dvc pull {access.dvc.file}"
            if access.tracked:
                return f"git checkout -- {name}"
    if elsewhere:
        return f"Read {elsewhere} instead, or put a copy at {name}"
    return f"Put {name} into the project, under git or DVC, or have a cell make it"


def _variable(case: Case, index: int, evalue: str, trace: str) -> Cause | None:
    name = evalue.strip("'\"")
    asked = any(
        s.subject == name for s in in_slice(case.sources, case.flow.upstream(index), "variable")
    )
    if not asked and not re.search(r"<frozen os>|[/\\]os\.py", trace):
        return None
    return cause(
        "environment-variable", index, name,
        f"Cell {index} needs the environment variable {name}, which is not set",
        f"Set {name} before running, or give it a default in the code",
    )  # fmt: skip


def _raising_line(trace: str) -> str:
    found = re.findall(r"^-+> ?\d+ (.+)$", trace, re.MULTILINE)
    return found[0].strip()[:120] if found else ""

"""What is installed, and whether it is what was installed.

Runs as a program of its own (``python -I -S``, see `surveyor`), so that a kernel is
not slowed by it: it needs the standard library only, and each request imports what it
alone needs, since there are several in a notebook. It reads a request as JSON and
writes the answer as JSON:

- ``{"path": sys.path, "prefix": sys.prefix}``: all distributions;
- ``{"stacks": [[[file, line], …], …]}``: for each import, whether it was only tried;
- ``{"check": [[key, location], …], "prefix": …, "cache": FILE}``: for each key,
  the files that are not what the installer wrote down in ``RECORD``.
"""

# Paths stay strings, and nothing of this package is imported: see above.
# ruff: noqa: PTH103, PTH109, PTH110, PTH116, PTH118, PTH119, PTH120, PTH207
from __future__ import annotations

import contextlib
import json
import os
import re
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ast
    from typing import Any

_SITE = ("site-packages", "dist-packages")
_CHUNK = 1 << 20
_MOST_NAMED = 500
"""Edited files that are named for a distribution."""


# --- what is installed


def installed(path: list[str], prefix: str) -> dict[str, Any]:
    """Return every distribution on a module search path, and what cannot be read.

    Of a distribution that is there twice the first counts, as it does for an
    import.
    """
    from importlib import metadata

    conda = _conda_records(prefix)
    found: dict[str, dict[str, Any]] = {}
    broken: list[str] = []
    for distribution in metadata.distributions(path=[entry or os.getcwd() for entry in path]):
        location = str(getattr(distribution, "_path", ""))
        try:
            entry = _entry(distribution, location, conda)
        except Exception:  # noqa: BLE001 - metadata is text that anybody may have written
            entry = None
        if entry is not None:
            found.setdefault(entry["name"], entry)
        elif not os.path.basename(location).startswith("~"):  # what pip could not remove
            broken.append(os.path.basename(location) or "?")
    names = set(found)
    for entry in found.values():
        # What is not installed was not needed.
        entry["requires"] = [line for line in entry["requires"] if _named(line) in names]
    return {
        "distributions": [found[name] for name in sorted(found)],
        "broken": sorted(set(broken)),
    }


def normal(name: str) -> str:
    """Return a distribution's name as PEP 503 writes it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _named(requirement: str) -> str:
    match = re.match(r"\s*([A-Za-z0-9][\w.-]*)", requirement)
    return normal(match.group(1)) if match else ""


def _entry(distribution: Any, location: str, conda: dict[str, str]) -> dict[str, Any] | None:
    name, version, requires = _headers(distribution)
    if not name or not version:
        return None
    entry: dict[str, Any] = {
        "name": normal(str(name)),
        "version": str(version),
        "location": location,
        "modules": sorted(_top_levels(distribution)),
        "requires": requires,
        **_origin(distribution, location, conda),
    }
    if tags := re.findall(r"(?m)^Tag:\s*(\S+)", distribution.read_text("WHEEL") or ""):
        entry["tags"] = tags
    return entry


def _headers(distribution: Any) -> tuple[str | None, str | None, list[str]]:
    """Return name, version and requirements of a distribution."""
    text = distribution.read_text("METADATA")
    if text:
        # What follows the first empty line is prose, of which there may be much. One of blanks is
        # not empty: it goes on with the text of a licence.
        head = text.replace("\r\n", "\n").partition("\n\n")[0]
        lines = re.findall(r"(?mi)^(Name|Version|Requires-Dist)[ \t]*:[ \t]*(.*?)[ \t]*$", head)
        told: dict[str, list[str]] = {}
        for key, value in lines:
            told.setdefault(key.lower(), []).append(value)
        if "name" in told and "version" in told:
            return told["name"][0], told["version"][0], told.get("requires-dist", [])
    metadata = distribution.metadata
    return metadata["Name"], metadata["Version"], list(distribution.requires or ())


def _top_levels(distribution: Any) -> set[str]:
    tops: set[str] = set()
    if listed := distribution.read_text("top_level.txt"):
        tops |= {line.strip().partition("/")[0] for line in listed.splitlines() if line.strip()}
        if tops:
            return tops
    for line in (distribution.read_text("RECORD") or "").splitlines():
        first, slash, _ = line.partition("/")
        if not slash:
            first = first.partition(",")[0]
            if not first.endswith((".py", ".so")):
                continue
        if not first.endswith((".dist-info", ".data", "..")) and first != "__pycache__":
            tops.add(first.partition(".")[0].strip('"'))
    tops = {top for top in tops if not top.startswith("__editable__")}
    direct = distribution.read_text("direct_url.json")
    if direct and '"editable"' in direct:
        tops.add(re.sub(r"[-.]+", "_", str(_headers(distribution)[0])))
    return tops


def _origin(distribution: Any, location: str, conda: dict[str, str]) -> dict[str, Any]:
    if direct := distribution.read_text("direct_url.json"):
        with contextlib.suppress(ValueError, AttributeError, KeyError, TypeError):
            told = _of_direct_url(json.loads(direct))
            # A conda package's build leaves the folder that it was built in.
            if told["origin"] != "local" or os.path.exists(told.get("folder", "")):
                return told
    base = os.path.basename(location)
    installer = (distribution.read_text("INSTALLER") or "").strip()
    if base in conda:
        return {"origin": "conda", "location": conda[base]}
    if installer == "conda":
        return {"origin": "conda"}
    parent = os.path.dirname(location)
    if base.endswith(".egg-info") and os.path.basename(parent) not in _SITE:
        if any(os.path.exists(os.path.join(parent, n)) for n in ("setup.py", "pyproject.toml")):
            return {"origin": "editable", "source": "path", "folder": parent}
        if os.path.exists(os.path.join(os.path.dirname(parent), "setup.py")):  # src/
            return {"origin": "editable", "source": "path", "folder": os.path.dirname(parent)}
    if installer == "debian" or location.startswith("/usr/lib/python"):
        return {"origin": "system"}
    return {"origin": "index"}


def _of_direct_url(direct: dict[str, Any]) -> dict[str, Any]:
    from urllib.parse import unquote, urlsplit

    url = str(direct["url"])
    local = url.startswith("file:")
    folder = {"folder": unquote(urlsplit(url).path)} if local else {}
    source = "path" if local else url
    if vcs := direct.get("vcs_info"):
        commit = vcs.get("commit_id")
        return {"origin": "git", "source": source, "commit": commit and str(commit), **folder}
    if (told := direct.get("dir_info")) is not None:
        origin = "editable" if told.get("editable") else "local"
        return {"origin": origin, "source": source, **folder}
    return {"origin": "wheel", "source": url.rpartition("/")[2] if local else source, **folder}


def _conda_records(prefix: str) -> dict[str, str]:
    """Return the ``conda-meta`` file of each metadata folder that a conda package brought."""
    import glob

    found: dict[str, str] = {}
    for file in glob.glob(os.path.join(glob.escape(prefix), "conda-meta", "*.json")):
        with contextlib.suppress(OSError, ValueError, AttributeError, TypeError):
            with open(file, encoding="utf-8") as text:
                files = json.load(text).get("files") or ()
            for path in files:
                folder, _, name = str(path).rpartition("/")
                if name in ("METADATA", "PKG-INFO"):
                    found[folder.rpartition("/")[2]] = file
                elif name.endswith(".egg-info"):
                    found[name] = file
    return found


# --- whether it is what was installed


def check(wanted: list[list[str]], prefix: str, cache: str | None = None) -> dict[str, Any]:
    """Return, by key, the files of distributions that are not what the installer wrote down.

    A file's size tells first, then its sha256. A distribution of which no file
    has changed its status since it was last checked is not read again.
    """
    import csv
    import hashlib

    kept = _load(cache)
    found: dict[str, Any] = {}
    changed = False
    for key, location in wanted:
        try:
            listed = list(_listed(location, prefix))
        except (OSError, ValueError, csv.Error, KeyError, TypeError, AttributeError):
            continue  # nothing was written down: an egg, the system's package
        statuses = [_status(path) for path, _, _ in listed]
        signature = hashlib.sha256(repr((listed, statuses)).encode()).hexdigest()
        answer = kept.get(location)
        if not isinstance(answer, dict) or answer.get("signature") != signature:
            folder = prefix if location.endswith(".json") else os.path.dirname(location)
            edited = [
                [os.path.relpath(path, folder), actual]
                for (path, digest, size), status in zip(listed, statuses, strict=True)
                if status is not None and (actual := _edited(path, digest, size, status))
            ]
            answer = {
                "signature": signature, "edited": edited[:_MOST_NAMED], "count": len(edited),
            }  # fmt: skip
            kept[location] = answer
            changed = True
        found[key] = {"edited": answer["edited"], "count": answer["count"]}
    if cache and changed:
        _save(cache, kept)
    return found


def _listed(location: str, prefix: str) -> Any:
    """Yield path, sha256 and size of the files that a distribution says it consists of."""
    import base64
    import csv

    if location.endswith(".json"):  # conda-meta
        with open(location, encoding="utf-8") as text:
            told = json.load(text)
        for entry in told["paths_data"]["paths"]:
            digest = entry.get("sha256_in_prefix") or entry.get("sha256")
            path = str(entry["_path"])
            if digest and any(site in path for site in _SITE) and not path.endswith(".pyc"):
                # Its sizes are those before the prefix was written into the files.
                yield os.path.join(prefix, path), digest, None
        return
    root = os.path.dirname(location)
    with open(os.path.join(location, "RECORD"), encoding="utf-8", newline="") as lines:
        for row in csv.reader(lines):
            if len(row) < 2 or not row[1].startswith("sha256="):
                continue
            # Scripts outside are rewritten when an environment is moved; metadata is no code.
            if row[0].startswith(("..", "/")) or ".dist-info/" in row[0]:
                continue
            code = row[1].removeprefix("sha256=")
            digest = base64.urlsafe_b64decode(code + "=" * (-len(code) % 4)).hex()
            size = int(row[2]) if len(row) > 2 and row[2].isdigit() else None
            yield os.path.join(root, row[0]), digest, size


def _status(path: str) -> tuple[int, ...] | None:
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _edited(path: str, digest: str, size: int | None, status: tuple[int, ...]) -> str | None:
    """Return the sha256 of a file that is not what was installed, or None."""
    actual = _digest(path)
    if size is not None and size != status[1]:
        return actual
    return actual if actual != digest else None  # what cannot be read cannot be told


def _digest(path: str) -> str | None:
    import hashlib

    hashed = hashlib.sha256()
    try:
        with open(path, "rb", buffering=0) as file:
            while chunk := file.read(_CHUNK):
                hashed.update(chunk)
    except OSError:
        return None
    return hashed.hexdigest()


def _load(cache: str | None) -> dict[str, Any]:
    with contextlib.suppress(OSError, ValueError, TypeError):
        with open(str(cache), encoding="utf-8") as text:
            kept = json.load(text)
        if isinstance(kept, dict):
            # Of environments that are gone nothing is kept.
            return {location: kept[location] for location in kept if os.path.exists(location)}
    return {}


def _save(cache: str, kept: dict[str, Any]) -> None:
    import tempfile

    with contextlib.suppress(OSError):
        folder = os.path.dirname(cache)
        os.makedirs(folder, exist_ok=True)
        handle, scratch = tempfile.mkstemp(dir=folder)
        with os.fdopen(handle, "w", encoding="utf-8") as text:
            json.dump(kept, text)
        os.replace(scratch, cache)


# --- whether an import was only tried


def guarded(stacks: list[list[list[Any]]]) -> list[bool]:
    """Return, for the stacks of imports, whether the program would have gone on without them.

    A stack lists file and line of the calls that led to an import. It would
    have gone on where one of them is made in a ``try`` that catches the error
    of a missing module and does not raise it again.
    """
    lines: dict[str, list[bytes]] = {}
    files: dict[str, list[tuple[int, int]]] = {}
    found = []
    for stack in stacks:
        is_guarded = False
        for file, line in stack:
            if file not in lines:
                lines[file] = _lines(file)
            if not _may_be_guarded(lines[file], line):
                continue  # most are not, and to parse is slow
            if file not in files:
                files[file] = _guards(b"".join(lines[file]))
            if any(first <= line <= last for first, last in files[file]):
                is_guarded = True
                break
        found.append(is_guarded)
    return found


def _lines(file: str) -> list[bytes]:
    try:
        with open(file, "rb") as source:
            return source.read().splitlines(keepends=True)
    except OSError:
        return []


_GUARD = re.compile(rb"[ \t]*(?:try\b|(?:async[ \t]+)?with\b)")


def _may_be_guarded(lines: list[bytes], line: int) -> bool:
    """Return whether a line stands deeper than some ``try`` or ``with`` before it."""
    depth = _depth(lines[line - 1]) if line <= len(lines) else 0
    return depth > 0 and any(
        _GUARD.match(above) and _depth(above) < depth for above in lines[: line - 1]
    )


def _depth(line: bytes) -> int:
    return len(line) - len(line.lstrip())


_CAUGHT = {"ImportError", "ModuleNotFoundError", "Exception", "BaseException", "suppress"}


def _guards(source: bytes) -> list[tuple[int, int]]:
    """Return the lines of a source in which an import may fail."""
    import ast

    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    found = []
    for node in ast.walk(tree):
        body: list[ast.stmt] = []
        if isinstance(node, ast.Try):
            caught = [h for h in node.handlers if h.type is None or _names(h.type) & _CAUGHT]
            # The first handler that catches it decides.
            if caught and not any(isinstance(inner, ast.Raise) for inner in ast.walk(caught[0])):
                body = node.body
        elif isinstance(node, ast.With):
            called = [item.context_expr for item in node.items]
            for call in called:
                if isinstance(call, ast.Call) and "suppress" in _names(call.func):
                    caught_here = {name for argument in call.args for name in _names(argument)}
                    if caught_here & _CAUGHT:
                        body = node.body
        if body:
            found.append((body[0].lineno, body[-1].end_lineno or body[-1].lineno))
    return found


def _names(node: ast.expr) -> set[str]:
    import ast

    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name)} | {
        n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute)
    }


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Return the answer to a request."""
    if "stacks" in request:
        return {"guarded": guarded(request["stacks"])}
    if "check" in request:
        return check(request["check"], request["prefix"], request.get("cache"))
    return installed(request["path"], request["prefix"])


def give_way(nice: int) -> None:
    """Leave the processors to the kernel, whose libraries may compute on all of them.

    This process leads a session. Linux shares the time out between sessions first, where it
    groups tasks by them (sched(7), "The autogroup feature"): there a process's own niceness
    counts only among its session's.
    """
    with contextlib.suppress(OSError, AttributeError):
        os.nice(nice)
    with contextlib.suppress(OSError), open("/proc/self/autogroup", "w", encoding="ascii") as own:
        own.write(str(nice))


def main() -> None:
    """Answer the request that one descriptor holds (the first argument) to another."""
    with open(int(sys.argv[1]), encoding="utf-8") as asking:
        asked = json.load(asking)
    # To read every file of a distribution is much work that nobody waits for.
    give_way(19 if "check" in asked else 5)
    with open(int(sys.argv[2]), "w", encoding="utf-8") as told:
        json.dump(answer(asked), told)

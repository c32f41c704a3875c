"""The one door to git."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from mlrepro_nb.connect.command import Ended, redact, run
from mlrepro_nb.errors import ToolError

_SOURCES = (
    ".py", ".ipynb", ".pyx", ".r", ".jl", ".sh", ".sql", ".toml", ".cfg", ".ini", ".yaml", ".yml",
)  # fmt: skip
_LARGEST_DIFF = 1 << 20
_LARGEST_SOURCE = 256 << 10
_TIMEOUT = 60


class GitState(msgspec.Struct, frozen=True, kw_only=True):
    """Where a repository is."""

    remote: str | None = None
    commit: str | None = None
    branch: str | None = None
    dirty: bool = False
    diff: str = ""


def root(path: Path) -> Path | None:
    """Return the folder that holds ``.git``, found upwards from a file or folder, or None."""
    folder = path if path.is_dir() else path.parent
    folder = folder.resolve()
    for candidate in (folder, *folder.parents):
        if (candidate / ".git").exists():
            return candidate
    return None


def state(root: Path, notebook: str | None = None) -> GitState:
    """Return the commit of a repository and what differs from it.

    A notebook of which only outputs and metadata differ is not a change.
    Untracked sources count, of the notebooks only `notebook`: others are
    perhaps executed copies.

    Raises
    ------
    ToolError
        git is missing or fails.
    """
    commit = _line(_git(root, "rev-parse", "--verify", "-q", "HEAD"))
    branch = _line(_git(root, "symbolic-ref", "-q", "--short", "HEAD"))
    parts = list(_changes(root, commit, notebook))
    diff = "".join(parts)
    if len(diff) > _LARGEST_DIFF:
        diff = diff[:_LARGEST_DIFF] + "\n[cut: the diff is larger than 1 MiB]\n"
    return GitState(
        remote=_remote(root), commit=commit, branch=branch, dirty=bool(parts), diff=diff
    )


def tracked(root: Path, paths: Iterable[str]) -> set[str]:
    """Return those of some paths (relative to the root, ``/`` between parts) that git tracks."""
    wanted = sorted(set(paths))
    found: set[str] = set()
    if len(wanted) > 5000:  # to list them all is faster
        return set(_git(root, "ls-files", "-z").stdout.split("\0")) & set(wanted)
    for start in range(0, len(wanted), 500):
        batch = wanted[start : start + 500]
        listed = _git(root, "--literal-pathspecs", "ls-files", "-z", "--", *batch)
        found |= set(listed.stdout.split("\0"))
    return found & set(wanted)


def ignored(root: Path, paths: Iterable[str]) -> set[str]:
    """Return those of some absolute paths that git ignores; what it tracks it does not ignore."""
    wanted = "\0".join(sorted(set(paths)))
    return set(_git(root, "check-ignore", "-z", "--stdin", stdin=wanted).stdout.split("\0")) - {""}


def show(root: Path, commit: str, path: str) -> str | None:
    """Return a text file as it was at a commit, or None."""
    ended = _git(root, "show", f"{commit}:{path}")
    return ended.stdout if ended.ok else None


def content(root: Path, commit: str, path: str) -> bytes | None:
    """Return a file, byte by byte, as it was at a commit, or None."""
    try:
        ended = subprocess.run(
            ["git", "-C", str(root), "cat-file", "blob", f"{commit}:{path}"],
            capture_output=True, stdin=subprocess.DEVNULL, timeout=_TIMEOUT, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    return ended.stdout if ended.returncode == 0 else None


def last_change(root: Path, path: str) -> str | None:
    """Return when the last commit was made that changed a file, as ISO time, or None."""
    return _line(_git(root, "--literal-pathspecs", "log", "-1", "--format=%cI", "--", path))


def last_commit(root: Path, path: str) -> str | None:
    """Return the last commit that changed a file, or None."""
    return _line(_git(root, "--literal-pathspecs", "log", "-1", "--format=%H", "--", path))


def changed_since(root: Path, commit: str, paths: Sequence[str]) -> list[str]:
    """Return the files, among some and in some folders, that are not as they were at a commit.

    Of files, not of folders, those are left out that were not there yet.
    """
    kinds = [] if any((root / path).is_dir() for path in paths) else ["--diff-filter=a"]
    ended = _git(root, "--literal-pathspecs", "diff", "--name-only", "--no-renames", "-z",
                 *kinds, commit, "--", *paths)  # fmt: skip
    return [name for name in ended.stdout.split("\0") if name] if ended.ok else []


def latest_tag(root: Path) -> str | None:
    """Return the newest tag that reads like a version and leads to HEAD, or None."""
    for pattern in ("v[0-9]*", "[0-9]*"):
        ended = _git(root, "describe", "--tags", "--abbrev=0", "--match", pattern)
        if tag := _line(ended):
            return tag
    return None


def checkout(source: str, commit: str, folder: Path) -> None:
    """Put the files of a commit of a repository into a new folder.

    Raises
    ------
    ToolError
        The repository does not answer, or does not have the commit.
    """
    folder.mkdir(parents=True)
    url = source.removeprefix("git+")
    _git(folder, "init", "-q")
    fetched = _git(folder, "fetch", "-q", "--depth", "1", "--", url, commit)
    if not fetched.ok:  # a server may refuse single commits
        fetched = _git(folder, "fetch", "-q", "--tags", "--", url, "+refs/heads/*:refs/remotes/o/*")
    done = _git(folder, "checkout", "-q", "--detach", commit) if fetched.ok else fetched
    if not done.ok:
        raise ToolError(
            f"Commit {commit[:12]} of {redact(url)} cannot be fetched.",
            "Check that the repository is reachable and still has it.",
            tool="git",
            output=done.stderr,
        )


def _changes(root: Path, commit: str | None, notebook: str | None) -> Iterator[str]:
    status = _git(root, "status", "--porcelain=v1", "-z", "--untracked-files=all", "--no-renames")
    if not status.ok:
        said = status.stderr.strip().splitlines()
        raise ToolError(
            f"git cannot read {root}: {said[0] if said else 'it failed'}.",
            "Run `git status` there to see why.",
            tool="git",
            output=status.stderr,
        )
    changed, untracked = [], []
    for entry in status.stdout.split("\0"):
        mark, path = entry[:2], entry[3:]
        if mark == "??":
            untracked.append(path)
        elif path:
            changed.append(path)
    others = [path for path in changed if not path.endswith(".ipynb")]
    if commit is not None and others:
        yield from _plain_diff(root, others)
    notebooks = [path for path in changed if path.endswith(".ipynb")]
    for path, before in _at(root, commit, notebooks) if commit is not None else ():
        yield from _source_diff(path, _cells(before), _cells(_read(root / path)))
    for path in [*untracked, *(changed if commit is None else ())]:
        if path.lower().endswith(_SOURCES) and (not path.endswith(".ipynb") or path == notebook):
            text = _read(root / path)
            yield from _source_diff(path, None, _cells(text) if path.endswith(".ipynb") else text)


def _at(root: Path, commit: str, paths: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    """Yield text files as they were at a commit, or None: one process for all, one file at a time.

    A project may have hundreds of notebooks, all of them with new outputs.
    """
    if not paths:
        return
    try:
        with subprocess.Popen(
            _command(root, "cat-file", "--batch"), env=_environment(),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        ) as process:  # fmt: skip
            assert process.stdin is not None
            assert process.stdout is not None
            for path in paths:
                if "\n" in path:  # it is asked in lines
                    yield path, show(root, commit, path)
                    continue
                process.stdin.write(os.fsencode(f"{commit}:{path}\n"))
                process.stdin.flush()
                told = process.stdout.readline()
                if told.endswith(b" missing\n"):
                    yield path, None
                    continue
                content = process.stdout.read(int(told.split()[2]) + 1)[:-1]
                yield path, content.decode("utf-8", "replace").replace("\r\n", "\n")
    except (OSError, IndexError, ValueError) as error:
        raise ToolError(
            f"git cannot read {root} as of {commit[:12]}.",
            "Run `git fsck` there to see why.",
            tool="git",
        ) from error


def _plain_diff(root: Path, paths: list[str]) -> Iterator[str]:
    # --ignore-submodules: a submodule's own state is its own.
    ended = _git(
        root, "--literal-pathspecs", "diff", "HEAD", "--no-color", "--no-ext-diff",
        "--no-textconv", "--", *paths,
    )  # fmt: skip
    yield ended.stdout or "".join(f"changed: {path}\n" for path in paths)


def _source_diff(path: str, before: str | None, after: str | None) -> Iterator[str]:
    if before == after:
        return
    import difflib  # big, and a kernel has no use for it

    yield (
        "".join(
            difflib.unified_diff(
                (before or "").splitlines(keepends=True),
                (after or "").splitlines(keepends=True),
                f"a/{path}" if before is not None else "/dev/null",
                f"b/{path}" if after is not None else "/dev/null",
            )
        )
        or f"added: {path}\n"
    )


def _cells(text: str | None) -> str | None:
    """Return what a notebook says to do: its cells' sources, nothing of what came of them."""
    if text is None:
        return None
    try:
        cells = json.loads(text)["cells"]
        return "".join(
            f"# %% [{cell.get('cell_type')}]\n{''.join(cell.get('source', ''))}\n" for cell in cells
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return text


def _read(path: Path) -> str | None:
    try:
        if path.suffix != ".ipynb" and path.stat().st_size > _LARGEST_SOURCE:
            return f"[{path.stat().st_size} bytes]\n"
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


def _remote(root: Path) -> str | None:
    names = _git(root, "remote").stdout.split()
    if not names:
        return None
    name = "origin" if "origin" in names else names[0]
    url = _line(_git(root, "remote", "get-url", name))
    return redact(url) if url else None


def _line(ended: Ended) -> str | None:
    return (ended.stdout.strip() or None) if ended.ok else None


def _git(root: Path, *arguments: str, timeout: float = _TIMEOUT, stdin: str | None = None) -> Ended:
    return run(_command(root, *arguments), environment=_environment(), timeout=timeout, stdin=stdin)


def _command(root: Path, *arguments: str) -> list[str]:
    quiet = ("-c", "core.fsmonitor=false", "-c", "core.quotePath=false",
             "-c", f"safe.directory={root}")  # fmt: skip
    return ["git", *quiet, "-C", str(root), *arguments]


def _environment() -> dict[str, str]:
    return {
        **{k: v for k, v in os.environ.items() if not k.startswith("GIT_")},
        "GIT_OPTIONAL_LOCKS": "0",  # looking must not write
        "GIT_TERMINAL_PROMPT": "0",
        "LC_ALL": "C",
    }

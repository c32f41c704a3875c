"""Other versions of some distributions, over an environment that stays as it is.

They are installed into a folder that the kernel finds first on its ``PYTHONPATH``. It takes
what uv has in its cache, by links: seconds, where another environment would take minutes.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from mlrepro_nb.capture.environment import closure, lock
from mlrepro_nb.connect import command, uv
from mlrepro_nb.errors import ToolError
from mlrepro_nb.model import Record
from mlrepro_nb.store import Store

_PIN = re.compile(r"\./([^-]+)-|([\w.-]+?)(?:==| @ )")


def put_back(
    record: Record, store: Store, names: Iterable[str], *, python: str, folder: Path,
    offline: bool = False,
) -> None:  # fmt: skip
    """Install some distributions of a record's lock, and nothing else, into a folder.

    Where `offline`, of what uv has in its cache.

    Raises
    ------
    ToolError
        The lock lacks one, uv is missing, or the index does not have one any more.
    NotFoundError, StoreError
        The store has not got the lock.
    """
    wanted = set(names)
    with tempfile.TemporaryDirectory(prefix="mlrepro-lock-") as name:
        file = lock.write(store, str(record.environment.lock), Path(name))
        kept = pins(file.read_text(encoding="utf-8"), wanted)
        if lacking := sorted(wanted - set(kept)):
            raise ToolError(
                f"The record's lock lacks {', '.join(lacking)}.",
                "It came from no index. Install it as it was, and verify again.", tool="uv",
            )  # fmt: skip
        file.write_text("".join(kept.values()), encoding="utf-8")
        uv.install(Path(python), file, target=folder, offline=offline)


def put_over(
    requirements: Sequence[str], *, python: str, folder: Path, others: Mapping[str, str] = {},
    offline: bool = False,
) -> None:  # fmt: skip
    """Install requirements, with what they need, into a folder.

    Parameters
    ----------
    requirements
        As pip takes them.
    python
        The interpreter.
    folder
        Where to.
    others
        Versions of what is there already: what is needed of it is of that version, if it can be.
    offline
        Whether only what uv has in its cache is taken.

    Raises
    ------
    ToolError
        uv is missing, or the index does not have it.
    """
    asked = {normal(requirement) for requirement in requirements}
    with tempfile.TemporaryDirectory(prefix="mlrepro-pins-") as name:
        file = Path(name) / "constraints.txt"
        file.write_text(
            "".join(f"{n}=={v}\n" for n, v in sorted(others.items()) if normal(n) not in asked),
            encoding="utf-8",
        )
        try:
            uv.install(Path(python), requirements, target=folder, constraints=file, offline=offline)
        except ToolError as error:
            # It needs another version of something: it gets that, where it is the newest.
            if "No solution found" not in error.output:
                raise
            uv.install(Path(python), requirements, target=folder, offline=offline)


def variables(folders: Sequence[Path]) -> dict[str, str]:
    """Return what has a kernel find what is in some folders before all else."""
    path = [*map(str, folders), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {"PYTHONPATH": os.pathsep.join(path)} if folders else {}


def installed(folder: Path) -> dict[str, str]:
    """Return what is installed in a folder: versions by normalised name."""
    from importlib.metadata import distributions

    found = {}
    for distribution in distributions(path=[str(folder)]):
        name = distribution.metadata["Name"]
        if name:
            found[normal(name)] = distribution.version
    return found


def pinned(python: str) -> dict[str, str]:
    """Return the versions of what an interpreter has from an index; none where it does not say."""
    ended = command.run(
        [uv.program(), "pip", "freeze", "--python", python, "--quiet"], cwd=Path("/"), timeout=60
    )
    found = re.findall(r"(?m)^([\w.-]+)==(\S+)$", ended.stdout if ended.ok else "")
    return {normal(name): version for name, version in found}


def pins(text: str, wanted: Iterable[str]) -> dict[str, str]:
    """Return the lines of a lock about some distributions, by normalised name."""
    names, found, here = set(wanted), dict[str, str](), None
    for line in text.splitlines(keepends=True):
        if line.startswith((" ", "\t")):
            if here is not None:
                found[here] += line
            continue
        match = _PIN.match(line)
        name = normal(match[1] or match[2]) if match else None
        here = name if name in names else None
        if here is not None:
            found[here] = line
    return found


def normal(name: str) -> str:
    """Return the normalised name (PEP 503) of what a requirement asks for."""
    return closure.normal(re.split(r"[<>=!~\[;@ ]", name)[0])

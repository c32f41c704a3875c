"""uv: locks pins with hashes and builds wheels of what comes from no index."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from mlrepro_nb.connect import command, index
from mlrepro_nb.errors import ToolError

_INSTALL = "pip install 'mlrepro-nb[containers]' brings it."


class MissingPinError(ToolError):
    """The index does not have a pin.

    `name` is its distribution's.
    """

    def __init__(self, message: str, remedy: str, *, name: str, output: str) -> None:
        super().__init__(message, remedy, tool="uv", output=output)
        self.name = name


def program() -> str:
    """Return the path of uv: of the ``uv`` distribution, else the one on PATH.

    Raises
    ------
    ToolError
        There is none.
    """
    try:
        from uv import find_uv_bin

        return str(find_uv_bin())
    except (ImportError, FileNotFoundError):
        pass
    found = shutil.which("uv")
    if found is None:
        raise ToolError("uv is not installed.", _INSTALL, tool="uv")
    return found


def version() -> str:
    """Return uv's version."""
    return command.run([program(), "--version"], timeout=20).stdout.split()[1]


def _environment() -> dict[str, str]:
    """Return the environment in which uv asks the index that pip here would ask.

    In variables rather than arguments: index URLs hold credentials, and
    arguments can be read by every user of the machine.
    """
    environment = {**os.environ, "UV_NO_PROGRESS": "1", "NO_COLOR": "1"}
    settings = index.settings()
    if settings.url and not {"UV_DEFAULT_INDEX", "UV_INDEX_URL"} & environment.keys():
        environment["UV_DEFAULT_INDEX"] = settings.url
    if settings.extra_urls and not {"UV_INDEX", "UV_EXTRA_INDEX_URL"} & environment.keys():
        environment["UV_INDEX"] = " ".join(settings.extra_urls)
    return environment


def lock(pins: Sequence[str], *, python: str, machine: str = "x86_64") -> str:
    """Return hash-pinned requirements for exact pins, nothing resolved and nothing added.

    Parameters
    ----------
    pins
        ``name==version`` or ``name @ URL``, a line each.
    python
        Version of the interpreter that will install them.
    machine
        Its architecture, as ``uname -m`` says it; Linux is meant.

    Raises
    ------
    ToolError
        The index cannot be reached, or does not have a pin.
    """
    if not pins:
        return ""
    # fmt: off
    arguments = [
        program(), "pip", "compile", "-",
        "--generate-hashes", "--no-deps", "--no-header", "--no-annotate",
        "--no-emit-index-url", "--no-emit-find-links", "--quiet",
        "--python-version", python,
        "--python-platform", "linux" if machine == "x86_64" else f"{machine}-unknown-linux-gnu",
    ]
    # fmt: on
    ended = command.run(
        arguments,
        stdin="\n".join(pins) + "\n",
        # Not the project's folder: its [tool.uv] may constrain or replace what ran.
        cwd=Path("/"),
        environment=_environment(),
        timeout=600,
    )
    if ended.ok:
        return ended.stdout
    said = " ".join(ended.stderr.split())  # uv breaks its lines at the terminal's width
    missing = re.search(r"no version of ([\w.-]+)(?:\[[^]]*\])?==(\S+?)[\s,]", said)
    absent = re.search(r"([\w.-]+) was not found in the package registry", said)
    if missing or absent:
        name = missing[1] if missing else str(absent and absent[1])
        subject = f"{name} {missing[2]}" if missing else name
        raise MissingPinError(
            f"The package index has no {subject}, which the record pins.",
            "Where it comes from another index, name that in pip's or uv's configuration; else "
            "install a version that the index has, and record again.",
            name=name,
            output=ended.stderr,
        )
    if re.search(r"Failed to fetch|error sending request|dns error|Connect|network", said):
        raise ToolError(
            "The package index cannot be reached, and the lock of these pins is not cached.",
            "Connect, or set the index in pip's or uv's configuration, and build again.",
            tool="uv",
            output=ended.stderr,
        )
    raise ToolError(
        "uv could not lock the recorded environment.",
        "What it printed says why.",
        tool="uv",
        output=ended.stderr,
    )


def build_wheel(source: Path, folder: Path, *, epoch: int) -> Path:
    """Build the wheel of a source tree into a folder of its own and return its path.

    `epoch` (SOURCE_DATE_EPOCH) dates everything in it, so that the same source
    gives the same wheel.
    """
    folder.mkdir(parents=True, exist_ok=True)
    ended = command.run(
        [program(), "build", "--wheel", "--quiet", "--out-dir", str(folder), str(source)],
        cwd=folder,
        environment={**_environment(), "SOURCE_DATE_EPOCH": str(epoch)},
        timeout=900,
    )
    wheels = sorted(folder.glob("*.whl"))
    if not ended.ok or not wheels:
        raise ToolError(
            f"The wheel of {source} could not be built.",
            f"Try it: uv build --wheel {source}.",
            tool="uv",
            output=ended.stderr,
        )
    return wheels[0]


def make_environment(folder: Path, python: str) -> Path:
    """Make an empty virtual environment of an interpreter and return its own interpreter.

    Raises
    ------
    ToolError
        uv is missing or refuses.
    """
    ended = command.run(
        [program(), "venv", "--quiet", "--no-project", "--python", python, str(folder)],
        cwd=Path("/"), environment=_environment(), timeout=120,
    )  # fmt: skip
    made = folder / "bin" / "python"
    if not ended.ok or not made.exists():
        raise ToolError(
            f"uv could not make an environment of {python}.", "What it printed says why.",
            tool="uv", output=ended.stderr,
        )  # fmt: skip
    return made


def install(
    python: Path, requirements: Path | Sequence[str], *, target: Path | None = None,
    hashes: bool = True, constraints: Path | None = None, dependencies: bool = True,
    newest: str | None = None, offline: bool = False,
) -> None:  # fmt: skip
    """Install requirements for an interpreter.

    Parameters
    ----------
    python
        The interpreter.
    requirements
        A lock, of which exactly what it lists is installed, or names, with what they need.
    target
        A folder to install into instead of the interpreter's own.
    hashes
        Whether the lock has hashes, which then must agree.
    constraints
        A file of versions that are taken where one of those distributions is needed.
    dependencies
        Whether names bring what they need.
    newest
        A moment, ISO; what the index got after it is not seen.
    offline
        Whether only what is in uv's cache is taken.

    Raises
    ------
    ToolError
        The index cannot be reached, or does not have one of them.
    """
    arguments = [program(), "pip", "install", "--quiet", "--python", str(python)]
    if target is not None:
        arguments += ["--target", str(target)]
    if isinstance(requirements, Path):
        arguments += ["--no-deps", *(["--require-hashes"] if hashes else []), "-r",
                      str(requirements)]  # fmt: skip
    else:
        arguments += [*([] if dependencies else ["--no-deps"]), "--", *requirements]
    if constraints is not None:
        arguments[3:3] = ["--constraints", str(constraints)]
    if offline:
        arguments[3:3] = ["--offline"]
    if newest is not None:
        arguments[3:3] = ["--exclude-newer", newest]
    ended = command.run(
        arguments, cwd=requirements.parent if isinstance(requirements, Path) else Path("/"),
        environment=_environment(), timeout=1800,
    )  # fmt: skip
    if not ended.ok:
        raise ToolError(
            f"uv could not install {_named(requirements)}.",
            "What it printed says why. Where it is the network: connect once, or set the index in "
            "pip's or uv's configuration.",
            tool="uv",
            output=ended.stderr,
        )


def _named(requirements: Path | Sequence[str]) -> str:
    if isinstance(requirements, Path):
        return "the recorded environment"
    more = f" and {len(requirements) - 5} more" if len(requirements) > 6 else ""
    return ", ".join(requirements[: 5 if more else 6]) + more

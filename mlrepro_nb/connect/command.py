"""Start an outside program; the doors say what its failures mean."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from mlrepro_nb.errors import ToolError

_CREDENTIALS = re.compile(r"(?<=://)[^/\s@]+@")
_KEPT_LINES = 200


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """How a program ended."""

    status: int
    stdout: str = ""
    stderr: str = ""

    @property
    def ok(self) -> bool:
        """Whether it says that it succeeded."""
        return self.status == 0


def redact(text: str) -> str:
    """Return a text without the credentials of the URLs in it."""
    return _CREDENTIALS.sub("", text)


def find(program: str, *, remedy: str) -> str:
    """Return a program's path.

    Raises
    ------
    ToolError
        It is not on PATH; `remedy` says what to do.
    """
    path = shutil.which(program)
    if path is None:
        raise ToolError(f"The command {program!r} is not on PATH.", remedy, tool=program)
    return path


def run(
    arguments: Sequence[str],
    *,
    cwd: Path | None = None,
    stdin: str | None = None,
    environment: Mapping[str, str] | None = None,
    timeout: float | None = None,
) -> Ended:
    """Run a program to its end and return what it printed, credentials removed.

    Only standard error is redacted: standard output is data.

    Raises
    ------
    ToolError
        It could not be started, or did not end in time.
    """
    tool = Path(arguments[0]).name
    try:
        ended = subprocess.run(
            arguments,
            cwd=cwd,
            input=stdin,
            env=environment,
            timeout=timeout,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ToolError(
            f"`{tool}` did not answer within {timeout:.0f} seconds.", "Try again.", tool=tool
        ) from None
    except OSError as error:
        raise _not_started(tool, error) from error
    return Ended(status=ended.returncode, stdout=ended.stdout, stderr=redact(ended.stderr))


def stream(
    arguments: Sequence[str],
    line: Callable[[str], None],
    *,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Ended:
    """Run a program and hand on each line of its output as it comes, credentials removed.

    Both of its streams are one here; `Ended.stderr` holds the last lines. The
    program does not outlive this call, however that ends.
    """
    tool = Path(arguments[0]).name
    last: deque[str] = deque(maxlen=_KEPT_LINES)
    try:
        process = subprocess.Popen(
            arguments,
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
    except OSError as error:
        raise _not_started(tool, error) from error
    with process:
        try:
            assert process.stdout is not None
            for raw in process.stdout:
                text = redact(raw.rstrip())
                last.append(text)
                line(text)
            status = process.wait()
        except BaseException:
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
            raise
    return Ended(status=status, stderr="\n".join(last))


def _not_started(tool: str, error: OSError) -> ToolError:
    return ToolError(
        f"`{tool}` could not be started: {error.strerror}.", "Check its installation.", tool=tool
    )

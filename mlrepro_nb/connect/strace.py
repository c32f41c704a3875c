"""strace: follows a program and its children, and says what they ask of the system."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from mlrepro_nb.connect import command
from mlrepro_nb.errors import ToolError

REMEDY = "Install strace (apt-get install strace, dnf install strace; Linux only)"


def argv(to: Path, calls: Sequence[str], variables: Mapping[str, str]) -> list[str]:
    """Return what to put before a program's command line to have it followed.

    The program stays our child and gets our signals: strace runs beside it, not
    above it. Only the calls of interest stop it (seccomp).

    Parameters
    ----------
    to : Path
        File or FIFO that the lines go to.
    calls : sequence of str
        System calls to tell of.
    variables : mapping
        Environment variables for the program that strace itself must not have.

    Raises
    ------
    ToolError
        There is no strace.
    """
    program = command.find("strace", remedy=REMEDY + ".")
    given = [word for name, value in variables.items() for word in ("-E", f"{name}={value}")]
    return [
        program, "-DDD", "-f", "-qq", "--seccomp-bpf", "-ttt", "-y", "-s", "0",
        "-e", "trace=" + ",".join(f"?{call}" for call in calls), "-e", "signal=none",
        *given, "-o", str(to), "--",
    ]  # fmt: skip


def check() -> None:
    """Try to follow a program.

    Raises
    ------
    ToolError
        There is no strace, or following is not allowed here.
    """
    program = command.find("strace", remedy=REMEDY + ", or record without --deep.")
    ended = command.run(
        [program, "-f", "-qq", "--seccomp-bpf", "-e", "trace=openat", "-o", "/dev/null", "true"],
        timeout=30,
    )
    if not ended.ok:
        said = (ended.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise ToolError(
            f"strace may not follow programs here: {said}",
            "In a container allow it: docker run --cap-add SYS_PTRACE, or in Kubernetes "
            "securityContext.capabilities.add: [SYS_PTRACE]; elsewhere see "
            "/proc/sys/kernel/yama/ptrace_scope. Or record without --deep.",
            tool="strace",
        )

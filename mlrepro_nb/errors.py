"""What can go wrong with our own machinery or with what the user asked for.

A *finding* about the user's notebook (it does not reproduce, it raised) is a
returned value, never one of these. Each error is one sentence that says what is
wrong and one that says what to do; each maps to an exit code of design.md.
"""

from __future__ import annotations

from typing import ClassVar


class MlreproError(Exception):
    """An error with its remedy.

    Parameters
    ----------
    message : str
        One sentence: what is wrong, naming the thing that is wrong.
    remedy : str
        What the user does about it, as an imperative.
    """

    exit_code: ClassVar[int] = 3

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message, remedy)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}".strip()


class UsageError(MlreproError):
    """The request itself is wrong: a bad argument, a file that is not a notebook."""

    exit_code = 2


class NotebookError(UsageError):
    """The file is not a notebook that can be run: not JSON, of a newer nbformat, no code."""


class NotFoundError(UsageError):
    """Nothing in the store answers to the given name, path or digest."""


class StoreError(MlreproError):
    """The store cannot be found, read or written."""


class StoreVersionError(StoreError):
    """The store was written by a newer mlrepro-nb than this one."""


class KernelError(MlreproError):
    """The kernel is not installed, did not start, or died."""


class GateError(MlreproError):
    """What was made fails a test or a condition that it has to meet: it goes no further."""

    exit_code = 1


class ToolError(MlreproError):
    """An outside system is missing, unreachable, or refused what was asked.

    Parameters
    ----------
    message, remedy : str
        As in `MlreproError`.
    tool : str
        The system's name: ``"docker"``, ``"git"``, ``"registry"``.
    output : str
        The end of what it printed; shown below the message, secrets removed.
    """

    def __init__(self, message: str, remedy: str = "", *, tool: str = "", output: str = "") -> None:
        super().__init__(message, remedy)
        self.tool = tool
        self.output = output


class NeedsEngineError(ToolError):
    """What builds without an engine cannot do it here; one that runs containers may."""

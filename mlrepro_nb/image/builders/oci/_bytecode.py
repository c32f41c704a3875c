"""Bytecode that is the same wherever it is made.

The compiler of one version of CPython gives one code object for one source. How
`marshal` writes that depends on the process too: on whether anyone else holds a
string just then (before 3.11), and on whether a string of one character was ever
interned. So every string is held here while it is written, and those of one
character are interned before anything is compiled. What the compiler itself makes of
a set of strings depends on whether they are interned already: nothing of a module is
left when the next one is compiled.

A child of exactly the record's version compiles, found among this machine's
interpreters (or fetched by uv, which knows its digest). There is no fallback to
another version, or to none: the image would silently get another digest.
"""

from __future__ import annotations

import contextlib
import platform
import posixpath
import struct
import subprocess
import sys

from mlrepro_nb.connect import interpreters
from mlrepro_nb.errors import MlreproError, NeedsEngineError, ToolError
from mlrepro_nb.model import Report, Step

FORMAT = 2

CHILD = r"""
import gc, importlib.util, marshal, struct, sys, types, warnings
warnings.simplefilter("ignore")
gc.disable()  # code has no cycles
for number in range(256):
    sys.intern(chr(number))
read, write = sys.stdin.buffer.read, sys.stdout.buffer.write

def held(code):
    waiting, strings = [code], []
    while waiting:
        found = waiting.pop()
        if isinstance(found, str):
            strings.append(found)
        elif isinstance(found, (tuple, frozenset)):
            waiting.extend(found)
        elif isinstance(found, slice):
            waiting.extend((found.start, found.stop, found.step))
        elif isinstance(found, types.CodeType):
            waiting.extend(found.co_consts)
            for names in (found.co_names, found.co_varnames, found.co_freevars, found.co_cellvars):
                strings.extend(names)
            strings += [found.co_filename, found.co_name, getattr(found, "co_qualname", "")]
    return strings

def compiled(name, source):
    try:
        code = compile(source, name, "exec", dont_inherit=True, optimize=0)
        strings = held(code)
        return (importlib.util.MAGIC_NUMBER + (1).to_bytes(4, "little")
                + importlib.util.source_hash(source) + marshal.dumps(code))
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError):
        return b""

while head := read(8):
    name, size = struct.unpack("<II", head)
    made = compiled(read(name).decode("utf-8", "surrogateescape"), read(size))
    write(struct.pack("<I", len(made)) + made)
    sys.stdout.buffer.flush()
"""


def interpreter(version: str, report: Report) -> str:
    """Return the path of an interpreter of exactly this version.

    Raises
    ------
    NeedsEngineError
        There is none on this machine, and none can be fetched.
    """
    if platform.python_version() == version and platform.python_implementation() == "CPython":
        return sys.executable
    with contextlib.suppress(ToolError):
        found = interpreters.find(version)
        if found is None:
            report(Step(message=f"fetching Python {version}, whose compiler makes the bytecode"))
            found = interpreters.fetch(version)
        if found is not None:
            return found
    raise NeedsEngineError(
        f"The distributions are compiled by the recorded Python, {version}, and there is none on "
        "this machine.",
        f"Install it (uv python install {version}), or build with --no-bytecode: the image then "
        "has another digest, the same everywhere, and starts slower.",
        tool="python",
    )


class Compiler:
    """A child process that compiles what it is sent.

    Parameters
    ----------
    python
        Path of its interpreter.
    """

    def __init__(self, python: str) -> None:
        self._process = subprocess.Popen(
            [python, "-s", "-S", "-B", "-c", CHILD],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env={"PYTHONHASHSEED": "0", "PYTHONUTF8": "1"},
        )

    def __enter__(self) -> Compiler:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the child."""
        self._process.kill()
        self._process.communicate()

    def compile(self, path: str, source: bytes) -> bytes | None:
        """Return the ``.pyc`` of a source at a path in the image; None if it is no Python."""
        name = path.encode("utf-8", "surrogateescape")
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(struct.pack("<II", len(name), len(source)) + name + source)
            self._process.stdin.flush()
            head = self._process.stdout.read(4)
            made = self._process.stdout.read(struct.unpack("<I", head)[0])
        except (OSError, struct.error) as error:
            raise MlreproError(
                f"The Python that compiles ended at {path}.",
                "Build again; if that does not help, build with --no-bytecode.",
            ) from error
        return made or None


def cached_name(path: str, python: str) -> str:
    """Return where Python looks for the bytecode of a module."""
    major, minor = python.split(".")[:2]
    folder, name = posixpath.split(path)
    return f"{folder}/__pycache__/{name.removesuffix('.py')}.cpython-{major}{minor}.pyc"

"""zstd, by what here reads it: Python's own library, its backport, or the program."""

from __future__ import annotations

import contextlib
import importlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from typing import IO

from mlrepro_nb.errors import NeedsEngineError

MAGIC = b"\x28\xb5\x2f\xfd"
"""What a compressed file starts with. It may be of several parts, one after the other."""
_CHUNK = 1 << 20
# Not `zstandard`, which many have: of a file that is cut short it reads what there is, and
# says nothing.
_LIBRARIES = ("compression.zstd", "backports.zstd")


@contextlib.contextmanager
def opened(compressed: IO[bytes], what: str) -> Iterator[IO[bytes]]:
    """Yield what is compressed in a file, to be read from its start to its end.

    Parameters
    ----------
    compressed
        The file.
    what
        What it is, in the plural and for a person: ``The packages of this release``.

    Raises
    ------
    NeedsEngineError
        Nothing here reads zstd.
    EOFError
        It is cut short, or no zstd; this comes while it is read.
    """
    for name in _LIBRARIES:
        try:
            library = importlib.import_module(name)
        except ImportError:
            continue
        try:
            with library.open(compressed, "rb") as plain:
                yield plain
        except library.ZstdError as error:
            raise EOFError(str(error)) from error
        return
    program = shutil.which("zstd")
    if program is None:
        raise NeedsEngineError(
            f"{what} are compressed with zstd, which nothing here reads.",
            "pip install backports.zstd (mlrepro-nb[containers] brings it), or install the program "
            "zstd.",
            tool="zstd",
        )
    with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as target:
        shutil.copyfileobj(compressed, source, _CHUNK)
        source.seek(0)
        done = subprocess.run(
            [program, "-dc"], stdin=source, stdout=target, stderr=subprocess.PIPE, check=False
        )
        if done.returncode:
            raise EOFError(done.stderr.decode("utf-8", "replace").strip() or "zstd cannot read it")
        target.seek(0)
        yield target

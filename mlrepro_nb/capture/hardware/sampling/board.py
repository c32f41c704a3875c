"""What a kernel and its sampler tell one another, without either waiting for the other."""

from __future__ import annotations

import json
import mmap
import os
import struct
import zlib
from typing import Any

SIZE = 1 << 16
_MARK = struct.Struct("<q")
_HEAD = struct.Struct("<II")
_START = 64
_TRIES = 5
NONE = -1
"""No cell is running."""


class Board:
    """A piece of memory that two processes share.

    The kernel sets the mark, which is the order of the cell that is running. The sampler
    pins up what it has seen. A reader that comes while the sampler writes sees a wrong
    checksum and looks again.

    Parameters
    ----------
    file : int
        Descriptor of a file of `SIZE` bytes; -1 for memory of this process alone.
    """

    def __init__(self, file: int = -1) -> None:
        self._memory = mmap.mmap(file, SIZE)
        self._read: tuple[tuple[int, int], dict[str, Any]] = ((0, 0), {})

    @property
    def mark(self) -> int:
        """The order of the cell that is running, or `NONE`."""
        return int(_MARK.unpack_from(self._memory, 0)[0])

    @mark.setter
    def mark(self, order: int) -> None:
        _MARK.pack_into(self._memory, 0, order)

    def pin(self, said: dict[str, Any]) -> None:
        """Replace what the sampler says; what is too much is not pinned up."""
        text = json.dumps(said, separators=(",", ":")).encode()
        if len(text) > SIZE - _START - _HEAD.size:
            return
        _HEAD.pack_into(self._memory, _START, len(text), zlib.crc32(text))
        start = _START + _HEAD.size
        self._memory[start : start + len(text)] = text

    def read(self) -> dict[str, Any]:
        """Return what the sampler said last; nothing if it has said nothing yet."""
        for _ in range(_TRIES):
            head = _HEAD.unpack_from(self._memory, _START)
            length, checksum = head
            if head == self._read[0] or not length:
                break
            start = _START + _HEAD.size
            text = self._memory[start : start + length]
            if zlib.crc32(text) == checksum:
                self._read = head, json.loads(text)
                break
        return self._read[1]


def shared() -> tuple[Board, int]:
    """Return a board and the descriptor by which another process opens it; it has no name."""
    file = os.memfd_create("mlrepro-samples")  # type: ignore[attr-defined,unused-ignore]
    os.ftruncate(file, SIZE)
    board = Board(file)
    board.mark = NONE
    return board, file

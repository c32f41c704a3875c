"""PNG without a library: its chunks, and the pixels of the kinds that plotting libraries write."""

from __future__ import annotations

import struct
import zlib

import msgspec

LARGEST = 60_000_000
"""Bytes that a decoded picture may take."""
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_DRAWN = (b"IHDR", b"PLTE", b"IDAT", b"tRNS", b"gAMA", b"acTL", b"fcTL", b"fdAT")

Chunks = list[tuple[bytes, bytes]]
"""Of a PNG: kinds and contents."""


class Pixels(msgspec.Struct, frozen=True):
    """A decoded picture: 8-bit channels, row by row."""

    width: int
    height: int
    channels: int
    data: bytes


def drawn_chunks(data: bytes) -> Chunks | None:
    """Return what of a PNG makes its pixels, or None where it is none.

    What names the program that wrote it, and when, is left out.
    """
    if not data.startswith(_SIGNATURE):
        return None
    found, position, ended = [], len(_SIGNATURE), False
    while position + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        if position + 12 + length > len(data):
            return None
        if kind in _DRAWN:
            found.append((kind, data[position + 8 : position + 8 + length]))
        ended = ended or kind == b"IEND"
        position += length + 12
    return found if ended and found and found[0][0] == b"IHDR" else None


def inflated(chunks: Chunks) -> Chunks | None:
    """Return what makes a PNG's pixels with its rows unpacked; None where they are too many.

    The same rows are the same pixels, however well they were packed.
    """
    inflate = zlib.decompressobj()
    try:
        body = b"".join(chunk for kind, chunk in chunks if kind == b"IDAT")
        rows = inflate.decompress(body, LARGEST)
    except zlib.error:
        return None
    others = [chunk for chunk in chunks if chunk[0] != b"IDAT"]
    return [*others, (b"IDAT", rows)] if inflate.eof else None


def decode_png(data: bytes) -> Pixels | None:
    """Decode a PNG of 8 bits that is not interlaced; None for others and for what is broken."""
    chunks = drawn_chunks(data)
    if chunks is None:
        return None
    try:
        width, height, depth, colour, _, _, interlace = struct.unpack(">IIBBBBB", chunks[0][1])
        channels = {0: 1, 2: 3, 4: 2, 6: 4}.get(colour, 0)
        if depth != 8 or interlace or not channels or width * height * channels > LARGEST:
            return None
        inflate = zlib.decompressobj()
        body = b"".join(chunk for kind, chunk in chunks if kind == b"IDAT")
        raw = inflate.decompress(body, (width * channels + 1) * height)
        return Pixels(width, height, channels, _unfilter(raw, width, height, channels))
    except (struct.error, zlib.error, IndexError, ValueError):
        return None


def encode_png(pixels: Pixels) -> bytes:
    """Return a PNG of the pixels."""
    colour = {1: 0, 3: 2, 4: 6, 2: 4}[pixels.channels]
    stride = pixels.width * pixels.channels
    raw = b"".join(b"\0" + pixels.data[y * stride : (y + 1) * stride] for y in range(pixels.height))
    head = struct.pack(">IIBBBBB", pixels.width, pixels.height, 8, colour, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(raw, 6)), (b"IEND", b""))
    return _SIGNATURE + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )


def _unfilter(raw: bytes, width: int, height: int, step: int) -> bytes:
    stride = width * step
    above = bytearray(stride)
    rows = bytearray()
    for y in range(height):
        start = y * (stride + 1)
        kind, row = raw[start], bytearray(raw[start + 1 : start + 1 + stride])
        for i in range(stride if kind else 0):
            left = row[i - step] if i >= step else 0
            up = above[i]
            if kind == 1:
                row[i] = (row[i] + left) & 255
            elif kind == 2:
                row[i] = (row[i] + up) & 255
            elif kind == 3:
                row[i] = (row[i] + (left + up) // 2) & 255
            else:
                row[i] = (row[i] + _paeth(left, up, above[i - step] if i >= step else 0)) & 255
        rows += row
        above = row
    return bytes(rows)


def _paeth(left: int, up: int, corner: int) -> int:
    guess = left + up - corner
    near = min((abs(guess - left), 0), (abs(guess - up), 1), (abs(guess - corner), 2))
    return (left, up, corner)[near[1]]

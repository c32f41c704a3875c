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


def same_rows(one: Chunks, other: Chunks) -> bool:
    """Whether two PNG hold the same rows of pixels, however well those were packed.

    Seen without making the pixels: from the packed rows, where they do not say of
    themselves that they are others (zlib's checksum is the last of them).
    """
    if one == other:
        return True
    # Of another size or kind they are not the same, whatever is in them.
    if one[0] != other[0] or _beside(one) != _beside(other):
        return False
    body, body_other = _packed(one), _packed(other)
    if body[-4:] != body_other[-4:]:
        return False
    most = min(_size_of_rows(one[0][1]), LARGEST)
    rows = _inflated(body, most)
    return rows is not None and rows == _inflated(body_other, most)


def _packed(chunks: Chunks) -> bytes:
    return b"".join(content for kind, content in chunks if kind == b"IDAT")


def _beside(chunks: Chunks) -> Chunks:
    return [chunk for chunk in chunks if chunk[0] != b"IDAT"]


def _size_of_rows(header: bytes) -> int:
    """Return the bytes that rows take, each with its filter's; interlaced ones take up to twice."""
    try:
        width, height, depth, colour, _, _, interlace = struct.unpack(">IIBBBBB", header)
    except struct.error:
        return 0
    bits = depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(colour, 0)
    return int(((width * bits + 7) // 8 + 1) * height * (2 if interlace else 1))


def _inflated(body: bytes, most: int) -> bytes | bytearray | None:
    """Return unpacked rows; None where they are broken or more than there may be."""
    try:
        import deflate
    except ImportError:
        pass
    else:
        try:
            # libdeflate: two to three times as fast as zlib.
            return deflate.zlib_decompress(body, most)
        except deflate.DeflateError:
            return None
    inflate = zlib.decompressobj()
    try:
        rows = inflate.decompress(body, most)
    except zlib.error:
        return None
    return rows if inflate.eof else None


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
        raw = zlib.decompressobj().decompress(_packed(chunks), (width * channels + 1) * height)
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

"""Pictures: by pixels, not by bytes."""

from __future__ import annotations

import base64
import binascii
import struct
import zlib
from typing import Any

import msgspec

from mlrepro_nb.verify.compare._difference import EXACT, NEAR, PLAIN, Context, Difference

PERCEPTIBLE = 0.004
"""Share of the picture's range by which small tiles may differ on average: below it, only
anti-aliasing and font hinting do."""

_TILES = 24
_TILE_LIMIT = 0.03
_LARGEST = 60_000_000


class Pixels(msgspec.Struct, frozen=True):
    """A decoded picture: 8-bit channels, row by row."""

    width: int
    height: int
    channels: int
    data: bytes


def compare_images(before: str, after: str, context: Context = PLAIN) -> Difference:  # noqa: ARG001
    """Compare two base64 pictures; never raises.

    The same pixels encoded otherwise are within tolerance, and so are pictures
    that no eye tells apart.
    """
    if before == after or "".join(before.split()) == "".join(after.split()):
        return EXACT
    one, other = _bytes(before), _bytes(after)
    old, new = decode(one), decode(other)
    if old is None or new is None:
        return Difference(
            level="different", before=f"{len(one)} bytes", after=f"{len(other)} bytes"
        )
    if (old.width, old.height) != (new.width, new.height):
        return Difference(
            level="different",
            before=f"{old.width}×{old.height} pixels",
            after=f"{new.width}×{new.height} pixels",
        )
    if old == new:
        return NEAR
    mean, most = _distance(old, new)
    if mean <= PERCEPTIBLE and most <= _TILE_LIMIT:
        return NEAR
    return Difference(
        level="different",
        before="the picture",
        after=f"another ({most:.0%} off where it differs most)",
    )


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode("".join(text.split()))
    except (binascii.Error, ValueError):
        return text.encode("utf-8", "replace")


def decode(data: bytes) -> Pixels | None:
    """Return the pixels of a PNG or JPEG, or None where nothing here can read it."""
    try:
        from PIL import Image
    except ImportError:
        return _png(data)
    import io

    try:
        with Image.open(io.BytesIO(data)) as picture:
            if picture.width * picture.height * 4 > _LARGEST:
                return None
            pixels = picture.convert("RGBA")
            return Pixels(pixels.width, pixels.height, 4, pixels.tobytes())
    except Exception:  # noqa: BLE001 - a decoder meets hostile bytes; it is then no picture
        return None


def _png(data: bytes) -> Pixels | None:
    """Decode the PNG that plotting libraries write: 8 bits, not interlaced."""
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        return None
    try:
        position, body = 8, b""
        width = height = channels = 0
        while position < len(data):
            length, kind = struct.unpack(">I4s", data[position : position + 8])
            chunk = data[position + 8 : position + 8 + length]
            position += length + 12
            if kind == b"IHDR":
                width, height, depth, colour, _, _, interlace = struct.unpack(">IIBBBBB", chunk)
                channels = {0: 1, 2: 3, 4: 2, 6: 4}.get(colour, 0)
                if depth != 8 or interlace or not channels:
                    return None
                if width * height * channels > _LARGEST:
                    return None
            elif kind == b"IDAT":
                body += chunk
        inflate = zlib.decompressobj()
        raw = inflate.decompress(body, (width * channels + 1) * height)
        return Pixels(width, height, channels, _unfilter(raw, width, height, channels))
    except (struct.error, zlib.error, IndexError, ValueError):
        return None


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


def _distance(old: Pixels, new: Pixels) -> tuple[float, float]:
    """Return the mean distance and that of the worst tile, of the tiles' mean colours, in 0..1."""
    if old.channels != new.channels:
        return 1.0, 1.0
    total, most, tiles = 0.0, 0.0, 0
    for one, other in zip(_tiles(old), _tiles(new), strict=True):
        distance = sum(abs(a - b) for a, b in zip(one, other, strict=True)) / len(one) / 255
        total, most, tiles = total + distance, max(most, distance), tiles + 1
    return total / max(1, tiles), most


def _tiles(pixels: Pixels) -> list[list[float]]:
    width = max(1, pixels.width // _TILES)
    height = max(1, pixels.height // _TILES)
    stride = pixels.width * pixels.channels
    found = []
    for top in range(0, pixels.height, height):
        rows = [
            memoryview(pixels.data)[y * stride : (y + 1) * stride]
            for y in range(top, min(top + height, pixels.height))
        ]
        for left in range(0, pixels.width, width):
            parts = [row[left * pixels.channels : (left + width) * pixels.channels] for row in rows]
            found.append([_mean(parts, c, pixels.channels) for c in range(pixels.channels)])
    return found


def _mean(parts: list[Any], channel: int, step: int) -> float:
    total = sum(sum(part[channel::step]) for part in parts)
    return total / max(1, sum(len(part) // step for part in parts))

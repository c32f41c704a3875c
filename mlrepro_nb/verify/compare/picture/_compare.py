"""Pictures: by pixels, not by bytes."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Any

from mlrepro_nb.verify.compare._difference import (
    EXACT,
    NEAR,
    PLAIN,
    Context,
    Difference,
    differing,
)
from mlrepro_nb.verify.compare.picture._png import (
    LARGEST,
    Pixels,
    decode_png,
    drawn_chunks,
    encode_png,
    same_rows,
)

_STEP = 24
"""Of 255: how far a pixel may be from all that is around it in the other picture.

Anti-aliasing and JPEG's blocks move an edge by less than a pixel."""
_SPECKS = 16
"""Pixels that may be further off: the rounding of an edge here and there."""
_STRONG = 96
"""Of 255: a pixel that changed so much is part of a mark that changed, wherever edges lie."""
_MARK = 4
"""Pixels that the smallest mark has: one digit of a small label."""
_REDRAWN = 0.05
"""Share of all edges that change where a picture was smoothed otherwise: not a mark, but all."""


def compare_images(before: str, after: str, context: Context = PLAIN) -> Difference:  # noqa: ARG001
    """Compare two base64 pictures; never raises.

    The same pixels encoded otherwise are within tolerance, and so are pictures
    that no eye tells apart: what was drawn is there, its edges rounded otherwise.
    What differs more comes with a picture of where it does.
    """
    if before == after:
        return EXACT
    one, other = _bytes(before), _bytes(after)
    if one == other:
        return EXACT  # in lines of another length
    chunks, chunks_new = drawn_chunks(one), drawn_chunks(other)
    if chunks and chunks_new and same_rows(chunks, chunks_new):
        return NEAR
    try:
        from PIL import Image
    except ImportError:
        return _by_hand(one, other)
    del Image
    old, new = _open(one), _open(other)
    if old is None or new is None:
        return differing(f"{len(one)} bytes", f"{len(other)} bytes")
    if len(old) != len(new):
        return differing(f"{len(old)} frames", f"{len(new)} frames")
    for frame, frame_new in zip(old, new, strict=True):
        found = _frames(frame, frame_new)
        if found is not None:
            return found
    return NEAR


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text)
    except (binascii.Error, ValueError):
        return text.encode("utf-8", "replace")


def _open(data: bytes) -> list[Any] | None:
    """Return the frames of a picture on white, or None where nothing here can read it."""
    import io
    import warnings

    from PIL import Image, ImageSequence

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of bombs; we look at the size
            with Image.open(io.BytesIO(data)) as picture:
                size = picture.width * picture.height * 4
                if size * getattr(picture, "n_frames", 1) > LARGEST:
                    return None
                if getattr(picture, "n_frames", 1) == 1:
                    picture.load()
                    return [_on_white(picture)]
                return [_on_white(frame.copy()) for frame in ImageSequence.Iterator(picture)]
    except Exception:  # noqa: BLE001 - a decoder meets hostile bytes; it is then no picture
        return None


def _on_white(frame: Any) -> Any:
    """Return the colours that a reader sees: what is transparent lets the page through."""
    from PIL import Image

    if frame.mode in ("RGB", "L") and "transparency" not in frame.info:
        return frame if frame.mode == "RGB" else frame.convert("RGB")
    frame = frame.convert("RGBA")
    page = Image.new("RGBA", frame.size, "white")
    return Image.alpha_composite(page, frame).convert("RGB")


def _frames(old: Any, new: Any) -> Difference | None:
    from PIL import Image, ImageChops

    if old.size != new.size:
        return differing(
            f"{old.width}×{old.height} pixels", f"{new.width}×{new.height} pixels",
            hints={"lost"} if old.width * old.height > 4 * new.width * new.height else (),
        )  # fmt: skip
    change = ImageChops.difference(old, new)
    box = change.getbbox()
    if box is None:
        return None
    # What is around the changed part decides, too: an edge may have moved there.
    box = (max(0, box[0] - 1), max(0, box[1] - 1), box[2] + 1, box[3] + 1)
    box = (box[0], box[1], min(box[2], old.width), min(box[3], old.height))
    off = _beyond(old.crop(box), new.crop(box))
    specks = sum(off.histogram()[1:])
    strong = _most(change.crop(box)).point([255 if v > _STRONG else 0 for v in range(256)])
    marked = sum(strong.histogram()[1:])
    if specks <= _SPECKS and (marked < _MARK or (specks <= _MARK and _redrawn(old, change))):
        return None
    off = ImageChops.lighter(off, strong)
    specks = sum(off.histogram()[1:])
    left, top, right, bottom = off.getbbox() or (0, 0, 0, 0)
    share = specks / (old.width * old.height)
    where = f"x {box[0] + left}–{box[0] + right}, y {box[1] + top}–{box[1] + bottom}"
    whole = Image.new("L", old.size)
    whole.paste(off, box[:2])
    return differing(
        "the picture", f"another ({share:.2%} of the pixels, at {where})",
        picture=_shown(old, new, whole),
    )  # fmt: skip


def _beyond(old: Any, new: Any) -> Any:
    """Return which pixels of each picture are near no pixel around them in the other."""
    from PIL import ImageChops

    off = None
    for one, other in ((old, new), (new, old)):
        low, high = _around(one, ImageChops.darker), _around(one, ImageChops.lighter)
        # `subtract` stops at 0: what is left is how far a pixel lies outside.
        outside = ImageChops.lighter(
            ImageChops.subtract(low, other), ImageChops.subtract(other, high)
        )
        most = _most(outside)
        off = most if off is None else ImageChops.lighter(off, most)
    assert off is not None
    return off.point([255 if value > _STEP else 0 for value in range(256)])


def _around(image: Any, chosen: Callable[[Any, Any], Any]) -> Any:
    """Return the darkest or lightest of a pixel and the eight around it, channel by channel.

    Pillow's rank filters find the same, and take ten to fifty times as long.
    """
    width, height = image.size
    for across, down in ((1, 0), (0, 1)):
        # At an edge a pixel stands in for the one that it lacks.
        before, behind = image.copy(), image.copy()
        before.paste(image.crop((0, 0, width - across, height - down)), (across, down))
        behind.paste(image.crop((across, down, width, height)), (0, 0))
        image = chosen(image, chosen(before, behind))
    return image


def _most(image: Any) -> Any:
    """Return the greatest of a picture's channels, pixel by pixel."""
    from PIL import ImageChops

    red, green, blue = image.split()
    return ImageChops.lighter(ImageChops.lighter(red, green), blue)


def _redrawn(old: Any, change: Any) -> bool:
    """Whether edges changed all over the picture, as another smoothing does it."""
    from PIL import ImageChops

    low, high = _around(old, ImageChops.darker), _around(old, ImageChops.lighter)
    edges = sum(_most(ImageChops.difference(low, high)).histogram()[2 * _STEP :])
    changed = sum(_most(change).histogram()[2 * _STEP :])
    return bool(changed >= _REDRAWN * edges)


def _shown(old: Any, new: Any, off: Any) -> bytes:
    """Return a PNG of the new picture, pale, with what differs in red."""
    import io

    from PIL import Image, ImageChops

    pale = Image.blend(Image.blend(old, new, 0.5), Image.new("RGB", old.size, "white"), 0.7)
    pale.paste((220, 0, 0), mask=_around(off, ImageChops.lighter))
    file = io.BytesIO()
    pale.save(file, "PNG", compress_level=4)  # in half the time, and a fifth larger
    return file.getvalue()


def _by_hand(one: bytes, other: bytes) -> Difference:
    """Compare two PNG without Pillow: the same pixels, or how far each is off."""
    old, new = decode_png(one), decode_png(other)
    if old is None or new is None:
        return differing(f"{len(one)} bytes", f"{len(other)} bytes")
    if (old.width, old.height) != (new.width, new.height):
        return differing(f"{old.width}×{old.height} pixels", f"{new.width}×{new.height} pixels")
    if old == new:
        return NEAR
    if old.channels != new.channels:
        return differing(f"{old.channels} channels", f"{new.channels} channels")
    off = bytes(255 if abs(a - b) > _STEP else 0 for a, b in zip(old.data, new.data, strict=True))
    if off.count(255) <= _SPECKS * old.channels:
        return NEAR
    share = off.count(255) / len(off)
    mask = Pixels(old.width, old.height, 1, bytes(
        255 - max(off[i : i + old.channels]) for i in range(0, len(off), old.channels)
    ))  # fmt: skip
    return differing(
        "the picture", f"another ({share:.2%} of the pixels)", picture=encode_png(mask)
    )

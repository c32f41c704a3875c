# ruff: noqa: E501 - what is hostile is told in one line
"""Whatever a cell gives out, comparing it ends, soon and with a verdict.

Times are not held to a bound here: with a pattern that is not linear these tests hang.
"""

import base64
import builtins
import io
import random
import struct
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageChops, ImageFilter

from mlrepro_nb.verify.compare import (
    Context,
    compare_cell,
    compare_html,
    compare_images,
    compare_json,
    compare_svg,
    compare_text,
    without_noise,
)
from mlrepro_nb.verify.compare.picture._compare import _around
from mlrepro_nb.verify.compare.picture._png import decode_png, drawn_chunks, same_rows

N = 20_000
TEXTS = {
    "one line": "x" * N * 10,
    "blanks": " " * N,
    "digits": "1" * N,
    "digits with a tail": "1" * N + "a5",
    "numbers": "1.5 " * N,
    "commas": "1,111" * N,
    "dots": "1." * N,
    "bars": "=" * N,
    "percents": "1%|" * N,
    "brackets": "[" * N,
    "angles": "<" * N,
    "addresses": "<0x" * N,
    "slashes": "/" * N,
    "path": "/aa" * N,
    "path with blanks": "/a b c" * N,
    "packages": "a/site-" * N,
    "quotes": "'\"" * N,
    "escapes": "\x1b[" * N,
    "titles": "\x1b]" * N,
    "up": "\x1b[A" * N,
    "returns": "a\r" * N,
    "backspaces": "a" * N + "\b" * N,
    "times": "took 5 s " * N,
    "words of time": "time " * N,
    "labels": "in 5 s done " * N,
    "units": "5 min" * N,
    "clocks": "1:11:" * N,
    "dates": "2024-01-" * N,
    "uuids": "aaaaaaaa-aaaa-" * N,
    "hex": "a1" * N,
    "ids": "run id: " * N,
    "named times": "fit_time" * N,
    "named arrays": "'fit_time': [" * N,
    "bytes": "".join(map(chr, range(256))) * 400,
    "surrogates": "\ud800\udfff" * N,
    "lines": "a\n" * N,
    "warnings": "a:1: UserWarning: x\n" * 10_000,
    "braces": "{" * N,
    "dict": "{" * 50_000 + "}" * 50_000,
    "minus": "{" + "-" * 90_000 + "1}",
    "placeholders": "‹" * N,
}  # fmt: skip


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_text(text):
    assert compare_text(text, text).level == "bitwise"
    middle = len(text) // 2
    compare_text(text, f"{text[:middle]} 5 {text[middle:]}", Context(timed=True, identities=True))
    streams = [{"output_type": "stream", "name": "stderr", "text": text}]
    compare_cell(streams, [{**streams[0], "text": "y" + text[:middle]}])


MARKUP = {
    "tags": "<a " * N, "open": "<table>" * N, "rows": "<table>" + "<tr><td>" * N,
    "quotes": "<a b=\"" * N, "both quotes": "<a \"'" * N, "comments": "<!--" * N,
    "scripts": "<script>" * N, "ids": "<i id='" * N, "drawn ids": "".join(
        f"<i id='{n:032x}'></i>" for n in range(3000)), "entities": "&amp" * N, "close": "</a" * N,
    "frames": "<iframe srcdoc='" * N, "urls": "url(#" * N, "metadata": "<metadata " * N,
    "declarations": "<!" * N, "hex": "a1" * N, "letters": "<" + "a" * N,
    "bdata": "{'dtype':'f8','bdata':'" * 20_000,
}  # fmt: skip


@pytest.mark.parametrize("markup", MARKUP.values(), ids=MARKUP)
def test_markup(markup):
    for compare in (compare_html, compare_svg):
        assert compare(markup, markup).level == "bitwise"
        compare(markup, markup + "y")
        compare(markup + "1", markup[: len(markup) // 2])


def deep(depth, leaf):
    value = leaf
    for _ in range(depth):
        value = [value]
    return value


def test_deep_json():
    one, other = deep(100_000, 1), deep(100_000, 2)
    assert compare_json(one, deep(100_000, 1)).level == "bitwise"
    assert compare_json(one, other).level == "different"
    assert compare_json(one, [one]).level == "different"
    shown = [
        [{"output_type": "display_data", "data": {"application/json": v}}] for v in (one, other)
    ]
    assert compare_cell(*shown).level == "different"
    without_noise(shown[0], shown[1], shown[0], Context())
    text = "[" * 100_000 + "]" * 100_000
    compare_cell(*([{"output_type": "display_data", "data": {"application/json": t}}]
                   for t in (text, text + " ")))  # fmt: skip


def test_wide_and_large_json():
    big = {"a": 10**10_000, "b": list(range(N)), "c": {str(i): i for i in range(N)}}
    assert compare_json(big, {**big, "a": 10**10_000 + 1}).level == "different"
    assert compare_json(big, {**big, "b": [*big["b"][:-1], 1.5]}).level == "different"


def encoded(data):
    return base64.b64encode(data).decode()


def png(width, height, body, *, chunks=()):
    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join([
        chunk(b"IHDR", head), *(chunk(*c) for c in chunks), chunk(b"IDAT", body), chunk(b"IEND", b""),
    ])  # fmt: skip


def test_pictures_that_are_none():
    good = png(2, 2, zlib.compress(b"\0" + b"\1" * 6 + b"\0" + b"\2" * 6))
    rng = random.Random(0)
    broken = [encoded(good[:n]) for n in range(0, len(good), 3)]
    broken += [encoded(bytes(rng.randrange(256) for _ in range(50))) for _ in range(20)]
    broken += ["not base64!", "=", "äöü", "\x00", ""]
    for one in broken:
        assert compare_images(one, one).level == "bitwise"
        compare_images(one, encoded(good))
        compare_images(encoded(good), one)


def test_decompression_bombs():
    bomb = zlib.compress(b"\0" * 300_000_000)
    huge = png(60_000, 60_000, bomb)
    small = png(2, 2, bomb)
    texts = png(2, 2, b"", chunks=[(b"zTXt", b"a\0\0" + bomb)])
    for one in (huge, small, texts):
        compare_images(encoded(one), encoded(one[:-20] + one[-12:]))
        decode_png(one)


@pytest.fixture
def without(monkeypatch):
    """Return what makes a package one that is not installed."""

    def hidden(package):
        real = builtins.__import__
        monkeypatch.setattr(
            builtins, "__import__",
            lambda name, *a, **k: (_ for _ in ()).throw(ImportError()) if name == package
            else real(name, *a, **k),
        )  # fmt: skip

    return hidden


def picture(colour, **options):
    file = io.BytesIO()
    Image.new("RGB", (5, 4), colour).save(file, "PNG", **options)
    return encoded(file.getvalue())


@pytest.mark.parametrize("package", ["PIL", "deflate", "none"])
def test_pictures_are_read_without(package, without):
    one, again, other = picture((1, 2, 3)), picture((1, 2, 3), compress_level=0), picture("white")
    without(package)
    assert compare_images(one, again).level == "within-tolerance"
    found = compare_images(one, other)
    assert found.level == "different"
    assert decode_png(found.picture).width == 5
    assert compare_images(one, encoded(b"GIF89a")).level == "different"


@pytest.mark.parametrize("package", ["deflate", "none"])
def test_rows_are_the_same_only_where_both_can_be_read(package, without):
    rows = b"\0" + b"\1" * 6 + b"\0" + b"\2" * 6
    without(package)

    def same(one, other):
        return same_rows(*(drawn_chunks(png(2, 2, body)) for body in (one, other)))

    packed = [zlib.compress(rows, level) for level in (0, 9)]
    assert same(*packed)
    # The checksum at its end is what the first one says of itself, and it is wrong.
    assert not same(packed[0], packed[1][:-9] + b"\0" * 5 + packed[0][-4:])
    assert not same(*(body[:-1] for body in packed))
    assert not same(*(zlib.compress(rows * 9, level) for level in (0, 9)))


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 9), st.integers(1, 9), st.sampled_from(["L", "RGB"]), st.data())
def test_the_darkest_and_lightest_around_a_pixel_are_those_of_pillow(width, height, mode, data):
    size = width * height * len(mode)
    some = Image.frombytes(
        mode, (width, height), data.draw(st.binary(min_size=size, max_size=size))
    )
    for chosen, rank in (
        (ImageChops.darker, ImageFilter.MinFilter), (ImageChops.lighter, ImageFilter.MaxFilter),
    ):  # fmt: skip
        assert _around(some, chosen).tobytes() == some.filter(rank(3)).tobytes()

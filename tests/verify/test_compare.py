# ruff: noqa: E501 - outputs are told in one line
"""Noise is not a difference, and a difference is not noise."""

import base64
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlrepro_nb.verify.compare import (
    Context,
    compare_cell,
    compare_html,
    compare_images,
    compare_json,
    compare_svg,
    compare_text,
    contradictory,
    without_noise,
)

NOISE = [
    ("<a.B object at 0x7f123456>", "<a.B object at 0x7faaaaaa>"),
    ("<function <lambda> at 0x10f3c2d40>", "<function <lambda> at 0x7f0123456789>"),
    ("training took 1.2 s", "training took 3.4 s"),
    ("Wall time: 3 ms", "Wall time: 4.5 µs"),
    ("CPU times: user 1.2 s, sys: 3 ms, total: 1.2 s", "CPU times: user 99 ms, total: 99 ms"),
    ("12.3 ns ± 0.5 ns per loop (mean ± std. dev. of 7 runs, 100,000,000 loops each)",
     "4.1 µs ± 9 ns per loop (mean ± std. dev. of 7 runs, 10 loops each)"),
    ("32/32 [==============================] - 1s 2ms/step - loss: 0.5",
     "32/32 [==============================] - 0s 1ms/step - loss: 0.5"),
    ("100%|####| 10/10 [00:00<00:00, 4.2it/s]\n", " 10%|#  | 1/10 [00:03<?, ?it/s]\n"),
    ("a\r 50%\rdone\n", "done\n"),
    ("/tmp/tmpab12/x.csv", "/tmp/tmpzz/x.csv"),
    ("saved to /home/alice/p/model.pkl", "saved to /root/q/model.pkl"),
    ("0.30000000000000004", "0.3"),
    ("{'a': 1, 'b': 2}", "{'b': 2, 'a': 1}"),
    ("[1 2\n 3]", "[1\n 2 3]"),
    ("\x1b[31mred\x1b[0m", "red"),
    ("x  \r\ny\n", "x\ny"),
    ("/a/lib/python3.9/site-packages/p/q.py:12: Warning", "/b/lib/python3.11/site-packages/p/q.py:9: Warning"),
]  # fmt: skip
DIFFERENT = [
    ("accuracy 0.93", "accuracy 0.91"),
    ("1.5", "-1.5"),
    ("1e-3", "1e-4"),
    ("10000000001", "10000000002"),
    ("2024-01-02", "2024-01-03"),
    ("a\nb", "a"),
    ("v1.2.3", "v1.2.4"),
    ("{'a': 1}", "{'a': 2}"),
    ("['b', 'a']", "['a', 'b']"),
    ("0xdeadbeef", "0xdeadbee0"),
    ("True", "False"),
    ("half-life 5 s", "half-life 6 s"),
    ("nan", "0"),
    ("x", ""),
]


@pytest.mark.parametrize(("before", "after"), NOISE)
def test_noise(before, after):
    assert compare_text(before, after).level == "within-tolerance"
    assert compare_text(after, before).level == "within-tolerance"


@pytest.mark.parametrize(("before", "after"), DIFFERENT)
def test_different(before, after):
    assert compare_text(before, after).level == "different"
    assert compare_text(after, before).level == "different"


def test_durations_are_noise_where_the_code_measures_time():
    assert compare_text("5 s", "6 s", Context(timed=True)).level == "within-tolerance"
    assert compare_text("score 5", "score 6", Context(timed=True)).level == "different"


def test_tolerances():
    assert compare_text("1.000", "1.001", Context(rtol=1e-2)).level == "within-tolerance"
    assert compare_text("1.000", "1.001").level == "different"


@settings(deadline=None)
@given(st.text(), st.text())
def test_text_never_raises_and_equal_is_equal(before, after):
    assert compare_text(before, before).level == "bitwise"
    assert compare_text(before, after).level == compare_text(before, after).level
    compare_html(before, after)
    compare_svg(before, after)
    compare_images(before, after)


@settings(deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False, min_value=1e-3, max_value=1e9))
def test_float_noise_is_tolerated_and_a_permille_is_not(value):
    assert compare_text(repr(value), repr(value * (1 + 1e-12))).level != "different"
    assert compare_text(repr(value), repr(value * 1.001)).level == "different"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@settings(deadline=None)
@given(JSON, JSON)
def test_json_never_raises(before, after):
    assert compare_json(before, before).level != "different"
    compare_json(before, after)


def test_deep_json_does_not_overflow():
    deep: list = []
    for _ in range(300):
        deep = [deep]
    assert compare_json(deep, [deep]).level == "different"


def test_json_paths_and_drawn_ids():
    found = compare_json({"data": [{"y": [1, 2]}]}, {"data": [{"y": [1, 3]}]})
    assert "$.data[0].y[1]" in found.detail
    assert compare_json({"uid": "a1", "x": 1}, {"uid": "b2", "x": 1}).level != "different"


TABLE = "<style>#T_{0} td {{}}</style><table id='T_{0}'><tr><th>a</th></tr><tr><td>{1}</td></tr></table>"


def test_tables_are_compared_cell_by_cell():
    assert (
        compare_html(TABLE.format("ab12c", 1.5), TABLE.format("ff00a", 1.5)).level
        == "within-tolerance"
    )
    found = compare_html(TABLE.format("ab12c", 1.5), TABLE.format("ff00a", 1.6))
    assert found.level == "different"
    assert "row 1 column 0" in found.detail


def picture(colour, size=(64, 48), level=6):
    from PIL import Image

    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "PNG", compress_level=level)
    return base64.b64encode(file.getvalue()).decode()


def test_pictures():
    assert compare_images(picture("red"), picture("red", level=0)).level == "within-tolerance"
    assert compare_images(picture((250, 0, 0)), picture((251, 0, 0))).level == "within-tolerance"
    assert compare_images(picture("red"), picture("blue")).level == "different"
    assert compare_images(picture("red"), picture("red", (64, 49))).level == "different"


def test_pictures_are_read_without_pillow():
    from mlrepro_nb.verify.compare._image import _png

    data = base64.b64decode(picture((1, 2, 3), (5, 4)))
    assert _png(data).data == bytes((1, 2, 3)) * 20
    assert _png(b"\x89PNG\r\n\x1a\n1234") is None


def stream(text, name="stdout"):
    return {"output_type": "stream", "name": name, "text": text}


def shown(**data):
    return {
        "output_type": "display_data",
        "metadata": {},
        "data": {k.replace("_", "/"): v for k, v in data.items()},
    }


def test_streams_are_joined_and_standard_error_is_not_compared():
    assert compare_cell([stream("a\n"), stream("b\n")], [stream("a\nb\n")]).level != "different"
    assert compare_cell([stream("x")], [stream("x"), stream("warn", "stderr")]).level != "different"


def test_lost_output_is_hinted():
    assert "lost" in compare_cell([stream("a\n" * 9)], []).hints
    assert "lost" in compare_cell([shown(text_plain="1")], []).hints


def test_our_own_outputs_are_not_the_notebooks():
    own = {
        "output_type": "display_data",
        "metadata": {},
        "data": {"application/vnd.mlrepro.x+json": {}},
    }
    assert compare_cell([stream("a")], [stream("a"), own]).level != "different"


def test_a_picture_decides_over_its_text():
    one = shown(image_png=picture("red"), text_plain="<Figure size 1x1>")
    other = shown(image_png=picture("red", level=0), text_plain="<Figure size 2x2>")
    assert compare_cell([one], [other]).level == "within-tolerance"


def test_a_reworded_exception_is_the_same_exception():
    one = {"output_type": "error", "ename": "KeyError", "evalue": "a", "traceback": ["x"]}
    assert compare_cell([one], [{**one, "evalue": "b"}]).level == "within-tolerance"
    assert compare_cell([one], [{**one, "ename": "ValueError"}]).level == "different"


def test_what_two_runs_differ_in_is_taken_out():
    before, after = without_noise(
        [stream("1.0\n5")], [stream("2.0\n6")], [stream("3.0\n6")], Context()
    )
    assert compare_cell(before, after).detail.endswith("5 → 6")


def test_forms_of_one_output_that_contradict():
    html = "<table><tr><td>{}</td></tr></table>"
    assert contradictory([shown(text_html=html.format("1.5"), text_plain="1.9")])
    assert not contradictory([shown(text_html=html.format("1.5"), text_plain="1.5")])

"""Noise is not a difference, and a difference is not noise: what cells print."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pairs_text import BENIGN, FRAME, REAL

from mlrepro_nb.verify.compare import Context, compare_text


@pytest.mark.parametrize("pair", BENIGN.values(), ids=BENIGN)
def test_says_the_same(pair):
    before, after = pair
    assert compare_text(before, after).level == "within-tolerance", compare_text(before, after)
    assert compare_text(after, before).level == "within-tolerance"
    for whole in ("x\ny\n{}", "{}\nz"):
        assert compare_text(whole.format(before), whole.format(after)).level == "within-tolerance"


@pytest.mark.parametrize("pair", REAL.values(), ids=REAL)
def test_says_something_else(pair):
    before, after = pair
    assert compare_text(before, after).level == "different"
    assert compare_text(after, before).level == "different"
    assert compare_text(f"a 1\n{before}\nz", f"a 1\n{after}\nz").level == "different"


def test_there_are_as_many_real_changes_as_harmless_ones():
    assert len(REAL) >= len(BENIGN) >= 55


def test_durations_are_noise_where_the_code_measures_time():
    timed = Context(timed=True)
    for before, after in (
        ("5 s", "6 s"), ("sklearn: 1.2 s, numpy: 0.1 s", "sklearn: 0.9 s, numpy: 0.2 s"),
        ("speedup: 3.2x", "speedup: 2.8x"), ("average time 3.2 ms", "average time 2 ms"),
        ("Epoch 1: loss 0.5, time: 12.31s", "Epoch 1: loss 0.5, time: 9.9s"),
    ):  # fmt: skip
        assert compare_text(before, after, timed).level == "within-tolerance", before
    for before, after in (
        ("score 5", "score 6"), ("RMSE 5 s, took 3 s", "RMSE 6 s, took 3 s"),
        ("time step 5", "time step 6"), ("5 trees in 3 s", "6 trees in 3 s"),
    ):  # fmt: skip
        assert compare_text(before, after, timed).level == "different", before


def test_an_id_that_the_code_draws_is_its_result():
    before, after = (f"run id: {c * 4}1b2c3d4e5f60718293a4b5c6d7e" for c in "af")
    assert compare_text(before, after).level == "within-tolerance"
    assert compare_text(before, after, Context(entropy=True)).level == "different"


def test_tolerances():
    assert compare_text("1.000", "1.001", Context(rtol=1e-2)).level == "within-tolerance"
    assert compare_text("1.000", "1.001").level == "different"


def test_floats_that_are_spelled_in_any_way():
    for before, after in (
        ("1.5", "1.5000000000000002"), ("5.", "5.000000000000001"), (".5", ".5000000000000001"),
        ("+1.5", "+1.5000000000000002"), ("1_0.5", "1_0.500000000000002"), ("1.5,2", "1.5,2"),
    ):  # fmt: skip
        text = "\n".join(f"{{0}} {i}.25 {{0}}" for i in range(40))
        found = compare_text(text.format(before), text.format(after))
        assert found.level != "different", (before, found)
        assert compare_text(text.format(before), text.format(9.5)).level == "different"
    # Commas within words: three numbers on both sides, of which the second is another's.
    assert compare_text("1.5,2 3.5", "1.5 2,3.5").level == "different"
    assert compare_text("x\n1.5 2.5 7", "x\n1.5 2.5 8").level == "different"
    assert compare_text("1.0", "2.0", Context(rtol=0, atol=1)).level == "within-tolerance"
    assert compare_text("1.0", "1.0000000001", Context(rtol=1e-12)).level == "different"


def test_what_differs_is_shown_with_its_row_and_column():
    found = compare_text(FRAME.format(p="2.25"), FRAME.format(p="2.35"))
    assert found.before == "row 1, column price: 2.25"


def test_what_the_place_looks_like():
    assert "date" in compare_text("on 2024-01-02", "on 2024-01-03").hints
    assert "uuid" in compare_text(*REAL["a drawn id"]).hints
    assert "order" in compare_text("['b', 'a']", "['a', 'b']").hints
    assert "lost" in compare_text("a\nb\nc", "a").hints


@settings(deadline=None)
@given(st.text(), st.text())
def test_never_raises_and_is_symmetric(before, after):
    assert compare_text(before, before).level == "bitwise"
    assert compare_text(before, after).level == compare_text(after, before).level


PARTS = st.sampled_from([
    "0.1", "1e-9", "12", "took", "5 s", "100%|##| 3/3 [00:01<00:00, 3it/s]", "\r", "\n", "\b", " ",
    "\x1b[A", "<A at 0x7f00aa11>", "/tmp/a/b", "2024-01-02", "loss:", "[", "]", "{", "'fit_time': ",
    ",", "12:30", "nan", "-", "\x1b[0m", "Date:", "Time:",
])  # fmt: skip


@settings(deadline=None, max_examples=200)
@given(st.lists(PARTS).map("".join), st.lists(PARTS).map("".join))
def test_is_symmetric_where_noise_and_results_mix(before, after):
    assert compare_text(before, before).level == "bitwise"
    assert compare_text(before, after).level == compare_text(after, before).level


@settings(deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False, min_value=1e-3, max_value=1e9))
def test_float_noise_is_tolerated_and_a_permille_is_not(value):
    assert compare_text(repr(value), repr(value * (1 + 1e-12))).level != "different"
    assert compare_text(repr(value), repr(value * 1.001)).level == "different"

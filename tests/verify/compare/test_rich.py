"""What cells display, raise and warn of: the same, or something else."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pairs_rich import (
    bars,
    error,
    estimators,
    failures,
    frames,
    plots,
    shown,
    specifications,
    stream,
    streams,
    widgets,
)

from mlrepro_nb.verify.compare import Context, compare_cell, contradictory, without_noise

KINDS = [frames, estimators, plots, specifications, failures, streams]


def outputs(side):
    return side if isinstance(side, list) else [side]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_no_false_alarm_and_no_miss(kind):
    benign, real = kind()
    for expected, pairs in (("within-tolerance", benign), ("different", real)):
        for name, (before, after) in pairs.items():
            before, after = outputs(before), outputs(after)
            assert compare_cell(before, before).level == "bitwise", name
            found = compare_cell(before, after)
            level = "within-tolerance" if found.level == "bitwise" else found.level
            assert level == expected, (name, found)
            assert compare_cell(after, before).level == found.level, name


def test_there_are_as_many_real_changes_as_harmless_ones():
    counts = [[len(part) for part in kind()] for kind in KINDS]
    benign, real = map(sum, zip(*counts, strict=True))
    assert real >= benign >= 38


def test_a_cell_of_a_frame_is_named():
    before, after = frames()[1]["frame's value"]
    found = compare_cell([before], [after])
    assert found.where == "text/html"
    assert found.before == "table row 2 (1) column 2 (price): 2.25"
    assert "order" in compare_cell(*map(outputs, frames()[1]["frame's order"])).hints


def test_a_value_of_a_specification_is_named():
    before, after = specifications()[1]["plotly's value"]
    assert compare_cell([before], [after]).before == "$.data[0].y[1] 2.0"


def test_a_picture_shows_where_it_differs():
    import io

    from PIL import Image

    for name in ("one point moved", "a letter of the title", "picture in a page changed"):
        before, after = plots()[1][name]
        found = compare_cell([before], [after])
        with Image.open(io.BytesIO(found.picture)) as picture:
            assert (220, 0, 0) in [colour for _, colour in picture.getcolors(100_000)]
        assert "% of the pixels" in found.after


def test_what_is_lost_is_hinted():
    for kind, name in (
        (streams, "display gone"), (streams, "branch skipped"), (streams, "nothing any more"),
        (plots, "picture gone"), (frames, "frame's rows"),
    ):  # fmt: skip
        assert "lost" in compare_cell(*map(outputs, kind()[1][name])).hints, name
    assert "order" in compare_cell(*map(outputs, streams()[1]["displays in another order"])).hints


def test_a_table_that_is_laid_out_otherwise_is_not_lost():
    import pandas as pd
    from pairs_rich import of

    data = pd.DataFrame({"group": list("aabb"), "value": [1.0, 2, 3, 4], "other": [5.0, 6, 7, 8]})
    wide = data.groupby("group").describe()
    found = compare_cell([of(wide.stack(level=1))], [of(wide)])
    assert found.level == "different"
    assert "lost" not in found.hints


def test_warnings_that_come_and_go_are_noted():
    pairs = streams()[0]
    assert compare_cell(*map(outputs, pairs["a new warning"])).notes == (
        "new warning: UserWarning: careful",
    )
    assert compare_cell(*map(outputs, pairs["a warning gone"])).detail == (
        "gone warning: UserWarning: careful"
    )
    assert not compare_cell(*map(outputs, pairs["a warning's place"])).notes
    assert not compare_cell(*map(outputs, pairs["no bar any more"])).notes


def test_widgets_are_compared_by_their_state():
    def level(one, other):
        context = Context(widgets=(one[1], other[1]))
        return compare_cell(one[0], other[0], context).level

    assert level(widgets(), widgets(names="def")) == "within-tolerance"
    assert level(widgets(), widgets(6, names="def")) == "different"
    assert level(widgets(), widgets(description="m", names="def")) == "different"
    assert level(bars(), bars("3.02it/s")) == "within-tolerance"
    assert level(bars(), bars(total=20)) == "different"
    # Without their states nothing can be said.
    assert compare_cell(widgets()[0], widgets(6, names="def")[0]).level == "within-tolerance"


def test_what_two_runs_differ_in_is_taken_out_token_by_token():
    context = Context()
    before, after = without_noise(
        [stream("1.0\n5")], [stream("2.0\n6")], [stream("3.0\n6")], context
    )
    assert compare_cell(before, after).detail.endswith("5 → 6")
    # A change on the very line that has noise is seen, and the noise alone is not.
    runs = ["job x1 of 3 gave 0.5", "job x2 of 3 gave 0.6", "job x9 of 3 gave 0.6"]
    before, after = without_noise(*([stream(text)] for text in runs), context)
    assert "0.5" in compare_cell(before, after).before
    runs[0] = "job x1 of 3 gave 0.6"
    before, after = without_noise(*([stream(text)] for text in runs), context)
    assert compare_cell(before, after).level != "different"
    data = [{"a": 1, "b": [1, 2]}, {"a": 2, "b": [1, 2]}, {"a": 3, "b": [1, 2]}]
    before, after = without_noise(*([shown(application__json=d)] for d in data), context)
    assert compare_cell(before, after).level != "different"
    data[0]["b"] = [1, 3]
    before, after = without_noise(*([shown(application__json=d)] for d in data), context)
    assert "b[1]" in compare_cell(before, after).before


def test_the_object_beside_a_picture_that_is_drawn_anew_is_not_held():
    curves = [side["data"]["image/png"] for side in plots()[1]["another curve"]]
    texts = ("<Figure size 1x1>", "<Figure size 2x2>", "<Figure size 2x2>")
    runs = [
        [shown(image__png=curve, text__plain=text)]
        for curve, text in zip((curves[0], curves[0], curves[1]), texts, strict=True)
    ]
    before, after = without_noise(*runs, Context())
    assert compare_cell(before, after).level != "different"


def test_how_a_formula_is_set_is_not_what_it_says():
    before = [shown(text__latex=r"$$e^{- \frac{x}{2}}$$")]
    assert compare_cell(
        before, [shown(text__latex=r"$\displaystyle e^{- \frac{x}{2}}$")]
    ).level == ("within-tolerance")
    assert compare_cell(
        before, [shown(text__latex=r"$\displaystyle e^{- \frac{x}{3}}$")]
    ).level == ("different")


def test_forms_of_one_output_that_contradict():
    html = "<table><tr><td>{}</td></tr></table>"
    assert contradictory([shown(text__html=html.format("1.5"), text__plain="1.9")])
    assert not contradictory([shown(text__html=html.format("1.5"), text__plain="1.5")])


def test_a_picture_decides_over_its_text():
    before, after = plots()[0]["picture, encoded again"]
    other = {**after, "data": {**after["data"], "text/plain": "<Figure size 1x1>"}}
    assert compare_cell([before], [other]).level == "within-tolerance"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
MIME = st.sampled_from([
    "text/plain", "text/html", "image/png", "image/svg+xml", "application/json", "image/jpeg",
    "application/vnd.plotly.v1+json", "application/vnd.jupyter.widget-view+json", "x/y",
    "application/pdf", "text/latex",
])  # fmt: skip
OUTPUT = st.one_of(
    st.builds(stream, st.text(), st.sampled_from(["stdout", "stderr"])),
    st.builds(lambda data: {"output_type": "display_data", "data": data, "metadata": {}},
              st.dictionaries(MIME, st.text() | JSON, max_size=4)),
    st.builds(error, st.text(), st.text(), st.text()),
    st.builds(lambda kind, data: {"output_type": kind, "data": data},
              st.sampled_from(["clear_output", "update_display_data", "unknown"]), JSON),
)  # fmt: skip


@settings(deadline=None, max_examples=200)
@given(st.lists(OUTPUT, max_size=4), st.lists(OUTPUT, max_size=4))
def test_any_outputs_have_a_verdict_and_it_is_symmetric(before, after):
    assert compare_cell(before, list(before)).level == "bitwise"
    assert compare_cell(before, after).level == compare_cell(after, before).level
    without_noise(before, after, before, Context())
    contradictory(before)


def test_a_text_that_only_one_side_has_decides_nothing():
    one = shown(text__plain="<Math>", text__markdown="*1*", text__latex="$1$")
    other = shown(text__markdown="*2*", text__latex="$1$")
    assert compare_cell([one], [other]).level == "different"
    assert compare_cell([other], [one]).level == "different"

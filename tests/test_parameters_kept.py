"""Parameters that JSON has no canonical form for are kept, and come back as they were."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlrepro_nb.model import canonical, plain, revived
from mlrepro_nb.record import record
from mlrepro_nb.store import Store
from mlrepro_nb.verify import verify

HARD = {
    "big": 2**70,
    "whole": 1.0,
    "negative": -(2**53),
    "nan": math.nan,
    "inf": -math.inf,
    "keyed": {1: "a", "b": [2**60]},
    "nested": [{"x": math.inf}],
    "named": {"$int": "7"},
}

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.text() | st.integers() | st.sampled_from(["$int", "$items"]), inner, max_size=3
    ),
    max_leaves=8,
)  # fmt: skip


def same(one: Any, other: Any) -> bool:
    return repr(one) == repr(other)


@given(VALUES)
def test_every_value_has_a_canonical_form_and_comes_back(value: Any) -> None:
    told = plain(value)
    assert json.loads(canonical(told)) == told
    assert same(revived(told), value) or "\\ud" in repr(value)


@given(VALUES)
def test_what_is_plain_stays_as_it_is(value: Any) -> None:
    if json.dumps(value, default=str).isascii() and same(plain(value), value):
        assert same(revived(value), value)


@pytest.mark.parametrize(
    "value", [{"$int": "x"}, {"$items": 3}, {"$items": [[[1], 2], 3]}, {"$float": None}]
)
def test_what_plain_did_not_write_is_left(value: Any) -> None:
    assert revived(value) == value


def test_a_run_with_such_parameters_is_recorded_and_verified(repository: Path) -> None:
    path = repository / "nb.ipynb"
    declared = "\n".join(f"{name} = None" for name in HARD)
    cells = [
        {"cell_type": "code", "id": f"cell{i}", "source": source, "outputs": [],
         "execution_count": None, "metadata": {"tags": tags}}
        for i, (source, tags) in enumerate(
            [(declared, ["parameters"]), (f"print({', '.join(HARD)})", [])]
        )
    ]  # fmt: skip
    kernel = {"name": "python3", "display_name": "P", "language": "python"}
    nb = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    path.write_text(json.dumps(nb), encoding="utf-8")
    digest, made = record(path, parameters=HARD, output=repository / "out.ipynb")
    assert made.results.status == "ok"
    kept = Store.find(repository).get(type(made), digest)
    back = revived(kept.parameters.papermill)
    assert same(sorted(back.items()), sorted(HARD.items()))
    strict = json.loads(
        (repository / "out.ipynb").read_text(encoding="utf-8"),
        parse_constant=lambda name: pytest.fail(f"{name} is no JSON"),
    )
    (output,) = strict["cells"][-1]["outputs"]
    assert str(2**70) in "".join(output["text"])
    assert verify(path).verdict == "bitwise"

"""The nouns have one canonical form and one digest."""

import json
import math
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlrepro_nb.model import (
    CAUSES,
    Record,
    canonical,
    decode,
    digest,
    digest_text,
    moment,
    short,
    timestamp,
)
from tests.records import a_record

_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    # A whole float beyond 2**53 reads back as an integer, which RFC 8785 refuses.
    | st.floats(-(2.0**53) + 1, 2.0**53 - 1)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner)
    ),
    max_leaves=20,
)


@given(_JSON)
def test_canonical_form_is_a_fixed_point(value: object) -> None:
    form = canonical(value)
    assert canonical(json.loads(form)) == form


@given(st.dictionaries(st.text("abc"), st.integers(0, 9)))
def test_the_order_of_keys_does_not_change_the_digest(value: dict[str, int]) -> None:
    assert digest(dict(reversed(value.items()))) == digest(value)


def test_canonical_form_follows_rfc_8785() -> None:
    # The example of RFC 8785, section 3.2.3, in part.
    value = {"numbers": [333333333.33333329, 1e30, 4.50, 2e-3, 1e-27], "a": "\u20ac$\n"}
    assert canonical(value) == (
        '{"a":"€$\\n","numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27]}'.encode()
    )


@pytest.mark.parametrize("value", [math.nan, math.inf, 2**60, "\ud800"])
def test_what_json_does_not_know_is_refused(value: object) -> None:
    with pytest.raises(ValueError):
        canonical({"value": value})


def test_a_record_survives_the_round_trip() -> None:
    record = a_record()
    assert decode(Record, canonical(record)) == record


def test_a_record_has_the_eight_parts_as_keys() -> None:
    parts = {"code", "data", "parameters", "environment", "randomness", "hardware", "results"}
    assert parts | {"lineage"} <= json.loads(canonical(a_record())).keys()


def test_lone_surrogates_in_a_cell_have_a_digest() -> None:
    assert digest_text("\ud800") != digest_text("\ud801")


def test_short_shows_the_first_digits() -> None:
    assert short("sha256:0123456789abcdef") == "0123456789ab"


def test_no_cause_is_named_twice() -> None:
    names = [name for group in CAUSES.values() for name in group]
    assert len(names) == len(set(names))


@given(st.datetimes(datetime(1970, 1, 2), datetime(2200, 1, 1), timezones=st.timezones()))
def test_a_time_that_a_document_wrote_is_read_again(at: datetime) -> None:
    assert abs(moment(timestamp(at)) - at) < timedelta(milliseconds=1)


def test_a_time_without_a_zone_is_utc_and_what_is_none_is_refused() -> None:
    assert moment("2026-11-30T22:00:00") == datetime(2026, 11, 30, 22, tzinfo=timezone.utc)
    with pytest.raises(ValueError, match="yesterday"):
        moment("yesterday")

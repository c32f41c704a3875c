"""Names and quantities that every cluster accepts, whatever the notebook is called."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlrepro_nb.errors import UsageError
from mlrepro_nb.rollout import label_value, workload_name
from mlrepro_nb.rollout._names import (
    check_name,
    content_name,
    mebibytes,
    millicores,
    parse_cpu,
    parse_memory,
)

DNS_1035 = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
LABEL = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?")
anything = st.text(st.characters(), max_size=200)


@given(anything)
def test_any_path_makes_the_name_of_a_service(path: str) -> None:
    name = workload_name(path)
    assert DNS_1035.fullmatch(name)
    # What is derived from it is a label's value as well: a pod of a Job with its hash.
    assert len(f"{content_name(name, 'x')}-abcde") <= 63
    assert workload_name(path) == name


@given(st.text("ab-1", min_size=41, max_size=90), st.text("ab-1", min_size=41, max_size=90))
def test_long_names_that_differ_stay_different(one: str, other: str) -> None:
    same = one.strip("-") == other.strip("-") or one == other
    assert same or workload_name(one) != workload_name(other)


@given(anything)
def test_any_text_makes_a_label(text: str) -> None:
    value = label_value(text)
    assert len(value) <= 63
    assert LABEL.fullmatch(value)


@given(st.from_regex(r"\A[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?\Z"))
def test_a_text_that_is_a_label_already_stays(text: str) -> None:
    text = re.sub(r"-+", "-", text)
    assert label_value(text) == text


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("notebooks/Train Model.ipynb", "train-model"),
        ("00-tour.ipynb", "nb-00-tour"),
        ("Modèle_v2.ipynb", "mod-le-v2"),
    ],
)
def test_names_are_what_a_person_would_have_chosen(path: str, name: str) -> None:
    assert workload_name(path) == name


def test_notebooks_numbered_apart_stay_apart() -> None:
    assert workload_name("01-train.ipynb") != workload_name("02-train.ipynb")


@pytest.mark.parametrize("name", ["Tour", "1st", "a_b", "a" * 41, "", "a-", "é"])
def test_a_name_that_kubernetes_refuses_gets_a_suggestion(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_name(name, "workload")
    suggestion = re.search(r"'([^']*)'", caught.value.remedy)
    assert suggestion
    assert check_name(suggestion.group(1), "workload")


@given(st.integers(1, 2**45))
def test_memory_is_rounded_up_never_down(size: int) -> None:
    text = mebibytes(size, 64, 128)
    assert parse_memory(text, "--memory") >= size
    assert parse_memory(text, "--memory") - size < 64 * 2**20 or text == "128Mi"


@given(st.floats(0, 512))
def test_cpu_is_rounded_up_never_down(cores: float) -> None:
    assert parse_cpu(millicores(cores), "--cpu") >= cores - 1e-9
    assert parse_cpu(millicores(cores), "--cpu") >= 0.1


@pytest.mark.parametrize(
    ("text", "hint"), [("512MB", "512Mi"), ("2gb", "2Gi"), ("1.5 Gi", ""), ("-1Gi", ""), ("", "")]
)
def test_a_slip_in_a_quantity_is_named(text: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_memory(text, "--memory")
    assert hint in str(caught.value)


def test_milli_bytes_are_surely_meant_otherwise() -> None:
    with pytest.raises(UsageError):
        parse_memory("512m", "--memory")
    with pytest.raises(UsageError, match="no Python starts"):
        parse_memory("512k", "--memory")


@pytest.mark.parametrize("text", ["0", "1G", "x", "", "-1", "1e3"])
def test_cpu_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_cpu(text, "--cpu")

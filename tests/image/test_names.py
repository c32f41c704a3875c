"""Tags, repositories and versions that a registry takes, and none that moves."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlrepro_nb.errors import UsageError
from mlrepro_nb.image import _names

TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
RECORD = "sha256:" + "ab" * 32


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("1.0", "1.0.0"), ("1", "1.0.0"), ("1.0rc1", "1.0.0-rc.1"), ("2.1a2", "2.1.0-alpha.2"),
        ("1.2.3b4.dev5", "1.2.3-beta.4.dev.5"), ("1.2.dev0", "1.2.0-dev.0"),
        ("1.0.post2", "1.0.0+post.2"), ("1.0+cpu.1", "1.0.0+cpu.1"), ("2024.05.01", "2024.5.1"),
    ],
)  # fmt: skip
def test_a_package_s_version_is_made_a_semantic_one(text: str, meant: str) -> None:
    assert _names.version(text, said="it", convert=True) == meant
    assert _names.version(meant, said="it", convert=False) == meant
    with pytest.raises(UsageError, match="no semantic version") as raised:
        _names.version(text, said="it", convert=False)
    assert meant in raised.value.remedy


@pytest.mark.parametrize("text", ["1.2.3.4", "1!2.0", "main", "", "1.0.0+"])
def test_what_is_no_version_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="no semantic version"):
        _names.version(text, said="it", convert=True)
    with pytest.raises(UsageError, match="latest"):
        _names.version("latest", said="it", convert=True)


@given(st.text(), st.booleans())
def test_whatever_the_text_a_tag_is_valid_or_refused(text: str, dirty: bool) -> None:
    try:
        made = _names.tag(text, dirty=dirty)
    except UsageError:
        return
    assert TAG.fullmatch(made)
    assert made.endswith("-dirty") == (dirty or text.endswith("-dirty"))


@given(st.from_regex(TAG, fullmatch=True).filter(lambda t: "latest" not in t.lower()))
def test_a_valid_tag_stays_as_it_is(text: str) -> None:
    assert _names.tag(text) == text


@pytest.mark.parametrize(
    ("version", "tag"), [("1.2.0+cpu", "1.2.0-cpu"), ("v1", "v1"), ("../x", "x"), ("1 2", "1-2")]
)
def test_what_a_tag_cannot_hold_becomes_a_dash(version: str, tag: str) -> None:
    assert _names.tag(version) == tag


@pytest.mark.parametrize("word", ["latest", "LATEST", ".latest"])
def test_latest_is_refused_as_version_build_repository_and_base(word: str) -> None:
    with pytest.raises(UsageError, match="latest"):
        _names.tag(word)
    with pytest.raises(UsageError, match="latest"):
        _names.base("python:latest", python="3.11.7", implementation="CPython")
    with pytest.raises(UsageError, match="latest"):
        _names.base("python", python="3.11.7", implementation="CPython")
    with pytest.raises(UsageError, match="latest"):
        _names.repository("example.com/a:latest", notebook="n.ipynb", kind="job")


def test_an_image_is_called_by_version_commit_and_build() -> None:
    commit = "1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d"
    made = _names.tags(version="1.4.2", commit=commit, build_id="57", dirty=False)
    assert made == ("1.4.2", "1a2b3c4d5e6f", "build-57")
    assert _names.tags(version="1.4.2", commit=None, build_id="57", dirty=True) == (
        "1.4.2-dirty",
        "build-57-dirty",
    )


def test_the_build_id_is_the_one_given_else_the_ci_s_else_made() -> None:
    ci = {"GITHUB_RUN_ID": "812", "BUILD_ID": "9"}
    assert _names.build_id("x", RECORD, ci) == "x"
    assert _names.build_id(None, RECORD, ci) == "812"
    assert re.fullmatch(r"\d{8}T\d{6}Z-ababab", _names.build_id(None, RECORD, {}))


@given(st.text(min_size=1), st.sampled_from(["job", "service"]))
def test_every_notebook_has_a_valid_default_repository(stem: str, kind: str) -> None:
    made = _names.repository(None, notebook=f"a/{stem}.ipynb", kind=kind)
    assert _names.registry.parse(made).tag is None
    assert len(made) < 128


def test_a_repository_with_a_tag_is_told_to_go_without() -> None:
    with pytest.raises(UsageError) as raised:
        _names.repository("localhost:5000/a/b:1.0", notebook="n.ipynb", kind="job")
    assert "Give localhost:5000/a/b;" in raised.value.remedy


def test_the_default_base_is_the_official_slim_one_of_the_kernel_s_python() -> None:
    made = _names.base(None, python="3.12.4", implementation="CPython")
    assert str(made) == "docker.io/library/python:3.12.4-slim-bookworm"
    with pytest.raises(UsageError, match="PyPy"):
        _names.base(None, python="3.11.9", implementation="PyPy")

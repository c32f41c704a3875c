"""The YAML holds exactly the values, for every reader, and reads like a person's."""

import json
import shutil
import subprocess
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mlrepro_nb.rollout import to_yaml

text = st.text(st.characters(exclude_categories=["Cs"]))
values = st.recursive(
    st.none() | st.booleans() | st.integers() | text,
    lambda inner: st.lists(inner) | st.dictionaries(text, inner),
    max_leaves=20,
)

TRAPS = [
    "y", "n", "Yes", "off", "null", "~", "1e3", "12e4", "0x10", "0o7", "017", "1_000", ".5", "1.0",
    "1:30", "+1", "-", "- a", "a: b", "a #b", "#a", "a:", "&a", "*a", "!a", "%a", "@a", "`a", "{a}",
    "[a]", "'a'", '"a"', "", " ", " a", "a ", "a\nb", "a\nb\n", "\na", "a\n\n\n", " a\nb", "a\tb",
    "2026-11-23", "=", "<<", "inf", ".inf", "NaN", "é", "\u2028", "\x85", "a\r\nb", "---",
    "a\n---\nb", "512Mi", "500m", "…", "sha256:ab", "a:1", "//", "http://a:1/b?c=d&e=f#g",
    "\ufeffa", "0b1", "1.",
]  # fmt: skip


@given(st.lists(st.dictionaries(text, values, min_size=1), min_size=1, max_size=3))
def test_any_manifest_reads_back_as_it_was(manifests: list[dict[str, Any]]) -> None:
    assert list(yaml.safe_load_all(to_yaml(manifests))) == manifests


@pytest.mark.parametrize("trap", TRAPS)
def test_a_string_stays_a_string(trap: str) -> None:
    assert yaml.safe_load(to_yaml([{"v": trap}])) == {"v": trap}


def test_kubectl_reads_the_same_values() -> None:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not installed")
    data = {f"k{number}": trap for number, trap in enumerate(TRAPS)}
    manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": data}
    done = subprocess.run(
        [kubectl, "label", "--local", "-f", "-", "a=b", "-o", "json"],
        input=to_yaml([manifest]), capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout)["data"] == data


def test_nothing_is_written_that_a_person_would_not() -> None:
    shared = {"app": "tour"}
    written = to_yaml([{"a": shared, "b": shared, "c": "x" * 500, "d": "one\ntwo\n"}])
    assert "&" not in written
    assert "*" not in written
    assert "!!" not in written
    assert f"c: {'x' * 500}\n" in written
    assert "d: |\n  one\n  two\n" in written

"""Parts of a lock, and folders that a kernel finds first."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlrepro_nb.execute import overlay

LOCK = """\
# not in this lock: own 1.0 (why)
./My_Thing-1.0-py3-none-any.whl --hash=sha256:aa
numpy==1.23.5 \\
    --hash=sha256:bb \\
    --hash=sha256:cc
ruamel-yaml==0.17 \\
    --hash=sha256:dd
pinned @ https://x/pinned-1.0-py3-none-any.whl \\
    --hash=sha256:ee
"""


def test_only_what_is_wanted_of_a_lock_is_kept_with_its_hashes():
    assert overlay.pins(LOCK, ["numpy"]) == {
        "numpy": "numpy==1.23.5 \\\n    --hash=sha256:bb \\\n    --hash=sha256:cc\n"
    }
    assert set(overlay.pins(LOCK, ["my-thing", "ruamel-yaml", "pinned", "own"])) == {
        "my-thing", "ruamel-yaml", "pinned",
    }  # fmt: skip


@given(st.text())
def test_any_text_can_be_looked_through(text):
    assert set(overlay.pins(text, ["numpy"])) <= {"numpy"}


@pytest.mark.parametrize(
    ("requirement", "name"),
    [("Foo.Bar_baz", "foo-bar-baz"), ("a[b]>=1", "a"), ("a==1; x", "a"), ("a @ u", "a")],
)
def test_a_requirements_name_is_normal(requirement, name):
    assert overlay.normal(requirement) == name


def test_a_kernel_finds_the_folders_before_the_users_own(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/own")
    found = overlay.variables([Path("/one"), Path("/two")])
    assert found == {"PYTHONPATH": os.pathsep.join(["/one", "/two", "/own"])}
    assert overlay.variables([]) == {}

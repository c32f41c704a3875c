"""Interpreters that are on the machine and not on the PATH."""

import pytest

from mlrepro_nb.connect import interpreters


@pytest.fixture
def kept(tmp_path, monkeypatch):
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    for version in ("3.99.2", "3.99.10", "3.9.1", "3.99-dev", "pypy3.99-7.3"):
        program = tmp_path / "versions" / version / "bin" / "python"
        program.parent.mkdir(parents=True)
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
    return tmp_path / "versions"


def test_the_newest_that_pyenv_keeps_is_found(kept):
    assert interpreters.find("3.99.*") == str(kept / "3.99.10" / "bin" / "python")
    assert interpreters.find("3.99.2") == str(kept / "3.99.2" / "bin" / "python")
    assert interpreters.find("3.98.*") is None


def test_one_that_cannot_be_run_is_none(kept):
    for folder in kept.iterdir():
        (folder / "bin" / "python").chmod(0o644)
    assert interpreters.find("3.99.*") is None

"""What docs/images.md says is what there is."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
from click.testing import CliRunner

from mlrepro_nb.faces.cli import main
from mlrepro_nb.image import _settings
from mlrepro_nb.image.service import settings as service
from tests.conftest import ROOT

TEXT = (ROOT / "docs" / "images.md").read_text(encoding="utf-8")


def first_columns(heading: str) -> set[str]:
    """Return the names in the first column of the table under a heading."""
    part = TEXT.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"(?m)^\| (.*?) \|", part)
    return {name for row in rows for name in re.findall(r"`([^`]+)`", row)}


def test_every_setting_is_told_and_no_other() -> None:
    known = {f.name for f in msgspec.structs.fields(_settings.Settings)} - {"origins"}
    assert {n.replace("-", "_") for n in first_columns("Settings")} == known


def test_every_variable_of_a_service_is_told() -> None:
    told = first_columns("A container's environment")
    for name in (n for names in service._VARIABLES.values() for n in names):
        assert name in told or name.startswith("MLFLOW_"), name


def test_the_example_is_read(tmp_path: Path) -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)
    (tmp_path / "pyproject.toml").write_text(example, encoding="utf-8")
    read = _settings.read(tmp_path)
    assert (read.kind, read.audit, read.gates) == ("service", "fail", ("accuracy >= 0.93",))
    assert read.data == {"data/big.parquet": "https://data.example/big.parquet"}


def test_every_option_of_the_examples_is_one() -> None:
    lines = re.findall(r"(?m)^    mlrepro (.*?)(?:\s+#.*)?$", TEXT)
    assert len(lines) > 5
    for line in lines:
        verb, *rest = line.split()
        words = [verb, rest[0]] if verb == "key" else [verb]
        help_text = CliRunner().invoke(main, [*words, "--help"]).output
        for option in (word for word in rest if word.startswith("-")):
            assert option in help_text, line

"""What docs/verify.md says is what there is."""

from __future__ import annotations

import re
from typing import get_args

from click.testing import CliRunner

from mlrepro_nb.faces.cli import main
from mlrepro_nb.model import CAUSES, REPRODUCED, Verdict
from tests.conftest import ROOT

TEXT = (ROOT / "docs" / "verify.md").read_text(encoding="utf-8")


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the table under a heading."""
    part = TEXT.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    lines = re.findall(r"(?m)^\| `(.*) \|$", part)
    return [[cell.strip().strip("`") for cell in line.split(" | ")] for line in lines]


def test_every_cause_is_told_in_its_group() -> None:
    assert [row[0] for row in rows("Causes")] == [
        kind for kinds in CAUSES.values() for kind in kinds
    ]


def test_every_verdict_is_told_with_its_exit_code() -> None:
    told = {row[0]: row[-1] for row in rows("Verdicts")}
    assert told == {kind: "0" if kind in REPRODUCED else "1" for kind in get_args(Verdict)}


def test_every_option_is_one() -> None:
    help_text = CliRunner().invoke(main, ["verify", "--help"]).output
    for option in set(re.findall(r"(?<!pytest )--[a-z][a-z-]+", TEXT)) - {"--mlrepro"}:
        assert option in help_text, option

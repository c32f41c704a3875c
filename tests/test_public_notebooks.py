"""The list of public notebooks, and how what is found of one is held against the judgement."""

import re

import pytest

from benchmarks.public._listed import Listed, listed, packages
from benchmarks.public._measure import _judged

LISTED = listed()


def test_the_list_is_as_wide_as_it_has_to_be():
    assert len(LISTED) >= 60
    assert len({one.repository for one in LISTED}) >= 15
    assert len({one.name for one in LISTED}) == len(LISTED)
    for one in LISTED:
        assert re.fullmatch(r"[0-9a-f]{40}", one.commit), one.name
        assert one.verdict in ("reproduced", "different", "failed", "inconclusive"), one.name
        assert bool(one.causes) == (one.verdict in ("different", "failed")), one.name
        assert one.why.endswith("."), one.name
    assert all("==" in package for package in packages())


def one(**changed):
    given = {"repository": "a/b", "commit": "0" * 40, "path": "c.ipynb", "why": "."}
    return Listed(**{**given, "verdict": "failed", "causes": ("missing-file",), **changed})


def found(verdict, *causes, after=None):
    named = [{"kind": kind, "cell": cell} for kind, cell in causes]
    return {
        "verification": {"verdict": verdict, "causes": named},
        "repair": {"after": after}, "papermill": {"said": "failed"},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("judged", "result", "mark"),
    [
        (one(), found("failed", ("missing-file", 3)), "ok"),
        (one(cell=2), found("failed", ("missing-file", 3)), "CAUSE"),
        (one(), found("failed", ("exception", 3)), "CAUSE"),
        (one(), found("failed", ("missing-file", 3), ("clock", 4)), "CAUSE"),
        (one(also=("clock",)), found("failed", ("missing-file", 3), ("clock", 4)), "ok"),
        (one(), found("bitwise"), "VERDICT"),
        (one(verdict="reproduced", causes=()), found("within-tolerance"), "ok"),
        (one(verdict="reproduced", causes=()), found("different", ("clock", 1)), "VERDICT"),
        (one(), {"hung": True}, "VERDICT"),
        (one(), {"missing": "no such repository"}, "-"),
    ],
)
def test_what_is_found_is_held_against_the_judgement(judged, result, mark):
    assert _judged(judged, result)["mark"] == mark


def test_a_fix_helps_where_the_copy_runs():
    judged = _judged(one(), found("failed", ("missing-file", 3), after="different"))
    assert (judged["runs after"], judged["holds after"]) == (True, False)

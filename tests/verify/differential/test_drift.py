"""The recorded versions are put back to see whether they are why; their releases are bisected."""

import os

import nbformat
import nbformat.v4 as v4
import pytest

from mlrepro_nb.execute import Limits
from mlrepro_nb.model import REPRODUCED, Distribution
from mlrepro_nb.verify import verify, verify_and_repair
from mlrepro_nb.verify.attribute import Case, Seen
from mlrepro_nb.verify.attribute.environment import confirmed_drift
from mlrepro_nb.verify.differential import bisect
from tests.records import a_cell, a_record
from tests.verify.differential import drift

OLD, NEW = ("humanize==4.10.0", "toolz==0.12.0"), ("humanize==4.12.2", "toolz==1.0.0")


@pytest.fixture(scope="module")
def drifted(tmp_path_factory):
    """A notebook whose libraries were upgraded since it was recorded; one of them matters."""
    base = tmp_path_factory.mktemp("drifted")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLREPRO_STORE", raising=False)
        patch.setenv("PYTHONPATH", str(base / "site"))
        drift.install(base / "site", *OLD)
        (base / "project").mkdir()
        path = drift.recorded(base / "project", *OLD)
        drift.install(base / "site", *NEW)
        yield path


def test_the_release_that_changed_a_result_is_found(drifted):
    before = sorted(p.name for p in drifted.parent.iterdir())
    found = verify(drifted, bisecting=True)
    (cause,) = found.causes
    assert (cause.kind, cause.subject, cause.confidence) == (
        "version-drift", "humanize", "confirmed",
    )  # fmt: skip
    assert "with humanize 4.10.0 and all else as it is here it is as recorded" in cause.evidence
    assert "humanize 4.11.0 is the release that changed it" in cause.evidence
    assert "pip install 'humanize==4.10.0'" in cause.fix
    assert cause.requirement == "humanize==4.10.0"
    tried = [trial.conditions for trial in found.trials]
    assert tried[:2] == [("environment",), ("environment", "humanize==4.10.0")]
    assert ("environment", "humanize==4.11.0") in tried
    assert sorted(p.name for p in drifted.parent.iterdir()) == before


def test_without_the_index_it_is_a_trial_that_did_not_run(drifted, monkeypatch, tmp_path):
    for name in list(os.environ):
        if name.startswith(("PIP_", "UV_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path))
    found = verify(drifted)
    (trial,) = found.trials
    assert trial.conditions == ("environment",)
    assert trial.problem
    assert [(c.kind, c.confidence) for c in found.causes] == [("version-drift", "likely")]


def test_a_pin_repairs_it_in_a_file_beside_the_copy(drifted):
    done = verify_and_repair(drifted, reruns=0)
    assert done.after.verdict in REPRODUCED
    file = drifted.with_name("a.fixed.requirements.txt")
    assert done.requirements == str(file)
    assert file.read_text() == "humanize==4.10.0\n"
    assert "+humanize==4.10.0" in done.diff
    file.unlink()
    drifted.with_name("a.fixed.ipynb").unlink()


def test_what_is_missing_is_installed_for_the_copy_only(tmp_path, index):
    """An import that fails hides the next one of its cell, which is found in the next round."""
    path = drift.write(tmp_path / "a.ipynb", "import demo_one, demo_two", "print(demo_two.value)")
    nb = nbformat.read(path, as_version=4)
    nb.cells[0].execution_count, nb.cells[1].execution_count = 1, 2
    nb.cells[1].outputs = [v4.new_output("stream", name="stdout", text="2\n")]
    nbformat.write(nb, path)
    index.add("demo-one", "1.5", {"demo_one.py": "value = 1\n"})
    index.add("demo-two", "2.5", {"demo_two.py": "value = 2\n"})
    done = verify_and_repair(path)
    assert done.before.verdict == "failed"
    assert done.after.verdict in REPRODUCED
    assert (tmp_path / "a.fixed.requirements.txt").read_text() == "demo-one==1.5\ndemo-two==2.5\n"
    assert sum(edit.action == "require" for edit in done.edits) == 2


@pytest.mark.parametrize("asks", [False, True])
def test_a_notebook_without_a_network_may_still_have_its_fix_installed(
    tmp_path, monkeypatch, index, asks
):
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    path = drift.write(tmp_path / "a.ipynb", "import demo_one", "print(demo_one.value)")
    nb = nbformat.read(path, as_version=4)
    nb.cells[1].execution_count = 2
    nb.cells[1].outputs = [v4.new_output("stream", name="stdout", text="1\n")]
    nbformat.write(nb, path)
    index.add("demo-one", "1.5", {"demo_one.py": "value = 1\n"})
    done = verify_and_repair(path, limits=Limits(offline=True), index=True if asks else None)
    assert (done.after.verdict in REPRODUCED) == asks
    assert [refusal.subject for refusal in done.refused] == ([] if asks else ["demo-one"])


# --- the bisection alone


def a_case(folder, *, before, after, others=()):
    """A case whose only cell imports demo, of another version than recorded."""
    base = a_record()

    def made(version, rest):
        return a_record(
            code=base.code.__class__(notebook="a.ipynb", cells=(a_cell(0, "import demo"),)),
            environment=base.environment.__class__(
                python="3.11.7", implementation="CPython", kernelspec="python3",
                system=base.environment.system, lock=f"sha256:{'0' * 64}",
                distributions=(
                    Distribution(name="demo", version=version, imported=True, modules=("demo",)),
                    *rest,
                ),
            ),
        )  # fmt: skip

    seen = Seen(index=0, id=None, source="import demo", reference=(), stored=(), count=1,
                executed=True, compared=True)  # fmt: skip
    old = [Distribution(name=n, version="1", imported=True) for n in others]
    new = [Distribution(name=n, version="2", imported=True) for n in others]
    case = Case({0: seen}, record=made(before, old), rerun=made(after, new), root=folder,
                folder=folder, notebook=folder / "a.ipynb")  # fmt: skip
    case.confirmed[0] = [confirmed_drift(case, 0, "they do", "demo")]
    return case


@pytest.fixture
def demo(index):
    """An index with many releases of a distribution."""
    for number in range(33):
        index.add("demo", f"1.{number}", {"demo.py": ""}, yanked=number == 17)
    index.add("demo", "1.16.1rc1", {"demo.py": ""})
    index.add("demo", "1.15.1", {"demo.py": ""}, tag="cp27-cp27mu-win32")
    return index


def runs_of(first_bad, broken=()):
    from packaging.version import Version

    from mlrepro_nb.errors import ToolError

    def go(held):
        version = held.versions["demo"]
        if version in broken:
            raise ToolError("it does not install")
        changed = Version(version) >= Version(first_bad)
        return {0: [{"output_type": "stream", "name": "stdout", "text": "x"}] if changed else []}

    return go


def same(_, one, other):
    return one == other


@pytest.mark.parametrize("first_bad", ["1.2", "1.16", "1.18", "1.32"])
def test_it_halves_what_is_left(tmp_path, demo, first_bad):
    case = a_case(tmp_path, before="1.1", after="1.32")
    trials = bisect(case, runs_of(first_bad), same)
    assert len(trials) <= 5
    assert f"demo {first_bad} is the release that changed it" in case.confirmed[0][0].evidence
    tried = {trial.conditions[1] for trial in trials}
    assert not tried & {"demo==1.17", "demo==1.16.1rc1", "demo==1.15.1"}


def test_an_older_version_is_bisected_the_other_way(tmp_path, demo):
    case = a_case(tmp_path, before="1.30", after="1.4")

    def go(held):
        old = int(held.versions["demo"].partition(".")[2]) < 9
        return {0: [{"text": "x"}] if old else []}

    bisect(case, go, same)
    assert "demo 1.8 is the release that changed it, demo" not in case.confirmed[0][0].evidence
    assert "demo 1.8 is the release that changed it, 1.9 gives" in case.confirmed[0][0].evidence


def test_a_release_that_cannot_be_run_is_passed_over_and_named(tmp_path, demo):
    case = a_case(tmp_path, before="1.1", after="1.32")
    trials = bisect(case, runs_of("1.20", broken={"1.16", "1.18"}), same)
    assert "1.16" in case.confirmed[0][0].evidence
    assert "could not be run" in case.confirmed[0][0].evidence
    assert "demo 1.20 is the release that changed it" in case.confirmed[0][0].evidence
    assert [t.problem for t in trials if t.conditions[1] == "demo==1.16"] == ["it does not install"]


def an_error(name):
    return {"output_type": "error", "ename": name, "evalue": "", "traceback": []}


def test_a_release_that_fails_in_another_way_is_passed_over_too(tmp_path, demo):
    """It installs, and then it cannot be imported: nobody knows what it would have given."""
    case = a_case(tmp_path, before="1.1", after="1.32")
    plain = runs_of("1.20")

    def go(held):
        number = int(held.versions["demo"].partition(".")[2])
        return {0: [an_error("ImportError")]} if 12 <= number <= 18 else plain(held)

    trials = bisect(case, go, same)
    assert "demo 1.20 is the release that changed it" in case.confirmed[0][0].evidence
    assert "1.16" in case.confirmed[0][0].evidence
    problems = {t.conditions[1]: t.problem for t in trials}
    assert "ImportError" in problems["demo==1.16"]
    assert problems["demo==1.20"] is None


def test_where_only_such_releases_are_left_none_of_them_is_blamed(tmp_path, demo):
    case = a_case(tmp_path, before="1.1", after="1.32")
    plain = runs_of("1.16")
    broken = {"1.14", "1.15", "1.16"}

    def go(held):
        return {} if held.versions["demo"] in broken else plain(held)

    bisect(case, go, same)
    (found,) = case.confirmed[0]
    assert "is the release that changed it" not in found.evidence
    assert "demo 1.13 still gives it as recorded, 1.18 does not" in found.evidence
    assert "1.14, 1.15, 1.16 between them could not be run" in found.evidence
    assert found.requirement == "demo==1.13"


def test_the_failure_that_is_asked_about_is_no_reason_to_pass_a_release_over(tmp_path, demo):
    case = a_case(tmp_path, before="1.1", after="1.32")
    case.cells[0].error = an_error("AttributeError")

    def go(held):
        gone = int(held.versions["demo"].partition(".")[2]) >= 9
        return {0: [an_error("AttributeError")] if gone else []}

    bisect(case, go, same)
    assert "demo 1.9 is the release that changed it" in case.confirmed[0][0].evidence


def test_the_runs_are_limited(tmp_path, demo):
    case = a_case(tmp_path, before="1.1", after="1.32")
    assert len(bisect(case, runs_of("1.20"), same, runs=2)) == 2
    assert "were not tried" in case.confirmed[0][0].evidence


def test_one_that_did_not_change_it_alone_is_not_blamed_for_a_release(tmp_path, demo):
    case = a_case(tmp_path, before="1.1", after="1.32", others=("other",))
    (trial,) = bisect(case, lambda _: {0: []}, same)
    assert trial.conditions == ("environment", "demo==1.32")
    assert "not demo alone changed it" in case.confirmed[0][0].evidence


def test_progress_is_told(tmp_path, demo):
    said = []
    bisect(a_case(tmp_path, before="1.1", after="1.4"), runs_of("1.3"), same, tell=said.append)
    assert said[0] == "bisecting demo: between 1.1 and 1.4, 2 releases left"

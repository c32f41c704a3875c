"""Many notebooks at once: which they are, that each has its outcome, and the reports of them."""

import json
import os
import signal
import subprocess
import xml.etree.ElementTree as ET

import msgspec
import nbformat
import nbformat.v4 as v4
import pytest
from click.testing import CliRunner

from mlrepro_nb.errors import NotFoundError, UsageError
from mlrepro_nb.faces.cli import main
from mlrepro_nb.model import Cause, CellVerdict, Verification
from mlrepro_nb.verify import Outcome, Problem, Task, discover, shard, verify_many
from mlrepro_nb.verify._evidence import CellEvidence, Shown
from mlrepro_nb.verify.report import exit_code, html, junit, read, summary

KILLS = "import os, time; os.kill(os.getppid(), 9); time.sleep(60)"


def write(path, *cells):
    path.parent.mkdir(parents=True, exist_ok=True)
    nb = v4.new_notebook(metadata={"kernelspec": {"name": "python3", "display_name": ""}})
    for count, (source, printed) in enumerate(cells, 1):
        outputs = [v4.new_output("stream", name="stdout", text=printed)] if printed else []
        nb.cells.append(v4.new_code_cell(source, outputs=outputs, execution_count=count))
    nbformat.write(nb, path)
    return str(path)


@pytest.fixture
def tree(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("JOB_COMPLETION_INDEX", raising=False)
    for name in (
        "b.ipynb", "a.ipynb", "sub/c.ipynb", "sub/.ipynb_checkpoints/c-checkpoint.ipynb",
        ".hidden/d.ipynb", "a_executed.ipynb", "a.nbconvert.ipynb", "out/e.ipynb",
        "env/share/f.ipynb", "notes.txt",
    ):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("{}")
    (tmp_path / "env" / "pyvenv.cfg").write_text("")
    return tmp_path


def test_a_folder_stands_for_the_notebooks_that_are_the_users_own(tree):
    assert discover(["."]) == ["a.ipynb", "b.ipynb", "out/e.ipynb", "sub/c.ipynb"]
    subprocess.run(["git", "init", "-q", "."], check=True)
    (tree / ".gitignore").write_text("out/\n")
    assert discover(["."]) == ["a.ipynb", "b.ipynb", "sub/c.ipynb"]


def test_patterns_and_names_are_taken_each_once(tree):
    assert discover(["**/c*.ipynb", "sub", "a.ipynb", "a.ipynb"]) == ["sub/c.ipynb", "a.ipynb"]
    assert discover(["a_executed.ipynb", "3f2c1a"]) == ["a_executed.ipynb", "3f2c1a"]
    (tree / "empty").mkdir()
    with pytest.raises(NotFoundError, match="no notebook in empty"):
        discover(["empty"])


def test_the_parts_are_the_whole():
    names = [str(n) for n in range(11)]
    parts = [shard(names, f"{i}/4") for i in range(1, 5)]
    assert sorted((n for part in parts for n in part), key=int) == names
    for wrong in ("0/4", "5/4", "a/b", "3"):
        with pytest.raises(UsageError):
            shard(names, wrong)


def verification(name, verdict="bitwise", cells=(), causes=()):
    return Verification(
        verdict=verdict, notebook=name, record=None, cells=cells, causes=causes,
        created="2026-01-01T00:00:00.000Z", duration=1.0,
    )  # fmt: skip


@pytest.fixture
def outcomes():
    cause = Cause(
        kind="clock", cell=1, subject="<b>time</b>", evidence="It \x1b[31mreads\x1b[0m \x00 it.",
        fix="Freeze & be done.",
    )  # fmt: skip
    cells = (
        CellVerdict(index=0, verdict="bitwise"),
        CellVerdict(index=1, verdict="different", cause=cause, detail="stdout: <1> → 2\x08"),
        CellVerdict(index=2, verdict="inconclusive", detail="not executed"),
    )
    evidence = CellEvidence(
        index=1, source="print('</pre><script>alert(1)</script>')",
        before=(Shown(kind="stdout", content="<1>"),),
        after=(Shown(kind="image/png", content='x" onerror="alert(1)'),), picture="aGk=",
    )  # fmt: skip
    return [
        Outcome(
            target="b.ipynb", evidence=(evidence,),
            verification=verification("b.ipynb", "different", cells, (cause,)),
        ),
        Outcome(target="a.ipynb", verification=verification("a.ipynb")),
        Outcome(target="c.ipynb", problem=Problem(message="No <kernel>.", exit_code=3)),
    ]  # fmt: skip


def test_reports_are_the_same_bytes_whatever_the_order_and_the_time(outcomes):
    later = [
        msgspec.structs.replace(o, verification=o.verification and msgspec.structs.replace(
            o.verification, created="2027-01-01T00:00:00.000Z", duration=9.0, executed="/x"))
        for o in reversed(outcomes)
    ]  # fmt: skip
    assert junit(outcomes) == junit(later)
    assert html(outcomes) == html(later)
    assert junit(outcomes, durations=True) != junit(later, durations=True)


def test_junit_says_what_a_continuous_integration_shows(outcomes):
    root = ET.fromstring(junit(outcomes))
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == ("5", "1", "1")
    failure = root.find(".//testcase[@name='cell 1']/failure")
    assert failure.get("type") == "clock"
    assert "Freeze & be done." in failure.text
    assert root.find(".//testcase[@name='cell 2']/skipped") is not None
    assert "No <kernel>." in root.find(".//error").get("message")


def test_the_page_stands_alone_and_runs_nothing(outcomes):
    page = html(outcomes)
    assert "<script" not in page
    assert "onerror=" not in page.replace("&quot; onerror=&quot;", "")
    assert "http" not in page.replace("http-equiv", "")
    assert "\x1b" not in page
    assert "data:image/png;base64,aGk=" in page
    assert "<b>time</b>" not in page
    for text in ("a.ipynb", "clock", "Freeze &amp; be done.", "No &lt;kernel&gt;."):
        assert text in page


def test_the_summary_counts_and_the_worst_decides(outcomes):
    made = json.loads(msgspec.json.encode(summary(outcomes)))
    assert made["verdict"] == "different"
    assert made["totals"] == {"notebooks": 3, "bitwise": 1, "different": 1, "error": 1}
    assert [n["notebook"] for n in made["notebooks"]] == ["a.ipynb", "b.ipynb", "c.ipynb"]
    assert made["notebooks"][2]["error"]["message"] == "No <kernel>."
    assert [exit_code(outcomes), exit_code(outcomes[:2]), exit_code(outcomes[1:2])] == [3, 1, 0]


def test_parts_merge_to_the_report_of_the_whole(outcomes, tmp_path, monkeypatch):
    for number, outcome in enumerate(outcomes):
        (tmp_path / f"{number}.json").write_bytes(msgspec.json.encode([outcome]))
    files = sorted(tmp_path.glob("*.json"))
    assert html(read(files)) == html(outcomes)
    page, xml = tmp_path / "r.html", tmp_path / "j.xml"
    done = CliRunner().invoke(
        main, ["verify", "--merge", *map(str, files), "--report", str(page), "--junit", str(xml)]
    )
    assert done.exit_code == 3
    assert (page.read_text(), xml.read_bytes()) == (html(outcomes), junit(outcomes))
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(UsageError, match="holds no results"):
        read([tmp_path / "x.json"])


def test_a_task_travels_as_json():
    task = Task(target="a.ipynb", timeout=3, data="recorded")
    assert msgspec.json.decode(msgspec.json.encode(task), type=Task) == task


@pytest.fixture
def notebooks(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return [
        write(
            tmp_path / "kills.ipynb",
            ("import os, time; os.kill(os.getppid(), 9); time.sleep(60)", ""),
        ),
        write(tmp_path / "off.ipynb", ("print(1)", "1\n"), ("print(2)", "3\n")),
        write(tmp_path / "same.ipynb", ("import os; print(os.getcwd())", f"{tmp_path}\n")),
        write(tmp_path / "same2.ipynb", ("print(6 * 7)", "42\n")),
    ]


def test_each_notebook_has_its_outcome_whatever_another_does(notebooks):
    seen = []
    tasks = [Task(target=name, evidence=True) for name in [*notebooks, "gone.ipynb"]]
    outcomes = verify_many(tasks, jobs=2, report=seen.append)
    assert [o.target for o in outcomes] == [t.target for t in tasks]
    assert [o.exit_code for o in outcomes] == [1, 1, 0, 0, 2]
    assert outcomes[1].evidence[0].after[0].content == "2\n"
    assert outcomes[4].problem.message.startswith("There is no file")
    assert {u.index for u in seen if u.outcome is not None} == set(range(5))
    assert any(u.step and u.step.message.startswith("1 of 2 cells:") for u in seen if u.index == 1)


def test_a_worker_that_is_killed_costs_one_notebook(notebooks, monkeypatch):
    killed = []

    def shoot(update):
        if update.index == 0 and update.step is not None and not killed:
            mine = subprocess.run(
                ["pgrep", "-P", str(os.getpid()), "-f", "mlrepro_nb.verify.worker"],
                capture_output=True, text=True, check=True,
            )  # fmt: skip
            killed.append(int(mine.stdout.split()[0]))
            os.kill(killed[0], signal.SIGKILL)

    outcomes = verify_many([Task(target=n) for n in notebooks[2:]], jobs=1, report=shoot)
    assert "by signal 9" in outcomes[0].problem.message
    assert outcomes[1].exit_code == 0


def test_the_command_line_tells_of_all_and_ends_with_the_worst(notebooks, monkeypatch):
    done = CliRunner().invoke(main, ["verify", "off.ipynb", "same*.ipynb", "--json", "-q"])
    assert done.exit_code == 1
    told = json.loads(done.stdout)
    assert told["verdict"] == "different"
    assert [n["notebook"] for n in told["notebooks"]] == ["off.ipynb", "same.ipynb", "same2.ipynb"]
    monkeypatch.setenv("JOB_COMPLETION_INDEX", "1")
    done = CliRunner().invoke(main, ["verify", "off.ipynb", "same2.ipynb", "--results", "r.json"])
    assert done.exit_code == 0
    assert [o.target for o in read([notebooks_file(notebooks, "r.json")])] == ["same2.ipynb"]


def notebooks_file(notebooks, name):
    from pathlib import Path

    return Path(notebooks[0]).parent / name


def test_the_report_shows_where_two_pictures_differ(tmp_path, monkeypatch):
    import base64
    import io

    from PIL import Image, ImageDraw

    def png(at):
        image = Image.new("RGB", (60, 40), "white")
        ImageDraw.Draw(image).rectangle((at, 10, at + 8, 30), fill="black")
        held = io.BytesIO()
        image.save(held, "PNG")
        return base64.b64encode(held.getvalue()).decode()

    code = f"from IPython.display import Image\nimport base64\nImage(base64.b64decode({png(40)!r}))"
    nb = v4.new_notebook(metadata={"kernelspec": {"name": "python3", "display_name": ""}})
    stored = v4.new_output("execute_result", {"image/png": png(5)}, execution_count=1)
    nb.cells = [v4.new_code_cell(code, outputs=[stored], execution_count=1)]
    path = tmp_path / "a.ipynb"
    nbformat.write(nb, path)
    (outcome,) = verify_many([Task(target=str(path), evidence=True, reruns=0)], jobs=1)
    assert outcome.verification.verdict == "different"
    assert base64.b64decode(outcome.evidence[0].picture).startswith(b"\x89PNG")
    assert "Where the pictures differ" in html([outcome])

"""`mlrepro trace`: one JSON document or a tree, a page if told, exit codes that mean something."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from mlrepro_nb import lineage
from mlrepro_nb.faces.cli import main
from mlrepro_nb.store import Store
from tests.lineage.chain import CLEAN, COMMIT, MANIFEST, RUN, put_chain
from tests.lineage.test_trace import put_file


@pytest.fixture(autouse=True)
def chain(store: Store) -> None:
    put_chain(store)


def test_from_an_images_digest_alone_to_commit_data_run_and_cell() -> None:
    done = CliRunner().invoke(main, ["trace", MANIFEST, "--json"])
    assert done.exit_code == 0
    nodes = {(node["type"], node["label"]): node for node in json.loads(done.stdout)["nodes"]}
    assert nodes["data", "data/wine.parquet"]["detail"]["digest"] == CLEAN
    assert nodes["cell", "train (cell 3)"]["detail"]["name"] == "train"
    assert any(n["detail"].get("commit") == COMMIT for n in nodes.values() if n["type"] == "commit")
    assert any(n["detail"].get("run_id") == RUN for n in nodes.values() if n["type"] == "run")
    assert lineage.from_json(done.stdout).target == MANIFEST


def test_the_tree_is_printed_and_the_page_written() -> None:
    done = CliRunner().invoke(main, ["trace", MANIFEST, "--html", "chain.html"])
    assert done.exit_code == 0
    assert "└─" in done.stdout
    assert Path("chain.html").read_text("utf-8").startswith("<!doctype html>")


def test_a_changed_file_is_a_finding(store: Store, repository: Path) -> None:
    path, _, _ = put_file(store, repository, b"wine")
    assert CliRunner().invoke(main, ["trace", str(path)]).exit_code == 0
    path.write_bytes(b"vine")
    done = CliRunner().invoke(main, ["trace", str(path)])
    assert done.exit_code == 1
    assert "has changed" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["nonsense"], 2), ([""], 2), ([], 2), ([MANIFEST, "--html", "no/such/folder.html"], 2),
     (["localhost:9/none:1"], 3)],
)  # fmt: skip
def test_what_goes_wrong_is_one_sentence(arguments: list[str], code: int) -> None:
    before = set(Path.cwd().iterdir())
    done = CliRunner().invoke(main, ["trace", *arguments])
    assert done.exit_code == code
    assert done.stdout == ""
    assert done.stderr
    assert "Traceback" not in done.output
    assert set(Path.cwd().iterdir()) == before


def test_a_failed_page_leaves_the_old_one(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = repository / "chain.html"
    page.write_text("old", encoding="utf-8")
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "full")))
    done = CliRunner().invoke(main, ["trace", MANIFEST, "--html", str(page)])
    assert done.exit_code == 2
    assert page.read_text("utf-8") == "old"
    assert [path.name for path in repository.glob(".*.tmp")] == []

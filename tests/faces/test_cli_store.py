"""``mlrepro log``, ``show`` and ``diff``, and what every command shares."""

import json
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from mlrepro_nb.faces.cli import main
from mlrepro_nb.model import Code, canonical
from mlrepro_nb.store import Store
from tests.records import a_cell, a_record


def mlrepro(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def test_help_lists_the_five_verbs() -> None:
    text = mlrepro("--help").output
    for verb in ("record", "verify", "build", "rollout", "trace"):
        assert f"mlrepro {verb}" in text


def test_an_empty_store_says_how_to_begin(repository: Path) -> None:
    result = mlrepro("log")
    assert result.exit_code == 0
    assert "mlrepro record NOTEBOOK" in result.output
    assert not (repository / ".mlrepro").exists()


def test_log_lists_records_and_unsealed_sessions(store: Store) -> None:
    digest = store.put(a_record())
    session = store.open_session("train.ipynb")
    text = mlrepro("log").output
    assert digest[7:19] in text
    assert session[:12] in text
    listed = json.loads(mlrepro("log", "train.ipynb", "--json").stdout)
    assert [d["digest"] for d in listed["documents"]] == [digest]
    assert json.loads(mlrepro("log", "other.ipynb", "--json").stdout)["documents"] == []


def test_show_prints_the_eight_parts(store: Store) -> None:
    digest = store.put(a_record())
    text = mlrepro("show", digest[7:15]).output
    for expected in (digest, "data.csv", "accuracy = 0.9", "f" * 32, "1 of 2 distributions"):
        assert expected in text.replace("\n", " ")


def test_show_json_is_the_record(store: Store) -> None:
    digest = store.put(a_record())
    shown = json.loads(mlrepro("show", digest, "--json").stdout)
    assert shown.pop("digest") == digest
    assert shown == json.loads(canonical(a_record()))


def test_show_reads_a_record_from_a_file(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    path.write_bytes(msgspec.json.encode(a_record()))
    assert mlrepro("show", str(path)).exit_code == 0
    path.write_text("[1, 2")
    result = mlrepro("show", str(path))
    assert result.exit_code == 2
    assert "is not a record" in result.output


def test_diff_says_what_changed_and_exits_with_1(store: Store) -> None:
    before = store.put(a_record())
    code = Code(notebook="train.ipynb", cells=(a_cell(0, "import numpy as np\nnp.ones(3)"),))
    after = store.put(a_record(code=code))
    result = mlrepro("diff", before, after)
    assert result.exit_code == 1
    assert "+np.ones(3)" in result.output
    assert mlrepro("diff", before, before).exit_code == 0
    assert {
        c["part"] for c in json.loads(mlrepro("diff", before, after, "--json").stdout)["changes"]
    }


@pytest.mark.parametrize(
    "arguments", [("show", "abcd"), ("show", "nothing.ipynb"), ("diff", "abcd", "ef01")]
)
def test_what_is_not_there_gets_a_remedy(repository: Path, arguments: tuple[str, ...]) -> None:
    result = mlrepro(*arguments)
    assert result.exit_code == 2
    assert "`mlrepro" in result.output
    assert "Traceback" not in result.output


def test_no_repository_gets_a_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLREPRO_STORE", raising=False)
    monkeypatch.chdir(tmp_path)
    result = mlrepro("log")
    assert result.exit_code == 3
    assert "git init" in result.output

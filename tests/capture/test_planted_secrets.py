"""Secrets planted wherever a notebook may have them are in no record, log or blob."""

# ruff: noqa: E501
from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest

from mlrepro_nb.record import record, recover
from mlrepro_nb.store import Store
from tests.conftest import git

IN_ENVIRONMENT = "envSecret-9f8e7d6c"
IN_URL_VARIABLE = "urlVariable7766554"
LOAD = "%load_ext mlrepro_nb"

CELLS = {
    "literal1x9": 'password = "literal1x9"\nprint("it is", password)',
    "dictLiteral22": 'config = {"api_key": "dictLiteral22"}\nconfig',
    "kwArg33secret": "def connect(**k): return k\nconnect(user='me', passwd='kwArg33secret')",
    "urlUser44pw": 'url = "postgresql://me:urlUser44pw@db.example/x"\nprint(url)',
    "query55sig": 'u = "https://x.example/d.csv?sig=query55sig&v=1"\nu',
    "odbc66pass": 'dsn = "Server=db;Uid=me;Pwd=odbc66pass;"\nprint(dsn)',
    "libpq77pass": 'dsn = "host=db user=me password=libpq77pass dbname=x"\nraise ValueError(dsn)',
    "AKIAIOSFODNN7EXAMPLE": 'print("AKIAIOSFODNN7EXAMPLE")',
    "ghp_0123456789abcdefghijklmnopqrstuvwxyz": 'open("ghp_0123456789abcdefghijklmnopqrstuvwxyz.txt", "w").write("x")',
    "shellFlag88": "!echo curl -u me:shellFlag88 --password shellFlag88 > /dev/null",
    "pipIndex99pw": "!echo pip install --index-url https://me:pipIndex99pw@pypi.example/simple x > /dev/null",
    "magicEnv10x": "%env MY_API_KEY=magicEnv10x",
    "setLater11x": 'import os\nos.environ["LATER_TOKEN"] = "setLater" + "11x"',
    "setLater11x again": 'print(os.environ["LATER_TOKEN"])\nopen(os.environ["LATER_TOKEN"] + ".txt", "w").write("x")\nraise RuntimeError(os.environ["LATER_TOKEN"])',
    IN_ENVIRONMENT: "print(os.environ['SERVICE_SECRET'])\nraise KeyError(os.environ['SERVICE_SECRET'])",
    IN_URL_VARIABLE: "print(os.environ['WAREHOUSE'], os.environ['WAREHOUSE'][20:])",
    "headerBearer12345": 'headers = {"Authorization": "Bearer headerBearer12345"}\nheaders',
    "privateKey14": 'key = """-----BEGIN RSA PRIVATE KEY-----\nprivateKey14\n-----END RSA PRIVATE KEY-----"""\nprint(key)',
    "nested15pass": "def inner(password='nested15pass'):\n    raise ConnectionError(f'mysql://root:{password}@h/db')\ninner()",
    "display16tok": "from IPython.display import HTML\nHTML('<a href=\"https://u:display16tok@h/\">x</a>')",
    "mlflow17pass": "import mlflow\nmlflow.set_tracking_uri('sqlite:///mlflow.db')\nwith mlflow.start_run():\n    mlflow.log_params({'db_password': 'mlflow17pass', 'uri': 'mysql://u:mlflow17pass@h/d', 'lr': 0.1})\n    mlflow.set_tag('api_token', 'mlflow17pass')",
}
SECRETS = {name.removesuffix(" again") for name in CELLS}


def stored(root: Path) -> dict[str, bytes]:
    """Return every byte that a store holds, SQLite's pages unpacked too."""
    found = {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}
    for database in root.glob("*.db"):
        db = sqlite3.connect(database)
        found[f"{database.name} as text"] = "\n".join(db.iterdump()).encode()
        db.close()
    return found


def leaks(held: dict[str, bytes], secrets: set[str]) -> set[tuple[str, str]]:
    return {(s, where) for where, data in held.items() for s in secrets if s.encode() in data}


@pytest.fixture
def planted(repository: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    git(repository, "remote", "add", "origin", "https://me:gitRemote18pw@git.example/r.git")
    (repository / "notes.py").write_text("API_TOKEN = 'committed19'\n", encoding="utf-8")
    git(repository, "add", "notes.py")
    git(repository, "commit", "-qm", "notes")
    (repository / "notes.py").write_text("API_TOKEN = 'inTheDiff20'\n", encoding="utf-8")
    monkeypatch.setenv("SERVICE_SECRET", IN_ENVIRONMENT)
    monkeypatch.setenv("WAREHOUSE", f"postgresql://reader:{IN_URL_VARIABLE}@h/db")
    monkeypatch.setenv("PIP_INDEX_URL", "https://u:pipVariable21@pypi.example/simple")
    return repository


ALSO = {"gitRemote18pw", "committed19", "inTheDiff20", "pipVariable21"}


def test_a_live_kernels_store_and_log_hold_no_secret(planted: Path, kernel: Callable) -> None:
    k = kernel()
    k.run(LOAD)
    for cell in CELLS.values():
        k.run(cell)
    root = planted / ".mlrepro"
    assert not leaks(stored(root), SECRETS | ALSO), "while it runs"
    k.run("%mlrepro status")
    k.run("%mlrepro record")
    k.close()
    recover(Store(root))
    held = stored(root)
    assert len(held) > 4
    assert not leaks(held, SECRETS | ALSO)
    assert not leaks({"log": k.log.read_bytes()}, SECRETS | ALSO)


def test_a_headless_run_keeps_no_secret_and_says_where_outputs_show_one(
    planted: Path,
) -> None:
    nb = nbformat.v4.new_notebook()
    nb.cells = [
        nbformat.v4.new_code_cell("db_password = ''\nn = 1", metadata={"tags": ["parameters"]})
    ]
    nb.cells += [
        nbformat.v4.new_code_cell(source, metadata={"tags": ["raises-exception"]})
        for source in CELLS.values()
        if "mlflow" not in source  # seconds, and the same in a live kernel
    ]
    nb.cells.append(nbformat.v4.new_code_cell("print(db_password, n)"))
    nbformat.write(nb, planted / "n.ipynb")
    done = subprocess.run(
        [sys.executable, "-m", "mlrepro_nb", "record", "n.ipynb", "--no-lock", "-o", "out.ipynb",
         "-p", "db_password", "parameter23pw", "-p", "n", "2"],
        cwd=planted, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    secrets = SECRETS | ALSO | {"parameter23pw"}
    assert not leaks(stored(planted / ".mlrepro"), secrets)
    said = done.stdout + done.stderr
    assert not leaks({"said": said.encode()}, secrets)
    assert "looks like a secret" in done.stderr
    assert "parameter23pw" in (planted / "out.ipynb").read_text(), "the user's own copy is theirs"


def test_redacting_masks_outputs_and_leaves_sources_that_run(planted: Path) -> None:
    nb = nbformat.v4.new_notebook()
    nb.cells = [
        nbformat.v4.new_code_cell("password = 'hunter2hunter2'"),
        nbformat.v4.new_code_cell("print(f'it is {password}')"),
        nbformat.v4.new_code_cell("print('harmless')"),
    ]
    nbformat.write(nb, planted / "n.ipynb")
    said: list[str] = []
    record(
        planted / "n.ipynb", output=planted / "out.ipynb", redact=True, lock=False,
        report=lambda step: said.append(step.message) if step.log else None,
    )  # fmt: skip
    assert any("cell 1: what looks like a secret is masked" in line for line in said), said
    copy = nbformat.read(planted / "out.ipynb", 4)
    assert copy.cells[0].source == "password = 'hunter2hunter2'"
    assert copy.cells[1].outputs[0].text == "it is ***\n"
    assert copy.cells[2].outputs[0].text == "harmless\n"

    from mlrepro_nb.verify import verify

    verdict = verify(planted / "out.ipynb")
    assert verdict.verdict == "bitwise", verdict.causes

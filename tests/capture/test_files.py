"""Which files the record names: all that were data, in the right cell, and no others."""

# ruff: noqa: E501
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from blake3 import blake3

from mlrepro_nb.capture.data.paths import is_ignored, is_secret

LOAD = "%load_ext mlrepro_nb"

MAKE = """
import numpy as np, pandas as pd, pickle, json, sqlite3, joblib, h5py, pyarrow as pa
import pyarrow.parquet as pq, pyarrow.feather as feather, pyarrow.dataset, pyarrow.csv
frame = pd.DataFrame({"a": [1, 2], "b": [3.0, 4.0]})
frame.to_csv("t.csv", index=False); frame.to_parquet("t.parquet"); frame.to_json("t.json")
frame.to_pickle("t.pkl"); frame.to_csv("t.csv.gz", index=False)
np.save("t.npy", np.arange(3)); np.savez("t.npz", a=np.arange(3)); np.savetxt("t.txt", np.eye(2))
pickle.dump({"a": 1}, open("p.pkl", "wb")); joblib.dump([1], "t.joblib")
feather.write_feather(pa.table({"a": [1]}), "t.feather")
with h5py.File("t.h5", "w") as f: f["a"] = [1, 2]
db = sqlite3.connect("t.db"); db.execute("create table t (a)"); db.commit(); db.close()
"""

READS = {
    "open": ("open('t.txt').read()", "t.txt"),
    "pathlib": ("from pathlib import Path; Path('t.txt').read_bytes()", "t.txt"),
    "os.open": ("import os; os.close(os.open('t.txt', os.O_RDONLY))", "t.txt"),
    "pandas csv": ("import pandas; pandas.read_csv('t.csv')", "t.csv"),
    "pandas csv, pyarrow engine": ("import pandas; pandas.read_csv('t.csv', engine='pyarrow')", "t.csv"),
    "pandas gz": ("import pandas; pandas.read_csv('t.csv.gz')", "t.csv.gz"),
    "pandas json": ("import pandas; pandas.read_json('t.json')", "t.json"),
    "pandas pickle": ("import pandas; pandas.read_pickle('t.pkl')", "t.pkl"),
    "pandas parquet": ("import pandas; pandas.read_parquet('t.parquet')", "t.parquet"),
    "pandas feather": ("import pandas; pandas.read_feather('t.feather')", "t.feather"),
    "numpy load": ("import numpy; numpy.load('t.npy')", "t.npy"),
    "numpy mmap": ("import numpy; numpy.load('t.npy', mmap_mode='r')", "t.npy"),
    "numpy npz": ("import numpy; numpy.load('t.npz')['a']", "t.npz"),
    "numpy loadtxt": ("import numpy; numpy.loadtxt('t.txt')", "t.txt"),
    "numpy fromfile": ("import numpy; numpy.fromfile('t.npy')", "t.npy"),
    "pickle": ("import pickle; pickle.load(open('p.pkl', 'rb'))", "p.pkl"),
    "joblib": ("import joblib; joblib.load('t.joblib')", "t.joblib"),
    "sqlite": ("import sqlite3; sqlite3.connect('t.db').execute('select * from t').fetchall()", "t.db"),
    "sqlite read only": ("import sqlite3; sqlite3.connect('file:t.db?mode=ro', uri=True)", "t.db"),
    "pyarrow parquet": ("import pyarrow.parquet as pq; pq.read_table('t.parquet')", "t.parquet"),
    "pyarrow parquet file": ("from pyarrow.parquet import ParquetFile; ParquetFile('t.parquet').read()", "t.parquet"),
    "pyarrow dataset": ("import pyarrow.dataset as ds; ds.dataset('t.parquet').to_table()", "t.parquet"),
    "pyarrow csv": ("from pyarrow import csv; csv.read_csv('t.csv')", "t.csv"),
    "pyarrow mmap": ("import pyarrow; pyarrow.memory_map('t.parquet').read()", "t.parquet"),
    "pyarrow feather": ("import pyarrow.feather as f; f.read_table('t.feather')", "t.feather"),
    "h5py": ("import h5py; h5py.File('t.h5')['a'][:]", "t.h5"),
    "polars read csv": ("import polars as pl; pl.read_csv('t.csv')", "t.csv"),
    "polars scan parquet": ("import polars as pl; pl.scan_parquet('t.parquet').collect()", "t.parquet"),
    "polars from name": ("from polars import read_parquet; read_parquet('t.parquet')", "t.parquet"),
    "polars glob": ("import polars as pl; pl.read_parquet('*.parquet')", "t.parquet"),
    "duckdb sql": ("import duckdb; duckdb.sql(\"select * from 't.parquet'\").fetchall()", "t.parquet"),
    "duckdb csv": ("import duckdb; duckdb.connect().execute(\"select * from read_csv('t.csv')\").fetchall()", "t.csv"),
}  # fmt: skip

WRITES = {
    "open": ("open('o.txt', 'w').write('x')", "o.txt"),
    "append": ("open('o.txt', 'a').write('x')", "o.txt"),
    "pathlib": ("from pathlib import Path; Path('o.bin').write_bytes(b'x')", "o.bin"),
    "pandas csv": ("import pandas; pandas.DataFrame({'a': [1]}).to_csv('o.csv')", "o.csv"),
    "pandas parquet": ("import pandas; pandas.DataFrame({'a': [1]}).to_parquet('o.parquet')", "o.parquet"),
    "numpy": ("import numpy; numpy.save('o.npy', [1])", "o.npy"),
    "savefig": ("import matplotlib.pyplot as p; p.plot([1]); p.savefig('o.png'); p.close()", "o.png"),
    "joblib": ("import joblib; joblib.dump(1, 'o.joblib')", "o.joblib"),
    "pyarrow": ("import pyarrow as pa, pyarrow.parquet as pq; pq.write_table(pa.table({'a': [1]}), 'o.pq')", "o.pq"),
    "polars": ("import polars as pl; pl.DataFrame({'a': [1]}).write_parquet('o2.parquet')", "o2.parquet"),
    "h5py": ("import h5py\nwith h5py.File('o.h5', 'w') as f: f['a'] = 1", "o.h5"),
    "sqlite": ("import sqlite3; d = sqlite3.connect('o.db'); d.execute('create table t (a)'); d.commit()", "o.db"),
    "duckdb copy": ("import duckdb; duckdb.sql(\"copy (select 1) to 'o3.parquet'\")", "o3.parquet"),
    "atomic": ("import os; open('tmp1', 'w').write('x'); os.replace('tmp1', 'o4.txt')", "o4.txt"),
    "writefile": ("%%writefile o5.txt\nhello", "o5.txt"),
    "source": ("%%writefile o6.py\nx = 1", "o6.py"),
    "imported source": ("open('o7.py', 'w').write('y = 2'); import o7", "o7.py"),
    "source in a child": ("import os\nif (p := os.fork()) == 0:\n    open('o8.py', 'w').write('x'); os._exit(0)\nos.waitpid(p, 0)", "o8.py"),
    "renamed source": ("import os; open('tmp2', 'w').write('x'); os.replace('tmp2', 'o9.py')", "o9.py"),
    "a program's source": ("!echo 'z = 3' > o10.py", "o10.py"),
}  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import subprocess
    import sys

    folder = tmp_path_factory.mktemp("made")
    subprocess.run([sys.executable, "-c", MAKE], cwd=folder, check=True, capture_output=True)
    return folder


def _identity(path: Path) -> str:
    return f"blake3:{blake3(path.read_bytes()).hexdigest()}"


def test_each_reader_is_seen_in_its_cell_with_the_bytes_it_read(
    kernel: Callable, repository: Path, made: Path
) -> None:
    import shutil

    shutil.copytree(made, repository, dirs_exist_ok=True)
    k = kernel()
    k.run(LOAD)
    for name, (code, _) in READS.items():
        # A path of its own for each: one entry a path says where it was read first.
        folder = repository / name.replace(" ", "_").replace(",", "")
        shutil.copytree(made, folder)
        k.run(f"%cd -q {folder}")
        said = k.run(code)
        assert not said["errors"], (name, said)
    data = k.data()
    seen = {(d.repo_path, d.access): d for d in data}
    missed = []
    for number, (name, (_, file)) in enumerate(READS.items()):
        path = f"{name.replace(' ', '_').replace(',', '')}/{file}"
        found = seen.pop((path, "read"), None)
        if found is None or found.execution != 2 * number + 2:
            missed.append((name, found))
        else:
            assert found.digest == _identity(repository / path)
    assert missed == []
    assert seen == {}, "no files but those"


def test_each_writer_is_seen_in_its_cell_with_what_it_left(
    kernel: Callable, repository: Path
) -> None:
    k = kernel()
    k.run(LOAD)
    for name, (code, file) in WRITES.items():
        (repository / file).unlink(missing_ok=True)
        said = k.run(code)
        assert not said["errors"], (name, said)
    data = k.data()
    seen = {(d.repo_path, d.access): d for d in data}
    missed = [name for name, (_, file) in WRITES.items() if (file, "write") not in seen]
    assert missed == []
    assert {path for path, _ in seen} == {file for _, file in WRITES.values()}, "no scratch files"
    for (path, _), found in seen.items():
        assert found.digest == _identity(repository / path), path


def test_a_file_that_is_read_and_then_overwritten_keeps_the_digest_that_was_read(
    kernel: Callable, repository: Path
) -> None:
    (repository / "d.csv").write_text("a\n1\n", encoding="utf-8")
    before = _identity(repository / "d.csv")
    k = kernel()
    k.run(LOAD)
    k.run("import pandas as pd\npd.read_csv('d.csv').assign(b=2).to_csv('d.csv', index=False)")
    read, wrote = sorted(k.data(), key=lambda d: d.access)
    assert (read.access, read.digest) == ("read", before)
    assert (wrote.access, wrote.digest) == ("write", _identity(repository / "d.csv"))
    assert read.digest != wrote.digest


def test_each_execution_that_read_a_file_has_what_it_read(
    kernel: Callable, repository: Path
) -> None:
    identities = {}
    for name in ("own", "others", "back"):
        (repository / name).write_text("1")
    identities["1"] = _identity(repository / "own")
    k = kernel()
    k.run(LOAD)
    read = "for name in ('own', 'others', 'back'): open(name).read()"
    k.run(read)
    k.run("open('own', 'w').write('2')")
    identities["2"] = _identity(repository / "own")
    (repository / "others").write_text("2")
    (repository / "back").write_text("2")
    k.run(read)
    (repository / "back").write_text("1")
    k.run(read)
    found = {d.path: d for d in k.data() if d.access == "read"}
    versions = {
        name: [(v.digest, v.execution) for v in access.versions] for name, access in found.items()
    }
    one, two = identities["1"], identities["2"]
    assert versions == {
        "own": [(one, 1), (two, 3)], "others": [(one, 1), (two, 3)],
        "back": [(one, 1), (two, 3), (one, 4)],
    }  # fmt: skip
    assert {a.executions for a in found.values()} == {(1, 3, 4)}
    assert found["own"].digest == one  # what the run itself wrote is no input


OVERWRITE = {
    "sed": "!sed -i s/a/b/ d.csv",
    "python": "import subprocess; subprocess.run(['sed', '-i', 's/a/b/', 'd.csv'])",
    "system": "import os; os.system('sed -i s/a/b/ d.csv')",
}  # fmt: skip


@pytest.mark.parametrize("cell", OVERWRITE.values(), ids=OVERWRITE.keys())
def test_what_a_program_changes_in_place_is_an_input_as_it_was_if_that_is_known(
    kernel: Callable, repository: Path, cell: str
) -> None:
    (repository / "d.csv").write_text("a,b\n", encoding="utf-8")
    (repository / "e.csv").write_text("a,b\n", encoding="utf-8")
    before = _identity(repository / "d.csv")
    k = kernel()
    k.run(LOAD)
    k.run("import time; time.sleep(2.5); open('d.csv').read()")
    k.run("time.sleep(0.5)")  # it is hashed meanwhile
    k.run(cell)
    k.run(cell.replace("d.csv", "e.csv"))
    k.close()
    record = k.record()
    found = [(d.path, d.access, d.digest, d.orders) for d in record.data]
    assert found == [
        ("d.csv", "read", before, (1, 3)),
        ("d.csv", "write", _identity(repository / "d.csv"), (3,)),
        ("e.csv", "write", _identity(repository / "e.csv"), (4,)),
    ]
    told = [gap for gap in record.lineage.gaps if "what it held before is not known" in gap]
    assert [("e.csv" in gap, "d.csv" in gap) for gap in told] == [(True, False)]


def test_a_program_that_only_moves_a_file_has_read_nothing(
    kernel: Callable, repository: Path
) -> None:
    for name in ("old.csv", "new.csv"):
        (repository / name).write_text(name, encoding="utf-8")
    k = kernel()
    k.run(LOAD)
    k.run("!mv new.csv old.csv")
    assert [(d.path, d.access) for d in k.data()] == [("old.csv", "write")]
    assert not [gap for gap in k.record().lineage.gaps if "is not known" in gap]


def test_what_a_program_replaces_is_no_input_and_what_it_may_have_read_a_gap(
    kernel: Callable, repository: Path
) -> None:
    for name in ("a.csv", "b.csv", "c.csv", "d.csv"):
        (repository / name).write_text("b\na\n", encoding="utf-8")
    k = kernel()
    k.run(LOAD)
    k.run("!sort a.csv > b.csv")
    k.run("!sort c.csv -o c.csv; echo 1 >> d.csv")
    found = sorted((d.path, d.access) for d in k.data())
    assert found == [("a.csv", "read"), ("b.csv", "write"), ("c.csv", "write"), ("d.csv", "write")]
    gaps = [gap for gap in k.record().lineage.gaps if "may have read" in gap]
    assert len(gaps) == 1, gaps
    assert "c.csv" in gaps[0]


def test_a_file_of_secrets_is_named_and_nothing_of_what_it_holds(
    kernel: Callable, repository: Path
) -> None:
    secret = b"TOKEN=hunter2\n"
    (repository / ".env").write_bytes(secret)
    k = kernel()
    k.run(LOAD)
    said = k.run("from dotenv import load_dotenv\nload_dotenv()\nimport os\n'TOKEN' in os.environ")
    assert said["text"] == "True"
    k.run("open('.env', 'a').write('PIN=1234\\n')")  # an input that is overwritten is kept else
    k.run("!sed -i s/hunter/gather/ .env")
    found = k.data()
    assert [(d.path, d.access, d.digest, d.md5, d.kept) for d in found] == [
        (f"{repository}/.env", "read", None, None, None),
        (".env", "write", None, None, None),
    ]  # fmt: skip
    assert found[0].size == len((repository / ".env").read_bytes())
    kept = [path.read_bytes() for path in (repository / ".mlrepro").rglob("*") if path.is_file()]
    digest = blake3(secret).hexdigest().encode()
    assert not [held for held in kept if secret in held or digest in held]


@pytest.mark.parametrize(
    ("name", "is_so"),
    [
        (".env.local", True), ("kaggle.json", True), ("secrets.toml", True), ("key.pem", True),
        (".netrc", True), ("id_ed25519", True), ("client_secret.json", True), ("TOKEN.txt", True),
        ("tokens.txt", False), ("secretary.csv", False), ("credentials.csv", False),
        ("keys.json", False), ("environment.yml", False),
    ],
)  # fmt: skip
def test_files_of_secrets_are_known_by_name(name: str, *, is_so: bool) -> None:
    assert is_secret(f"/project/{name}") is is_so


def test_what_tells_of_an_installed_distribution_is_no_data() -> None:
    assert is_ignored("/elsewhere/thing/thing.egg-info/PKG-INFO")
    assert is_ignored("/elsewhere/thing-1.dist-info/entry_points.txt")
    assert is_ignored("/elsewhere/thing-1.dist-info/licenses/LICENSE")
    assert not is_ignored("/elsewhere/thing/PKG-INFO")


def test_a_database_that_is_only_read_is_not_written(kernel: Callable, repository: Path) -> None:
    import sqlite3

    with sqlite3.connect(repository / "d.db") as db:
        db.execute("create table t (a)")
    k = kernel()
    k.run(LOAD)
    k.run("import sqlite3\nd = sqlite3.connect('d.db')\nd.execute('select * from t').fetchall()")
    k.run("d.execute('insert into t values (1)'); d.commit()")
    assert [(d.access, d.execution) for d in k.data()] == [("read", 1), ("write", 2)]


def test_imported_sources_are_code_and_not_data(kernel: Callable, repository: Path) -> None:
    (repository / "helper.py").write_text("import json\nx = 1\n", encoding="utf-8")
    (repository / "script.py").write_text("y = 2\n", encoding="utf-8")
    k = kernel()
    k.run(LOAD)
    k.run("import helper\nfrom sklearn.datasets import load_iris\nload_iris()")
    k.run("%run script.py")
    k.close()
    record = k.record()
    assert record.data == ()
    assert [(m.name, m.path) for m in record.code.modules] == [
        ("helper", "helper.py"),
        ("script", "script.py"),
    ]


def test_a_child_process_that_reads_is_a_gap(kernel: Callable, repository: Path) -> None:
    (repository / "d.csv").write_text("a\n", encoding="utf-8")
    k = kernel()
    k.run(LOAD)
    k.run("import subprocess\nsubprocess.run(['cat', 'd.csv'], capture_output=True)")
    k.close()
    record = k.record()
    assert record.lineage.capture == "partial"
    assert any("`cat`" in gap for gap in record.lineage.gaps)


def test_urls_are_named_without_credentials(kernel: Callable) -> None:
    k = kernel()
    k.run(LOAD)
    k.run(
        "import urllib.request\ntry: urllib.request.urlopen('http://u:secretpw@127.0.0.1:9/x.csv')\n"
        "except Exception: pass"
    )
    (found,) = k.data()
    assert found.path == "http://***@127.0.0.1:9/x.csv"
    assert (found.digest, found.access) == (None, "read")


def test_folders_of_parquet_are_their_files(kernel: Callable, repository: Path, made: Path) -> None:
    import shutil

    (repository / "many").mkdir()
    for name in ("1.parquet", "2.parquet"):
        shutil.copy(made / "t.parquet", repository / "many" / name)
    k = kernel()
    k.run(LOAD)
    k.run("import pandas as pd\npd.read_parquet('many')")
    assert sorted(d.repo_path for d in k.data()) == ["many/1.parquet", "many/2.parquet"]


def test_dvc_and_git_say_what_they_track(kernel: Callable, repository: Path) -> None:
    import hashlib

    from tests.conftest import git

    (repository / "d.csv").write_text("a\n1\n", encoding="utf-8")
    (repository / "g.csv").write_text("b\n", encoding="utf-8")
    (repository / "n.csv").write_text("c\n", encoding="utf-8")
    md5 = hashlib.md5((repository / "d.csv").read_bytes()).hexdigest()
    (repository / "d.csv.dvc").write_text(
        f"outs:\n- md5: {md5}\n  size: 4\n  path: d.csv\n", encoding="utf-8"
    )
    git(repository, "add", "g.csv", "d.csv.dvc")
    k = kernel()
    k.run(LOAD)
    k.run("for n in 'dgn': open(n + '.csv').read()")
    found = {d.repo_path: d for d in k.data()}
    assert found["d.csv"].dvc is not None
    assert found["d.csv"].dvc.md5 == md5
    assert found["d.csv"].md5 == f"md5:{md5}"
    assert {n: d.tracked for n, d in found.items()} == {
        "d.csv": False, "g.csv": True, "n.csv": False,
    }  # fmt: skip


def test_mlflows_own_database_is_no_data(kernel: Callable) -> None:
    k = kernel()
    k.run("%load_ext mlrepro_nb")
    ran = k.run(
        "import mlflow\nmlflow.set_tracking_uri('sqlite:///own.db')\n"
        "with mlflow.start_run():\n    mlflow.log_param('a', 1)",
        timeout=300,
    )
    assert not ran["errors"]
    assert (k.folder / "own.db").exists(), "made by its migrations' scripts"
    assert k.data() == []

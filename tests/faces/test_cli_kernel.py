"""``mlrepro kernel``: a kernel that records, with everything set in time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from click.testing import CliRunner, Result

from mlrepro_nb.execute.kernels import variables
from mlrepro_nb.faces.cli import main
from mlrepro_nb.store import Store
from tests.kernels import sockets


@pytest.fixture
def kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of kernels below a prefix that Jupyter looks into."""
    share = tmp_path / "prefix" / "share" / "jupyter"
    monkeypatch.setenv("JUPYTER_PATH", str(share))
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "user"))
    return share / "kernels"


def mlrepro(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["kernel", *arguments])


def prefix(kernels: Path) -> tuple[str, str]:
    return "--prefix", str(kernels.parents[2])


def spec(folder: Path) -> dict[str, Any]:
    found = json.loads((folder / "kernel.json").read_text("utf-8"))
    assert isinstance(found, dict)
    return found


def test_it_is_installed_listed_and_removed(kernels: Path) -> None:
    done = mlrepro("install", *prefix(kernels), "--threads", "3", "--hash-seed", "5", "--json")
    assert done.exit_code == 0, done.output
    made = json.loads(done.stdout)
    assert made["path"] == str(kernels / "mlrepro")
    env = spec(kernels / "mlrepro")["env"]
    assert env["PYTHONHASHSEED"] == "5"
    assert {env[f"{n}_NUM_THREADS"] for n in ("OMP", "OPENBLAS", "MKL")} == {"3"}
    assert env["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    assert sorted(path.name for path in kernels.iterdir()) == ["mlrepro"], "no half of anything"
    (one,) = json.loads(mlrepro("list", "--json").stdout)
    assert (one["name"], one["python"]) == ("mlrepro", sys.executable)
    assert mlrepro("install", *prefix(kernels), "--threads", "1").exit_code == 0, (
        "again is an update"
    )
    assert spec(kernels / "mlrepro")["env"]["OMP_NUM_THREADS"] == "1"
    assert mlrepro("uninstall").exit_code == 0
    assert list(kernels.iterdir()) == []
    assert "None yet" in mlrepro("list").output
    assert mlrepro("uninstall").exit_code == 2


def test_a_notebook_that_runs_in_it_is_reproducible_and_recorded(
    kernels: Path, repository: Path
) -> None:
    assert mlrepro("install", *prefix(kernels), "--threads", "1").exit_code == 0
    nb = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_code_cell("import os\nset('abcdefgh'), os.environ['OMP_NUM_THREADS']"),
            nbformat.v4.new_code_cell("hash('a')"),
        ]
    )
    nb.metadata["kernelspec"] = {"name": "mlrepro", "display_name": "m", "language": "python"}
    nbformat.write(nb, repository / "n.ipynb")
    done = CliRunner().invoke(main, ["record", "n.ipynb", "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)["record"]
    assert told["environment"]["variables"]["PYTHONHASHSEED"] == "0"
    assert CliRunner().invoke(main, ["verify", "n.ipynb"]).exit_code == 0


def test_a_person_need_not_load_the_extension(kernels: Path, repository: Path) -> None:
    from jupyter_client.manager import KernelManager

    assert mlrepro("install", *prefix(kernels)).exit_code == 0
    with sockets() as by_files:
        manager = KernelManager(kernel_name="mlrepro", **by_files)
        manager.shutdown_wait_time = (
            60  # a busy machine takes longer to seal than a front end waits
        )
        manager.start_kernel(cwd=str(repository))
        client = manager.client()
        client.start_channels()
        try:
            client.wait_for_ready(timeout=60)
            client.execute("x = 1", reply=True, timeout=60)
        finally:
            client.stop_channels()
            manager.shutdown_kernel()
    (session,) = Store.find(repository).sessions()
    assert session.record is not None


def test_somebody_elses_kernel_is_left_alone(kernels: Path) -> None:
    theirs = kernels / "mlrepro"
    theirs.mkdir(parents=True)
    (theirs / "kernel.json").write_text('{"argv": ["x"], "display_name": "x", "language": "x"}')
    before = (theirs / "kernel.json").read_bytes()
    for arguments in (("install", "--replace"), ("uninstall",)):
        done = mlrepro(*arguments, *prefix(kernels))
        assert done.exit_code == 2
        assert "mlrepro" in done.output
    assert (theirs / "kernel.json").read_bytes() == before
    (theirs / "kernel.json").write_text("not json")
    assert mlrepro("install", *prefix(kernels)).exit_code == 2


def test_one_of_ours_for_another_python_is_kept_unless_told(kernels: Path) -> None:
    assert mlrepro("install", *prefix(kernels)).exit_code == 0
    path = kernels / "mlrepro" / "kernel.json"
    told = spec(path.parent)
    told["argv"][0] = "/another/python"
    path.write_text(json.dumps(told), "utf-8")
    done = mlrepro("install", *prefix(kernels))
    assert done.exit_code == 2
    assert "/another/python" in done.output
    assert mlrepro("install", *prefix(kernels), "--replace").exit_code == 0
    assert spec(path.parent)["argv"][0] == sys.executable


@pytest.mark.parametrize(
    "arguments",
    [
        ("--name", "../evil"), ("--name", "With Space"), ("--name", ""), ("--threads", "0"),
        ("--hash-seed", "-1"), ("--hash-seed", "4294967296"), ("--user", "--sys-prefix"),
        ("--user", "--prefix", "x"),
    ],
)  # fmt: skip
def test_wrong_requests_are_refused_before_anything_is_written(
    kernels: Path, arguments: tuple[str, ...]
) -> None:
    done = mlrepro("install", *prefix(kernels)[: 0 if "--prefix" in arguments else 2], *arguments)
    assert done.exit_code == 2
    assert not kernels.exists()


def test_a_folder_that_cannot_be_written_says_what_to_do(kernels: Path) -> None:
    kernels.parent.mkdir(parents=True)
    kernels.write_text("a file")
    done = mlrepro("install", *prefix(kernels))
    assert done.exit_code == 3
    assert "--user" in done.output


def test_xla_is_left_alone_where_jax_has_no_gpu() -> None:
    assert "XLA_FLAGS" not in variables(threads=1, hash_seed=0, xla=False)
    assert variables(threads=1, hash_seed=0, xla=True)["XLA_FLAGS"].startswith("--xla_gpu")


def test_help_teaches() -> None:
    said = mlrepro("--help").output
    for word in ("PYTHONHASHSEED", "mlrepro kernel install", "%load_ext mlrepro_nb"):
        assert word in said
    done = subprocess.run(
        [sys.executable, "-m", "mlrepro_nb", "--help"], capture_output=True, text=True, check=True
    )
    assert "kernel" in done.stdout

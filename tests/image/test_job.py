"""A job image of a really recorded notebook, run as a cluster would run it."""

from __future__ import annotations

import hashlib
import json
import subprocess
import time
import uuid
from pathlib import Path
from typing import Any

import pytest

from mlrepro_nb import image
from mlrepro_nb.connect import docker
from mlrepro_nb.errors import MlreproError
from mlrepro_nb.image.data import SMALL
from mlrepro_nb.model import Image, Verification, decode
from mlrepro_nb.record import record
from tests.conftest import git

pytestmark = pytest.mark.engine

CELLS = (
    "n = 3",
    "import random\nrandom.seed(n)\nimport helpers.scale\nprint(random.random())",
    "print(helpers.scale.twice(int(open('../data/a.txt').read())))",
    "open('out.txt', 'w').write('made')",
    "print(len(open('../data/big.bin', 'rb').read()))",
    "import os, time\ntime.sleep(float(os.environ.get('SLEEP', '0')))",
)
BIG = bytes(SMALL + 1)
MD5 = hashlib.md5(BIG, usedforsecurity=False).hexdigest()


def project(repository: Path) -> None:
    """Make a project: a notebook in a folder, a module, small data, and some that DVC tracks."""
    folder = repository / "nb"
    (folder / "helpers").mkdir(parents=True)
    (repository / "data").mkdir()
    (repository / "data" / "a.txt").write_text("21")
    (folder / "helpers" / "scale.py").write_text("def twice(x):\n    return 2 * x\n")
    (repository / "data" / "big.bin").write_bytes(BIG)
    (repository / "data" / "big.bin.dvc").write_text(
        f"outs:\n- md5: {MD5}\n  size: {len(BIG)}\n  hash: md5\n  path: big.bin\n"
    )
    (repository / ".dvc").mkdir()
    (repository / ".dvc" / "config").write_text(
        "[core]\n    remote = r\n['remote \"r\"']\n    url = https://data.example.com/dvc\n"
    )
    cells = [
        {"cell_type": "code", "id": f"c{i}", "source": source, "outputs": [],
         "execution_count": None, "metadata": {"tags": ["parameters"]} if i == 0 else {}}
        for i, source in enumerate(CELLS)
    ]  # fmt: skip
    spec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    (folder / "train.ipynb").write_text(
        json.dumps({"nbformat": 4, "nbformat_minor": 5, "cells": cells,
                    "metadata": {"kernelspec": spec}})
    )  # fmt: skip
    (repository / ".gitignore").write_text(".mlrepro/\nout.txt\nbig.bin\n")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, base_image: str) -> Image:
    """The image of a notebook in a folder, with data beside that folder, recorded headless."""
    repository = tmp_path_factory.mktemp("job") / "project"
    repository.mkdir()
    git(repository, "init", "-q")
    project(repository)
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "Train")
    notebook = repository / "nb" / "train.ipynb"
    record(notebook)
    return image.build(str(notebook), base=base_image, builder="oci", load=True)[1]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of data, laid out as in the project."""
    folder = tmp_path_factory.mktemp("data")
    folder.chmod(0o755)
    (folder / "data").mkdir()
    (folder / "data" / "big.bin").write_bytes(BIG)
    return folder


@pytest.fixture(scope="module")
def remote(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A remote of DVC's that was pushed to."""
    folder = tmp_path_factory.mktemp("remote")
    folder.chmod(0o755)
    there = folder / "files" / "md5" / MD5[:2] / MD5[2:]
    there.parent.mkdir(parents=True)
    there.write_bytes(BIG)
    return folder


def run(
    made: Image, results: Path, *arguments: str, mounts: tuple[str, ...] = (),
    program: str = "", **variables: str,
) -> Any:  # fmt: skip
    """Run a job without a network, on a read-only root, without any privilege."""
    results.mkdir(exist_ok=True)
    results.chmod(0o777)
    options = [f"--volume={mount}" for mount in mounts]
    options += [f"--env={name}={value}" for name, value in variables.items()]
    options += [f"--entrypoint={program}"] if program else []
    # fmt: off
    command = [
        "docker", "run", "--rm", "--network", "none", "--read-only", "--tmpfs", "/tmp",
        "--cap-drop", "ALL", "--security-opt", "no-new-privileges",
        "--volume", f"{results}:/results", *options, made.id,
    ]
    # fmt: on
    return subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)


def test_a_job_runs_the_notebook_again_and_ends_by_the_verdict(
    built: Image, tmp_path: Path, data: Path
) -> None:
    mounted = f"{data}:/data:ro"
    ended = run(built, tmp_path / "same", mounts=(mounted,))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "reproduced bit for bit" in ended.stdout
    assert "/tmp" not in ended.stdout  # which goes with the container
    assert "results are in /results: executed.ipynb, record.json, verification.json" in ended.stderr
    verified = decode(Verification, (tmp_path / "same" / "verification.json").read_bytes())
    assert (verified.verdict, verified.record) == ("bitwise", built.record)
    assert verified.executed == "executed.ipynb"
    again = json.loads((tmp_path / "same" / "record.json").read_text())
    assert (again["code"]["commit"], again["code"]["dirty"]) == (built.commit, False)
    executed = json.loads((tmp_path / "same" / "executed.ipynb").read_text())
    assert "42" in json.dumps(executed["cells"][2]["outputs"])
    assert str(len(BIG)) in json.dumps(executed["cells"][4]["outputs"])

    other = tmp_path / "a.txt"
    other.write_text("22")
    other.chmod(0o644)
    another = f"{other}:/app/project/data/a.txt:ro"
    ended = run(built, tmp_path / "other", mounts=(mounted, another))
    assert ended.returncode == 1
    verified = decode(Verification, (tmp_path / "other" / "verification.json").read_bytes())
    assert [cause.kind for cause in verified.causes] == ["changed-data"]
    for name in ("same", "other"):
        assert "/tmp/" not in (tmp_path / name / "verification.json").read_text()


_COMPILES = """\
import os, sys
file = os.open(f"/results/compiled-{os.getpid()}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
def hook(event, arguments):
    if event == "compile" and str(arguments[1]).startswith("/opt/"):
        os.write(file, f"{arguments[1]}\\n".encode())
sys.addaudithook(hook)
"""


def test_a_container_that_cannot_run_the_job_says_so_and_ends_with_3(
    built: Image, tmp_path: Path, data: Path
) -> None:
    mounted = f"--volume={data}:/data:ro"
    ended = alone(built, "--read-only", mounted)
    assert (ended.returncode, "--tmpfs /tmp" in ended.stderr) == (3, True), ended.stderr
    assert "Traceback" not in ended.stderr

    folder = tmp_path / "results"
    folder.mkdir(mode=0o755)
    for asked in ((f"--volume={folder}:/results",), ("--env=MLREPRO_RESULTS=/results/deep",)):
        ended = alone(built, mounted, *asked)
        assert ended.returncode == 3, ended.stdout + ended.stderr
        assert "cannot be written by user 10001" in ended.stderr
        assert "cell" not in ended.stdout  # it did not run
    # Nobody asked for a result.
    ended = alone(built, "--read-only", "--tmpfs=/tmp", mounted)
    assert (ended.returncode, "no result is kept" in ended.stderr) == (0, True), ended.stderr


def test_a_mounted_file_that_the_job_may_not_read_is_told(built: Image, data: Path) -> None:
    big = data / "data" / "big.bin"
    big.chmod(0o600)
    try:
        ended = alone(built, f"--volume={data}:/data:ro")
    finally:
        big.chmod(0o644)
    assert ended.returncode == 3
    assert "/data/data/big.bin may not be read by user 10001" in ended.stderr
    assert "docker run --user" in ended.stderr


def alone(made: Image, *options: str) -> Any:
    """Run a job with nothing but what is given."""
    command = ["docker", "run", "--rm", "--network", "none", *options, made.id]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_nothing_that_a_job_imports_has_to_be_compiled(
    built: Image, tmp_path: Path, data: Path
) -> None:
    (tmp_path / "hook").mkdir()
    (tmp_path / "hook" / "sitecustomize.py").write_text(_COMPILES)
    mounts = (f"{data}:/data:ro", f"{tmp_path / 'hook'}:/hook:ro")
    ended = run(built, tmp_path / "results", mounts=mounts, PYTHONPATH="/hook")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    found = list((tmp_path / "results").glob("compiled-*"))
    assert len(found) >= 3  # the job, verify, the kernel
    assert "".join(path.read_text() for path in found) == ""
    listed = "import importlib.util as u; print(u.find_spec('jedi').cached)"
    ended = run(built, tmp_path / "results", "-c", listed, program="/opt/venv/bin/python")
    ended = run(built, tmp_path / "results", ended.stdout.strip(), program="ls")
    assert ended.returncode != 0


def test_a_job_takes_parameters(built: Image, tmp_path: Path, data: Path) -> None:
    mounted = (f"{data}:/data:ro",)
    # What the command says comes before what the environment says.
    ended = run(
        built, tmp_path / "parameters", "-p", "n", "4", mounts=mounted, MLREPRO_PARAMETERS="{n: 5}"
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    made = json.loads((tmp_path / "parameters" / "record.json").read_text())
    assert made["parameters"]["papermill"] == {"n": 4}
    assert (made["code"]["commit"], made["code"]["dirty"]) == (built.commit, False)
    assert not (tmp_path / "parameters" / "verification.json").exists()

    ended = run(built, tmp_path / "wrong", "-p", "m", "4", mounts=mounted)
    assert ended.returncode == 2
    assert "no parameter 'm'" in ended.stderr

    said = tmp_path / "parameters.yaml"  # as a ConfigMap would have it
    said.write_text("n: 5\n")
    said.chmod(0o644)
    mounts = (*mounted, f"{said}:/etc/parameters.yaml:ro")
    ended = run(
        built, tmp_path / "file", mounts=mounts, MLREPRO_PARAMETERS="/etc/parameters.yaml"
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout + ended.stderr
    made = json.loads((tmp_path / "file" / "record.json").read_text())
    assert made["parameters"]["papermill"] == {"n": 5}


def test_a_job_fetches_its_data_when_it_starts(built: Image, tmp_path: Path, remote: Path) -> None:
    mounts = (f"{remote}:/remote:ro",)
    ended = run(built, tmp_path / "fetched", mounts=mounts, MLREPRO_DVC_REMOTE="/remote")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "fetched data/big.bin" in ended.stderr
    remote.chmod(0o700)
    ended = run(built, tmp_path / "denied", mounts=mounts, MLREPRO_DVC_REMOTE="/remote")
    remote.chmod(0o755)
    assert (ended.returncode, "cannot be read by user 10001" in ended.stderr) == (3, True)
    ended = run(built, tmp_path / "nowhere", mounts=mounts, MLREPRO_DVC_REMOTE="/nowhere")
    assert ended.returncode == 3
    assert "data/big.bin" in ended.stderr
    assert list((tmp_path / "nowhere").iterdir()) == []


def test_an_init_step_fetches_the_data_and_checks_it(
    built: Image, tmp_path: Path, remote: Path
) -> None:
    volume = tmp_path / "volume"
    volume.mkdir()
    volume.chmod(0o777)
    mounts = (f"{remote}:/remote:ro", f"{volume}:/data")
    told = {"program": "mlrepro-fetch", "MLREPRO_DVC_REMOTE": "/remote"}
    ended = run(built, tmp_path / "r", mounts=mounts, **told)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert (volume / "data" / "big.bin").read_bytes() == BIG
    ended = run(built, tmp_path / "run", mounts=(f"{volume}:/data:ro",))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    (volume / "data" / "big.bin").chmod(0o666)
    (volume / "data" / "big.bin").write_bytes(b"another")
    ended = run(built, tmp_path / "r", mounts=mounts, **told)
    assert ended.returncode == 3
    assert "data/big.bin is not what the run read: expected blake3:" in ended.stderr


def test_a_job_that_is_told_to_end_leaves_no_half_result(
    built: Image, tmp_path: Path, data: Path
) -> None:
    results = tmp_path / "results"
    results.mkdir()
    results.chmod(0o777)
    started = subprocess.run(
        ["docker", "run", "--detach", "--network", "none", "--env", "SLEEP=600", "--volume",
         f"{results}:/results", "--volume", f"{data}:/data:ro", built.id],
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    try:
        time.sleep(5)  # it is somewhere on its way
        subprocess.run(["docker", "stop", "--time", "30", started], check=True, timeout=60)
        found = subprocess.run(
            ["docker", "inspect", "--format", "{{.State.ExitCode}}", started],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert found.stdout.strip() == "143"  # 137 would be killed
        assert list(results.iterdir()) == []
    finally:
        subprocess.run(["docker", "rm", "--force", started], capture_output=True, check=True)


def own_data(repository: Path) -> Path:
    """Record a notebook that reads what git does not have: small, DVC's, outside, a secret."""
    outside = repository.parent / "outside"
    outside.mkdir()
    (outside / "far.csv").write_text("7")
    contents = {"own.csv": "1", "big.bin": "22", ".env": "KEY=hunter2"}
    for name, content in contents.items():
        (repository / name).write_text(content)
        (repository / name).chmod(0o600)
    (repository / "big.bin.dvc").write_text(
        f"outs:\n- md5: {hashlib.md5(b'22', usedforsecurity=False).hexdigest()}\n  path: big.bin\n"
    )
    source = "\n".join(
        f"print(open({name!r}).read())" for name in (*contents, str(outside / "far.csv"))
    )
    cell = {"cell_type": "code", "id": "c", "source": source, "outputs": [],
            "execution_count": None, "metadata": {}}  # fmt: skip
    notebook = repository / "n.ipynb"
    notebook.write_text(
        json.dumps({"nbformat": 4, "nbformat_minor": 5, "cells": [cell], "metadata": {}})
    )
    (repository / ".gitignore").write_text("\n".join([".mlrepro/", *contents]))
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "Data")
    record(notebook)
    return notebook


@pytest.mark.parametrize("builder", ["docker", "oci"])
def test_a_job_is_tested_with_the_data_that_is_here_and_holds_none_of_it(
    repository: Path, base_image: str, builder: str
) -> None:
    own_data(repository)
    options = {"base": base_image, "builder": builder, "load": builder == "oci", "test": True}
    _, made = image.build("n.ipynb", **options)
    assert made.tests == ("reproduces",)
    listed = subprocess.run(
        ["docker", "run", "--rm", "--entrypoint", "find", made.id, "/app", "/data"],
        capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    assert "/app/project/n.ipynb" in listed
    assert not [path for path in listed if path.endswith((".csv", "big.bin", ".env"))]
    assert [path for path in listed if path.startswith("/data")] == ["/data"]

    (repository / "own.csv").write_text("2")
    (repository / "big.bin").unlink()
    steps: list[str] = []
    with pytest.raises(MlreproError) as caught:
        image.build("n.ipynb", **options, report=lambda step: steps.append(step.message))
    assert caught.value.exit_code == 3
    assert "big.bin is not here, and own.csv is not as the run read it" in caught.value.message
    assert "dvc pull big.bin" in caught.value.remedy
    assert "--no-test" in caught.value.remedy
    assert not [step for step in steps if "unpacking" in step]  # before anything was built


def test_a_job_that_does_not_reproduce_is_neither_tagged_nor_pushed(
    repository: Path, base_image: str, registry: str
) -> None:
    cells = [
        {"cell_type": "code", "id": "c", "source": "import os\nprint(os.urandom(8))",
         "outputs": [], "execution_count": None, "metadata": {}}
    ]  # fmt: skip
    (repository / "n.ipynb").write_text(
        json.dumps({"nbformat": 4, "nbformat_minor": 5, "cells": cells, "metadata": {}})
    )
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "Chance")
    record(repository / "n.ipynb")
    name = f"{registry}/test/chance-{uuid.uuid4().hex[:12]}"
    with pytest.raises(MlreproError, match="does not reproduce the record"):
        image.build("n.ipynb", base=base_image, repository=name, push=True, test=True)
    assert docker.inspect(f"{name}:0.0.0") is None

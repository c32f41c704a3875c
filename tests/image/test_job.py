"""A job image of a really recorded notebook, run as a cluster would run it."""

from __future__ import annotations

import json
import subprocess
import uuid
from pathlib import Path
from typing import Any

import pytest

from mlrepro_nb import image
from mlrepro_nb.model import Image, Verification, decode
from mlrepro_nb.record import record
from tests.conftest import git

pytestmark = pytest.mark.engine

CELLS = (
    "n = 3",
    "import random\nrandom.seed(n)\nimport helpers.scale\nprint(random.random())",
    "print(helpers.scale.twice(int(open('../data/a.txt').read())))",
    "open('out.txt', 'w').write('made')",
)


@pytest.fixture
def built(repository: Path, base_image: str) -> Image:
    """The image of a notebook in a folder, with data beside that folder, recorded headless."""
    folder = repository / "nb"
    (folder / "helpers").mkdir(parents=True)
    (repository / "data").mkdir()
    (repository / "data" / "a.txt").write_text("21")
    (folder / "helpers" / "scale.py").write_text("def twice(x):\n    return 2 * x\n")
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
    (repository / ".gitignore").write_text(".mlrepro/\nout.txt\n")
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "Train")
    record(folder / "train.ipynb")
    return image.build("nb/train.ipynb", base=base_image)[1]


def run(made: Image, results: Path, *arguments: str, mount: str = "") -> Any:
    """Run a job without a network, on a read-only root, without any privilege."""
    results.mkdir()
    results.chmod(0o777)
    # fmt: off
    command = [
        "docker", "run", "--rm", "--network", "none", "--read-only", "--tmpfs", "/tmp",
        "--cap-drop", "ALL", "--security-opt", "no-new-privileges",
        "--volume", f"{results}:/results", *(["--volume", mount] if mount else []), made.id,
    ]
    # fmt: on
    return subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)


def test_a_job_runs_the_notebook_again_and_ends_by_the_verdict(
    built: Image, tmp_path: Path
) -> None:
    ended = run(built, tmp_path / "same")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "reproduced bit for bit" in ended.stdout
    verified = decode(Verification, (tmp_path / "same" / "verification.json").read_bytes())
    assert (verified.verdict, verified.record) == ("bitwise", built.record)
    executed = json.loads((tmp_path / "same" / "executed.ipynb").read_text())
    assert "42" in json.dumps(executed["cells"][2]["outputs"])

    other = tmp_path / "a.txt"
    other.write_text("22")
    other.chmod(0o644)
    ended = run(built, tmp_path / "other", mount=f"{other}:/app/project/data/a.txt:ro")
    assert ended.returncode == 1
    verified = decode(Verification, (tmp_path / "other" / "verification.json").read_bytes())
    assert [cause.kind for cause in verified.causes] == ["changed-data"]

    ended = run(built, tmp_path / "parameters", "-p", "n", "4")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    made = json.loads((tmp_path / "parameters" / "record.json").read_text())
    assert made["parameters"]["papermill"] == {"n": 4}
    assert not (tmp_path / "parameters" / "verification.json").exists()

    ended = run(built, tmp_path / "wrong", "-p", "m", "4")
    assert ended.returncode == 2
    assert "no parameter 'm'" in ended.stderr


def test_a_job_ends_when_it_is_told_to(built: Image) -> None:
    started = subprocess.run(
        ["docker", "run", "--detach", "--network", "none", built.id],
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    try:
        subprocess.run(["docker", "stop", "--time", "30", started], check=True, timeout=60)
        found = subprocess.run(
            ["docker", "inspect", "--format", "{{.State.ExitCode}}", started],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert found.stdout.strip() in ("143", "0")  # 137 would be killed, 0 was faster than us
    finally:
        subprocess.run(["docker", "rm", "--force", started], capture_output=True, check=True)


def test_a_job_that_does_not_reproduce_is_neither_tagged_nor_pushed(
    repository: Path, base_image: str, registry: str
) -> None:
    from mlrepro_nb.connect import docker
    from mlrepro_nb.errors import MlreproError

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

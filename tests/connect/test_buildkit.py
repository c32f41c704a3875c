"""Which BuildKit is taken, and why another is not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mlrepro_nb.connect import buildkit
from mlrepro_nb.errors import ToolError


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all of PATH but the shell, for tools of the test's own."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("BUILDKIT_HOST", raising=False)
    return tmp_path


def a_tool(folder: Path, name: str, *answers: tuple[str, str, int]) -> None:
    """Write a command that answers by what its arguments hold; the first that fits."""
    cases = "".join(
        f"  *'{words}'*) printf '%s\\n' '{text}'; exit {status};;\n"
        for words, text, status in answers
    )
    path = folder / name
    path.write_text(f'#!/bin/sh\ncase "$*" in\n{cases}esac\necho "unknown: $*" >&2\nexit 1\n')
    path.chmod(0o755)


def buildx(driver: str, version: str, store: str) -> tuple[tuple[str, str, int], ...]:
    inspected = f"Name:   mine\nDriver: {driver}\n\nNodes:\nName:   mine0\nStatus: running"
    if version:
        inspected += f"\nBuildKit version: {version}"
    return (
        ("buildx version", "github.com/docker/buildx v0.14.0", 0),
        ("buildx inspect", inspected, 0),
        ("info", store, 0),
    )


def test_the_one_that_is_named_is_taken(tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUILDKIT_HOST", "tcp://builder:1234")
    a_tool(tools, "buildctl", ("debug info", "BuildKit: github.com/moby/buildkit v0.34.2 abc", 0))
    found = buildkit.find()
    assert isinstance(found, buildkit.BuildKit)
    assert (found.client, found.where, found.version) == (
        "buildctl", "tcp://builder:1234", "v0.34.2",
    )  # fmt: skip
    assert found.title == "buildkit v0.34.2"


@pytest.mark.parametrize("version", ["v0.12.5", "v0.8.2", "0.11.0-rc1"])
def test_one_that_cannot_rewrite_dates_is_not(
    tools: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    monkeypatch.setenv("BUILDKIT_HOST", "tcp://builder:1234")
    a_tool(tools, "buildctl", ("debug info", f"BuildKit: github.com/moby/buildkit {version} a", 0))
    found = buildkit.find()
    assert isinstance(found, str)
    assert version in found


def test_a_named_one_needs_its_client_and_has_to_answer(
    tools: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BUILDKIT_HOST", "tcp://user:s3cret@builder:1234")
    with pytest.raises(ToolError, match="'buildctl' is not on PATH") as raised:
        buildkit.find()
    assert "BUILDKIT_HOST" in raised.value.remedy
    a_tool(tools, "buildctl")
    with pytest.raises(ToolError, match="No BuildKit answers at tcp://builder:1234") as raised:
        buildkit.find()
    assert "s3cret" not in str(raised.value) + raised.value.output


@pytest.mark.parametrize(
    ("driver", "version", "store", "why"),
    [
        ("docker-container", "v0.17.1", "", None),
        ("remote", "v0.13.0", "", None),
        ("docker-container", "v0.12.0", "", r"v0\.12\.0"),
        ("docker", "v0.17.1", '[["driver-type","io.containerd.snapshotter.v1"]]', None),
        ("docker", "v0.17.1", '[["Backing Filesystem","extfs"]]', "containerd image store is off"),
        ("docker", "", "null", "containerd image store is off"),
    ],
)
def test_of_buildx_the_builder_in_use_is_asked(
    tools: Path, driver: str, version: str, store: str, why: str | None
) -> None:
    import re

    a_tool(tools, "docker", *buildx(driver, version, store))
    found = buildkit.find()
    if why is None:
        assert isinstance(found, buildkit.BuildKit)
        assert (found.client, found.where, found.version) == ("buildx", "mine", version)
    else:
        assert isinstance(found, str)
        assert re.search(why, found)


def test_without_buildx_or_docker_it_is_told(tools: Path) -> None:
    assert buildkit.find() == "there is no docker command"
    a_tool(tools, "docker")
    assert buildkit.find() == "its client has no buildx"


def test_a_build_asks_for_one_date_and_no_attestation(
    tools: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = tmp_path / "said"
    for name in ("docker", "buildctl"):
        path = tools / name
        path.write_text(f'#!/bin/sh\necho "$SOURCE_DATE_EPOCH $*" >> {said}\n')
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}/bin")
    target = tmp_path / "a, b"
    for client in ("buildx", "buildctl"):
        kit = buildkit.BuildKit(
            client=client, program=str(tools / ("docker" if client == "buildx" else client)),
            where="there", version="v0.34.2",
        )  # fmt: skip
        buildkit.build(
            kit, tmp_path, target, containerfile=tmp_path / "Containerfile", platform="linux/amd64",
            epoch=315532800, secrets={"ca": tmp_path / "ca, pem"}, no_cache=True,
        )  # fmt: skip
    for line in said.read_text().splitlines():
        assert line.startswith("315532800 ")
        assert f'"dest={target}"' in line
        assert f'"src={tmp_path / "ca, pem"}"' in line
        for wanted in ("rewrite-timestamp=true", "oci-mediatypes=true", "--no-cache",
                       "SOURCE_DATE_EPOCH=315532800", "--progress plain"):  # fmt: skip
            assert wanted in line
    assert "--provenance=false --sbom=false" in said.read_text().splitlines()[0]

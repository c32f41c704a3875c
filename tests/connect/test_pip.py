"""pip downloads what a lock pins, for another machine than this one, and builds nothing."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import zipfile
from pathlib import Path

import pytest

from mlrepro_nb.connect import pip
from mlrepro_nb.errors import ToolError
from tests.package_index import served

PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")


def distribution(folder: Path, name: str, tag: str = "py3-none-any") -> str:
    """Put a wheel into a folder and return its hash."""
    path = folder / f"{name}-1.0-{tag}.whl"
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nTag: {tag}\n")
        archive.writestr(f"{info}/RECORD", "")
        archive.writestr("tag", tag)
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all the index there is."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def download(tmp_path: Path, *lines: str, python: str = "3.12.4") -> list[str]:
    target = tmp_path / "target"
    target.mkdir()
    found = pip.download("\n".join(lines) + "\n", target, python=python, platforms=PLATFORMS)
    return [path.name for path in found]


def test_the_best_wheel_for_the_target_is_taken(index: Path, tmp_path: Path) -> None:
    tags = ("cp312-cp312-manylinux_2_17_x86_64", "cp312-cp312-manylinux_2_28_x86_64",
            "cp311-cp311-manylinux_2_28_x86_64", "cp312-cp312-macosx_11_0_arm64",
            "cp312-cp312-manylinux_2_35_x86_64")  # fmt: skip
    hashes = " ".join(f"--hash=sha256:{distribution(index, 'demo', tag)}" for tag in tags)
    pure = distribution(index, "pure")
    found = download(tmp_path, f"demo==1.0 {hashes}", f"pure==1.0 --hash=sha256:{pure}")
    assert found == ["demo-1.0-cp312-cp312-manylinux_2_28_x86_64.whl", "pure-1.0-py3-none-any.whl"]


def test_an_index_that_only_uv_is_told_of_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [n for n in os.environ if n.startswith(("PIP_", "UV_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    with served() as private, served() as also:
        for at, name in ((private, "one"), (also, "two")):
            at.add(name, "1.0", {f"{name}.py": ""})
        monkeypatch.setenv("UV_DEFAULT_INDEX", private.url)
        monkeypatch.setenv("UV_INDEX", f"mine={also.url}")
        hashes = {
            n: hashlib.sha256(c).hexdigest() for n, c in {**private.files, **also.files}.items()
        }
        lines = [f"{n.partition('-')[0]}==1.0 --hash=sha256:{h}" for n, h in hashes.items()]
        assert download(tmp_path, *lines) == sorted(hashes)


def test_another_file_than_was_locked_is_refused(index: Path, tmp_path: Path) -> None:
    distribution(index, "demo")
    with pytest.raises(ToolError, match="not the file that the lock pinned"):
        download(tmp_path, f"demo==1.0 --hash=sha256:{'0' * 64}")


def test_what_has_only_an_sdist_is_refused(index: Path, tmp_path: Path) -> None:
    path = index / "demo-1.0.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        content = b"raise SystemExit('it must not run')"
        entry = tarfile.TarInfo("demo-1.0/setup.py")
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(ToolError, match=r"no wheel of demo==1\.0 for Python 3\.12\.4") as raised:
        download(tmp_path, f"demo==1.0 --hash=sha256:{digest}")
    assert "sdist is not built" in raised.value.remedy


def test_what_is_gone_from_the_index_is_told(index: Path, tmp_path: Path) -> None:
    with pytest.raises(ToolError, match=r"no wheel of demo==1\.0"):
        download(tmp_path, f"demo==1.0 --hash=sha256:{'0' * 64}")


def test_an_index_that_is_unreachable_is_told(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", "http://user:s3cret@127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")
    with pytest.raises(ToolError, match="index cannot be reached") as raised:
        download(tmp_path, f"demo==1.0 --hash=sha256:{'0' * 64}")
    assert "s3cret" not in raised.value.output

"""conda's and pixi's environments, read from the files that conda keeps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mlrepro_nb.capture.environment.surveyor import Surveyor
from mlrepro_nb.connect import conda
from tests.capture.installs import install


def package(prefix: Path, name: str, version: str, build: str, **told: Any) -> Path:
    """Write what conda keeps of an installed package."""
    folder = prefix / "conda-meta"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}-{version}-{build}.json"
    channel = "https://conda.example/t/tk-secret/forge"
    file.write_text(
        json.dumps(
            {
                "build": build, "build_number": 0, "channel": f"{channel}/linux-64",
                "constrains": [], "depends": ["python >=3.11"], "extracted_package_dir": "/x",
                "files": [], "fn": f"{name}-{version}-{build}.conda", "license": "BSD-3-Clause",
                "link": {"source": "/x", "type": 1}, "md5": "0" * 32, "name": name,
                "package_type": "noarch_python", "paths_data": {"paths": [], "paths_version": 1},
                "requested_spec": name, "sha256": "1" * 64, "size": 1, "subdir": "linux-64",
                "url": f"{channel}/linux-64/{name}-{version}-{build}.conda", "version": version,
                **told,
            }
        )
    )  # fmt: skip
    return file


def test_packages_are_told_without_the_channels_token(tmp_path: Path) -> None:
    package(tmp_path, "numpy", "2.0.0", "py311h_0")
    package(tmp_path, "libblas", "3.9.0", "20_mkl", url="https://u:pw@conda.example/forge/x.conda")
    (tmp_path / "conda-meta" / "history").write_text("==> 2026 <==\n")
    (tmp_path / "conda-meta" / "broken.json").write_text("{")
    (tmp_path / "conda-meta" / "odd.json").write_text('{"name": 3}')
    found = conda.packages(tmp_path)
    assert [(p.name, p.version, p.build) for p in found] == [
        ("libblas", "3.9.0", "20_mkl"), ("numpy", "2.0.0", "py311h_0"),
    ]  # fmt: skip
    assert found[1].channel == "https://conda.example/forge/linux-64"
    text = conda.explicit(found)
    assert text.startswith("@EXPLICIT\n")
    assert f"numpy-2.0.0-py311h_0.conda#{'0' * 32}\n" in text
    assert "tk-secret" not in text
    assert "pw" not in text


def test_without_a_url_there_is_no_explicit_list(tmp_path: Path) -> None:
    package(tmp_path, "own", "1", "0", url=None)
    with pytest.raises(ValueError, match="own"):
        conda.explicit(conda.packages(tmp_path))


def test_the_package_that_brought_a_library_is_told(tmp_path: Path) -> None:
    package(tmp_path, "mkl", "2024.1", "h_1", files=["lib/libmkl_rt.so.2"])
    paths = [str(tmp_path / "lib" / "libmkl_rt.so.2"), "/usr/lib/libc.so.6"]
    assert conda.owners(tmp_path, paths) == {paths[0]: ("mkl", "2024.1-h_1")}
    assert conda.packages(tmp_path / "none") == ()


def test_a_pixi_environment_leads_to_its_lock(tmp_path: Path) -> None:
    prefix = tmp_path / ".pixi" / "envs" / "default"
    assert conda.lock_file(prefix) is None
    (tmp_path / "pixi.lock").write_text("version: 6\n")
    assert conda.lock_file(prefix) == tmp_path / "pixi.lock"
    assert conda.lock_file(tmp_path / "envs" / "default") is None


def test_python_distributions_of_conda_are_told_and_checked_by_its_own_list(
    tmp_path: Path,
) -> None:
    site = tmp_path / "lib" / "python3.11" / "site-packages"
    # Called otherwise by conda, and with the folder that it was built in left inside.
    folder = install(site, "torch", "2.4.0", extra={
        "direct_url.json": '{"dir_info": {}, "url": "file:///home/conda/feedstock_root/work"}'
    })  # fmt: skip
    install(site, "from-pip")
    import hashlib

    content = hashlib.sha256(b"x = 1\n").hexdigest()
    name = "lib/python3.11/site-packages/torch/__init__.py"
    paths = [{"_path": name, "path_type": "hardlink", "sha256": "2" * 64,
              "sha256_in_prefix": content, "size_in_bytes": 3}]  # fmt: skip
    metadata = f"lib/python3.11/site-packages/{folder.name}/METADATA"
    package(tmp_path, "pytorch", "2.4.0", "cpu_0", files=[name, metadata],
            paths_data={"paths": paths, "paths_version": 1})  # fmt: skip
    request = {"path": [str(site)], "prefix": str(tmp_path)}
    found = Surveyor(request).answer()
    assert found is not None
    told = {entry["name"]: entry for entry in found["distributions"]}
    assert told["torch"]["origin"] == "conda"
    assert told["from-pip"]["origin"] == "index"
    check = {"check": [["torch", told["torch"]["location"]]], "prefix": str(tmp_path)}
    assert Surveyor(check).answer() == {"torch": {"edited": [], "count": 0}}
    (tmp_path / name).write_text("x = 2\n")
    edited = Surveyor(check).answer()
    assert edited is not None
    assert [path for path, _ in edited["torch"]["edited"]] == [name]

"""Images by a real BuildKit: the same digest on every rebuild, and what stands in the way."""

from __future__ import annotations

import json
import re
import subprocess
import uuid
from pathlib import Path

import msgspec
import pytest

from mlrepro_nb import image
from mlrepro_nb.connect import docker, oci, uv
from mlrepro_nb.connect import index as door_of_index
from mlrepro_nb.connect import registry as door
from mlrepro_nb.errors import ToolError, UsageError
from mlrepro_nb.image._contents import ContextFile
from mlrepro_nb.image._render import upper
from mlrepro_nb.image.builders import Wanted
from mlrepro_nb.image.builders._image import BuiltImage
from mlrepro_nb.image.builders.docker import DockerBuilder
from mlrepro_nb.model import Image, Record, canonical, digest_bytes, short
from mlrepro_nb.store import Store
from tests.image.conftest import PYTHON
from tests.package_index import Index

pytestmark = pytest.mark.engine

Recorded = tuple[Path, Store, Record]


def base_types(manifest: bytes) -> set[str]:
    return {layer.media_type for layer in oci.image(manifest, "the base").layers}


def run(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=check)


def test_its_image_is_in_the_engine_and_in_the_registry_under_one_digest(
    small: Recorded, base_image: str, registry: str, buildkit: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("BUILDKIT_HOST", buildkit)
    name = f"{registry}/test/{uuid.uuid4().hex[:12]}"
    steps: list[str] = []
    digest, made = image.build(
        "train.ipynb", builder="docker", base=base_image, repository=name, push=True,
        report=lambda s: steps.append(s.message),
    )  # fmt: skip
    assert made.builder == "docker"
    assert made.toolchain is not None
    assert made.toolchain.startswith("buildkit v0.")
    assert made.digest == made.manifest
    for tag in made.tags:
        found = door.inspect(f"{name}:{tag}")
        assert (found.digest, found.id) == (made.digest, made.id)
        held = docker.inspect(f"{name}:{tag}")
        assert held is not None
        assert held.id == made.id
    assert small[1].get(Image, digest) == made
    ended = run("run", "--rm", "--network", "none", "--read-only", "--entrypoint", "python",
                made.id, "-c", "import six; print(six.__cached__); open(six.__cached__)",
                check=False)  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert run("inspect", made.id, "--format", "{{.Config.User}}").stdout == "10001:10001\n"
    assert not any("GET http" in step for step in steps)


def test_another_content_of_the_same_length_is_seen(
    small: Recorded, base_image: str, buildkit: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    # BuildKit takes a file for what it had when size and date are the same.
    from mlrepro_nb.image._build import plan

    monkeypatch.setenv("BUILDKIT_HOST", buildkit)
    builder = DockerBuilder(oci.Cache(tmp_path / "cache"))
    base = plan("train.ipynb", base=base_image)
    found: list[bytes] = []
    layers: list[list[str]] = []
    for text in (b"one", b"two"):
        file = ContextFile(layer="code", path="same.txt", content=text)
        planned = msgspec.structs.replace(base, files=(file,))
        steps: list[str] = []
        made = builder.build(
            planned, Wanted(bundle=door_of_index.ca_bundle()), small[1],
            lambda step, steps=steps: steps.append(step.message),
        )  # fmt: skip
        assert isinstance(made, BuiltImage)
        layers.append([layer.digest for layer in made.image.layers])
        # A change of the code leaves the dependencies as they are: they are not made again.
        assert ("unpacking six" in steps) == (text == b"one")
        for layer in reversed(made.image.layers):
            blob = made.blob(layer.digest)
            assert blob is not None
            with oci.opened(blob) as archive:
                members = {m.name: m for m in archive}
                if "app/project/same.txt" in members:
                    break
        with oci.opened(blob) as archive:  # a stream: it is read in its order
            for member in archive:
                if member.name == "app/project/same.txt":
                    content = archive.extractfile(member)
                    assert content is not None
                    found.append(content.read())
        assert members["app/project/same.txt"].mtime == oci.EPOCH
    assert found == [b"one", b"two"]
    assert [a == b for a, b in zip(*layers, strict=True)].count(False) == 1
    # What is below the code stays as it is, byte by byte: it is not dated and compressed again.
    below = door.manifest(base_image, platform="linux/amd64").content
    own = [layer.digest for layer in oci.image(below, base_image).layers]
    assert layers[1][: len(own)] == own
    # The operating system's packages are looked for in the base image and what BuildKit put on top.
    looked: list[str] = []
    made.texts(re.compile("/var/lib/dpkg/status"), lambda step: looked.append(step.message))
    assert looked == [f"looking through layer {short(d)}" for d in (*own, layers[1][-1])]
    # Nothing is left that is not compressed, neither in the image nor in the cache.
    held = oci.image(made.image.manifest, "it")
    assert {layer.media_type for layer in held.layers} <= {oci.GZIP, *base_types(below)}
    kept = {f"sha256:{p.name}" for p in (tmp_path / "cache" / "blobs" / "sha256").iterdir()}
    configuration = json.loads(made.blob(made.id).read_bytes())  # type: ignore[union-attr]
    assert kept.isdisjoint(configuration["rootfs"]["diff_ids"])


def test_a_rebuild_is_compared_and_the_first_difference_told(
    small: Recorded, base_image: str, buildkit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BUILDKIT_HOST", buildkit)
    found = image.check("train.ipynb", builder="docker", base=base_image)
    assert found.same, found
    assert found.manifest == found.again
    # A step that does another thing each time
    run = "RUN cat /proc/sys/kernel/random/uuid > /opt/any"
    monkeypatch.setattr(
        "mlrepro_nb.image.builders.docker.upper",
        lambda planned: upper(planned).replace("\nCOPY", f"\n{run}\nCOPY", 1),
    )
    found = image.check("train.ipynb", builder="docker", base=base_image)
    assert not found.same
    assert found.difference is not None
    assert "opt/any: content" in found.difference


def test_what_has_no_wheel_is_made_by_buildkit(
    small: Recorded, base_image: str, buildkit: str, index: Index, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    from mlrepro_nb.image._build import plan

    monkeypatch.setenv("BUILDKIT_HOST", buildkit)
    lines = []
    for name in ("idle", "tiny"):
        source = {f"{name}.py": f"ANSWER = {uuid.uuid4().int}\n"}
        digest = index.add_source(name, "1.0", source)
        lines.append(f"{name}==1.0 --hash=sha256:{digest}\n")
    base = msgspec.structs.replace(
        plan("train.ipynb", base=base_image), pins=("idle==1.0", "tiny==1.0"),
        lock="".join(lines), compile_only={"idle": ()},
    )  # fmt: skip
    found: list[str] = []
    for where, text, fresh in (("a", b"1", False), ("a", b"2", False), ("b", b"2", True)):
        file = ContextFile(layer="code", path="file.txt", content=text)
        steps: list[str] = []
        made = DockerBuilder(oci.Cache(tmp_path / where), fresh=fresh).build(
            msgspec.structs.replace(base, files=(file,)), Wanted(), small[1],
            lambda step, steps=steps: steps.append(step.message),
        )  # fmt: skip
        assert isinstance(made, BuiltImage)
        assert [s for s in steps if "no wheel of " in s]
        assert ("building the dependencies" in steps) == (text == b"1" or fresh)
        assert "cpython" not in made.toolchain  # BuildKit compiled
        found.append(made.manifest)
    assert len(set(found)) == 2
    assert found[1] == found[2]
    ended = run("run", "--rm", "--network", "none", "--read-only", "--entrypoint", "python",
                made.local(lambda _: None), "-c",
                "import idle, os, tiny; "
                "print(*(os.path.exists(m.__cached__) for m in (idle, tiny)))",
                check=False)  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == "False True\n"


def a_base(folder: Path, name: str, architecture: str) -> str:
    """Push a base image for another machine, of which nothing can be run, and return its name."""
    with (folder / "layer").open("wb") as file:
        writer = oci.LayerWriter(file)
        writer.file(f"usr/bin/python{PYTHON.rpartition('.')[0]}", b"nothing", executable=True)
        layer = writer.end()
    configuration = canonical({
        "architecture": architecture, "os": "linux", "config": {"Env": ["PATH=/usr/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id]},
    })  # fmt: skip
    (folder / "configuration").write_bytes(configuration)
    configured, packed = (
        oci.Descriptor(media_type=kind, digest=oci.digest_of(path), size=path.stat().st_size)
        for kind, path in ((oci.CONFIG, folder / "configuration"), (oci.GZIP, folder / "layer"))
    )
    content = canonical({
        "schemaVersion": 2, "mediaType": oci.MANIFEST, "config": msgspec.to_builtins(configured),
        "layers": [msgspec.to_builtins(packed)],
    })  # fmt: skip
    manifest = door.Manifest(content=content, media_type=oci.MANIFEST)
    blobs = [
        door.Blob(digest=d.digest, path=folder / file, size=d.size)
        for d, file in ((configured, "configuration"), (packed, "layer"))
    ]
    door.push(name, manifest, blobs, ["base"])
    return f"{name}@{digest_bytes(content)}"


def test_for_another_machine_nothing_of_it_is_run(
    small: Recorded, registry: str, buildkit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlrepro_nb.image._build import plan

    monkeypatch.setenv("BUILDKIT_HOST", buildkit)
    base = a_base(tmp_path, f"{registry}/test/{uuid.uuid4().hex[:12]}", "arm64")
    pin = "markupsafe==3.0.2"
    planned = msgspec.structs.replace(
        plan("train.ipynb", base=base), machine="aarch64", pins=(pin,),
        lock=uv.lock((pin,), python=PYTHON, machine="aarch64"),
    )  # fmt: skip
    made = DockerBuilder(oci.Cache(tmp_path / "cache")).build(
        planned, Wanted(bundle=door_of_index.ca_bundle()), small[1], lambda _: None
    )
    assert isinstance(made, BuiltImage)
    assert json.loads(made.blob(made.id).read_bytes())["architecture"] == "arm64"  # type: ignore[union-attr]
    names: list[str] = []
    for layer in made.image.layers:
        with oci.opened(made.blob(layer.digest)) as archive:  # type: ignore[arg-type]
            names += [member.name for member in archive]
    assert any(n.endswith("aarch64-linux-gnu.so") for n in names)
    assert "app/project/train.ipynb" in names


def test_an_archive_is_written_without_an_engine(
    small: Recorded, base_image: str, buildkit: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("BUILDKIT_HOST", buildkit)
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere.sock")
    with pytest.raises(ToolError, match="No Docker Engine answers"):
        image.build("train.ipynb", builder="docker", base=base_image)  # it has no place to be
    _, made = image.build(
        "train.ipynb", builder="docker", base=base_image, output=tmp_path / "image.tar"
    )
    found, _ = oci.Layout(tmp_path / "image.tar").find("linux/amd64")
    assert found.digest == made.manifest
    assert made.digest is None


def test_an_old_engine_says_that_it_cannot(
    small: Recorded, base_image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BUILDKIT_HOST", raising=False)
    said: list[str] = []
    _, made = image.build(
        "train.ipynb", builder="docker", base=base_image, report=lambda s: said.append(s.message)
    )
    assert made.toolchain is not None
    assert made.toolchain.startswith("docker ")
    assert [s for s in said if "cannot give the same digest again" in s and "--builder oci" in s]
    with pytest.raises(UsageError, match="cannot give the same digest again") as raised:
        image.check("train.ipynb", builder="docker", base=base_image)
    assert "--builder oci" in raised.value.remedy

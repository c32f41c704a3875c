"""What the run used of the operating system and the base image lacks is in the image."""

from __future__ import annotations

import json
import re
import subprocess
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mlrepro_nb import image
from mlrepro_nb.connect import docker, glibc, oci, uv
from mlrepro_nb.errors import ToolError, UsageError
from mlrepro_nb.image import _cuda, _local
from mlrepro_nb.image.builders import Wanted
from mlrepro_nb.image.builders.docker import DockerBuilder
from mlrepro_nb.image.builders.oci import OciBuilder
from mlrepro_nb.image.system import packages
from mlrepro_nb.image.system._choose import candidates
from mlrepro_nb.model import CondaPackage, Distribution, Gpu, Record, SharedLibrary, silent
from mlrepro_nb.store import Store
from tests import debs
from tests.image.conftest import put

Recorded = tuple[Path, Store, Record]
LIBRARY = "usr/lib/x86_64-linux-gnu"
PARTS = {
    "libused1_1.2-3_amd64.deb": (
        debs.control("libused1", "1.2-3", "libc6 (>= 2.34), libbelow0"),
        {"lib/x86_64-linux-gnu/libused.so.1.2": b"ELF", "usr/bin/used": b"#!", "etc/used.conf": "x",
         "usr/share/doc/libused1/copyright": "free", "usr/share/doc/libused1/NEWS.gz": b"x",
         "usr/share/man/man1/used.1.gz": b"x", "usr/share/locale/de/used.mo": b"x"},
        {"lib/x86_64-linux-gnu/libused.so.1": "libused.so.1.2"}, "libused 1 libused1\n",
    ),
    "libused1_2.0-1_amd64.deb": (
        debs.control("libused1", "2.0-1", "libc6"), {f"{LIBRARY}/libused.so.1.9": b"ELF2"}, {}, "",
    ),
    "libbelow0_7_amd64.deb": (
        debs.control("libbelow0", "7"), {f"{LIBRARY}/below/libbelow.so.0": b"ELF"}, {},
        "libbelow 0 libbelow0\n",
    ),
}  # fmt: skip


def used(name: str, package: str | None, version: str | None = "1") -> SharedLibrary:
    return SharedLibrary(name=name, package=package, version=version)


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A base image of Debian's kind in an OCI layout, and the archive that its apt names."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("MLREPRO_APT_MIRROR", raising=False)
    monkeypatch.setattr(uv, "lock", lambda *_, **__: "")
    files = {
        name: debs.deb(control, content, links, shlibs=shlibs)
        for name, (control, content, links, shlibs) in PARTS.items()
    }
    line = debs.archive(tmp_path / "www", files, {name: part[0] for name, part in PARTS.items()})
    system = {
        "usr/lib/os-release": "ID=debian\nVERSION_CODENAME=testing\nPRETTY_NAME='Debian testing'\n",
        "etc/apt/sources.list": line,
        "var/lib/dpkg/status": f"{debs.control('libc6', '2.36')}Status: install ok installed\n",
        glibc.PATH[1:]: glibc._written(
            [glibc.Library(name="libc.so.6", path="/lib/libc.so.6", flags=771)]
        ),
    }
    return layout(tmp_path / "base", debs.tar(system, {"lib": "usr/lib"}))


def layout(root: Path, layer: bytes) -> Path:
    """Write an image of one layer."""
    blobs = oci.Cache(root)
    tarred = blobs.put(layer)
    told = {"architecture": "amd64", "os": "linux", "config": {},
            "rootfs": {"type": "layers", "diff_ids": [tarred]}}  # fmt: skip
    setup = json.dumps(told).encode()
    kind = "application/vnd.oci.image.layer.v1.tar"
    manifest = json.dumps({
        "schemaVersion": 2, "mediaType": oci.MANIFEST,
        "config": {"mediaType": oci.CONFIG, "digest": blobs.put(setup), "size": len(setup)},
        "layers": [{"mediaType": kind, "digest": tarred, "size": len(layer)}],
    }).encode()  # fmt: skip
    entry = {"mediaType": oci.MANIFEST, "digest": blobs.put(manifest), "size": len(manifest)}
    (root / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    (root / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return root


def plan(recorded: Recorded, base: Path, *libraries: SharedLibrary, **options: Any) -> image.Plan:
    folder, store, record = recorded
    environment = msgspec.structs.replace(record.environment, libraries=libraries)
    environment = msgspec.structs.replace(
        environment,
        system=msgspec.structs.replace(
            environment.system, name=options.pop("system", "debian"), machine="x86_64"
        ),
        conda=options.pop("conda", ()),
    )
    put(folder, store, environment=environment)
    return image.plan(str(folder / "train.ipynb"), base=f"oci:{base}", **options)


def entries(made: image.Plan) -> dict[str, tarfile.TarInfo]:
    cache = oci.Cache()
    layer = packages(made, cache, cache, silent).layer
    with oci.opened(cache.blob(layer.digest)) as archive:
        return {member.name: member for member in archive}


def test_the_recorded_version_comes_with_what_it_needs(recorded: Recorded, base: Path) -> None:
    made = plan(
        recorded, base,
        used("libused.so.1.2", "libused1", "1.2-3"), used("libc.so.6", "libc6", "2.36"),
        used("libcuda.so.1", "libcuda1"), used("own.abi3.so", "python3-own"),
        used("libmkl.so.2", "mkl"), used("libnobody.so.1", None),
        conda=(CondaPackage(name="mkl", version="1", build="0", channel="c"),),
    )  # fmt: skip
    assert [(p.name, p.version) for p in made.packages] == [
        ("libbelow0", "7"),
        ("libused1", "1.2-3"),
    ]
    assert made.package_lock.splitlines()[1].startswith("libused1=1.2-3 --hash=sha256:")
    assert "file:" not in made.package_lock
    assert image.labels(made)["io.mlrepro.packages"].startswith("sha256:")
    found = entries(made)
    # Past the link: a folder in its place would hide all of the base image's libraries.
    assert found[f"{LIBRARY}/libused.so.1"].linkname == "libused.so.1.2"
    assert not [name for name in found if name.split("/")[0] == "lib"]
    assert found["usr/bin/used"].mode == 0o755  # and no set-user-id
    assert {"usr/share/doc/libused1/copyright", "etc/used.conf"} <= set(found)
    assert not [n for n in found if "NEWS" in n or "/man/" in n or n.endswith(".mo")]
    assert "var/lib/dpkg/status.d/libused1" in found
    cache = oci.Cache()
    layer = packages(made, cache, cache, silent).layer
    content = oci.entries_in(cache.blob(layer.digest), re.compile(glibc.PATH))
    (listed,) = content.values()
    assert listed is not None
    assert {(e.name, e.path) for e in glibc.read(listed.content) or ()} == {
        ("libc.so.6", "/lib/libc.so.6"), ("libused.so.1", f"/{LIBRARY}/libused.so.1"),
        ("libbelow.so.0", f"/{LIBRARY}/below/libbelow.so.0"),
    }  # fmt: skip


def test_what_was_found_once_stays_when_the_archive_moves_on(
    recorded: Recorded, base: Path, tmp_path: Path
) -> None:
    library = used("libused.so.1.2", "libused1", "1.2-3")
    first = plan(recorded, base, library)
    release = tmp_path / "www" / "dists" / "testing" / "InRelease"
    release.unlink()
    assert plan(recorded, base, library).packages == first.packages
    assert image.plan(
        str(recorded[0] / "train.ipynb"), base=f"oci:{base}", offline=True
    ).packages == first.packages  # fmt: skip
    other = plan(recorded, base, library, changes=["packages=libbelow0"])
    assert [p.message for p in other.problems if "No archive" in p.message]


def test_another_version_is_told(recorded: Recorded, base: Path) -> None:
    made = plan(recorded, base, used("libused.so.1.1", "libused1", "1.1-1"))
    assert [(p.name, p.version) for p in made.packages] == [("libused1", "2.0-1")]
    assert any("used libused1 1.1-1; the archive" in note for note in made.notes)


def test_of_another_system_the_library_is_looked_up_by_its_name(
    recorded: Recorded, base: Path
) -> None:
    made = plan(
        recorded, base, used("libused.so.1.7", "used-libs"), used("libc.so.6", "glibc"),
        used("libodd.so.4", "odd"), system="fedora",
    )  # fmt: skip
    assert [p.name for p in made.packages] == ["libused1"]
    assert any(note.startswith("libodd.so.4 came from a package of fedora") for note in made.notes)
    assert candidates("libglib-2.0.so.0.7400.6")[1] == "libglib2.0-0"


def test_packages_are_named_or_left_out_by_the_project(recorded: Recorded, base: Path) -> None:
    library = used("libused.so.1.2", "libused1", "1.2-3")
    assert plan(recorded, base, library, changes=["exclude=libused1"]).packages == ()
    made = plan(recorded, base, changes=["packages=libused1=1.2-3"])
    assert [p.version for p in made.packages] == ["7", "1.2-3"]
    assert made.origins["packages"] == "the record, --set packages"
    wrong = plan(recorded, base, changes=["packages=libnowhere"])
    assert any("has no package libnowhere" in p.message for p in wrong.problems)
    with pytest.raises(UsageError, match="is no package of the operating system"):
        plan(recorded, base, changes=["packages=Not A Package"])


def test_a_mirror_takes_the_place_of_the_host(
    recorded: Recorded, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = used("libused.so.1.2", "libused1", "1.2-3")
    elsewhere = tmp_path / "mirror"
    monkeypatch.setenv("MLREPRO_APT_MIRROR", f"file://{elsewhere}")
    assert any("No archive" in p.message for p in plan(recorded, base, library).problems)
    target = elsewhere / str(tmp_path / "www").lstrip("/")
    target.parent.mkdir(parents=True)
    (tmp_path / "www").rename(target)
    made = plan(recorded, base, library)
    assert [p.name for p in made.packages] == ["libbelow0", "libused1"]
    assert entries(made)


def test_a_base_that_is_not_debian_gets_nothing_but_a_note(
    recorded: Recorded, base: Path, tmp_path: Path
) -> None:
    other = layout(tmp_path / "alpine", debs.tar({"etc/os-release": "ID=alpine\n"}))
    made = plan(recorded, other, used("libused.so.1.2", "libused1"))
    assert made.packages == ()
    assert any("The run used libused1: see that it has" in note for note in made.notes)


def test_a_base_that_no_registry_gives_is_read_from_the_engine(
    recorded: Recorded, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlrepro_nb.image.system import _base

    def gone(*_: object) -> Any:
        raise ToolError("The registry cannot be reached.", "x")

    made = plan(recorded, base)
    status = f"{debs.control('libc6', '2.36')}\n{debs.control('usr-is-merged', '1')}".encode()
    monkeypatch.setattr(_base, "fetched", gone)
    monkeypatch.setattr(docker, "contents", lambda *_: {"/var/lib/dpkg/status": status})
    away = msgspec.structs.replace(made, base_layout=None, base_digest=f"sha256:{'1' * 64}")
    found = _base.base_system(away, oci.Cache(), silent)
    assert [p.name for p in found.packages] == ["libc6", "usr-is-merged"]
    assert found.links["lib"] == "usr/lib"


@pytest.mark.engine
def test_a_container_of_both_builders_has_the_library(
    recorded: Recorded, base_image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a mirror made by hand: the base image's own apt sources, another host."""
    files = {
        name: debs.deb(
            control, content, links, shlibs=shlibs,
            packing=".zst" if name.startswith("libbelow") else ".xz",
        )
        for name, (control, content, links, shlibs) in PARTS.items()
    }  # fmt: skip
    controls = {name: part[0] for name, part in PARTS.items()}
    debs.archive(tmp_path / "www" / "debian", files, controls, suite="bookworm")
    monkeypatch.setenv("MLREPRO_APT_MIRROR", f"file://{tmp_path}/www")
    monkeypatch.setattr(uv, "lock", lambda *_, **__: "")
    folder, store, record = recorded
    libraries = (used("libused.so.1.2", "libused1", "1.2-3"),)
    put(
        folder, store, environment=msgspec.structs.replace(
            record.environment, libraries=libraries, python="3.11.2",
            system=msgspec.structs.replace(record.environment.system, name="debian"),
        ),
    )  # fmt: skip
    made = image.plan("train.ipynb", base=base_image, bytecode=False)
    assert [p.name for p in made.packages] == ["libbelow0", "libused1"]
    little = msgspec.structs.replace(made, pins=(), lock="", local=(), problems=())
    script = (
        "ldconfig -p | grep -o 'lib[a-z]*.so.[0-9] (.*used.so.1\\|below/libbelow.so.0'; "
        "test -L /lib && cat /usr/lib/x86_64-linux-gnu/libused.so.1 && echo; "
        "ls /var/lib/dpkg/status.d; python -c 'print(1 + 1)'"
    )
    said = []
    for builder in (DockerBuilder(), OciBuilder()):
        built = builder.build(little, Wanted(), store, silent)
        run = ["docker", "run", "--rm", "--network", "none", "--entrypoint", "sh"]
        told = subprocess.run(
            [*run, built.local(silent), "-c", script], check=True, capture_output=True, text=True
        )
        said.append(told.stdout)
    assert said[0] == said[1]
    assert said[0].splitlines()[-4:] == ["ELF", "libbelow0", "libused1", "2"]
    assert "below/libbelow.so.0" in said[0]


def test_a_wheel_that_was_kept_is_used_as_it_ran(recorded: Recorded, tmp_path: Path) -> None:
    """From git by a path, or a file: what is named there is on no other machine."""
    folder, store, record = recorded
    content = tmp_path / "x.whl"
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("mine/__init__.py", "")
        archive.writestr("mine-0.1.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
    kept = store.blobs.put(content.read_bytes())
    mine = Distribution(
        name="mine", version="0.1", origin="git", source="path", commit="1" * 40, wheel=kept,
        imported=True,
    )  # fmt: skip
    environment = record.environment
    put(folder, store, environment=msgspec.structs.replace(
        environment, distributions=(*environment.distributions, mine)
    ))  # fmt: skip
    made = image.plan("train.ipynb", offline=True)
    cache = oci.Cache(tmp_path / "cache")
    found = _local.wheel(mine, cache, silent, made.archived["mine"])
    assert (found.filename, found.digest) == ("mine-0.1-py3-none-any.whl", kept)
    assert cache.has(kept)


def test_cuda_that_nobody_used_is_told(recorded: Recorded) -> None:
    _, _, record = recorded
    cuda = Distribution(name="nvidia-cublas-cu12", version="1")
    torch = Distribution(name="torch", version="2")
    hardware = msgspec.structs.replace(record.hardware, gpus=())
    note = _cuda.unused(hardware, [cuda, torch])
    assert note is not None
    assert "1 distributions of CUDA" in note
    assert "download.pytorch.org/whl/cpu" in note
    assert _cuda.unused(hardware, [torch]) is None
    ours = Distribution(name="nvidia-ml-py", version="13")
    assert _cuda.unused(hardware, [ours]) is None, "mlrepro-nb requires it"
    gpu = Gpu(product="H100", uuid="GPU-1", memory=1, used=True)
    assert _cuda.unused(msgspec.structs.replace(hardware, gpus=(gpu,)), [cuda]) is None

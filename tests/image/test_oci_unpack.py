"""A wheel in a layer: where its files go, what its scripts start, what its bytecode is."""

from __future__ import annotations

import base64
import csv
import hashlib
import importlib.util
import io
import marshal
import os
import subprocess
import sys
import tarfile
import zipfile
import zlib
from functools import partial
from pathlib import Path

import pytest

from mlrepro_nb.connect import oci
from mlrepro_nb.errors import MlreproError, ToolError
from mlrepro_nb.image._local import Wheel
from mlrepro_nb.image._plan import Plan
from mlrepro_nb.image.builders.oci import _bytecode, _layers, _unpack
from mlrepro_nb.model import silent

VERSION = ".".join(map(str, sys.version_info[:3]))
SITE = f"/opt/venv/lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
TAG = sys.implementation.cache_tag

CONTENT = {
    "pkg/__init__.py": "A = {'x', 'y', 'z'}\ndef f(a, b=(1, 2)):\n    return a in A and 'pkg'\n",
    "pkg/tests/test_it.py": "def test(): pass\n",
    "pkg/broken.py": "def (:\n",
    "pkg/data.bin": "x" * 100,
    "pkg/tool": "#!/bin/sh\n",
    "demo_pkg-1.0.data/scripts/old": "#!python\nprint('old')\n",
    "demo_pkg-1.0.data/scripts/shell": "#!/bin/sh\necho hi\n",
    "demo_pkg-1.0.data/data/share/doc.txt": "doc\n",
    "demo_pkg-1.0.data/headers/h.h": "int x;\n",
    "demo_pkg-1.0.data/platlib/plat.py": "B = 1\n",
    "demo_pkg-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: demo-pkg\nVersion: 1.0\n",
    "demo_pkg-1.0.dist-info/WHEEL": (
        "Wheel-Version: 1.0\nGenerator: some 1.2\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    ),
    "demo_pkg-1.0.dist-info/entry_points.txt": "[console_scripts]\ndemo = pkg:f\n",
    "demo_pkg-1.0.dist-info/RECORD": "",
}
NAME = "demo_pkg-1.0-py3-none-any.whl"


def wheel(folder: Path, content: dict[str, str] = CONTENT, *, order: int = 1) -> Path:
    path = folder / NAME
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in list(content)[::order]:
            info = zipfile.ZipInfo(name, (2020 + order, 1, 1, 0, 0, 0))
            info.external_attr = (0o100755 if name.endswith("tool") else 0o100644) << 16
            archive.writestr(info, content[name])
    return path


def unpacked(path: Path, place: _unpack.Place, compiler: bool = True) -> tuple[oci.Layer, dict]:
    target = path.with_suffix(".layer")
    with target.open("wb") as file, _bytecode.Compiler(sys.executable) as child:
        writer = oci.LayerWriter(file)
        _unpack.unpack(
            NAME, path, place, writer, (lambda at: partial(child.compile, at)) if compiler else None
        )
        made = writer.end()
    found = {}
    with oci.opened(target) as archive:
        for member in archive:
            content = archive.extractfile(member).read() if member.isfile() else b""
            assert f"/{member.name}" not in found
            found[f"/{member.name}"] = (member.mode, content)
    return made, found


def test_everything_lies_where_an_installer_puts_it(tmp_path: Path) -> None:
    _, found = unpacked(wheel(tmp_path), _unpack.venv(SITE, VERSION))
    assert found[f"{SITE}/pkg/data.bin"] == (0o644, b"x" * 100)
    assert found[f"{SITE}/pkg/tool"][0] == 0o755
    assert f"{SITE}/plat.py" in found
    assert found["/opt/venv/share/doc.txt"][1] == b"doc\n"
    minor = f"{sys.version_info[0]}.{sys.version_info[1]}"
    assert f"/opt/venv/include/site/python{minor}/demo_pkg/h.h" in found
    assert found["/opt/venv/bin/old"] == (0o755, b"#!/opt/venv/bin/python\nprint('old')\n")
    assert found["/opt/venv/bin/shell"] == (0o755, b"#!/bin/sh\necho hi\n")
    mode, script = found["/opt/venv/bin/demo"]
    assert mode == 0o755
    assert script.startswith(b"#!/opt/venv/bin/python\n")
    assert b"from pkg import f" in script
    info = f"{SITE}/demo_pkg-1.0.dist-info"
    assert found[f"{info}/INSTALLER"][1] == b"mlrepro-nb\n"
    assert not [p for p in found if p.endswith(("direct_url.json", "REQUESTED"))]


def test_the_record_lists_what_is_there_with_its_hash(tmp_path: Path) -> None:
    _, found = unpacked(wheel(tmp_path), _unpack.venv(SITE, VERSION))
    rows = csv.reader(io.StringIO(found[f"{SITE}/demo_pkg-1.0.dist-info/RECORD"][1].decode()))
    listed = {os.path.normpath(f"{SITE}/{name}"): (digest, size) for name, digest, size in rows}
    assert set(listed) == {p for p, (_, content) in found.items() if content and ".pyc" not in p}
    for path, (digest, size) in listed.items():
        if path.endswith("/RECORD"):
            continue
        content = found[path][1]
        told = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        assert (digest, size) == (f"sha256={told}", str(len(content)))


def test_what_is_imported_is_compiled_and_never_checked_again(tmp_path: Path) -> None:
    _, found = unpacked(wheel(tmp_path), _unpack.venv(SITE, VERSION))
    compiled = {p for p in found if p.endswith(".pyc")}
    assert compiled == {
        f"{SITE}/pkg/__pycache__/__init__.{TAG}.pyc",
        f"{SITE}/__pycache__/plat.{TAG}.pyc",
    }
    content = found[f"{SITE}/pkg/__pycache__/__init__.{TAG}.pyc"][1]
    assert content[:4] == importlib.util.MAGIC_NUMBER
    assert content[4:8] == b"\1\0\0\0"
    code = marshal.loads(content[16:])
    assert code.co_filename == f"{SITE}/pkg/__init__.py"
    _, without = unpacked(wheel(tmp_path), _unpack.venv(SITE, VERSION), compiler=False)
    assert set(without) == set(found) - compiled - {
        f"{SITE}/pkg/__pycache__",
        f"{SITE}/__pycache__",
    }


def test_the_order_and_dates_of_the_archive_do_not_count(tmp_path: Path) -> None:
    made = []
    for order in (1, -1):
        folder = tmp_path / str(order)
        folder.mkdir()
        made.append(unpacked(wheel(folder, order=order), _unpack.venv(SITE, VERSION))[0])
    assert made[0] == made[1]


def test_however_an_archive_packs_its_files_their_tar_is_one(tmp_path: Path) -> None:
    made = set()
    for kind in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2):
        path = tmp_path / str(kind) / NAME
        path.parent.mkdir()
        with zipfile.ZipFile(path, "w", kind) as archive:
            for name, text in {**CONTENT, "pkg/empty.py": "", "pkg/big": "ab" * 40_000}.items():
                archive.writestr(name, text)
        made.add(unpacked(path, _unpack.venv(SITE, VERSION))[0].diff_id)
    assert len(made) == 1


def test_what_built_a_local_wheel_is_left_out(tmp_path: Path) -> None:
    made = []
    for version in ("1.2", "1.3"):
        folder = tmp_path / version
        folder.mkdir()
        name = "demo_pkg-1.0.dist-info/WHEEL"
        content = CONTENT | {name: CONTENT[name].replace("1.2", version)}
        made.append(unpacked(wheel(folder, content), _unpack.local(VERSION)))
    assert made[0][0] == made[1][0]
    assert "/opt/local/pkg/__init__.py" in made[0][1]
    assert "/opt/local/bin/demo" in made[0][1]


BIG = CONTENT | {
    "pkg/library.so": "".join(f"{n:x}" for n in range(30_000)),
    "pkg/long.py": "".join(f"A{n} = {n}\n" for n in range(8_000)),
    "demo_pkg-1.0.data/scripts/program": "\x7fELF" + "".join(map(str, range(20_000))),
}


def compressed(folder: Path, level: int) -> Path:
    """Return a wheel whose files are compressed."""
    folder.mkdir()
    with zipfile.ZipFile(folder / NAME, "w", zipfile.ZIP_DEFLATED, compresslevel=level) as archive:
        for name, text in BIG.items():
            archive.writestr(name, text)
    return folder / NAME


def test_what_is_big_stays_compressed_as_the_wheel_has_it(tmp_path: Path) -> None:
    path = compressed(tmp_path / "wheel", 9)
    _, found = unpacked(path, _unpack.venv(SITE, VERSION))
    assert found[f"{SITE}/pkg/library.so"] == (0o644, BIG["pkg/library.so"].encode())
    program = BIG["demo_pkg-1.0.data/scripts/program"].encode()
    assert found["/opt/venv/bin/program"] == (0o755, program)
    assert f"{SITE}/pkg/__pycache__/long.{TAG}.pyc" in found
    listed = found[f"{SITE}/demo_pkg-1.0.dist-info/RECORD"][1].decode()
    layer = path.with_suffix(".layer").read_bytes()
    for name in ("pkg/library.so", "pkg/long.py", "demo_pkg-1.0.data/scripts/program"):
        content = BIG[name].encode()
        packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
        assert packer.compress(content) + packer.flush() in layer
        told = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        assert f"sha256={told},{len(content)}" in listed


def test_how_a_local_wheel_was_compressed_does_not_count(tmp_path: Path) -> None:
    # It is not pinned: which zlib the Python has that built it is this machine's affair.
    made = [
        unpacked(compressed(tmp_path / str(level), level), _unpack.local(VERSION))[0]
        for level in (1, 9)
    ]
    assert made[0] == made[1]


@pytest.mark.parametrize("kind", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_small_file_that_is_damaged_is_refused(tmp_path: Path, kind: int) -> None:
    path = tmp_path / NAME
    with zipfile.ZipFile(path, "w", kind) as archive:
        for name, text in CONTENT.items():
            archive.writestr(name, text)
        item = archive.getinfo("pkg/data.bin")
    damaged = bytearray(path.read_bytes())
    damaged[item.header_offset + 30 + len(item.filename)] ^= 0xFF
    path.write_bytes(damaged)
    with pytest.raises(MlreproError, match=r"can be installed: pkg/data.bin is damaged"):
        unpacked(path, _unpack.venv(SITE, VERSION))


def test_a_damaged_wheel_is_refused(tmp_path: Path) -> None:
    path = compressed(tmp_path / "wheel", 9)
    with zipfile.ZipFile(path) as archive:
        item = archive.getinfo("pkg/library.so")
    content = bytearray(path.read_bytes())
    content[item.header_offset + 60 + item.compress_size // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(MlreproError, match=r"can be installed: .*is damaged"):
        unpacked(path, _unpack.venv(SITE, VERSION))


@pytest.mark.parametrize(
    "content",
    [
        {"../../etc/passwd": "x"},
        {"/etc/passwd": "x"},
        {"demo_pkg-1.0.data/scripts/../../../etc/passwd": "x"},
        {"demo_pkg-1.0.data/nowhere/x": "x"},
        {"other-1.0.dist-info/METADATA": "x"},
        {"demo_pkg-1.0.dist-info/WHEEL": "Wheel-Version: 2.0\nRoot-Is-Purelib: true\n"},
    ],
)
def test_a_hostile_wheel_is_refused(tmp_path: Path, content: dict[str, str]) -> None:
    with pytest.raises(MlreproError, match="not a wheel that can be installed"):
        unpacked(wheel(tmp_path, CONTENT | content), _unpack.venv(SITE, VERSION))


def test_what_is_no_zip_is_refused(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(b"no zip")
    with pytest.raises(MlreproError, match="not a wheel"):
        unpacked(tmp_path / NAME, _unpack.venv(SITE, VERSION))


# --- bytecode


def compiled(names: list[Path], python: str = sys.executable) -> dict[str, bytes | None]:
    with _bytecode.Compiler(python) as child:
        return {str(p): child.compile(f"/opt/{p.name}", p.read_bytes()) for p in names}


def test_bytecode_does_not_depend_on_what_was_compiled_before() -> None:
    # Strings are shared in a process, and marshal marks those that somebody holds.
    folder = Path(os.__file__).parent
    names = [p for f in ("", "asyncio", "email", "json") for p in sorted((folder / f).glob("*.py"))]
    assert len(names) > 150
    first = compiled(names)
    assert first == compiled(names[::-1])
    assert compiled(names[-1:]) == {str(names[-1]): first[str(names[-1])]}
    held = [data for data in first.values() if data]
    assert len(held) > 150
    for path, data in first.items():
        if data:
            code = marshal.loads(data[16:])
            want = compile(Path(path).read_bytes(), f"/opt/{Path(path).name}", "exec",
                           dont_inherit=True, optimize=0)  # fmt: skip
            assert code == want


def test_bytecode_does_not_depend_on_the_module_compiled_just_before(tmp_path: Path) -> None:
    # The compiler makes one constant of the two sets, unless their strings are interned already.
    two, before = tmp_path / "two.py", tmp_path / "before.py"
    two.write_text("""\
def rejoin(nb):
    for cell in nb.cells:
        if cell.get('cell_type', None) == 'code':
            for output in cell.get('outputs', []):
                if output_type in {'execute_result', 'display_data'}:
                    pass

def split(nb):
    for cell in nb.cells:
        if cell.cell_type == 'code':
            for output in cell.outputs:
                if output.output_type in {'execute_result', 'display_data'}:
                    pass
""")
    before.write_text("""\
def downgrade(output):
    if output['output_type'] in {'execute_result', 'display_data'}:
        pass
""")
    assert compiled([before, two])[str(two)] == compiled([two])[str(two)]


def test_bytecode_runs(tmp_path: Path) -> None:
    source = b"print(sorted({'a', 'b'}), (lambda x=1.5: x)(), [i for i in range(2)])\n"
    with _bytecode.Compiler(sys.executable) as child:
        made = child.compile("/opt/x.py", source)
        assert child.compile("/opt/y.py", b"\xff\xfe") is None
        assert child.compile("/opt/z.py", b"") is not None
    assert made is not None
    (tmp_path / "x.pyc").write_bytes(made)
    ended = subprocess.run(
        [sys.executable, str(tmp_path / "x.pyc")], capture_output=True, text=True, check=True
    )
    assert ended.stdout == "['a', 'b'] 1.5 [0, 1]\n"


def test_only_the_record_s_own_python_compiles(monkeypatch: pytest.MonkeyPatch) -> None:
    import platform

    from mlrepro_nb.connect import interpreters

    assert _bytecode.interpreter(platform.python_version(), silent) == sys.executable
    monkeypatch.setattr(interpreters, "fetch", lambda version: None)
    with pytest.raises(ToolError, match=r"3\.99\.1, and there is none") as raised:
        _bytecode.interpreter("3.99.1", silent)
    assert "--no-bytecode" in raised.value.remedy


def test_a_compiler_that_dies_is_told() -> None:
    child = _bytecode.Compiler(sys.executable)
    child._process.kill()
    with pytest.raises(MlreproError, match=r"ended at /opt/a\.py"):
        child.compile("/opt/a.py", b"x")
    child.close()


def test_a_tar_of_a_layer_is_one_for_every_reader(tmp_path: Path) -> None:
    unpacked(wheel(tmp_path), _unpack.venv(SITE, VERSION))
    with tarfile.open(tmp_path / NAME.replace(".whl", ".layer")) as archive:
        assert len(archive.getnames()) > 10


# --- layers


def a_plan(*, bytecode: bool = True) -> Plan:
    return Plan(
        kind="job", record="sha256:1", notebook="n.ipynb", python=VERSION, machine="x86_64",
        base="b", repository="r", version="1", build_id="1", created="", bytecode=bytecode,
    )  # fmt: skip


def test_a_distribution_that_nothing_imports_comes_as_source_and_changes_no_other(
    tmp_path: Path,
) -> None:
    cache, made = oci.Cache(tmp_path / "cache"), wheel(tmp_path)
    digest, size = cache.put(made.read_bytes()), made.stat().st_size
    wheels = [Wheel(distribution="demo-pkg", filename=NAME, digest=digest, size=size)]
    plan = a_plan()
    place = _unpack.venv(_layers.site_packages(plan), plan.python)

    def names(**only: tuple[str, ...]) -> tuple[str, list[str]]:
        found = _layers._distributions(
            plan, place, wheels, {n.replace("_", "-"): o for n, o in only.items()}, cache, cache,
            silent,
        )  # fmt: skip
        with oci.opened(cache.blob(found[0].layer.digest)) as archive:
            return found[0].layer.digest, [m.name for m in archive if m.isfile()]

    compiled, source = names(), names(demo_pkg=())
    assert [n for n in compiled[1] if not n.endswith(".pyc")] == source[1]
    assert compiled[1] != source[1]
    assert names(another=()) == compiled


def test_of_a_small_distribution_come_those_packages_compiled_that_the_run_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = oci.Cache(tmp_path / "cache")
    more = {
        "pkg/part/__init__.py": "", "pkg/part/a.py": "", "pkg/part/deep/__init__.py": "",
        "pkg/other/__init__.py": "", "single.py": "",
    }  # fmt: skip
    made = wheel(tmp_path, {**CONTENT, **more})
    digest, size = cache.put(made.read_bytes()), made.stat().st_size
    wheels = [Wheel(distribution="demo-pkg", filename=NAME, digest=digest, size=size)]
    plan = a_plan()
    place = _unpack.venv(_layers.site_packages(plan), plan.python)

    def compiled(*packages: str) -> set[str]:
        found = _layers._distributions(
            plan, place, wheels, {"demo-pkg": packages}, cache, cache, silent
        )
        with oci.opened(cache.blob(found[0].layer.digest)) as archive:
            return {
                m.name.removeprefix(f"{SITE[1:]}/").replace("__pycache__/", "").split(".")[0]
                for m in archive
                if m.name.endswith(".pyc")
            }

    whole = {"pkg/__init__", "pkg/part/__init__", "pkg/part/a", "pkg/part/deep/__init__",
             "pkg/other/__init__", "single", "plat"}  # fmt: skip
    assert compiled("pkg", "pkg.part") == {
        "pkg/__init__", "pkg/part/__init__", "pkg/part/a", "single", "plat"
    }  # fmt: skip
    monkeypatch.setattr(_layers, "_BIG", 1)
    assert compiled("pkg", "pkg.part") == whole, "its layer is shared by other notebooks' images"


def test_a_file_that_two_distributions_have_comes_from_the_later_one(tmp_path: Path) -> None:
    cache = oci.Cache(tmp_path / "cache")
    wheels = []
    for name in ("aa", "bb", "cc"):
        content = {f"{name}.py": "x = 1\n", "shared/__init__.py": f"owner = '{name}'\n"}
        if name == "cc":
            del content["shared/__init__.py"]
        info = f"{name}-1.0.dist-info"
        content[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
        content[f"{info}/WHEEL"] = CONTENT["demo_pkg-1.0.dist-info/WHEEL"]
        held = io.BytesIO()
        with zipfile.ZipFile(held, "w") as archive:
            for path, text in content.items():
                archive.writestr(path, text)
        data = held.getvalue()
        wheels.append(
            Wheel(distribution=name, filename=f"{name}-1.0-py3-none-any.whl",
                  digest=cache.put(data), size=len(data))
        )  # fmt: skip
    plan = a_plan(bytecode=False)
    place = _unpack.venv(_layers.site_packages(plan), plan.python)
    made = _layers._distributions(plan, place, wheels, {}, cache, cache, silent)
    assert [m.title for m in made] == ["the other distributions", "bb"]
    found = []
    for layer in made:
        with oci.opened(cache.blob(layer.layer.digest)) as archive:
            content = {
                m.name: archive.extractfile(m).read() if m.isfile() else b"" for m in archive
            }
        with tarfile.open(cache.blob(layer.layer.digest)) as archive:
            assert len(archive.getnames()) == len(content)  # Docker takes no path twice
        found.append(content)
    shared = f"{SITE[1:]}/shared/__init__.py"
    assert (found[0][shared], found[1][shared]) == (b"owner = 'aa'\n", b"owner = 'bb'\n")
    assert f"{SITE[1:]}/cc.py" in found[0]
    assert [m.layer for m in made] == [
        m.layer
        for m in _layers._distributions(
            plan, place, wheels, {}, cache, oci.Cache(tmp_path / "b"), silent
        )
    ]

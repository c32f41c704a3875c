"""Packages are found, checked by their hashes, and read, with nothing of apt or dpkg."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlrepro_nb.connect import debian, oci
from mlrepro_nb.connect.debian import Package, Source
from mlrepro_nb.errors import MlreproError, ToolError
from mlrepro_nb.model import silent
from tests import debs

VERSIONS = st.from_regex(r"\A(?:[0-3]:)?[0-9][0-9a-z.+~]{0,6}(?:-[0-9a-z.+~]{1,4})?\Z")


@pytest.mark.parametrize(
    ("one", "other", "order"),
    [
        ("1.0", "1.0", 0), ("1.0~rc1", "1.0", -1), ("1.9", "1.10", -1), ("1:0.1", "9.9", 1),
        ("12.2.0-14", "12.2.0-14+deb12u1", -1), ("1.0-0", "1.0", 0), ("1.0a", "1.0+", -1),
        ("2.0", "2.0-1", -1), ("007", "7", 0),
    ],
)  # fmt: skip
def test_versions_are_in_debian_s_order(one: str, other: str, order: int) -> None:
    assert debian.compare(one, other) == order
    assert debian.compare(other, one) == -order


@pytest.mark.skipif(shutil.which("dpkg") is None, reason="there is no dpkg to compare with")
@settings(max_examples=60, deadline=None)
@given(VERSIONS, VERSIONS)
def test_the_order_is_dpkg_s(one: str, other: str) -> None:
    operator = {-1: "lt", 0: "eq", 1: "gt"}[debian.compare(one, other)]
    told = subprocess.run(
        ["dpkg", "--compare-versions", one, operator, other], check=False, stderr=-3
    )
    assert told.returncode == 0


def test_what_is_needed_is_added_and_nothing_else() -> None:
    base = [Package(name="libc6", version="2.36"), Package(name="awk", version="1",
                                                           provides="any-awk (= 3)")]  # fmt: skip
    there = [
        Package(name="liba", version="1.0-1", depends="libc6 (>= 2.34), libb (>= 2) | z, any-awk"),
        Package(name="liba", version="1.0-2", depends="libc6 (>= 2.34), libb (>= 2) | libz"),
        Package(name="libb", version="1"), Package(name="libb", version="2.1", depends="virtual"),
        Package(name="real", version="1", provides="virtual"),
        Package(name="unrelated", version="1"),
    ]  # fmt: skip
    found = debian.resolve({"liba": "1.0-1", "libc6": "9"}, base, there)
    assert [(p.name, p.version) for p in found.packages] == [
        ("liba", "1.0-1"), ("libb", "2.1"), ("real", "1")
    ]  # fmt: skip
    assert (found.others, found.absent, found.unmet) == ({}, (), ())
    other = debian.resolve({"liba": "0.9", "nowhere": None}, base, there)
    assert (other.others, other.absent) == ({"liba": "0.9"}, ("nowhere",))
    assert {p.name: p.version for p in other.packages}["liba"] == "1.0-2"
    newer = [Package(name="libn", version="1", depends="libc6 (>= 3)")]
    assert debian.resolve({"libn": None}, base, newer).unmet == ("libn needs libc6 (>= 3)",)


def test_both_forms_of_apt_s_sources_are_read_and_moved_to_a_mirror() -> None:
    found = debian.sources({
        "/etc/apt/sources.list": "# deb http://no/ a main\ndeb-src http://no/ a main\n"
        "deb [arch=amd64 signed-by=/k] http://deb.debian.org/debian bookworm main contrib # x\n"
        "deb cdrom:[x]/ bookworm main\ndeb http://flat/ ./\n",
        "/etc/apt/sources.list.d/debian.sources": "Types: deb\nURIs: http://deb.debian.org/debian-security\n"
        "Suites: bookworm-security\nComponents: main\n\nEnabled: no\nTypes: deb\nURIs: http://off\n"
        "Suites: s\nComponents: main\n",
    })  # fmt: skip
    assert found == (
        Source(
            uri="http://deb.debian.org/debian", suite="bookworm",
            components=("main", "contrib"),
        ),
        Source(
            uri="http://deb.debian.org/debian-security", suite="bookworm-security",
            components=("main",),
        ),
    )  # fmt: skip
    moved = [debian.located(s, "https://mirror.example/apt/debian").uri for s in found]
    assert moved == [
        "https://mirror.example/apt/debian", "https://mirror.example/apt/debian-security"
    ]  # fmt: skip
    assert debian.located(found[0], None) == found[0]


@pytest.mark.parametrize("packing", [".xz", ".gz", ".zst", ""])
def test_a_package_is_read_whatever_it_is_packed_with(tmp_path: Path, packing: str) -> None:
    path = tmp_path / "x.deb"
    made = debs.deb(
        debs.control("x", "1"), {"usr/lib/libx.so.1": b"ELF"}, shlibs="libx 1 x\n", packing=packing
    )
    path.write_bytes(made)
    with debian.opened(path) as found:
        assert found.control["shlibs"] == "libx 1 x\n"
        assert [m.name for m in found.data] == ["./usr/lib/libx.so.1"]


@settings(max_examples=40, deadline=None)
@given(
    part=st.floats(0, 0.9), change=st.binary(max_size=8),
    packing=st.sampled_from([".xz", ".gz", ".zst", ""])
)  # fmt: skip
def test_what_is_no_package_is_refused_in_words(
    tmp_path_factory: pytest.TempPathFactory, part: float, change: bytes, packing: str
) -> None:
    path = tmp_path_factory.mktemp("deb") / "x.deb"
    made = debs.deb(debs.control("x", "1"), {"a": b"1"}, packing=packing)
    path.write_bytes(made[: int(part * len(made))] + change)
    with pytest.raises(MlreproError, match="is no Debian package"), debian.opened(path):
        pass


def test_an_index_and_a_package_are_held_to_their_hashes(tmp_path: Path) -> None:
    content, about = debs.deb(debs.control("x", "1"), {"a": b"1"}), debs.control("x", "1")
    line = debs.archive(tmp_path / "www", {"x.deb": content}, {"x.deb": about})
    sources = debian.sources({"sources.list": line})
    archive = debian.Archive(sources, "amd64", oci.Cache(tmp_path / "cache"))
    (found,) = archive.packages(silent)
    assert (found.name, archive.signed) == ("x", False)
    assert archive.fetch(found, silent).read_bytes() == content
    (tmp_path / "www/pool/x.deb").write_bytes(content + b"!")
    elsewhere = debian.Archive(sources, "amd64", oci.Cache(tmp_path / "other"))
    with pytest.raises(ToolError, match="no archive has the file that was locked"):
        elsewhere.fetch(found, silent)
    index = tmp_path / "www/dists/testing/main/binary-amd64/Packages.xz"
    index.write_bytes(index.read_bytes() + b"!")
    with pytest.raises(ToolError, match="not the file that its release names"):
        elsewhere.packages(silent)
    shutil.rmtree(tmp_path / "www")
    with pytest.raises(ToolError, match="No archive of packages answers"):
        elsewhere.packages(silent)

"""The lock: exact pins with hashes, and clear words when there can be none."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from mlrepro_nb.connect import index, uv
from mlrepro_nb.errors import ToolError, UsageError
from mlrepro_nb.model import digest_bytes


@pytest.fixture
def no_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine on which nobody configured pip or uv."""
    for name in list(os.environ):
        if name.startswith(("PIP_", "UV_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_CONFIG_DIRS", str(tmp_path / "etc"))
    monkeypatch.setattr(index.sys, "prefix", str(tmp_path))
    monkeypatch.setattr(index, "_SYSTEM", tmp_path / "etc" / "pip.conf")
    return tmp_path


def test_pins_get_hashes_and_nothing_is_added() -> None:
    made = uv.lock(["click==8.1.7"], python="3.11.7")
    assert re.match(r"click==8\.1\.7 \\\n    --hash=sha256:[0-9a-f]{64}", made)
    assert "://" not in made
    assert made.count("==") == 1


@pytest.mark.parametrize("columns", ["20", "200"])
def test_a_pin_that_the_index_lacks_is_named(monkeypatch: pytest.MonkeyPatch, columns: str) -> None:
    monkeypatch.setenv("COLUMNS", columns)  # uv breaks what it says at the terminal's width
    with pytest.raises(ToolError, match=r"no click 0\.0\.0, which the record pins"):
        uv.lock(["click==0.0.0"], python="3.11.7")
    with pytest.raises(ToolError, match=r"no mlrepro-test-no-such-thing, which the record pins"):
        uv.lock(["mlrepro-test-no-such-thing==9"], python="3.11.7")


def test_an_unreachable_index_is_told_without_its_password(
    no_configuration: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "https://user:s3cret@127.0.0.1:9/simple")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    monkeypatch.setenv("UV_NO_CACHE", "1")
    with pytest.raises(ToolError, match="index cannot be reached") as raised:
        uv.lock(["click==8.1.7"], python="3.11.7")
    assert "s3cret" not in f"{raised.value}{raised.value.output}"
    assert "127.0.0.1:9" in raised.value.output  # it was pip's index that was asked


def test_without_uv_the_remedy_is_one_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "uv", None)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ToolError) as raised:
        uv.lock(["click==8.1.7"], python="3.11.7")
    assert "pip install 'mlrepro-nb[containers]'" in raised.value.remedy


def test_the_same_source_gives_the_same_wheel(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
        '[project]\nname = "own"\nversion = "1.0"\n'
    )
    (source / "own.py").write_text("x = 1\n")
    digests = set()
    for number in range(2):
        os.utime(source / "own.py", (number * 1e9, number * 1e9))
        made = uv.build_wheel(source, tmp_path / str(number), epoch=315532800)
        digests.add(digest_bytes(made.read_bytes()))
    assert len(digests) == 1


def test_a_source_that_does_not_build_is_named(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match=f"The wheel of {tmp_path} could not be built"):
        uv.build_wheel(tmp_path, tmp_path / "out", epoch=315532800)


def test_pip_s_files_and_variables_are_read_as_pip_reads_them(
    no_configuration: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert index.settings() == index.Settings()
    folder = no_configuration / "config" / "pip"
    folder.mkdir(parents=True)
    (folder / "pip.conf").write_text(
        "[global]\nindex_url = https://a/simple\ntrusted-host =\n  a\n  b\ncert = /x\n"
        "[install]\nfind-links = /opt/wheels https://w/\n"
    )
    found = index.settings()
    assert (found.url, found.trusted_hosts) == ("https://a/simple", ("a", "b"))
    assert found.find_links == ("https://w/",)  # a folder here is none in a container
    monkeypatch.setenv("PIP_INDEX_URL", "https://b/simple")
    monkeypatch.setenv("UV_INDEX", "mine=https://c/simple https://d/simple")
    found = index.settings()
    assert found.url == "https://b/simple"
    assert found.extra_urls == ("https://c/simple", "https://d/simple")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    assert index.settings().trusted_hosts == ()


def test_what_is_written_for_the_container_reads_the_same_there(
    no_configuration: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = index.Settings(
        url="https://u:p%40@a/simple", extra_urls=("https://b", "https://c"),
        trusted_hosts=("a", "b"), proxy="http://x:y@p:1", timeout="60",
    )  # fmt: skip
    written = no_configuration / "pip.conf.secret"
    written.write_text(index.pip_configuration(settings, certificates="/run/secrets/ca"))
    monkeypatch.setenv("PIP_CONFIG_FILE", str(written))
    read = index.settings()
    assert read.certificates == "/run/secrets/ca"
    assert (read.url, read.extra_urls, read.proxy, read.timeout, read.trusted_hosts) == (
        settings.url, settings.extra_urls, settings.proxy, "60", ("a", "b"),
    )  # fmt: skip
    assert index.pip_configuration(index.Settings(), certificates=None) == ""


def test_a_ca_bundle_is_a_pem_file_or_a_clear_error(
    no_configuration: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    assert index.ca_bundle() is None
    file = no_configuration / "ca.pem"
    with pytest.raises(UsageError, match="cannot be read"):
        index.ca_bundle(file)
    file.write_bytes(b"\x30\x82")
    with pytest.raises(UsageError, match="no PEM certificate"):
        index.ca_bundle(file)
    file.write_text("-----BEGIN CERTIFICATE-----\n")
    assert index.ca_bundle(file) == file
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    assert index.ca_bundle() == file

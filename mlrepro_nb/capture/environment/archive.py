"""A wheel made again from an installed distribution, where no index has one."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import re
import zipfile
from configparser import ConfigParser, Error
from pathlib import Path

_EPOCH = (1980, 1, 1, 0, 0, 0)
_LARGEST = 256 << 20
# An installer wrote these, the wheel did not hold them.
_INSTALLERS = frozenset(
    {"INSTALLER", "REQUESTED", "RECORD", "RECORD.jws", "RECORD.p7s", "direct_url.json",
     "uv_cache.json", "uv_build.json", "provenance_url.json"}
)  # fmt: skip
_SHEBANG = re.compile(rb"\A#![^\n]*python[^\n]*")


def wheel(location: Path) -> tuple[str, bytes] | None:
    """Return name and content of a wheel that installs what is installed.

    Everything that the installer wrote down in ``RECORD`` goes back to where a
    wheel has it; what an installer makes itself (compiled files, the scripts of
    entry points) is left out. The same files give the same bytes. None where
    nothing was written down (an egg), something is gone, or it is too large.

    Parameters
    ----------
    location
        The distribution's ``.dist-info`` folder.
    """
    try:
        with (location / "RECORD").open(encoding="utf-8", newline="") as lines:
            listed = [row[0] for row in csv.reader(lines) if row]
        tags = re.findall(r"(?m)^Tag:\s*(\S+)", (location / "WHEEL").read_text("utf-8"))
        scripts = _entry_points(location)
        members = {}
        size = 0
        for path in listed:
            file = location.parent / path
            inside = _member(path, location, scripts)
            if inside is None:
                continue
            size += file.stat().st_size
            if size > _LARGEST:
                return None
            content = file.read_bytes()
            if ".data/scripts/" in inside:
                content = _SHEBANG.sub(b"#!python", content)
            members[inside] = content
    except (OSError, UnicodeDecodeError, csv.Error, Error):
        return None
    if not tags:
        return None
    stem = location.name.removesuffix(".dist-info")
    return f"{stem}-{_compressed(tags)}.whl", _packed(members, location.name)


def file_name(content: bytes) -> str:
    """Return the name that a wheel made by `wheel` has to have."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        folder = next(n for n in archive.namelist() if n.endswith(".dist-info/WHEEL"))
        tags = re.findall(r"(?m)^Tag:\s*(\S+)", archive.read(folder).decode())
    return f"{folder.partition('.dist-info')[0]}-{_compressed(tags)}.whl"


def _member(path: str, location: Path, scripts: set[str]) -> str | None:
    """Return where a wheel has an installed file, or None for what an installer makes."""
    if path.endswith(".pyc"):
        return None
    folder, _, name = path.rpartition("/")
    if folder == location.name and name in _INSTALLERS:
        return None
    if not path.startswith(("..", "/")):
        return path
    data = f"{location.name.removesuffix('.dist-info')}.data"
    outside = [part for part in Path(path).parts if part not in ("..", "/")]
    if outside[0] in ("bin", "Scripts"):
        return None if name.removesuffix(".exe") in scripts else f"{data}/scripts/{name}"
    if path.startswith("/"):
        raise OSError(f"{path} is outside of the environment")
    return f"{data}/data/{'/'.join(outside)}"


def _entry_points(location: Path) -> set[str]:
    parser = ConfigParser(delimiters=("=",), interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(location / "entry_points.txt", encoding="utf-8")
    sections = ("console_scripts", "gui_scripts")
    return {n for section in sections if parser.has_section(section) for n in parser[section]}


def _compressed(tags: list[str]) -> str:
    """Return ``py2.py3-none-any`` for the tags of a wheel."""
    parts = [dict.fromkeys(part) for part in zip(*(t.split("-") for t in tags), strict=True)]
    return "-".join(".".join(part) for part in parts)


def _packed(members: dict[str, bytes], folder: str) -> bytes:
    record = io.StringIO()
    writer = csv.writer(record, lineterminator="\n")
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(members, key=lambda n: (n.startswith(f"{folder}/"), n)):
            content = members[name]
            hashed = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=")
            writer.writerow([name, f"sha256={hashed.decode()}", len(content)])
            archive.writestr(_info(name), content)
        writer.writerow([f"{folder}/RECORD", "", ""])
        archive.writestr(_info(f"{folder}/RECORD"), record.getvalue())
    return target.getvalue()


def _info(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _EPOCH)
    info.compress_type = zipfile.ZIP_DEFLATED
    info.external_attr = (0o755 if "/scripts/" in name else 0o644) << 16
    return info

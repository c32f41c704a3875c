"""An archive of Debian packages, made by hand: nothing of apt or dpkg is needed."""

from __future__ import annotations

import gzip
import hashlib
import io
import lzma
import tarfile
from collections.abc import Mapping
from pathlib import Path


def tar(files: Mapping[str, bytes | str], links: Mapping[str, str] = {}) -> bytes:
    """Return a tar; a text is the target of a symbolic link."""
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(f"./{name}")
            data = content.encode() if isinstance(content, str) else content
            entry.size = len(data)
            entry.mode = 0o4755 if name.startswith("usr/bin/") else 0o644
            archive.addfile(entry, io.BytesIO(data))
        for name, target in links.items():
            entry = tarfile.TarInfo(f"./{name}")
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            archive.addfile(entry)
    return held.getvalue()


def zst(content: bytes) -> bytes:
    """Compress with zstd."""
    try:
        from compression import zstd
    except ImportError:
        from backports import zstd
    return bytes(zstd.compress(content))


def deb(
    control: str, files: Mapping[str, bytes | str], links: Mapping[str, str] = {}, *,
    shlibs: str = "", packing: str = ".xz",
) -> bytes:  # fmt: skip
    """Return a ``.deb``; Debian packs with xz, Ubuntu with zst."""
    pack = {".xz": lzma.compress, ".gz": gzip.compress, ".zst": zst, "": bytes}[packing]
    about = {"control": control, **({"shlibs": shlibs} if shlibs else {})}
    outer = packing if packing == ".zst" else ".gz"
    members = {
        "debian-binary": b"2.0\n",
        f"control.tar{outer}": (zst if outer == ".zst" else gzip.compress)(tar(about)),
        f"data.tar{packing}": pack(tar(files, links)),
    }
    made = b"!<arch>\n"
    for name, content in members.items():
        made += f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n".encode()
        made += content + b"\n" * (len(content) % 2)
    return made


def control(name: str, version: str, depends: str = "") -> str:
    """Return a control file."""
    needs = f"Depends: {depends}\n" if depends else ""
    return f"Package: {name}\nVersion: {version}\nArchitecture: amd64\n{needs}"


def archive(
    root: Path, packages: Mapping[str, bytes], controls: Mapping[str, str], suite: str = "testing"
) -> str:
    """Write packages, by file name, with an index and a release; return the sources line."""
    (root / "pool").mkdir(parents=True, exist_ok=True)
    paragraphs = []
    for name, content in packages.items():
        (root / "pool" / name).write_bytes(content)
        hashed = hashlib.sha256(content).hexdigest()
        paragraphs.append(
            f"{controls[name]}Filename: pool/{name}\nSize: {len(content)}\nSHA256: {hashed}\n"
        )
    index = lzma.compress("\n".join(paragraphs).encode())
    folder = root / "dists" / suite / "main" / "binary-amd64"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "Packages.xz").write_bytes(index)
    (root / "dists" / suite / "InRelease").write_text(
        "-----BEGIN PGP SIGNED MESSAGE-----\n\nSHA256:\n"
        f" {hashlib.sha256(index).hexdigest()} {len(index)} main/binary-amd64/Packages.xz\n"
        "-----BEGIN PGP SIGNATURE-----\n"
    )
    return f"deb file://{root} {suite} main\n"

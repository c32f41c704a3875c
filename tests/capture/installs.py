"""Distributions put into a folder as an installer does."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path


def install(
    site: Path, name: str, version: str = "1.0", files: Mapping[str, str] | None = None, *,
    requires: tuple[str, ...] = (), extra: Mapping[str, str] | None = None, installer: str = "pip",
) -> Path:  # fmt: skip
    """Install a distribution; return its metadata folder."""
    files = {f"{name.replace('-', '_')}/__init__.py": "x = 1\n"} if files is None else files
    info = f"{name.replace('-', '_')}-{version}.dist-info"
    lines = "".join(f"Requires-Dist: {line}\n" for line in requires)
    metadata = {
        "METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{lines}",
        "WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "INSTALLER": f"{installer}\n",
        **(extra or {}),
    }
    rows = []
    for path, text in [*files.items(), *((f"{info}/{n}", t) for n, t in metadata.items())]:
        target = site / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
        hashed = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=")
        rows.append(f"{path},sha256={hashed.decode()},{len(text.encode())}")
    (site / info / "RECORD").write_text("\n".join([*rows, f"{info}/RECORD,,", ""]))
    return site / info


def direct(url: str, **info: object) -> dict[str, str]:
    """Return the file that says that it did not come from an index."""
    return {"direct_url.json": json.dumps({"url": url, **info})}

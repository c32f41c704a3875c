"""What first differs between two images."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

import msgspec

from mlrepro_nb.connect import oci

Find = Callable[[str], "Path | None"]
"""Tells where a blob is, None where nobody has it any more."""


def first_difference(one: oci.Image, other: oci.Image, find: Find) -> str | None:
    """Return the first file or setting that differs, in words; None where nothing does."""
    if one.digest == other.digest:
        return None
    settings = [_json(image.configuration.digest, find) for image in (one, other)]
    titles = _titles(settings[0], len(one.layers))
    for number, (a, b) in enumerate(zip_longest(one.layers, other.layers)):
        if a is None or b is None:
            return f"one has {len(one.layers)} layers, the other {len(other.layers)}"
        if a.digest != b.digest:
            return f"{titles[number]}: {_in_layer(find(a.digest), find(b.digest))}"
    for key in sorted({*settings[0], *settings[1]}):
        if settings[0].get(key) != settings[1].get(key):
            return _setting(key, settings[0].get(key), settings[1].get(key))
    return "the manifest's annotations"


def _json(digest: str, find: Find) -> dict[str, Any]:
    path = find(digest)
    return dict(msgspec.json.decode(path.read_bytes())) if path else {}


def _titles(settings: dict[str, Any], count: int) -> list[str]:
    named = [
        str(entry.get("created_by", "")).removeprefix("mlrepro build: ")
        for entry in settings.get("history") or ()
        if not entry.get("empty_layer")
    ]
    return named if len(named) == count else [f"layer {number}" for number in range(count)]


def _setting(key: str, one: Any, other: Any) -> str:
    if isinstance(one, dict) and isinstance(other, dict):
        for inner in sorted({*one, *other}):
            if one.get(inner) != other.get(inner):
                return _setting(f"{key}.{inner}", one.get(inner), other.get(inner))
    return f"the setting {key}: {one!r:.100}, then {other!r:.100}"


def _in_layer(one: Path | None, other: Path | None) -> str:
    if one is None or other is None:
        return "its content, which is not in the cache any more"
    for a, b in zip_longest(_entries(one), _entries(other)):
        if a == b:
            continue
        if a is None or b is None or a["path"] != b["path"]:
            names = [entry["path"] if entry else "nothing more" for entry in (a, b)]
            return f"{names[0]} where the other has {names[1]}"
        facts = ", ".join(f"{k} {a[k]} and {b[k]}" for k in a if a[k] != b[k])
        return f"{a['path']}: {facts}"
    return "the compression; its files are the same"


def _entries(path: Path) -> Iterator[dict[str, Any]]:
    with oci.opened(path) as archive:
        for member in archive:
            content = archive.extractfile(member) if member.isfile() else None
            digest = hashlib.sha256()
            while content and (piece := content.read(1 << 20)):
                digest.update(piece)
            yield {
                "path": member.name,
                "kind": member.type.decode("ascii", "replace"),
                "mode": f"{member.mode:o}",
                "owner": f"{member.uid}:{member.gid}",
                "date": member.mtime,
                "link": member.linkname,
                "bytes": member.size,
                "content": digest.hexdigest()[:12],
            }

"""What of a logged model's files is the model, and not when, where or by whom it was written.

A rerun that trains the same model logs it once more, as other bytes: MLflow notes the time and
the run, skops the dates of its archive and the addresses that objects had in memory.
"""

from __future__ import annotations

import json
import re
import zipfile
import zlib
from pathlib import Path
from typing import Any

from mlrepro_nb.model import digest_bytes

_OF_THE_MOMENT = re.compile(
    rb"(?m)^(?:artifact_path|model_id|model_size_bytes|model_uuid|run_id|utc_time_created): .*\n"
)
"""Lines of MLmodel."""
_LARGEST = 256 << 20
"""Bytes of an archive that is read for this."""


def digest_of_model(path: Path) -> str | None:
    """Return what is the same of a file of a model when it is logged again.

    None where that is the whole file, as far as is known.
    """
    if path.name == "MLmodel":
        return digest_bytes(_OF_THE_MOMENT.sub(b"", path.read_bytes()))
    if path.suffix == ".skops" and path.stat().st_size <= _LARGEST:
        return _skops(path)
    return None


def _skops(path: Path) -> str | None:
    """Return the digest of a skops archive in which objects are numbered as they are met.

    Which of them are one and the same is kept, and so is what each file holds.
    """
    numbers: dict[int | str, int] = {}

    def numbered(pairs: list[tuple[str, Any]]) -> list[Any]:
        # As a list: the order of an object's attributes is a part of it.
        return [
            [key, numbers.setdefault(value, len(numbers)) if _is_name(key, value) else value]
            for key, value in pairs
        ]

    try:
        with zipfile.ZipFile(path) as archive:
            schema = json.loads(archive.read("schema.json"), object_pairs_hook=numbered)
            held = [
                [numbers[name], digest_bytes(archive.read(name))]
                for name in archive.namelist()
                if name != "schema.json"
            ]
    except (zipfile.BadZipFile, zlib.error, KeyError, RuntimeError, TypeError, ValueError):
        return None  # not as skops writes it
    return digest_bytes(json.dumps([schema, sorted(held)]).encode())


def _is_name(key: str, value: object) -> bool:
    """Whether this is an object's address, or the file that is named by it.

    Keys of a model's own dictionaries have a description for a value, never a number or text.
    """
    return isinstance(value, {"__id__": int, "file": str}.get(key, ()))

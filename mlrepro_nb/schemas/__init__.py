"""The documents' JSON Schemas, published with the package for tools that are not Python.

The files are made from `mlrepro_nb.model` by ``python -m mlrepro_nb.schemas``;
a test holds them to it. A schema of an old version is never changed.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import msgspec

from mlrepro_nb.model import DOCUMENTS, SCHEMA_VERSION


def file_name(kind: str) -> str:
    """Return the name of the file with a kind's current schema."""
    return f"{kind}.v{SCHEMA_VERSION}.schema.json"


def render(kind: str) -> bytes:
    """Return a kind's JSON Schema (2020-12) as the model has it."""
    schema: dict[str, Any] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"mlrepro-nb {kind}, version {SCHEMA_VERSION}",
        **msgspec.json.schema(DOCUMENTS[kind]),
    }
    return msgspec.json.format(msgspec.json.encode(schema, order="sorted"), indent=2) + b"\n"


def published(kind: str) -> bytes:
    """Return a kind's schema as the package ships it."""
    return files(__name__).joinpath(file_name(kind)).read_bytes()

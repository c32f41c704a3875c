"""Signed and unsigned statements about an image: what they are called, and their form. Pure.

https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

STATEMENT = "https://in-toto.io/Statement/v1"
PROVENANCE = "https://slsa.dev/provenance/v1"
BOM = "https://cyclonedx.org/bom"
SIGNATURE = "https://sigstore.dev/cosign/sign/v1"
"""Of a statement that says nothing but that its signer stands for the image."""
BOM_DOCUMENT = "application/vnd.cyclonedx+json"
"""Media type of a bill of materials as it is."""
BOM_NAME = "sbom.cdx.json"


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """What a statement is about."""

    name: str = ""
    digest: dict[str, str] = {}


class Statement(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An in-toto Statement."""

    type: Literal["https://in-toto.io/Statement/v1"] = msgspec.field(name="_type")
    subject: tuple[Subject, ...]
    predicate_type: str
    predicate: dict[str, Any] = {}

    def is_about(self, digest: str) -> bool:
        """Whether one of its subjects has a digest."""
        algorithm, _, content = digest.partition(":")
        return any(subject.digest.get(algorithm) == content for subject in self.subject)


def statement(
    kind: str, predicate: Mapping[str, Any], subject: str, *, name: str
) -> dict[str, Any]:
    """Return a statement about one thing, by its digest."""
    algorithm, _, content = subject.partition(":")
    return {
        "_type": STATEMENT,
        "subject": [{"name": name, "digest": {algorithm: content}}],
        "predicateType": kind,
        "predicate": dict(predicate),
    }


def read(content: bytes) -> Statement | None:
    """Read a statement, None where it is none."""
    try:
        return msgspec.json.decode(content, type=Statement)
    except msgspec.DecodeError:
        return None

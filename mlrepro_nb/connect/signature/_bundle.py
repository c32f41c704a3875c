"""Sigstore bundles (v0.3) around DSSE envelopes, made with a key and taken apart."""

from __future__ import annotations

import base64
import binascii
from typing import Any, Protocol

import msgspec

from mlrepro_nb.connect.signature._keys import PrivateKey, PublicKey
from mlrepro_nb.errors import ToolError
from mlrepro_nb.model import canonical

BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
STATEMENT = "application/vnd.in-toto+json"
"""Media type of an in-toto Statement."""


class Bundle(msgspec.Struct, frozen=True, kw_only=True):
    """A signed statement."""

    payload: bytes
    """The statement, as it was signed."""
    payload_type: str
    signatures: tuple[bytes, ...]
    hint: str | None = None
    """Which key signed it, as it says itself; None where a certificate vouches for it."""
    content: bytes
    """The bundle itself."""


class Signer(Protocol):
    """Signs statements."""

    @property
    def name(self) -> str:
        """Who it is, to be shown."""

    def sign(self, statement: bytes) -> bytes:
        """Return a bundle with a statement."""


class KeySigner:
    """A signer that has a private key."""

    def __init__(self, key: PrivateKey) -> None:
        self._key = key
        self.name = f"key {key.public.hint}"

    def sign(self, statement: bytes) -> bytes:
        """Return a bundle with a statement."""
        signature = self._key.sign(encoded(STATEMENT, statement))
        return canonical(
            {
                "mediaType": BUNDLE,
                "verificationMaterial": {
                    "publicKey": {"hint": self._key.public.hint},
                    "tlogEntries": [],
                },
                "dsseEnvelope": {
                    "payload": base64.b64encode(statement).decode("ascii"),
                    "payloadType": STATEMENT,
                    "signatures": [{"sig": base64.b64encode(signature).decode("ascii")}],
                },
            }
        )


def encoded(payload_type: str, payload: bytes) -> bytes:
    """Return the bytes that an envelope's signature is over (DSSE's PAE)."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def read(content: bytes) -> Bundle:
    """Take a bundle apart; nothing is checked yet.

    Raises
    ------
    ToolError
        It is no bundle with a signed statement.
    """
    try:
        found: dict[str, Any] = msgspec.json.decode(content)
        envelope = found["dsseEnvelope"]
        material = found["verificationMaterial"]
        return Bundle(
            payload=base64.b64decode(envelope["payload"], validate=True),
            payload_type=str(envelope["payloadType"]),
            signatures=tuple(
                base64.b64decode(s["sig"], validate=True) for s in envelope["signatures"]
            ),
            hint=str(material["publicKey"].get("hint", "")) if "publicKey" in material else None,
            content=content,
        )
    except (msgspec.DecodeError, KeyError, TypeError, AttributeError, binascii.Error) as error:
        raise ToolError(
            f"What is attached is not a Sigstore bundle with a statement ({error!r}).",
            "Who pushed it?",
            tool="sigstore",
        ) from error


def trouble(bundle: Bundle, key: PublicKey) -> str | None:
    """Return why a key does not vouch for a bundle, None where it does."""
    if bundle.hint is None:
        return "it was signed keyless, not with this key"
    if bundle.payload_type != STATEMENT:
        return f"it is signed as {bundle.payload_type}, which is no in-toto statement"
    signed = encoded(bundle.payload_type, bundle.payload)
    if any(key.accepts(signed, signature) for signature in bundle.signatures):
        return None
    if bundle.hint and bundle.hint != key.hint:
        return f"it was signed with another key ({bundle.hint}, this is {key.hint})"
    return "it was changed after it was signed"

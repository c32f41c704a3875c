"""Which of what is attached to an image can be believed."""

from __future__ import annotations

import msgspec

from mlrepro_nb.connect import signature
from mlrepro_nb.errors import ToolError
from mlrepro_nb.lineage.custody._check import Check, bad, good, unknown
from mlrepro_nb.lineage.custody._image import Attached, Found
from mlrepro_nb.model import attestation, digest_bytes, short


class Who(msgspec.Struct, frozen=True, kw_only=True):
    """Whom to believe."""

    key: signature.PublicKey | None = None
    identity: str | None = None
    issuer: str | None = None

    @property
    def anybody(self) -> bool:
        """Whether nobody was named."""
        return self.key is None and self.identity is None

    def trouble(self, bundle: signature.Bundle) -> str | None:
        """Return why a bundle is not to be believed, None where it is."""
        if self.key is not None:
            return signature.trouble(bundle, self.key)
        if self.identity is not None:
            return signature.identity_trouble(bundle, self.identity, self.issuer)
        return None


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """A statement about the image, or why there is none to believe."""

    digest: str
    """Of the artifact's manifest."""
    kind: str = ""
    statement: attestation.Statement | None = None
    signed: str | None = None
    """Who signed it, as it says itself."""
    trouble: str | None = None


def statements(found: Found, who: Who) -> list[Said]:
    """Return what is said about an image, each judged."""
    read = [_read(attached, found.digest, who) for attached in found.attached]
    return [said for said in read if said is not None]


def _read(attached: Attached, image: str, who: Who) -> Said | None:
    artifact = attached.artifact
    if artifact is None:
        return Said(digest=attached.digest, trouble=attached.trouble)
    signed, trouble = None, None
    if artifact.media_type.startswith("application/vnd.dev.sigstore.bundle"):
        try:
            bundle = signature.read(artifact.content)
        except ToolError as error:
            return Said(digest=attached.digest, trouble=error.message)
        content, signed = bundle.payload, bundle.hint or "an identity"
        trouble = who.trouble(bundle)
    elif artifact.media_type == signature.STATEMENT:
        content = artifact.content
        trouble = None if who.anybody else "it is not signed"
    else:
        return None
    told = attestation.read(content)
    if told is None:
        return Said(digest=attached.digest, signed=signed, trouble="it is no in-toto statement")
    if trouble is None and not told.is_about(image):
        others = ", ".join(d for s in told.subject for d in s.digest.values()) or "none"
        trouble = f"its subject is another image ({others[:80]})"
    return Said(
        digest=attached.digest, kind=told.predicate_type, statement=told, signed=signed,
        trouble=trouble,
    )  # fmt: skip


def provenance(said: list[Said], who: Who) -> tuple[attestation.Statement | None, list[Check]]:
    """Return the newest provenance that can be believed, and what there is to say of it."""
    about = [s for s in said if s.kind in (attestation.PROVENANCE, "")]
    fine = [s for s in about if s.trouble is None and s.statement is not None]
    wrong = [f"{short(s.digest)}: {s.trouble}" for s in about if s.trouble is not None]
    if not about:
        return None, [bad("provenance", "none is attached to the image")]
    if not fine:
        name = "provenance" if who.anybody else "signature"
        return None, [bad(name, text) for text in wrong]
    newest = max(fine, key=_finished)
    checks = []
    if not who.anybody:
        checks.append(good("signature", f"of {newest.signed}, on {short(newest.digest)}"))
    elif newest.signed:
        told = f"by {newest.signed}; name the key that you trust with --key"
        checks.append(unknown("signature", f"it is signed {told}"))
    else:
        checks.append(unknown("signature", "it is not signed"))
    checks.append(good("subject", "the provenance is of this image"))
    # Anybody who may push can attach something: it spoils nothing, but is told.
    checks += [unknown("also attached", text) for text in wrong]
    return newest.statement, checks


def _finished(said: Said) -> str:
    predicate = said.statement.predicate if said.statement else {}
    metadata = (predicate.get("runDetails") or {}).get("metadata") or {}
    return str(metadata.get("finishedOn", ""))


def bill(found: Found, statement: attestation.Statement) -> Check:
    """Return whether the bill of materials is the one that the provenance names."""
    details = statement.predicate.get("runDetails") or {}
    named = {
        f"sha256:{(entry.get('digest') or {}).get('sha256')}"
        for entry in details.get("byproducts") or ()
        if entry.get("mediaType") == attestation.BOM_DOCUMENT
    }
    if not named:
        return unknown("bill of materials", "the provenance names none")
    there = {
        digest_bytes(attached.artifact.content)
        for attached in found.attached
        if attached.artifact and attached.artifact.media_type == attestation.BOM_DOCUMENT
    }
    if named <= there:
        return good("bill of materials", f"{short(min(named))}, as the provenance names it")
    if there:
        return bad("bill of materials", "it is not the one that the provenance names")
    return bad("bill of materials", "the one that the provenance names is not attached")

"""The walk along the chain, link by link."""

from __future__ import annotations

from pathlib import Path

import msgspec

from mlrepro_nb.connect import signature
from mlrepro_nb.errors import StoreError
from mlrepro_nb.lineage.custody import _chain, _image, _statements
from mlrepro_nb.lineage.custody._check import Check, good
from mlrepro_nb.model import Report, silent
from mlrepro_nb.store import Store


class Custody(msgspec.Struct, frozen=True, kw_only=True):
    """What was found along the chain."""

    target: str
    image: str
    """Reference, by digest."""
    holds: bool
    """Whether no link is broken; one that could not be looked at breaks nothing."""
    checks: tuple[Check, ...]


def verify(
    target: str,
    *,
    key: str | Path | None = None,
    identity: str | None = None,
    issuer: str | None = None,
    store: Store | None = None,
    namespace: str | None = None,
    context: str | None = None,
    report: Report = silent,
) -> Custody:
    """Check the chain of an image: signature, subject, record, lock, notebook, data.

    Parameters
    ----------
    target : str
        An image's reference or digest, ``deployment/NAME`` or ``pod/NAME``, a file
        with its manifest, or an OCI layout (``oci:PATH``).
    key : str or Path, optional
        The public key that must have signed.
    identity, issuer : str, optional
        Who must have signed, where that was done keyless.
    store, namespace, context, report
        As for `trace`.

    Raises
    ------
    NotFoundError
        The target means no image.
    UsageError
        The key cannot be read.
    ToolError
        A registry or cluster had to be asked and did not answer.
    """
    trusted = signature.public(Path(key)) if key is not None else None
    who = _statements.Who(key=trusted, identity=identity, issuer=issuer)
    if store is None:
        try:
            store = Store.find()
        except StoreError:
            store = None  # what the image itself says can be checked anywhere
    reference, checks = _image.locate(target, store, namespace, context, report)
    found = _image.read(reference, report)
    checks.append(good("image", found.reference))
    said = _statements.statements(found, who)
    statement, judged = _statements.provenance(said, who)
    checks += judged
    if statement is not None:
        checks.append(_statements.bill(found, statement))
        checks += _chain.labels(statement, found.labels)
    record, check = _chain.record(found.labels.get("io.mlrepro.record"), store)
    checks.append(check)
    if record is not None and store is not None:
        lock = found.labels.get("io.mlrepro.lock")
        checks += _chain.chain(record, found.labels, store, lock)
    return Custody(
        target=target,
        image=found.reference,
        holds=all(check.holds is not False for check in checks),
        checks=tuple(checks),
    )

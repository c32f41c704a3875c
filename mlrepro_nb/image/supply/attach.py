"""The documents that go beside an image: which they are, and who signs them."""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from mlrepro_nb.connect import registry, signature, uv
from mlrepro_nb.connect.registry import Artifact
from mlrepro_nb.errors import ToolError
from mlrepro_nb.image import _settings
from mlrepro_nb.image._plan import Plan
from mlrepro_nb.image.supply.audit import audit
from mlrepro_nb.image.supply.packages import WANTED, System, system
from mlrepro_nb.image.supply.provenance import Made, provenance, statement
from mlrepro_nb.image.supply.sbom import sbom
from mlrepro_nb.model import Image, Report, Step, attestation, digest_bytes
from mlrepro_nb.store import Store

if TYPE_CHECKING:
    from mlrepro_nb.image.builders import Built

KEYLESS = "keyless"
_CREATED = "org.opencontainers.image.created"
_TITLE = "org.opencontainers.image.title"


def signer(
    named: str | None, root: Path, ask: Callable[[], str] | None = None
) -> signature.Signer | None:
    """Return who signs: nobody, ``keyless``, or the key of a file (from the project's folder).

    Raises
    ------
    UsageError
        The key cannot be read or its password is wrong; or there is no identity token.
    ToolError
        What signs is not installed.
    """
    if not named:
        return None
    if named == KEYLESS:
        return signature.Keyless()
    return signature.KeySigner(signature.private(root / Path(named).expanduser(), ask))


class Supply:
    """What a build is told about what goes beside its image.

    Parameters
    ----------
    root
        The project's folder; what is not said here is in its ``pyproject.toml``.
    attest
        Whether anything is attached.
    sign
        Who signs: a private key's file, ``keyless``, or nobody.
    audit
        What known vulnerabilities of the lock do.
    ask
        Returns the private key's password where the environment does not have it.
    settings
        The project's settings, where they are read already.

    Raises
    ------
    UsageError
        The key cannot be read, or its password is wrong.
    ToolError
        What signs is not installed.
    """

    def __init__(
        self, root: Path, *, attest: bool = True, sign: str | None = None,
        audit: str | None = None, ask: Callable[[], str] | None = None,
        settings: _settings.Settings | None = None,
    ) -> None:  # fmt: skip
        settings = settings or _settings.read(root)
        given = str(Path(sign).absolute()) if sign and sign != KEYLESS else sign
        self.attest = attest
        self.mode = audit or settings.audit
        self.signer = signer(given or settings.sign, root, ask) if attest else None
        self.started = now()

    def audit(self, plan: Plan, report: Report) -> None:
        """Ask for known vulnerabilities of what the lock names; see `audit.audit`."""
        audit(plan, self.mode, report)

    def documents(self, plan: Plan, built: Built, builder: str, report: Report) -> Documents | None:
        """Return what goes beside an image that was built; None where nothing does."""
        if not self.attest:
            return None
        report(Step(message="writing bill of materials and provenance"))
        how = Made(
            builder=builder,
            toolchain=built.toolchain,
            versions=versions(),
            started=self.started,
            finished=now(),
        )
        return Documents(plan, system(built.texts(WANTED, report)), how, self.signer)


class Documents:
    """What goes beside one image.

    Parameters
    ----------
    plan
        What the image was made of.
    system
        Its operating system's packages, where they are known.
    built
        How it was made.
    """

    def __init__(
        self, plan: Plan, system: System | None, built: Made, signer: signature.Signer | None
    ) -> None:
        self.plan = plan
        self.signer = signer
        self.bom = sbom(plan, system)
        self.predicate = provenance(
            plan,
            msgspec.structs.replace(
                built,
                byproducts={
                    attestation.BOM_NAME: (attestation.BOM_DOCUMENT, digest_bytes(self.bom))
                },
            ),
        )
        self.referrers: tuple[str, ...] = ()
        self._made: dict[str, tuple[Artifact, ...]] = {}

    def statement(self, subject: str) -> bytes:
        """Return the provenance of an image, by the digest of its manifest."""
        return statement(self.plan, attestation.PROVENANCE, self.predicate, subject)

    def about(self, subject: str) -> tuple[Artifact, ...]:
        """Return what is attached to an image: signed once, however often this is asked for."""
        if subject not in self._made:
            self._made[subject] = (self._bill(), *self._statements(subject))
        return self._made[subject]

    def attach(self, repository: str, digest: str, report: Report) -> None:
        """Push what goes beside an image that a registry has."""
        subject = registry.manifest(f"{repository}@{digest}", platform=self.plan.platform)
        about = self.about(subject.digest)
        self.referrers = registry.attach(repository, subject, about, report=report)

    def keep(self, image: Image, store: Store) -> Image:
        """Return the image's document with what went beside it, which the store keeps."""
        said = self.statement(image.manifest) if image.manifest else None
        return msgspec.structs.replace(
            image,
            sbom=store.blobs.put(self.bom),
            provenance=store.blobs.put(said) if said else None,
            referrers=self.referrers,
            signed=self.signer.name if self.signer else None,
        )

    def _bill(self) -> Artifact:
        return Artifact(
            artifact_type=attestation.BOM_DOCUMENT,
            media_type=attestation.BOM_DOCUMENT,
            content=self.bom,
            annotations={_CREATED: self.plan.created, _TITLE: attestation.BOM_NAME},
        )

    def _statements(self, subject: str) -> tuple[Artifact, ...]:
        if self.signer is None:
            return (
                Artifact(
                    artifact_type=signature.STATEMENT,
                    media_type=signature.STATEMENT,
                    content=self.statement(subject),
                    annotations={
                        _CREATED: self.plan.created,
                        "in-toto.io/predicate-type": attestation.PROVENANCE,
                    },
                ),
            )
        said: dict[str, dict[str, Any]] = {
            attestation.PROVENANCE: self.predicate,
            attestation.BOM: msgspec.json.decode(self.bom),
            attestation.SIGNATURE: {},
        }
        return tuple(
            Artifact(
                artifact_type=signature.BUNDLE,
                media_type=signature.BUNDLE,
                content=self.signer.sign(statement(self.plan, kind, predicate, subject)),
                annotations={
                    _CREATED: self.plan.created,
                    "dev.sigstore.bundle.content": "dsse-envelope",
                    "dev.sigstore.bundle.predicateType": kind,
                },
            )
            for kind, predicate in said.items()
        )


def versions() -> dict[str, str]:
    """Return the versions of what takes part in a build on this machine."""
    from mlrepro_nb import __version__

    found = {"mlrepro-nb": __version__, "python": platform.python_version()}
    with contextlib.suppress(
        ToolError
    ):  # where the lock and the wheels are cached, it is not needed
        found["uv"] = uv.version()
    return found


def now() -> str:
    """Return the time, as provenance has it."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")

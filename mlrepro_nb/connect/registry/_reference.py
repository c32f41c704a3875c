"""Image references, as Docker reads them."""

from __future__ import annotations

import re

import msgspec

from mlrepro_nb.errors import UsageError

HUB = "docker.io"

_NAME = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_NAME}(?:/{_NAME})*")
_REGISTRY = re.compile(r"(?:[A-Za-z0-9.-]+|\[[0-9a-fA-F:]+\])(?::\d{1,5})?")
_TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class Reference(msgspec.Struct, frozen=True, kw_only=True):
    """An image reference, with nothing left implied but the tag."""

    registry: str
    repository: str
    tag: str | None = None
    digest: str | None = None

    @property
    def name(self) -> str:
        """Registry and repository."""
        return f"{self.registry}/{self.repository}"

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return f"{self.name}{tag}{f'@{self.digest}' if self.digest else ''}"


def parse(reference: str) -> Reference:
    """Read a reference as Docker does: ``python:3.12`` is ``docker.io/library/python:3.12``.

    Raises
    ------
    UsageError
        It is none.
    """
    rest, _, digest = reference.partition("@")
    head, slash, tail = rest.partition("/")
    if slash and ("." in head or ":" in head or head == "localhost"):
        registry, rest = head, tail
    else:
        registry = HUB
    repository, _, tag = rest.partition(":")
    if registry in (HUB, "index.docker.io"):
        registry = HUB
        repository = repository if "/" in repository else f"library/{repository}"
    good = (
        _REGISTRY.fullmatch(registry)
        and _REPOSITORY.fullmatch(repository)
        and len(repository) <= 255
        and (":" not in rest or _TAG.fullmatch(tag))
        and ("@" not in reference or _DIGEST.fullmatch(digest))
    )
    if not good:
        raise UsageError(
            f"{reference!r} is not an image reference.",
            "It reads [REGISTRY/]NAME[:TAG][@sha256:<64 hex digits>], its name in lower case.",
        )
    return Reference(
        registry=registry, repository=repository, tag=tag or None, digest=digest or None
    )

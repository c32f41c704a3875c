"""Where what is in an image comes from, as URLs that can be shown. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from mlrepro_nb.connect import registry
from mlrepro_nb.image._plan import UNNAMED, Plan
from mlrepro_nb.model import Record, decode

if TYPE_CHECKING:
    from packageurl import PackageURL


def record_of(plan: Plan) -> Record:
    """Return the record that a plan is of; it is one of the image's files."""
    content = next(f.content for f in plan.files if (f.layer, f.path) == ("record", "record.json"))
    return decode(Record, content or b"")


def plain_url(text: str) -> str:
    """Return a URL without user, password and query, which may hold a token; a path as it is."""
    if "://" not in text:
        return text
    parts = urlsplit(text)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def base_purl(plan: Plan) -> PackageURL | None:
    """Return the package URL of the base image, None where it has no name or digest."""
    from packageurl import PackageURL

    if plan.base == UNNAMED or not plan.base_digest:
        return None
    reference = registry.parse(plan.base)
    qualifiers = {"repository_url": reference.name}
    if reference.tag:
        qualifiers["tag"] = reference.tag
    name = reference.repository.rpartition("/")[2]
    return PackageURL("oci", None, name, plan.base_digest, qualifiers=qualifiers)

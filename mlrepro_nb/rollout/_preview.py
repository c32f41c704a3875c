"""The manifests of an image that may not exist yet: pure."""

from __future__ import annotations

from typing import Any

from mlrepro_nb.model import Record
from mlrepro_nb.rollout._image import Subject, registry_name
from mlrepro_nb.rollout._manifests import manifests
from mlrepro_nb.rollout._names import workload_name
from mlrepro_nb.rollout._plan import NOT_PUSHED, Options, plan
from mlrepro_nb.rollout._yaml import to_yaml


def preview(record: Record, record_digest: str, image: str | None = None, **options: Any) -> str:
    """Render the manifests of an image that may not exist yet: quick, offline, pure.

    Parameters
    ----------
    record, record_digest : Record, str
        What the image is, or will be, built from.
    image : str, optional
        Its repository or reference. Without a digest the manifests say so at
        their head and hold a placeholder that no cluster accepts.
    **options
        As in `Options`.

    Raises
    ------
    UsageError
        An option is not possible.
    """
    by_digest = image is not None and "@sha256:" in image
    default = workload_name(record.code.notebook)
    reference = image if image and by_digest else f"{registry_name(image or default)}@{NOT_PUSHED}"
    subject = Subject(
        reference=reference,
        record=record_digest,
        version=None if by_digest else NOT_PUSHED,
        source="given" if by_digest else "none yet: build and push it",
    )
    text = to_yaml(manifests(plan(subject, record, Options(**options))))
    if by_digest:
        return text
    return f"# Preview: the image was not pushed yet, so it has no digest.\n{text}"

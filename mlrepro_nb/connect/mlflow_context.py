"""What MLflow is told of the recording when a run is made (its ``run_context_provider``).

MLflow imports this in every process that imports MLflow: nothing but the standard
library may be needed here.
"""

from __future__ import annotations

from collections.abc import Mapping

_tags: dict[str, str] = {}


def announce(tags: Mapping[str, str]) -> None:
    """Give every run that is made from now on these tags."""
    _tags.clear()
    _tags.update(tags)


def withdraw() -> None:
    """Give runs no more tags."""
    _tags.clear()


class RecordingContext:
    """Tags the runs of a kernel that is recorded; MLflow makes one when it is imported."""

    def in_context(self) -> bool:
        """Return whether this process is recorded."""
        return bool(_tags)

    def tags(self) -> dict[str, str]:
        """Return the tags of a run that is made now."""
        return dict(_tags)

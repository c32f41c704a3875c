"""What a cell's tags and comments ask of whoever runs and compares it.

nbval's markers in both their forms, Jupyter's `raises-exception`, and the
`skip-execution` of nbclient, nbmake and papermill. A comment decides over a tag,
and of several that contradict each other the last. What nbmake runs after a cell is in
the cell's metadata.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

_COMMENTS: dict[str, tuple[str, bool]] = {
    "PYTEST_VALIDATE_IGNORE_OUTPUT": ("check", False),  # as nbval's markers were called once
    "NBVAL_IGNORE_OUTPUT": ("check", False),
    "NBVAL_CHECK_OUTPUT": ("check", True),
    "NBVAL_RAISES_EXCEPTION": ("raises", True),
    "NBVAL_SKIP": ("skip", True),
}
_TAGS: dict[str, tuple[str, bool]] = {
    **{name.lower().replace("_", "-"): meaning for name, meaning in _COMMENTS.items()},
    "raises-exception": ("raises", True),
    "skip-execution": ("skip", True),
}
SKIPPED = "skip-execution"
"""The tag by which an executor leaves a cell out."""


class Marks(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of one cell."""

    check: bool | None = None
    """Whether its output is compared; None where nothing is said."""
    raises: bool = False
    """It may raise: the exception is output, and compared as such."""
    skip: bool = False
    """It is not run."""

    @property
    def compared(self) -> bool:
        """Whether its output is compared where everything is that does not say otherwise."""
        return self.check is not False and not self.skip


def read_after(cell: Mapping[str, Any]) -> str:
    """Return the code that nbmake runs after a cell that raised nothing: mocks, then checks."""
    asked = (cell.get("metadata") or {}).get("nbmake")
    if not isinstance(asked, Mapping):
        return ""
    mocks, more = asked.get("mock"), asked.get("post_cell_execute")
    lines = [f"{k} = {_plain(v)!r}" for k, v in mocks.items()] if isinstance(mocks, Mapping) else []
    lines += [more] if isinstance(more, str) else map(str, more if isinstance(more, list) else ())
    return "\n".join(lines)


def _plain(value: Any) -> Any:
    """Return JSON as the literals of Python that it is: nbformat's mappings are a class's."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def read_marks(cell: Mapping[str, Any]) -> Marks:
    """Return what a cell is marked with."""
    found: dict[str, bool] = {}
    metadata = cell.get("metadata") or {}
    tags = metadata.get("tags")
    for tag in tags if isinstance(tags, list) else ():
        if isinstance(tag, str) and (meaning := _TAGS.get(tag)):
            found[meaning[0]] = meaning[1]
    source = cell.get("source") or ""
    for line in ("".join(source) if isinstance(source, list) else source).splitlines():
        line = line.strip()
        if line.startswith("#") and (meaning := _COMMENTS.get(line.lstrip("#").strip())):
            found[meaning[0]] = meaning[1]
    return Marks(
        check=found.get("check"), raises=found.get("raises", False), skip=found.get("skip", False)
    )

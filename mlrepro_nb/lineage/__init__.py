"""trace: from anything to everything it came from and led to.

`trace` answers with a `Lineage`: a graph of frozen values in W3C PROV's words.
`to_text`, `to_json`, `to_svg` and `to_html` draw it; they are pure.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from mlrepro_nb.lineage.graph import TYPES, Edge, Lineage, Node
from mlrepro_nb.lineage.html import to_html
from mlrepro_nb.lineage.layout import Layout, layout
from mlrepro_nb.lineage.svg import to_svg
from mlrepro_nb.lineage.text import to_text
from mlrepro_nb.model import Report, silent

if TYPE_CHECKING:
    from mlrepro_nb.store import Store

__all__ = [
    "TYPES",
    "Edge",
    "Layout",
    "Lineage",
    "Node",
    "from_json",
    "layout",
    "to_html",
    "to_json",
    "to_svg",
    "to_text",
    "trace",
]


def trace(
    target: str,
    *,
    store: Store | None = None,
    namespace: str | None = None,
    context: str | None = None,
    report: Report = silent,
) -> Lineage:
    """Walk from a thing to all that it came from and led to.

    Parameters
    ----------
    target : str
        A notebook's or data file's path; a digest (or its start) of a record,
        image, file or git commit; an image reference; an MLflow model or run
        (``models:/name/1``, ``m-…``, a run id); ``deployment/NAME`` or
        ``pod/NAME``, or a file with its manifest; the id of a node.
    store : Store, optional
        By default the one that serves the working folder.
    namespace, context : str, optional
        Where in Kubernetes a Deployment or pod is.
    report : Report
        Is told the progress.

    Returns
    -------
    Lineage
        What is connected. What is missing is said in its notes, never guessed.

    Raises
    ------
    NotFoundError
        Nothing answers to the target, or several things do.
    ToolError
        A registry or cluster had to be asked and did not answer.
    """
    from mlrepro_nb.errors import StoreError
    from mlrepro_nb.lineage._targets import Search
    from mlrepro_nb.store import Store

    if store is None:
        try:
            store = Store.find(Path(target) if os.path.isfile(target) else None)  # noqa: PTH113
        except StoreError:
            # An image or pod tells its chain on a machine that never saw the project.
            store = Store(Path.cwd() / ".mlrepro")
    return Search(target, store, report, namespace, context).lineage()


def to_json(lineage: Lineage) -> str:
    """Return a lineage as JSON; `from_json` reads it back."""
    import msgspec

    return msgspec.json.format(msgspec.json.encode(lineage), indent=2).decode()


def from_json(text: str | bytes) -> Lineage:
    """Read a lineage that `to_json` wrote."""
    import msgspec

    return msgspec.json.decode(text, type=Lineage)

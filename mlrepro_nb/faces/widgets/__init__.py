"""Widgets: the chain as a graph, and a form that makes a container image.

anywidget, so they work in JupyterLab, Notebook 7 and VS Code. Both also leave a
static copy in the notebook, for GitHub, nbviewer and readers without a kernel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlrepro_nb.faces.widgets._containerize import ContainerizeWidget
    from mlrepro_nb.faces.widgets._lineage import LineageWidget

__all__ = ["containerize", "lineage"]


def lineage(target: str | None = None) -> LineageWidget:
    """Return the chain around a target as a graph to look into.

    Parameters
    ----------
    target : str, optional
        As for `mlrepro_nb.lineage.trace`; by default what this kernel has
        recorded so far.
    """
    from mlrepro_nb.capture.data.audit import unwatched
    from mlrepro_nb.faces.widgets import _kernel
    from mlrepro_nb.faces.widgets._lineage import LineageWidget
    from mlrepro_nb.lineage import trace

    with unwatched():  # what we read here is not the notebook's doing
        if target is not None:
            return LineageWidget(trace(target))
        store = _kernel.store()
        return LineageWidget(trace(_kernel.current(store), store=store))


def containerize(target: str | None = None) -> ContainerizeWidget:
    """Return a form that builds, pushes and rolls out an image of a record.

    Parameters
    ----------
    target : str, optional
        A record's digest or a notebook's path; by default what this kernel has
        recorded so far.
    """
    from mlrepro_nb.capture.data.audit import unwatched
    from mlrepro_nb.faces.widgets import _kernel
    from mlrepro_nb.faces.widgets._containerize import ContainerizeWidget

    with unwatched():
        store = _kernel.store()
        digest, record = store.find_record(target or _kernel.current(store))
        return ContainerizeWidget(store, digest, record)

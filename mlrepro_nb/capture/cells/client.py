"""Who asked for an execution: the notebook, a console on the same kernel, or a tool."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any, Literal

Origin = Literal["notebook", "console", "other"]


def asked_by(parent: Mapping[str, Any]) -> dict[str, str | None]:
    """Return what a request tells about who sent it: the ``client``, and its ``front`` end.

    Every client of a kernel has a session id of its own. JupyterLab and Jupyter
    Notebook send ``deletedCells`` with the cells of a notebook, and not with
    those of a console, though both send a cell's id.
    """
    session = (parent.get("header") or {}).get("session")
    marked = "deletedCells" in (parent.get("metadata") or {})
    return {
        "client": str(session)[:12] if session else None,
        "front": "notebook" if marked else None,
    }


def is_persons(info: Any, parent: Mapping[str, Any]) -> bool:
    """Return whether a person asked for an execution.

    Variable inspectors and debuggers run code that leaves no trace in the
    history, and that stands in no cell.
    """
    kept = getattr(info, "store_history", True)
    return bool(kept) or bool((parent.get("metadata") or {}).get("cellId"))


def origins(
    begins: Mapping[int, Mapping[str, Any]],
    ids: Collection[str],
    digests: Collection[str],
    saved: str | None,
) -> dict[int, Origin]:
    """Return the origin of each execution.

    Parameters
    ----------
    begins : mapping
        The executions' ``begin`` events, by order.
    ids, digests : collection of str
        Of the cells of the notebook's file, and of their sources.
    saved : str, optional
        When the file was written (RFC 3339); None where there is none.
    """
    clients = Counter(begin.get("client") for begin in begins.values())
    if len(clients) < 2:
        return dict.fromkeys(begins, "notebook")
    known = {b.get("client") for b in begins.values() if b.get("id") in ids}
    marked = {b.get("client") for b in begins.values() if b.get("front") == "notebook"}
    sure = known | marked
    if not sure:
        # Front ends that send no ids: whoever ran what the file says, else who came first.
        same = Counter(b.get("client") for b in begins.values() if b["digest"] in digests)
        sure = {same.most_common(1)[0][0] if same else begins[min(begins)].get("client")}
    found: dict[int, Origin] = {}
    for order, begin in begins.items():
        client = begin.get("client")
        found[order] = "notebook" if client in sure else "console"
        # A page that was loaded anew is another client: until its cells are saved,
        # it cannot be told from another notebook on this kernel.
        if known and client in marked - known and saved is not None:
            last = max(b["started"] for b in begins.values() if b.get("client") == client)
            if last < saved:
                found[order] = "other"
    return found

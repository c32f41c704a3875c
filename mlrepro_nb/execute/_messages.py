"""What a kernel sends, made safe to be kept: not too deep, not too much."""

from __future__ import annotations

import json
from typing import Any

DEPTH = 100
"""Levels of nesting that are kept; what is deeper is no output that anybody reads."""
CUT = "… (nested deeper than is kept)"

_SHORT = 1000

_UNREADABLE: dict[str, Any] = {
    "name": "stdout", "text": CUT, "data": {"text/plain": CUT}, "metadata": {}, "transient": {},
    "execution_state": "busy", "status": "ok", "comm_id": "", "execution_count": None,
    "code": "", "wait": False, "ename": "", "evalue": "", "traceback": [], "payload": [],
}  # fmt: skip
"""Stands for a message's content that cannot be read, whatever its type."""


_STREAM = b'{"name": "std'
_PASSED = {"name": "stdout", "text": ""}


def unpack(data: bytes, *, full: bool = False) -> Any:
    """Read a part of a message; of a stream nothing where that is `full`."""
    if full and len(data) > _SHORT and bytes(data[: len(_STREAM)]) == _STREAM:
        return dict(_PASSED)
    raw = bytes(data)
    try:
        found = json.loads(raw.decode("utf-8", "replace"))
    except (RecursionError, ValueError):
        return dict(_UNREADABLE)
    if raw.count(b"{") + raw.count(b"[") > DEPTH:
        shallow(found)
    return found


def shallow(value: Any) -> bool:
    """Cut what is nested deeper than `DEPTH`, in place; return whether there was any."""
    cut = False
    level = [value]
    for depth in range(DEPTH + 1):
        below: list[Any] = []
        for node in level:
            items = _items(node)
            for key, child in items:
                if isinstance(child, dict | list) and child:
                    if depth == DEPTH:
                        node[key] = CUT
                        cut = True
                    else:
                        below.append(child)
        if not below:
            break
        level = below
    return cut


def _items(node: Any) -> list[tuple[Any, Any]]:
    if isinstance(node, dict):
        return list(node.items())
    return list(enumerate(node)) if isinstance(node, list) else []

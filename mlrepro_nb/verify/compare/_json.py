"""JSON: the same structure, numbers within tolerance, key order without meaning."""

from __future__ import annotations

import json
import math
from typing import Any

from mlrepro_nb.verify.compare._difference import EXACT, NEAR, PLAIN, Context, Difference
from mlrepro_nb.verify.compare._text import compare_text

# Names under which plotting libraries keep ids that they draw anew each time.
_DRAWN = frozenset({"uid", "uuid", "model_id", "root_ids", "docid", "elementid", "div_id"})


def compare_json(before: Any, after: Any, context: Context = PLAIN) -> Difference:
    """Compare two JSON values; a difference is shown with its path."""
    if before == after and json.dumps(before) == json.dumps(after):
        return EXACT
    stack: list[tuple[str, Any, Any]] = [("$", before, after)]
    while stack:
        path, old, new = stack.pop()
        if isinstance(old, dict) and isinstance(new, dict):
            keys = {k for k in {*old, *new} if str(k).lower() not in _DRAWN}
            for key in sorted(keys, key=str, reverse=True):
                if key not in old or key not in new:
                    return _differ(f"{path}.{key}", old.get(key, "—"), new.get(key, "—"))
                stack.append((f"{path}.{key}", old[key], new[key]))
        elif isinstance(old, list) and isinstance(new, list):
            if len(old) != len(new):
                return _differ(path, f"{len(old)} items", f"{len(new)} items")
            stack.extend((f"{path}[{i}]", old[i], new[i]) for i in reversed(range(len(old))))
        elif isinstance(old, str) and isinstance(new, str):
            found = compare_text(old, new, context)
            if found.level == "different":
                return Difference(
                    level="different",
                    before=f"{path} {found.before}",
                    after=found.after,
                    hints=found.hints,
                )
        elif not _same(old, new, context):
            return _differ(path, old, new)
    return NEAR


def _same(old: Any, new: Any, context: Context) -> bool:
    if isinstance(old, bool) or isinstance(new, bool) or old is None or new is None:
        return old is new
    if isinstance(old, int) and isinstance(new, int):
        return old == new
    if isinstance(old, int | float) and isinstance(new, int | float):
        if math.isnan(old) or math.isnan(new):
            return math.isnan(old) and math.isnan(new)
        limit = context.atol + context.rtol * abs(old)
        return old == new or math.isclose(old, new, rel_tol=0, abs_tol=limit)
    return False


def _differ(path: str, old: Any, new: Any) -> Difference:
    return Difference(level="different", before=f"{path} {old}"[:200], after=f"{new}"[:200])

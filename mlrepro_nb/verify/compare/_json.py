"""JSON: the same structure, numbers within tolerance, key order without meaning."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from mlrepro_nb.verify.compare._buffers import unpacked
from mlrepro_nb.verify.compare._difference import (
    EXACT,
    NEAR,
    PLAIN,
    Context,
    Difference,
    differing,
)
from mlrepro_nb.verify.compare._numbers import close
from mlrepro_nb.verify.compare.text import compare_text

# Names under which plotting libraries keep ids that they draw anew each time, and the
# release of the language that they write.
_DRAWN_KEYS = frozenset({
    "uid", "uuid", "model_id", "root_ids", "docid", "elementid", "div_id", "$schema", "plotid",
    "roots_id",
})  # fmt: skip
# What a library draws to refer to its own parts. It counts which part is meant, not its name.
_DRAWN = re.compile(
    r"(?:IPY_MODEL_)?[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}"
    r"|(?:data|view|chart|plot|map|el|source|layer|param)[-_][0-9a-f]{6,64}|p\d{4,6}|[0-9a-f]{24,64}"
)
_LOST_SHARE = 0.5


def compare_json(
    before: Any, after: Any, context: Context = PLAIN, *, drawn: bool = False
) -> Difference:
    """Compare two JSON values; a difference is shown with its path.

    Never raises, however deep they are. With `drawn`, ids that a plotting library
    drew are compared by what they refer to: each may have another name, the same
    wherever it stands.
    """
    if identical(before, after):
        return EXACT
    names = _Names() if drawn else None
    stack: list[tuple[_Path, Any, Any]] = [(_Path(), before, after)]
    while stack:
        path, old, new = stack.pop()
        found = _step(path, old, new, context, names, stack)
        if found is not None:
            return found
    return NEAR


def identical(before: Any, after: Any) -> bool:
    """Whether two JSON values are one, types and the order of keys included."""
    if type(before) is not type(after):
        return False
    if isinstance(before, str):
        return bool(before == after)
    try:
        if before != after:
            return False
        return msgspec.json.encode(before) == msgspec.json.encode(after)
    except (RecursionError, TypeError, ValueError, OverflowError):
        return _identical_deep(before, after)


def _identical_deep(before: Any, after: Any) -> bool:
    stack = [(before, after)]
    while stack:
        old, new = stack.pop()
        if type(old) is not type(new):
            return False
        if isinstance(old, Mapping):
            if list(old) != list(new):
                return False
            stack.extend((old[key], new[key]) for key in old)
        elif isinstance(old, list | tuple):
            if len(old) != len(new):
                return False
            stack.extend(zip(old, new, strict=True))
        elif old is not new and repr(old) != repr(new):
            return False
    return True


class _Path(msgspec.Struct, frozen=True):
    """Where a value stands; written out only where it is shown."""

    above: _Path | None = None
    key: Any = None

    def __str__(self) -> str:
        found: list[str] = []
        at: _Path | None = self
        while at is not None and at.above is not None:
            found.append(f"[{at.key}]" if isinstance(at.key, int) else f".{at.key}")
            at = at.above
        shown = found if len(found) <= 12 else [*found[:6], "…", *found[-6:]]
        return "$" + "".join(reversed(shown))


class _Names:
    """Which drawn id of one value is which of the other."""

    def __init__(self) -> None:
        self._there: dict[str, str] = {}
        self._back: dict[str, str] = {}

    def same(self, old: str, new: str) -> bool:
        if len(old) > 90 or not (_DRAWN.fullmatch(old) and _DRAWN.fullmatch(new)):
            return False
        return self._there.setdefault(old, new) == new and self._back.setdefault(new, old) == old


def _step(
    path: _Path, old: Any, new: Any, context: Context, names: _Names | None, stack: list[Any]
) -> Difference | None:
    """Compare two values but for what they hold, which goes onto the stack."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        packed = (unpacked(old), unpacked(new)) if "dtype" in old and "dtype" in new else None
        if packed and packed[0] is not None and packed[1] is not None:
            return _step(path, packed[0], packed[1], context, names, stack)
        return _mappings(path, old, new, names, stack)
    if isinstance(old, list | tuple) and isinstance(new, list | tuple):
        if len(old) != len(new):
            lost = {"lost"} if len(new) < len(old) * _LOST_SHARE else ()
            return differing(f"{path} {len(old)} items", f"{len(new)} items", hints=lost)
        for index in range(len(old) - 1, -1, -1):
            one, other = old[index], new[index]
            if one is other:
                continue
            kind = type(one)
            if kind is type(other) and kind in (float, int, bool, type(None), str) and one == other:
                continue
            if kind is float and type(other) is float and close(one, other, context):
                continue
            stack.append((_Path(path, index), one, other))
        return None
    if isinstance(old, str) and isinstance(new, str):
        if old == new or (names is not None and names.same(old, new)):
            return None
        found = compare_text(old, new, context)
        if found.level == "different":
            return differing(f"{path} {found.before}", found.after, hints=found.hints)
        return None
    return None if _same(old, new, context) else _differ(path, old, new)


def _mappings(
    path: _Path, old: Mapping[Any, Any], new: Mapping[Any, Any], names: _Names | None,
    stack: list[Any],
) -> Difference | None:  # fmt: skip
    gone = [key for key in old if key not in new and _counts(key)]
    come = [key for key in new if key not in old and _counts(key)]
    renamed = dict(zip(gone, come, strict=False))
    if gone or come:
        if names is None or len(gone) != len(come):
            key = (gone or come)[0]
            return _differ(_Path(path, key), old.get(key, "—"), new.get(key, "—"))
        for one, other in renamed.items():
            if not names.same(str(one), str(other)):
                return _differ(_Path(path, one), old[one], "—")
    stack.extend(
        (_Path(path, str(key)), old[key], new[renamed.get(key, key)])
        for key in reversed(list(old))
        if _counts(key)
    )
    return None


def _counts(key: Any) -> bool:
    return str(key).lower() not in _DRAWN_KEYS


def _same(old: Any, new: Any, context: Context) -> bool:
    if isinstance(old, bool) or isinstance(new, bool) or old is None or new is None:
        return old is new
    if isinstance(old, int) and isinstance(new, int):
        return old == new
    if isinstance(old, int | float) and isinstance(new, int | float):
        try:
            return close(float(old), float(new), context)
        except OverflowError:
            return bool(old == new)
    return bool(type(old) is type(new) and repr(old) == repr(new))


def _differ(path: _Path, old: Any, new: Any) -> Difference:
    return differing(f"{path} {_told(old)}", _told(new))


def _told(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"an object of {len(value)} keys"
    if isinstance(value, list | tuple):
        return f"{len(value)} items"
    # Not whole: a string may be megabytes, and a number of a million digits takes minutes.
    if isinstance(value, int) and value.bit_length() > 400:
        return "a large number"
    return str(value)[:200]

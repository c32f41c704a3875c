"""The values are the same, and are shown otherwise: nobody has typed that into an output.

What does it is a setting of the kernel (how many digits, which style) that a cell made which
is no longer there, or a library that has come to write its values in another way.
"""

from __future__ import annotations

import ast
import re
import string
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from mlrepro_nb.dataflow import dotted
from mlrepro_nb.model import Cause
from mlrepro_nb.verify.attribute import order
from mlrepro_nb.verify.attribute.case import Case, Seen, cause
from mlrepro_nb.verify.attribute.differences._shown import shown
from mlrepro_nb.verify.attribute.interfaces import libraries

_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d*)?(?:e[-+]?\d+)?(?![\w.])", re.I)
_WORD = re.compile(r"[A-Za-z_][\w.]*")
_TYPES = frozenset({
    "array", "bool", "category", "class", "count", "datetime", "dtype", "float", "index",
    "int", "length", "list", "masked_array", "ms", "name", "ns", "object",
    "proportion", "result", "series", "str", "string", "timedelta", "tuple", "uint", "us",
})  # fmt: skip
"""Words of types and headings in what libraries show; digits at their end are left out."""
_SIZES = re.compile(r"\bLength: \d+|\bmemory usage: .*")
"""What pandas says of an object's size hangs on how it keeps it."""
_MOST = 200_000
_DEFAULTS: Mapping[str, tuple[str, str]] = {
    "sklearn.cluster.KMeans": ("n_init", "scikit-learn 1.4"),
    "sklearn.cluster.MiniBatchKMeans": ("n_init", "scikit-learn 1.4"),
    "sklearn.cluster.k_means": ("n_init", "scikit-learn 1.4"),
    "sklearn.ensemble.AdaBoostClassifier": ("algorithm", "scikit-learn 1.6"),
    "sklearn.manifold.MDS": ("n_init", "scikit-learn 1.9"),
    "sklearn.manifold.TSNE": ("init", "scikit-learn 1.2"),
    "sklearn.svm.LinearSVC": ("dual", "scikit-learn 1.5"),
}
"""Arguments whose default another release changed, from the libraries' release notes. Only those
that came while today's Pythons were there: of an older Python much else is said before."""


def shown_otherwise(case: Case, cell: Seen) -> Cause | None:
    """Say whether a setting or another release of a library shows the same values otherwise."""
    index = cell.index
    if found := _setting(case, cell):
        return found
    used = libraries(case, case.flow.upstream(index))
    if used and _respelled(case, cell):
        library = next((n for n in ("pandas", "numpy", "scipy") if n in used), used[0])
        return cause(
            "version-drift", index, library,
            f"Cell {index} shows the same numbers in other words{shown(cell)}: as another "
            f"{library} writes them",
            f"Install the {library} that the notebook ran with, or run it from the top and save",
        )  # fmt: skip
    return _default(case, index)


def is_picture(cell: Seen) -> bool:
    """Whether what differs is a picture, into which nobody types."""
    return cell.difference is not None and cell.difference.where.startswith("image/")


def _setting(case: Case, cell: Seen) -> Cause | None:
    """Say whether all that differs is rounded or drawn otherwise, and an execution is missing."""
    stable = [
        c for c in case.cells.values() if c.differs and c.error is None and c.repeats is not False
    ]
    if not all(map(_styled, stable)):
        return None
    missing = [g for g in order.gaps(case) if g <= cell.index]
    if case.record is not None or not missing:
        return None
    return cause(
        "deleted-definition", cell.index, "display settings",
        f"Cell {cell.index} shows what it showed, rounded or drawn otherwise{shown(cell)}; an "
        f"execution is missing before [{case.cells[missing[-1]].count}], of a cell that is no "
        "longer there and seems to have set that",
        f"Put the setting (pd.set_option, np.set_printoptions, plt.rcParams, plt.style) into a "
        f"cell above cell {cell.index}",
    )  # fmt: skip


def _styled(cell: Seen) -> bool:
    """Whether a cell's picture has another size, or its numbers another number of digits."""
    if is_picture(cell):
        assert cell.difference is not None
        return "×" in cell.difference.before
    one, other = text_shown(cell.reference), text_shown(cell.outputs)
    old, new = _NUMBER.findall(one), _NUMBER.findall(other)
    return (
        bool(old) and len(old) == len(new) and old != new
        and all(map(_same_rounded, old, new))
        and _WORD.findall(one) == _WORD.findall(other)
    )  # fmt: skip


def _same_rounded(one: str, other: str) -> bool:
    if one == other:
        return True
    places = [len(text.partition(".")[2]) for text in (one, other)]
    if places[0] == places[1] or "e" in (one + other).lower():
        return False
    # Half a unit of the last place that both have, and what binary fractions lack.
    return abs(float(one) - float(other)) <= 0.5000001 * 10.0 ** -min(places)


def _respelled(case: Case, cell: Seen) -> bool:
    """Whether numbers agree and the words that came or went are those of types and names."""
    one, other = (_SIZES.sub("", text_shown(outputs)) for outputs in (cell.reference, cell.outputs))
    if is_picture(cell) or Counter(_NUMBER.findall(one)) != Counter(_NUMBER.findall(other)):
        return False
    old, new = Counter(_WORD.findall(one)), Counter(_WORD.findall(other))
    changed = set((old - new) | (new - old))
    own = set(_WORD.findall("\n".join(c.source for c in case.cells.values())))
    types = {word for word in changed if _of_type(word)}
    return bool(types) and all(word in types or word in own for word in changed)


def _of_type(word: str) -> bool:
    """Whether a word is one of a library's: a type's, or the dotted name of a class."""
    plain = word.rstrip(string.digits).lower()
    return plain in _TYPES or "." in word.strip(".") or plain.endswith(("array", "result", "dtype"))


def text_shown(outputs: Sequence[Mapping[str, Any]]) -> str:
    """Return what outputs show as text: the plain form of each."""
    found = []
    for output in outputs:
        if output.get("name") == "stderr":
            continue
        value = output.get("text") or (output.get("data") or {}).get("text/plain") or ""
        text = value if isinstance(value, str) else "".join(map(str, value))
        found.append(text)
    return "\n".join(found)[:_MOST]


def _default(case: Case, index: int) -> Cause | None:
    """Say whether a cell rests on a default that a release changed."""
    for up in sorted(case.flow.upstream(index), reverse=True):
        tree = case.flow.by_index[up].tree
        for node in ast.walk(tree) if tree is not None else ():
            if not isinstance(node, ast.Call):
                continue
            name = case.flow.resolve(dotted(node.func) or "")
            known = _DEFAULTS.get(name)
            given = {keyword.arg for keyword in node.keywords}
            if known is None or None in given or known[0] in given:
                continue
            library = known[1].partition(" ")[0]
            return cause(
                "version-drift", up, library,
                f"Cell {up} leaves {known[0]} of {name.rpartition('.')[2]} to its default, which "
                f"{known[1]} changed; nothing else that cell {index} depends on is seen to have "
                f"changed{shown(case.cells[index])}",
                f"Give {known[0]} in cell {up}, or install the {library} that the notebook ran "
                "with",
            )  # fmt: skip
    return None

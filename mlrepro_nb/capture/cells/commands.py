"""Shell commands and magics in a cell's source: pure."""

from __future__ import annotations

import ast

_QUIET = frozenset(
    {"time", "timeit", "capture", "prun", "mlrepro", "memit", "mprun", "lprun", "debug", "pdb",
     "who", "whos", "who_ls", "pinfo", "pinfo2", "psearch", "psource", "pdoc", "pfile", "history",
     "hist", "lsmagic", "magic", "quickref", "pprint", "precision", "colors", "xmode", "page",
     "pwd", "ls", "html", "HTML", "markdown", "latex", "svg", "SVG", "tb", "notebook",
     "recall", "rep", "dhist", "connect_info", "qtconsole", "doctest_mode", "logstate", "alias"}
)  # fmt: skip
"""Magics that leave nothing behind which another cell, or a rerun, could miss."""

_LONGEST = 500
_BODY = 1000
_SHELLS = frozenset({"bash", "sh", "script", "system", "sx", "!", "!!"})


def commands(tree: ast.Module | None) -> tuple[str, ...]:
    """Return a cell's commands as they are written, in order, long ones shortened.

    Parameters
    ----------
    tree : ast.Module, optional
        The cell, its magics turned into calls (`mlrepro_nb.dataflow.parse`).
    """
    found: list[tuple[int, int, str]] = []
    for node in ast.walk(tree) if tree is not None else ():
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        owner = node.func.value
        if not (isinstance(owner, ast.Call) and isinstance(owner.func, ast.Name)):
            continue
        if owner.func.id != "get_ipython":
            continue
        given = [a.value for a in node.args if isinstance(a, ast.Constant)]
        texts = [text for text in given if isinstance(text, str)]
        if text := _written(node.func.attr, texts):
            found.append((node.lineno, node.col_offset, text))
    return tuple(text for _, _, text in sorted(found))


def _written(method: str, texts: list[str]) -> str | None:
    if method in ("system", "system_piped", "system_raw") and texts:
        return f"!{texts[0]}"[:_LONGEST]
    if method in ("getoutput", "getoutput_split") and texts:
        return f"!{texts[0]}"[:_LONGEST]
    if method in ("run_line_magic", "magic") and texts:
        name, _, rest = " ".join(texts).partition(" ")
        return None if name in _QUIET else f"%{name} {rest}".rstrip()[:_LONGEST]
    if method == "run_cell_magic" and texts and texts[0] not in _QUIET:
        first = f"%%{' '.join(texts[:2])}".rstrip()
        body = texts[2] if len(texts) > 2 and texts[0] in _SHELLS else ""
        return f"{first}\n{body}".rstrip()[:_BODY]
    return None

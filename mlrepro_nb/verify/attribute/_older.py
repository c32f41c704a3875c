"""A notebook that was saved with another Python, where nothing but its file is known."""

from __future__ import annotations

import re
import sys

from mlrepro_nb.model import Cause
from mlrepro_nb.verify.attribute.case import Case, cause


def older_python(case: Case) -> Cause | None:
    """Say whether the notebook ran with another Python, where nothing but its file is known.

    Its libraries were others then, too: what they print, draw and order changes with them, and
    nobody needs to have edited anything. It is one cause for all the cells.
    """
    if case.record is not None or case.rerun is None:
        return None
    before, after = str(case.language.get("version") or ""), case.rerun.environment.python
    saved = f"with Python {before}"
    if not re.match(r"\d+\.\d+", before):
        if not case.language.get("orig_nbformat"):
            return None
        saved, before = "in a format of 2014 or before", "of that time"
    if before.split(".")[:2] == after.split(".")[:2]:
        return None
    if before.startswith("2."):
        return cause(
            "python2", None, "python",
            f"The notebook was saved {saved}, and this is {after}: its cells run and give "
            "something else", "Port the notebook to Python 3: 2to3, modernize",
        )  # fmt: skip
    used = {
        name.partition(".")[0]
        for cell in case.flow.cells for name in (*cell.imports.values(), *cell.stars)
    } - set(sys.stdlib_module_names)  # fmt: skip
    libraries = f", and with the {', '.join(sorted(used)[:4])} of that time" if used else ""
    return cause(
        "version-drift", None, "python",
        f"The notebook was saved {saved}{libraries}, and this is {after}; nothing else that its "
        "differing cells depend on is seen to have changed",
        f"Run it with Python {'.'.join(before.split('.')[:2])} and libraries as of when it was "
        "saved, or run it from the top and save",
    )  # fmt: skip

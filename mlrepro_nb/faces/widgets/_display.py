"""How a widget is shown, and what of it stays in a saved notebook.

A widget's view says "model not found" once its kernel is gone, and JupyterLab
never looks at the other forms of the same output then. So the static copy is an
output of its own, hidden by its own style sheet for as long as the live view
with the same key is on the page.
"""

from __future__ import annotations

from typing import Any

LIVE = "application/vnd.jupyter.widget-view+json"

_STYLE = """
body:has(.mlrepro-live-KEY) .mlrepro-static-KEY{display:none}
body:has(.mlrepro-live-KEY) .jp-OutputArea-child:has(.mlrepro-static-KEY){display:none}
.jp-OutputArea-child:has(+ .jp-OutputArea-child .mlrepro-static-KEY)
 .jp-OutputArea-output:not(:has(*)){display:none}
""".replace("\n", "")


def static(key: str, html: str) -> str:
    """Wrap a static copy so that it steps back for the live view."""
    style = f"<style>{_STYLE.replace('KEY', key)}</style>"
    return f'<div class="mlrepro-static mlrepro-static-{key}">{html}</div>{style}'


def show(live: dict[str, Any], copy: dict[str, Any], mime: str) -> None:
    """Publish a widget's view and its static copy, both known as ours by their MIME type."""
    from IPython.display import display

    from mlrepro_nb.faces.widgets import _kernel

    if not _kernel.headless():
        # No text/html here: where widgets do not work, the copy below says it all.
        view = {LIVE: live[LIVE], "text/html": "", "text/plain": "", mime: {"view": True}}
        display(view, raw=True)
    display(copy, raw=True)

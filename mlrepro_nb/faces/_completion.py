"""Tab completion of ``%mlrepro``, in every front end that asks the kernel."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mlrepro_nb.faces._verbs import VERBS, Verb, command
from mlrepro_nb.model import Image, Record, short

_STARTS = ("%mlrepro", "%%mlrepro")
_NAME = "mlrepro"
_MOST = 40
"""Entries of the store that are offered."""


def install(ipython: Any, paused: Callable[[], Any]) -> None:
    """Have IPython ask us for lines that begin with the magic.

    `paused` returns a context in which nothing is recorded.
    """

    def found(text: str, symbol: str) -> list[str]:
        # Whatever goes wrong: the user presses a key, and gets no traceback for it.
        with contextlib.suppress(Exception), paused():
            return completions(text, symbol)
        return []

    try:
        from IPython.core.completer import SimpleCompletion, context_matcher

        matchers = ipython.Completer.custom_matchers
    except (ImportError, AttributeError):  # before IPython 8.6
        for start in _STARTS:
            ipython.set_hook(
                "complete_command",
                lambda _, event: found(event.text_until_cursor, event.symbol),
                str_key=start,
            )
        return

    def matcher(context: Any) -> dict[str, Any]:
        line = context.text_until_cursor.rpartition("\n")[2]
        if line.split(maxsplit=1)[:1] not in ([_STARTS[0]], [_STARTS[1]]) or " " not in line:
            return {"completions": []}
        names = found(line, context.token)
        # What is a path or a digest to us is a sum or a name to others.
        return {
            "completions": [SimpleCompletion(text=name, type="mlrepro") for name in names],
            "suppress": bool(names),
            "ordered": True,
        }

    uninstall(ipython)
    matchers.append(context_matcher(identifier=_NAME)(matcher))


def uninstall(ipython: Any) -> None:
    """Let go of what `install` did."""
    with contextlib.suppress(Exception):
        matchers = ipython.Completer.custom_matchers
        matchers[:] = [m for m in matchers if getattr(m, "matcher_identifier", "") != _NAME]
    with contextlib.suppress(Exception):
        for start in _STARTS:
            ipython.strdispatchers["complete_command"].strs.pop(start, None)


def completions(text: str, symbol: str) -> list[str]:
    """Return what may stand in place of `symbol`, the end of `text` as IPython splits it."""
    line = text.rpartition("\n")[2]
    words = line.split()
    if line[-1:].isspace() or len(words) < 2:
        words.append("")
    word = words[-1]
    # IPython's word begins after a colon or an equals sign; ours after a space.
    cut = len(word) - len(symbol)
    if cut < 0:
        return []
    found = dict.fromkeys(candidate for candidate in _candidates(words) if candidate)
    return [candidate[cut:] for candidate in found if candidate.startswith(word)]


def _candidates(words: list[str]) -> Iterator[str]:
    magic, *typed, word = words
    if magic.startswith("%%"):
        yield from ("record",) if not typed else ("--name",) if typed == ["record"] else ()
        return
    if not typed:
        yield from VERBS
        return
    verb = VERBS.get(typed[0])
    if verb is None:
        return
    if typed[0] == "help":
        yield from VERBS if len(typed) == 1 else ()
        return
    if typed[0] == "expect":
        yield from _expecting(typed[1:])
        return
    params = command(typed[0]).params if verb.command else []
    if word.startswith("-"):
        yield from (option for p in params for option in (*p.opts, *p.secondary_opts)
                    if option.startswith("-"))  # fmt: skip
        yield "--help"
        return
    for param in params:
        if typed[-1] in param.opts and not getattr(param, "is_flag", False):
            yield from _values(param, word)
            return
    yield from _arguments(verb, word)


def _expecting(typed: list[str]) -> Iterator[str]:
    """Yield what may come next in ``expect NAME >= LIMIT delta D``."""
    if not typed:
        from IPython.core.getipython import get_ipython

        from mlrepro_nb.capture.metrics.numbers import number

        shell: Any = get_ipython()
        names = shell.user_ns if shell is not None else {}
        yield from (
            name for name, value in names.items()
            if not name.startswith("_") and isinstance(number(value), float)
        )  # fmt: skip
    elif len(typed) == 1:
        yield from (">=", "<=", ">", "<", "==", "!=", "delta")
    elif len(typed) == 3 and typed[1] != "delta":
        yield "delta"


def _values(param: Any, word: str) -> Iterator[str]:
    """Yield what may follow an option."""
    if choices := getattr(param.type, "choices", None):
        yield from map(str, choices)
    elif param.name == "kernel":
        from jupyter_client.kernelspec import find_kernel_specs

        yield from sorted(find_kernel_specs())
    elif type(param.type).__name__ == "Path":
        yield from _paths(word, None)


def _arguments(verb: Verb, word: str) -> Iterator[str]:
    from mlrepro_nb.errors import MlreproError
    from mlrepro_nb.store import Store

    if "notebook" in verb.takes:
        yield from _paths(word, ".ipynb")
    if not verb.takes:
        return
    with contextlib.suppress(MlreproError):
        store = Store.find()
        if "record" in verb.takes:
            yield from _digests(store, word)
        if "image" in verb.takes:
            for entry in store.entries(Image, limit=_MOST):
                image = store.get(Image, entry.digest)
                yield from (f"{image.repository}:{tag}" for tag in image.tags)
        if "data" in verb.takes:
            prefix = f"path:{word}"
            yield from (key.removeprefix("path:") for key in store.find_keys(prefix, _MOST))


def _digests(store: Any, word: str) -> Iterator[str]:
    """Yield records as they are shown: by their first digits, the newest first."""
    prefix = "sha256:" if word.startswith("sha256:") else ""
    digits = word.removeprefix(prefix)
    for entry in store.entries(Record, limit=_MOST):
        yield prefix + short(entry.digest, max(12, len(digits)))


def _paths(word: str, suffix: str | None) -> Iterator[str]:
    """Yield folders, and files of a kind, below the working folder or where the word leads."""
    folder = word.rpartition("/")[0]
    start = "/" if word.startswith("/") and not folder else folder
    with os.scandir(Path(start or ".").expanduser()) as entries:
        names = sorted((entry.name, entry.is_dir()) for entry in entries)
    lead = word[: len(word) - len(word.rpartition("/")[2])]
    for name, is_folder in names:
        if name.startswith(".") or " " in name:
            continue
        if is_folder:
            yield f"{lead}{name}/"
        elif suffix is None or name.endswith(suffix):
            yield f"{lead}{name}"

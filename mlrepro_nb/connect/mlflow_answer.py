"""What a model answered when MLflow tried it on its input example.

``log_model`` loads what it has just written and predicts from the example as a server
would, to warn of a model that cannot be served (MLflow 2.15 and later); it drops the
answer. Here that is kept. To be had later, it takes the notebook's environment, and seconds
of imports.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

ROWS = 100
"""Of an input example that a served model repeats; an answer to more of them is not kept."""
LONGEST = 64 << 10
"""Characters of an answer that is kept: it becomes a part of the record."""
_PLAIN = (dict, str, int, float, bool)


def observe(answered: Callable[[str], None]) -> Callable[[], None]:
    """Call ``answered(text)`` in the thread of each trial from now on, if it can be kept.

    `text` is the answer's body by MLflow's scoring protocol: JSON, NaN and infinities as Python
    writes them.

    Returns
    -------
    callable
        Puts MLflow's function back as it was.
    """
    module, name = _trial()
    if module is None:
        return lambda: None
    original = getattr(module, name)

    @functools.wraps(original)
    def trial(*args: Any, **kwargs: Any) -> Any:
        found = original(*args, **kwargs)
        with contextlib.suppress(Exception):  # it must not become the user's exception
            text = _answer(kwargs.get("serving_input", args[-1] if args else None), found)
            if text is not None:
                answered(text)
        return found

    setattr(module, name, trial)

    def undo() -> None:
        if module.__dict__.get(name) is trial:
            setattr(module, name, original)

    return undo


def _trial() -> tuple[ModuleType | None, str]:
    """Return where ``Model.log`` takes its trial from, at each call."""
    for module, name in (
        ("mlflow.models.utils", "_validate_serving_input"),  # since 3.13
        ("mlflow.models", "validate_serving_input"),
    ):
        found = sys.modules.get(module)
        if hasattr(found, name):
            return found, name
    return None, ""


def _answer(serving_input: Any, predicted: Any) -> str | None:
    """Return predictions as MLflow's server would, None where they are no small plain data."""
    example = json.loads(serving_input) if isinstance(serving_input, str) else serving_input
    if not _is_small(predicted):
        return None
    server: Any = sys.modules["mlflow.pyfunc.scoring_server"]
    written = _Short()
    # Of a language model's requests the answer is not wrapped.
    if server.is_unified_llm_input(example):
        server.unwrapped_predictions_to_json(predicted, written)
    else:
        server.predictions_to_json(predicted, written)
    return written.getvalue()


class _Short(io.StringIO):
    """A text that takes no more than what is kept: pictures are a hundred megabytes of JSON."""

    def write(self, text: str) -> int:
        if self.tell() + len(text) > LONGEST:
            raise ValueError("it is too long")
        return super().write(text)


def _is_small(predicted: Any) -> bool:
    """Whether these are few rows, and nothing that only gives them as it is read."""
    table = type(predicted).__module__.partition(".")[0] in ("numpy", "pandas")
    if table or isinstance(predicted, list):
        return len(predicted) <= ROWS and (not table or predicted.size <= LONGEST)
    return isinstance(predicted, _PLAIN)

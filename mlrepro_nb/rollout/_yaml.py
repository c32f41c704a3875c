"""Manifests as YAML that a person would have written: pure."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from typing import Any

# What surely is a string to every YAML reader. Kubernetes reads YAML 1.1 by other rules than
# PyYAML writes it: there `y` is true and `1e3` a number.
_PLAIN = re.compile(r"[A-Za-z/<][A-Za-z0-9 _./@+()=<>,*;×%…-]*(?:[:#][A-Za-z0-9_./@=<>-]+)*")
_QUANTITY = re.compile(r"\d+(?:m|[KMGT]i)")
_WORDS = frozenset(
    {"y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf", "infinity"}
)


def to_yaml(manifests: Iterable[Mapping[str, Any]]) -> str:
    """Return manifests as one YAML stream, the same text for the same values."""
    import yaml

    return yaml.dump_all(
        manifests,
        Dumper=_dumper(),
        sort_keys=False,
        default_flow_style=False,
        allow_unicode=True,
        width=100000,
        explicit_start=True,
    ).removeprefix("---\n")


@functools.cache
def _dumper() -> Any:
    import yaml

    class Dumper(yaml.SafeDumper):
        pass

    def string(dumper: Any, text: str) -> Any:
        tag = "tag:yaml.org,2002:str"
        clean = all(c.isprintable() or c == "\n" for c in text)
        if clean and "\n" in text and text.rstrip("\n") and not text.startswith((" ", "\n")):
            return dumper.represent_scalar(tag, text, style="|")
        certain = _PLAIN.fullmatch(text) and text.lower() not in _WORDS and not text.endswith(" ")
        if certain or _QUANTITY.fullmatch(text):
            return dumper.represent_scalar(tag, text)
        return dumper.represent_scalar(tag, text, style='"')

    # An anchor that stands for a second place is nothing a person would write.
    Dumper.ignore_aliases = lambda *_: True  # type: ignore[method-assign]
    Dumper.add_representer(str, string)
    return Dumper

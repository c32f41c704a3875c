"""Masking secrets in text that is kept: sources, diffs, messages, parameters."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

MASK = "***"

_NAME = (
    r"(?:pass(?:wd|word|phrase)?|pwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key"
    r"|account[_-]?key|credentials?|auth(?:orization)?|connection[_-]?string|dsn)"
)
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_SECRET_NAME = re.compile(
    rf"(?i)(?:^|[_\W]|(?<=[a-z])(?=[A-Z])){_NAME}s?(?:$|[_\W])|(?i:^{_NAME}s?$)"
)

# Shapes that are secrets whatever they are called.
_TOKENS = re.compile(
    r"""
    \b(?:AKIA|ASIA|AROA)[0-9A-Z]{16}\b                    # AWS key ids
    | \bgh[pousr]_[A-Za-z0-9]{20,}\b | \bgithub_pat_\w{20,}\b
    | \bglpat-[\w-]{18,} | \bhf_[A-Za-z0-9]{20,}\b
    | \bsk-[\w-]{20,} | \bxox[abeoprs]-[\w-]{10,} | \bAIza[\w-]{30,}
    | \bnpm_[A-Za-z0-9]{30,}\b | \bpypi-[\w-]{40,} | \bdapi[0-9a-f]{32}\b
    | \beyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]*                # JSON web tokens
    | (?<=Bearer\ )[\w.~+/=-]{12,}
    """,
    re.VERBOSE,
)
_PRIVATE_KEY = re.compile(
    r"(-----BEGIN [A-Z ]*PRIVATE KEY-----).*?(-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL
)
_URL = re.compile(r"(\b[a-zA-Z][a-zA-Z0-9+.-]*://)[^\s/@'\"]+@")
_URL_QUERY = re.compile(rf"(?i)([?&][\w.-]*(?:{_NAME}|sig|signature)[\w.-]*=)[^&\s'\"#]+")
# name = "literal", "name": "literal", name="literal", environ["NAME"] = 'literal'
_LITERAL = re.compile(
    rf"""(?ix)
    ( (?: \b[\w-]*? {_NAME} (?:[_-]?\w+)?? \b ) ["']? \s* \]? \s*
      (?: :\s*str\s*=(?!=) | =(?!=) | : | ,(?=\s*["']) ) \s*
      [rbuf]{{0,2}} )
    ( \"\"\".+?\"\"\" | '''.+?''' | "(?:[^"\\\n]|\\.)+" | '(?:[^'\\\n]|\\.)+' )
    """,
    re.DOTALL,
)
# %env API_KEY=abc, !export TOKEN=abc
_COMMAND = re.compile(
    rf"(?im)((?:%(?:set_)?env|\bexport|\bset)\s+[A-Z0-9_]*{_NAME}[A-Z0-9_]*\s*[= ]\s*)(?![\"'*])\S+"
)
# API_KEY=abc: a line of a .env file, no Python that anyone formats
_LINE = re.compile(
    r"(?m)^([+-]?[A-Z][A-Z0-9_]*(?:PASSWORD|PASSWD|SECRET|TOKEN|API_?KEY|ACCESS_?KEY|PRIVATE_?KEY)[A-Z0-9_]*=)(?![\"'*=])\S+$"
)
# REGISTRY_AUTH_USER, SSH_AUTH_SOCK, TOKEN_URL: about a secret, not one. (A URL's own
# credentials are masked as such.)
_ABOUT = re.compile(
    r"(?i)[_-](?:user(?:name)?|host|port|url|uri|path|file|dir|sock|type|mode|name|id|enabled"
    r"|timeout|expiry|length)$"
)
_SHORTEST = 6


def is_secret_name(name: str) -> bool:
    """Return whether what goes by this name should not be shown."""
    words = _CAMEL.sub("_", name)
    return bool(_SECRET_NAME.search(words)) and not _ABOUT.search(words)


def mask(text: str) -> str:
    """Return a text with the secrets in it masked.

    Masked are: tokens of known shapes, private keys, credentials in URLs,
    string literals that are given to a name like ``password``, and the values
    of this process's environment variables with such names.
    """
    if not text:
        return text
    for value in _environment_secrets():
        if value in text:
            text = text.replace(value, MASK)
    if "PRIVATE KEY" in text:
        text = _PRIVATE_KEY.sub(rf"\1{MASK}\2", text)
    if "://" in text:
        text = _URL.sub(rf"\1{MASK}@", text)
        text = _URL_QUERY.sub(rf"\1{MASK}", text)
    text = _TOKENS.sub(MASK, text)
    if _QUICK.search(text):
        text = _LITERAL.sub(_masked_literal, text)
        text = _COMMAND.sub(rf"\1{MASK}", text)
        text = _LINE.sub(rf"\1{MASK}", text)
    return text


_QUICK = re.compile(rf"(?i){_NAME}")


def _masked_literal(match: re.Match[str]) -> str:
    literal = match.group(2)
    quote = literal[:3] if literal[:3] in ('"""', "'''") else literal[0]
    return f"{match.group(1)}{quote}{MASK}{quote}"


def mask_values(values: Any, name: str = "") -> Any:
    """Return JSON data with the values of secret names, and secrets in its texts, masked."""
    if name and is_secret_name(name) and values not in (None, "", False, True):
        # max_tokens=512 is a number of tokens, not a token.
        is_count = isinstance(values, int | float) and name.lower().endswith("tokens")
        return values if is_count else MASK
    if isinstance(values, str):
        return mask(values)
    if isinstance(values, Mapping):
        return {str(key): mask_values(value, str(key)) for key, value in values.items()}
    if isinstance(values, list | tuple):
        return [mask_values(value) for value in values]
    return values


_kept: tuple[float, list[str]] = (-1e9, [])
_KEEP = 1.0


def _environment_secrets() -> list[str]:
    global _kept
    now = time.monotonic()
    if now - _kept[0] > _KEEP:  # every cell asks, and a name costs a search
        found = [
            value
            for name, value in os.environ.items()
            if len(value) >= _SHORTEST and is_secret_name(name)
        ]
        _kept = (now, found)
    return _kept[1]


def mask_notebook(nb: Mapping[str, Any], parameters: Mapping[str, Any] = {}) -> dict[str, Any]:
    """Return a copy of a notebook (nbformat 4, as JSON) that may be kept and shipped.

    Masked are secrets in sources, in texts of outputs and in papermill's
    metadata, and the values of secret parameters wherever they show. Pictures
    and other binary outputs stay as they are.
    """
    hidden = [
        value
        for name, value in parameters.items()
        if is_secret_name(name) and isinstance(value, str) and len(value) >= _SHORTEST
    ]

    def clean(value: Any, mime: str = "text/plain") -> Any:
        if isinstance(value, str):
            if not mime.startswith(("text/", "application/")):
                return value
            for secret in hidden:
                value = value.replace(secret, MASK)
            return mask(value)
        if isinstance(value, Mapping):
            return {
                key: clean(item, key if "/" in str(key) else mime) for key, item in value.items()
            }
        if isinstance(value, list | tuple):
            return [clean(item, mime) for item in value]
        return value

    copy = {**nb, "cells": [clean(cell) for cell in nb["cells"]]}
    metadata = dict(nb["metadata"])
    if "papermill" in metadata:
        metadata["papermill"] = mask_values(metadata["papermill"])
    return {**copy, "metadata": metadata}


def mask_outputs(outputs: Sequence[Any]) -> list[Any]:
    """Return a cell's outputs as `mask_notebook` keeps them."""
    cell = mask_notebook({"cells": [{"outputs": outputs}], "metadata": {}})["cells"][0]
    return list(cell["outputs"])

"""Masking secrets in text that is kept: sources, diffs, messages, parameters, outputs.

Three ways to know one: its shape (a token's, a private key's, a URL's password), the
name that it is given to (``password = "…"``), and its value (an environment variable of
such a name, a literal that was seen). Every search is linear in the text, whatever the
text: a cell waits for it.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote, quote_plus, urlsplit

import msgspec

MASK = "***"

# Names that mean a secret wherever they stand in a word, and those that are one only as a word
# of their own: `tokenizer`, `author` and `passes` are none.
_PLAIN = (
    r"pass(?:wd|word|phrase)|secret|api[_-]?key|access[_-]?key|private[_-]?key|account[_-]?key"
    r"|credential|connection[_-]?string|authorization"
)
_SHORT = r"pass|pwd|token|auth|dsn"
_NAME = rf"(?:{_PLAIN}|{_SHORT})"
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_SECRET_NAME = re.compile(rf"(?i)(?:^|[_\W]){_NAME}s?(?:$|[_\W])")
_ENDS_SECRET = re.compile(r"(?i)(?:token|pwd|dsn|auth)s?\d*$")
# REGISTRY_AUTH_USER, SSH_AUTH_SOCK, TOKEN_URL: about a secret, not one. (A URL's own
# credentials are masked as such.)
_ABOUT = re.compile(
    r"(?i)[_-](?:user(?:name)?|host|port|url|uri|path|file|dir|sock|type|mode|name|id|enabled"
    r"|timeout|expiry|length)$"
)
_FOUND_NAME = re.compile(rf"(?i)(?P<plain>{_PLAIN})|{_SHORT}")
_WORDS = ("pass", "secret", "key", "credential", "connection", "auth", "pwd", "token", "dsn")

# Shapes that are secrets whatever they are called.
_SHAPES = r"""
    \b(?:AKIA|ASIA|AROA)[0-9A-Z]{16}\b                    # AWS key ids
    | \bgh[pousr]_[A-Za-z0-9]{20,} | \bgithub_pat_\w{20,}
    | \bglpat-[\w-]{18,} | \bhf_[A-Za-z0-9]{20,}
    | \bsk-[\w-]{20,} | \bxox[abeoprs]-[\w-]{10,} | \bAIza[\w-]{30,}
    | \b[rs]k_(?:live|test)_[A-Za-z0-9]{16,} | \bSG\.[\w-]{16,}\.[\w-]{16,}    # Stripe, SendGrid
    | (?<=hooks\.slack\.com/services/)[\w/]{20,} | (?<=/api/webhooks/)\d{10,}/[\w-]{20,}
    | \bnpm_[A-Za-z0-9]{30,} | \bpypi-[\w-]{40,} | \bdapi[0-9a-f]{32}
    | (?<![\w-])eyJ[\w-]{8,4000}\.eyJ[\w-]{8,}\.[\w-]*    # JSON web tokens
"""
_CERTAIN = re.compile(_SHAPES, re.VERBOSE)
# Prose has these words, too.
_TOKENS = re.compile(
    rf"{_SHAPES} | (?<=Bearer\ )[\w.~+/=-]{{12,}} | (?<=Basic\ )[A-Za-z0-9+/]{{12,}}=*", re.VERBOSE
)
_TOKEN_MARKS = (
    "AKIA", "ASIA", "AROA", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "hf_",
    "sk-", "xox", "AIza", "npm_", "pypi-", "dapi", "eyJ", "Bearer ", "Basic ", "k_live_", "k_test_",
    "SG.", "hooks.slack.com/", "/api/webhooks/",
)  # fmt: skip
_PRIVATE_KEY = re.compile(
    r"(-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----).*?(-----END [A-Z ]{0,40}PRIVATE KEY-----|\Z)",
    re.DOTALL,
)
# A password may hold an @, and unquoted even a slash; `host:8080/@scope` is none.
_URL = re.compile(r"(://)(?:[^\s/'\"<>?#]{1,512}|[^\s/'\"<>@:]{1,128}:(?!\d+/)[^\s'\"<>@]{1,256})@")
_URL_QUERY = re.compile(
    rf"(?i)([?&;](?:[\w.-]{{0,40}}(?:{_PLAIN}|token|signature)[\w.-]{{0,40}}|sig|pwd|pass|auth|key)=)"
    r"[^&\s'\"#;]+"
)
_COMMAND = re.compile(
    r"(?im)((?:%(?:set_)?env|\bexport|\bset|\bsetx)[ \t]{1,20}"
    rf"[A-Z0-9_]{{0,64}}{_NAME}[A-Z0-9_]{{0,64}}[ \t]{{0,20}}[= ][ \t]{{0,20}}[\"']?)"
    r"(?![\"'*])[^\s\"']+"
)
_USER = re.compile(r"((?:\s-u|--user|--proxy-user)[ =]{1,8}[\"']?[^\s:\"']{1,128}:)[^\s\"']+")

_REST = re.compile(r"[\w-]*")
# What stands between a name and a literal that it is given: ``"] = r"``, ``: str = (``.
_GIVEN = re.compile(
    r"""["']?\s{0,40}\]?\s{0,40}
    (?: :\s{0,40}\w{1,40}\s{0,40}=(?!=) | =(?!=) | :(?!=) )
    \s{0,40}(?P<open>[(\[{]?)\s{0,40}[rbufRBUF]{0,2}(?=["'])""",
    re.VERBOSE,
)
_SECOND = re.compile(r"""["']\s{0,40},\s{0,40}(?P<open>)[rbufRBUF]{0,2}(?=["'])""")
_MORE = re.compile(r"""\s{0,40}(?P<comma>,?)\+?\s{0,40}[rbufRBUF]{0,2}(?=["'])""")
_LITERAL = re.compile(
    r'''"""[^"\\]*(?:(?:\\.|"(?!""))[^"\\]*)*""" | \'\'\'[^'\\]*(?:(?:\\.|'(?!''))[^'\\]*)*\'\'\'
    | "(?!"")[^"\\\n]*(?:\\.[^"\\\n]*)*" | '(?!'')[^'\\\n]*(?:\\.[^'\\\n]*)*' ''',
    re.VERBOSE | re.DOTALL,
)
# Unquoted, as in a connection string, a flag, a line of a .env file.
_BARE = re.compile(r"""[ \t]{0,4}(?P<sign>=(?!=)|:)[ \t]{0,4}(?![{$<%*(\["'\s])[^\s;'"&,)\]}]+""")
_FLAG = re.compile(r"""(?:=|[ \t]{1,8})["']?(?!-)[^\s"']+""")
_SHORTEST = 6
_CERTAINLY = 12
"""Characters from which a variable's value is no word."""
_MOST_KNOWN = 500


@functools.lru_cache(maxsize=4096)
def is_secret_name(name: str) -> bool:
    """Return whether what goes by this name should not be shown."""
    words = _CAMEL.sub("_", name)
    return bool(_SECRET_NAME.search(words)) and not _ABOUT.search(words)


def mask(text: str, *, code: bool = True) -> str:
    """Return a text with the secrets in it masked.

    Masked are: tokens of known shapes, private keys, credentials in URLs,
    literals that are given to a name like ``password``, and the values of this
    process's environment variables with such names.

    Parameters
    ----------
    text : str
        Any text.
    code : bool
        Whether it is a program's source, where ``token=value`` names a variable;
        in a message or an output it is a secret.
    """
    if not text:
        return text
    text = _without_shapes(_without_values(text))
    lower = text.lower()
    if any(word in lower for word in _WORDS):
        text = _without_named(text, code=code)
        if "env" in lower or "set" in lower or "export" in lower:
            text = _COMMAND.sub(rf"\1{MASK}", text)
    if "-u" in lower:
        text = _USER.sub(rf"\1{MASK}", text)
    return text


def holds_secret(text: str, *, named: bool = False, code: bool = False) -> bool:
    """Return whether a text holds a token of a known shape, a private key or the environment's.

    Parameters
    ----------
    text : str
        Any text.
    named : bool
        Whether credentials in URLs count as well, and what is given to a name like ``password``:
        not so in prose, which tells how to write them.
    code : bool
        Whether it is a program's source, or data: names are only those then that mean nothing
        else (``token`` does).
    """
    if _PRIVATE_KEY.search(text) or _CERTAIN.search(text):
        return True
    if any(len(value) >= _CERTAINLY and value in text for value in _values()):
        return True
    if not named:
        return False
    given = any(plain or not code for _, _, plain in _named(text, code=code))
    return given or _URL.search(text) is not None


def scrub(data: Any, values: Iterable[str] = ()) -> Any:
    """Return JSON-able data without secrets that can be told by shape or value.

    The last net, under everything that is kept: what passes it is returned as
    it is, and at once. `values` are secrets that are known besides.
    """
    for secret in sorted(values, key=len, reverse=True):
        data = _replaced(data, secret)
    try:
        text = msgspec.json.encode(data, enc_hook=str).decode()
    except (UnicodeEncodeError, OverflowError, TypeError, msgspec.MsgspecError):
        return _scrubbed(data)
    if _may_hold_a_shape(text):
        return _scrubbed(data)
    for value in _values():
        if value in text:
            return _scrubbed(data)
    return data


def secrets_in(
    nb: Mapping[str, Any], parameters: Mapping[str, Any] = {}, values: Iterable[str] = ()
) -> list[str]:
    """Return the secrets that a notebook's sources and its parameters give away, and `values`."""
    found = list(values)
    found += [
        value
        for name, value in parameters.items()
        if is_secret_name(name) and isinstance(value, str) and len(value) >= _SHORTEST
    ]
    # A literal that is a secret in one cell is one in every cell's output.
    sources = [_source(cell) for cell in nb["cells"]]
    found += [value for source in sources for value in _literals(source) if _is_telling(value)]
    return sorted(set(found), key=len, reverse=True)


def _replaced(value: Any, secret: str) -> Any:
    if isinstance(value, str):
        return value.replace(secret, MASK)
    if isinstance(value, Mapping):
        return {key: _replaced(item, secret) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_replaced(item, secret) for item in value]
    return value


def _scrubbed(value: Any) -> Any:
    if isinstance(value, str):
        return _without_shapes(_without_values(value))
    if isinstance(value, Mapping):
        return {key: _scrubbed(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_scrubbed(item) for item in value]
    return value


def mask_values(values: Any, name: str = "") -> Any:
    """Return JSON data with the values of secret names, and secrets in its texts, masked."""
    if name and is_secret_name(name) and values not in (None, "", False, True):
        # max_tokens=512 is a number of tokens, not a token.
        is_count = isinstance(values, int | float) and name.lower().endswith(("tokens", "auth"))
        return values if is_count else MASK
    if isinstance(values, str):
        return mask(values, code=False)
    if isinstance(values, Mapping):
        return {str(key): mask_values(value, str(key)) for key, value in values.items()}
    if isinstance(values, list | tuple):
        return [mask_values(value) for value in values]
    return values


def mask_notebook(
    nb: Mapping[str, Any], parameters: Mapping[str, Any] = {}, values: Iterable[str] = ()
) -> dict[str, Any]:
    """Return a copy of a notebook (nbformat 4, as JSON) that may be kept and shipped.

    Masked are secrets in sources, in texts of outputs and in papermill's
    metadata, and the values of secret parameters, and `values`, wherever they
    show. Pictures and other binary outputs stay as they are.
    """
    hidden = secrets_in(nb, parameters, values)

    def clean(value: Any, mime: str, *, code: bool) -> Any:
        if isinstance(value, str):
            if not mime.startswith(("text/", "application/")):
                return value
            for secret in hidden:
                value = value.replace(secret, MASK)
            return mask(value, code=code)
        if isinstance(value, Mapping):
            return {
                key: clean(
                    item, key if "/" in str(key) else mime, code=code or key == "source"
                )
                for key, item in value.items()
            }  # fmt: skip
        if isinstance(value, list | tuple):
            if all(isinstance(part, str) for part in value):
                # Lines of one text: a secret may reach over their ends.
                return clean("".join(value), mime, code=code).splitlines(keepends=True)
            return [clean(item, mime, code=code) for item in value]
        return value

    copy = {**nb, "cells": [clean(cell, "text/plain", code=False) for cell in nb["cells"]]}
    metadata = dict(nb["metadata"])
    if "papermill" in metadata:
        metadata["papermill"] = mask_values(metadata["papermill"])
    return {**copy, "metadata": metadata}


def mask_outputs(outputs: Sequence[Any], sources: Iterable[str] = ()) -> list[Any]:
    """Return a cell's outputs as `mask_notebook` keeps them in a notebook of these sources."""
    cells = [{"outputs": outputs}, *({"source": source} for source in sources)]
    return list(mask_notebook({"cells": cells, "metadata": {}})["cells"][0]["outputs"])


def redact_outputs(
    nb: Mapping[str, Any], parameters: Mapping[str, Any] = {}, values: Iterable[str] = ()
) -> dict[str, Any]:
    """Return a copy of a notebook whose outputs show no secret; its sources still run."""
    masked = mask_notebook(nb, parameters, values)
    cells = [
        {**cell, "outputs": clean["outputs"]} if "outputs" in cell else cell
        for cell, clean in zip(nb["cells"], masked["cells"], strict=True)
    ]
    return {**nb, "cells": cells}


def cells_with_secrets(
    nb: Mapping[str, Any], parameters: Mapping[str, Any] = {}, values: Iterable[str] = ()
) -> list[int]:
    """Return the indices of cells whose outputs hold what looks like a secret."""
    masked = mask_notebook(nb, parameters, values)
    return [
        index
        for index, (cell, clean) in enumerate(zip(nb["cells"], masked["cells"], strict=True))
        if _texts(cell.get("outputs")) != _texts(clean.get("outputs"))
    ]


def _texts(value: Any) -> Any:
    """Return outputs with texts in one form."""
    if isinstance(value, Mapping):
        return {key: _texts(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        whole = all(isinstance(part, str) for part in value)
        return "".join(value) if whole else [_texts(item) for item in value]
    return value


def _source(cell: Mapping[str, Any]) -> str:
    source = cell.get("source", "")
    return source if isinstance(source, str) else "".join(map(str, source))


# --- from a kernel to the process that started it

# A kernel may have learnt secrets that its outputs show (an .env file that it loaded). The
# process that keeps those outputs is told, under a key that is in no file.


def sealed(key: str) -> str:
    """Return this process's secrets in a form that only who has the key can read."""
    data = msgspec.json.encode(list(_values()))
    nonce = os.urandom(16)
    return (nonce + _with_key(data, key, nonce)).hex()


def unsealed(text: str, key: str) -> list[str]:
    """Return what was `sealed` with a key, or nothing if it was not."""
    try:
        data = bytes.fromhex(text)
        return msgspec.json.decode(_with_key(data[16:], key, data[:16]), type=list[str])
    except (ValueError, msgspec.MsgspecError):
        return []


def _with_key(data: bytes, key: str, nonce: bytes) -> bytes:
    stream = hashlib.shake_256(key.encode() + nonce).digest(len(data))
    return bytes(a ^ b for a, b in zip(data, stream, strict=True))


def known() -> int:
    """Return how many forms of secrets this process's environment has shown so far."""
    return len(_values())


# --- by shape


def _may_hold_a_shape(text: str) -> bool:
    # No generator: every event comes by here.
    for mark in _TOKEN_MARKS:
        if mark in text:
            return True
    return "PRIVATE KEY" in text or ("://" in text and ("@" in text or "?" in text))


def _without_shapes(text: str) -> str:
    if "PRIVATE KEY" in text:
        text = _PRIVATE_KEY.sub(rf"\1{MASK}\2", text)
    if "://" in text:
        if "@" in text:
            text = _URL.sub(rf"\1{MASK}@", text)
        if "?" in text:
            text = _URL_QUERY.sub(rf"\1{MASK}", text)
    if any(mark in text for mark in _TOKEN_MARKS):
        text = _TOKENS.sub(MASK, text)
    return text


# --- by name


def _without_named(text: str, *, code: bool) -> str:
    pieces, done = [], 0
    for start, end, _ in _named(text, code=code):
        pieces += [text[done:start], MASK]
        done = end
    return "".join([*pieces, text[done:]]) if pieces else text


def _literals(source: str) -> Iterator[str]:
    """Yield the literals that a source gives to names that mean secrets without doubt."""
    for start, end, plain in _named(source, code=True):
        if plain:
            yield source[start:end]


def _named(text: str, *, code: bool) -> Iterator[tuple[int, int, bool]]:
    """Yield where the values of secret names start and end, and whether the name is plain."""
    position = 0
    while match := _FOUND_NAME.search(text, position):
        rest = _REST.match(text, match.end())
        assert rest is not None
        end = position = rest.end()
        start = match.start()
        while start and match.start() - start < 64 and _is_word(text[start - 1]):
            start -= 1
        name = text[start : min(end, start + 200)]
        plain = match["plain"] is not None
        if not (plain or is_secret_name(name) or _ENDS_SECRET.search(name)) or _ABOUT.search(name):
            continue
        given = _GIVEN.match(text, end)
        if given is None and text[start - 2 : start] in ("('", '("'):
            given = _SECOND.match(text, end)
        if given is not None:
            # open("secret", "w") gives it no value.
            least = 1 if given.re is _GIVEN else 4
            for first, last in _quoted(text, given):
                position = last
                if last - first >= least:
                    yield first, last, plain
            continue
        bare = _FLAG.match(text, end) if name.startswith("--") else _BARE.match(text, end)
        if bare is None:
            continue
        if name.startswith("--") or _is_secret_bare(text, start, bare, code=code, plain=plain):
            value = re.search(r"[^\s=:\"']", text[bare.start() : bare.end()])
            if value is not None:
                yield bare.start() + value.start(), bare.end(), False
                position = bare.end()


def _is_word(character: str) -> bool:
    return character.isalnum() or character in "_-"


def _quoted(text: str, given: re.Match[str]) -> Iterator[tuple[int, int]]:
    """Yield the insides of the literal after a name, and of those that go on it."""
    position = given.end()
    while literal := _LITERAL.match(text, position):
        width = 3 if literal[0][:3] in ('"""', "'''") else 1
        first, last = literal.start() + width, literal.end() - width
        if last > first and text[first:last] != MASK:
            yield first, last
        more = _MORE.match(text, literal.end())
        if more is None or (more["comma"] and not given["open"]):
            return
        position = more.end()


def _is_secret_bare(text: str, start: int, bare: re.Match[str], *, code: bool, plain: bool) -> bool:
    if not code:
        return plain or bare["sign"] == "="
    if bare["sign"] == ":":
        return False
    line = text[max(text.rfind("\n", 0, start) + 1, start - 500) : start]
    if not line.strip("+- ") and text[start : bare.start()].isupper():
        return text[bare.end() : bare.end() + 1] in ("", "\n", "\r")  # a line of a .env file
    within = line.count('"') % 2 or line.count("'") % 2
    return bool(within) or line.endswith(";") or text[bare.end() : bare.end() + 1] == ";"


def _is_telling(value: str) -> bool:
    """Return whether a literal is one that no other text has by chance."""
    return (
        len(value) >= 8
        and not any(c.isspace() for c in value)
        and "{" not in value
        and not value.isalpha()
    )


# --- by value

_known: dict[str, None] = {}
"""Forms of the secrets that this process's environment held at some time."""
_looked: dict[Any, Any] = {}
_sorted: tuple[str, ...] = ()


def _without_values(text: str) -> str:
    for value in _values():
        if value in text:
            text = text.replace(value, MASK)
    return text


def _values() -> tuple[str, ...]:
    """Return the environment's secrets in the forms in which they are written, longest first."""
    global _looked, _sorted
    now = getattr(os.environ, "_data", os.environ)
    if now != _looked:  # every event asks, and nearly always nothing has changed
        try:
            for name, value in list(os.environ.items()):
                for secret in _of_variable(name, value):
                    if len(_known) < _MOST_KNOWN:
                        _known.update(dict.fromkeys(_forms(secret)))
            _looked = dict(now)
        except (RuntimeError, TypeError, AttributeError):  # it changes, or a cell replaced it
            pass
        _sorted = tuple(sorted(_known, key=len, reverse=True))
    return _sorted


def _of_variable(name: str, value: str) -> Iterator[str]:
    if len(value) < _SHORTEST:
        return
    if "://" in value:
        try:
            password = urlsplit(value).password
        except ValueError:
            password = None
        if password and len(password) >= _SHORTEST:
            yield password
    if not is_secret_name(name) or value.startswith(("/", "./", "~/", "http://", "https://")):
        return
    if not (value.isdigit() and name.lower().endswith("tokens")):
        yield value


def _forms(secret: str) -> Iterator[str]:
    yield secret
    yield repr(secret)[1:-1]
    yield msgspec.json.encode(secret.encode("utf-8", "replace").decode()).decode()[1:-1]
    yield quote(secret, safe="", errors="replace")
    yield quote_plus(secret, errors="replace")
    yield base64.b64encode(secret.encode("utf-8", "replace")).decode().rstrip("=")

"""Names, label values and quantities as Kubernetes allows them: pure."""

from __future__ import annotations

import hashlib
import math
import re

from mlrepro_nb.errors import UsageError

LONGEST_NAME = 40
"""Of 63, so that what is derived from it (``-<hash>``, ``-<pod>``) is a DNS label as well."""

_NAME = re.compile(r"[a-z](?:[-a-z0-9]*[a-z0-9])?")
_QUANTITY = re.compile(r"(\d+(?:\.\d+)?)([A-Za-z]*)")
_BYTES = {
    "": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12,
    "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40,
}  # fmt: skip


def workload_name(text: str) -> str:
    """Return a DNS label for a notebook's path or any other text.

    It begins with a letter (a Service's name must) and is at most 40 long; what
    had to be cut ends in a hash of the whole, so that two long names stay two.
    """
    stem = text.rpartition("/")[2].removesuffix(".ipynb").lower()
    slug = re.sub(r"[^a-z0-9]+", "-", stem).strip("-")
    if not slug:
        slug = f"nb-{_hash(text, 8)}"
    elif not slug[0].isalpha():
        slug = f"nb-{slug}"
    if len(slug) > LONGEST_NAME:
        slug = f"{slug[: LONGEST_NAME - 9].rstrip('-')}-{_hash(text, 8)}"
    return slug


def check_name(name: str, what: str, longest: int = LONGEST_NAME) -> str:
    """Return a name that a user gave.

    Raises
    ------
    UsageError
        Kubernetes does not allow it.
    """
    if len(name) > longest or not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot be the name of a {what}: it must be at most {longest} lower-case "
            "letters, digits and dashes, and begin with a letter.",
            f"Try {workload_name(name)!r}.",
        )
    return name


def label_value(text: str) -> str:
    """Return a text as a label's value: 63 of ``[A-Za-z0-9_.-]``, a letter or digit at the ends."""
    return re.sub(r"[^A-Za-z0-9_.]+", "-", text)[:63].strip("-_.")


def content_name(name: str, content: str) -> str:
    """Return a name that changes with a content."""
    return f"{name}-{_hash(content, 8)}"


def mebibytes(size: float, step: int = 64, least: int = 0) -> str:
    """Return a size as ``<n>Mi``, rounded up to a step."""
    return f"{max(least, step * math.ceil(size / 2**20 / step))}Mi"


def millicores(cores: float, least: int = 100) -> str:
    """Return a CPU quantity: ``250m``, or ``2`` where it is whole cores; rounded up to 10m."""
    thousandths = max(least, 10 * math.ceil(round(cores * 1000, 6) / 10))
    return f"{thousandths}m" if thousandths % 1000 else str(thousandths // 1000)


def parse_memory(text: str, option: str) -> int:
    """Return the bytes of a memory quantity that a user gave.

    Raises
    ------
    UsageError
        It is none, or it is less than 16Mi, which is surely a slip (``512m``).
    """
    found = _QUANTITY.fullmatch(text.strip())
    factor = _BYTES.get(found.group(2)) if found else None
    if found is None or factor is None:
        guess = ""
        if found:
            unit = found.group(2)[:1].upper()
            guess = f" Did you mean {found.group(1)}{unit if unit in 'KMGT' else 'M'}i?"
        raise UsageError(
            f"{option} {text!r} is not a Kubernetes quantity of memory.",
            f"Write it like 512Mi or 2Gi.{guess}",
        )
    size = int(float(found.group(1)) * factor)
    if size < 16 * 2**20:
        raise UsageError(
            f"{option} {text!r} is {size} bytes, in which no Python starts.",
            "Write it like 512Mi or 2Gi.",
        )
    return size


def parse_cpu(text: str, option: str) -> float:
    """Return the cores of a CPU quantity that a user gave.

    Raises
    ------
    UsageError
        It is none.
    """
    found = _QUANTITY.fullmatch(text.strip())
    if found is None or found.group(2) not in ("", "m") or float(found.group(1)) <= 0:
        raise UsageError(
            f"{option} {text!r} is not a Kubernetes quantity of CPU.", "Write it like 500m or 2."
        )
    cores = float(found.group(1)) / (1000 if found.group(2) else 1)
    if not 0.001 <= cores <= 4096:
        raise UsageError(f"{option} {text!r} is out of range.", "Write it like 500m or 2.")
    return cores


def _hash(text: str, length: int) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:length]

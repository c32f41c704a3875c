"""What of a service can be set, by environment variables."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import msgspec

from mlrepro_nb.errors import UsageError


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """How a service runs; times in seconds."""

    host: str = "0.0.0.0"
    port: int = 8080
    max_body: int = 32 << 20
    """Bytes of a request's body (MLREPRO_MAX_BODY)."""
    timeout: float = 60
    """For one prediction (MLREPRO_TIMEOUT, else MLflow's own variable)."""
    drain: float = 2
    """From SIGTERM until connections are refused (MLREPRO_DRAIN)."""
    grace: float = 20
    """For requests under way after that (MLREPRO_GRACE); Kubernetes kills after 30 in all."""
    fail_after: float = 30
    """From a failed check to the end, for whoever wants to see why (MLREPRO_FAIL_AFTER)."""
    rtol: float | None = None
    """Instead of the recorded predictions' own tolerance (MLREPRO_RTOL)."""
    extra_columns: str = "refuse"
    """``ignore`` columns that the signature lacks, as MLflow does (MLREPRO_EXTRA_COLUMNS)."""


_VARIABLES = {
    "host": ("HOST",),
    "port": ("PORT",),
    "max_body": ("MLREPRO_MAX_BODY",),
    "timeout": ("MLREPRO_TIMEOUT", "MLFLOW_SCORING_SERVER_REQUEST_TIMEOUT"),
    "drain": ("MLREPRO_DRAIN",),
    "grace": ("MLREPRO_GRACE",),
    "fail_after": ("MLREPRO_FAIL_AFTER",),
    "rtol": ("MLREPRO_RTOL",),
    "extra_columns": ("MLREPRO_EXTRA_COLUMNS",),
}


def settings(environment: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings of this process.

    Raises
    ------
    UsageError
        A variable's value cannot be right.
    """
    found: dict[str, Any] = {}
    for field, names in _VARIABLES.items():
        name = next((n for n in names if environment.get(n)), None)
        if name is None:
            continue
        try:
            found[field] = msgspec.convert(environment[name], _TYPES[field], strict=False)
        except msgspec.ValidationError:
            raise UsageError(
                f"{name} is {environment[name]!r}.", f"Set it to {_MEANT[field]}."
            ) from None
        if field == "extra_columns" and found[field] not in ("refuse", "ignore"):
            raise UsageError(f"{name} is {found[field]!r}.", f"Set it to {_MEANT[field]}.")
        if not isinstance(found[field], str) and not 0 <= found[field] < float("inf"):
            raise UsageError(f"{name} is {found[field]}.", f"Set it to {_MEANT[field]}.")
    return Settings(**found)


_TYPES = {
    "host": str, "port": int, "max_body": int, "timeout": float, "drain": float, "grace": float,
    "fail_after": float, "rtol": float, "extra_columns": str,
}  # fmt: skip
_MEANT = {
    "host": "an address", "port": "a port's number", "max_body": "a number of bytes",
    "timeout": "a number of seconds", "drain": "a number of seconds",
    "grace": "a number of seconds", "fail_after": "a number of seconds",
    "rtol": "a small number, 1e-6 perhaps", "extra_columns": "refuse or ignore",
}  # fmt: skip

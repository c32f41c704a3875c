"""Times, as every document writes them."""

from __future__ import annotations

from datetime import datetime, timezone


def timestamp(moment: datetime | None = None) -> str:
    """Return a time in UTC to the millisecond, as RFC 3339 writes it; now by default."""
    utc = (moment or datetime.now(timezone.utc)).astimezone(timezone.utc)
    return utc.isoformat(timespec="milliseconds").replace("+00:00", "Z")

"""Times, as every document writes them."""

from __future__ import annotations

from datetime import datetime, timezone


def timestamp(moment: datetime | None = None) -> str:
    """Return a time in UTC to the millisecond, as RFC 3339 writes it; now by default."""
    utc = (moment or datetime.now(timezone.utc)).astimezone(timezone.utc)
    return utc.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def moment(text: str) -> datetime:
    """Return the time that a document, or a notebook's front end, wrote; without a zone it is UTC.

    Raises
    ------
    ValueError
        It is none.
    """
    # Python 3.10 takes no Z.
    found = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return found if found.tzinfo else found.replace(tzinfo=timezone.utc)

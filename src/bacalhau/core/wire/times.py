"""Times as text: RFC 3339 with nanoseconds, Zulu."""

import re
from datetime import UTC, datetime, timedelta

from bacalhau.model.errors import Rejected

NO_TIME = "0001-01-01T00:00:00Z"
"""How Go spells a time that is not set."""

_NS = 1_000_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TEXT = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]([0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,9})[0-9]*)?"
    r"([Zz]|[+-][0-9]{2}:[0-9]{2})"
)


def time_text(time: int) -> str:
    """Nanoseconds since the epoch as text; 0 is Go's time that is not set."""
    if not time:
        return NO_TIME
    seconds, fraction = divmod(time, _NS)
    text = (_EPOCH + timedelta(seconds=seconds)).isoformat()[:19]
    return f"{text}.{fraction:09d}".rstrip("0") + "Z" if fraction else text + "Z"


def time_ns(text: str) -> int:
    """Nanoseconds since the epoch of that text; 0 for an unset time. Raises Rejected."""
    if not text or text == NO_TIME:
        return 0
    found = _TEXT.fullmatch(text)
    if not found:
        raise Rejected(f"{text[:60]!a} is not a time such as 2026-01-02T03:04:05Z")
    day, clock, fraction, zone = found.groups()
    try:
        moment = datetime.fromisoformat(f"{day}T{clock}{'+00:00' if zone in 'Zz' else zone}")
        seconds = (moment - _EPOCH) // timedelta(seconds=1)
    except (ValueError, OverflowError):
        raise Rejected(f"{text[:60]!a} is not a date that exists") from None
    return seconds * _NS + int((fraction or "0").ljust(9, "0"))

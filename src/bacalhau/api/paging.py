"""Page tokens: URL-safe base64 of `<order_by>:<Y|N>:<limit>:<position>`, Y is reverse.

Bacalhau's position is an offset; ours is a cursor of the store, marked by `~`, where an
offset would cost more with every page. Clients must not look inside.
"""

import base64
import binascii
from typing import NamedTuple

from bacalhau.api.errors import BadRequest

MAX_OFFSET = 100_000
"""Offsets come from foreign tokens only; each costs reading what lies before it."""


class Position(NamedTuple):
    """Where a page starts: after `cursor`, or at `offset` when that is ''."""

    order_by: str = ""
    reverse: bool = False
    limit: int = 0
    offset: int = 0
    cursor: str = ""


def write(position: Position) -> str:
    """The token of this position."""
    place = f"~{position.cursor}" if position.cursor else str(position.offset)
    flag = "Y" if position.reverse else "N"
    text = f"{position.order_by}:{flag}:{position.limit}:{place}"
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def read(token: str) -> Position:
    """The position of a token. Raises BadRequest."""
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        order_by, flag, limit, place = raw.decode().split(":", 3)
    except (binascii.Error, ValueError):
        raise _bad(token) from None
    cursor = place[1:] if place.startswith("~") else ""
    offset = "0" if cursor else place
    if flag not in ("Y", "N") or not (_is_number(limit) and _is_number(offset)):
        raise _bad(token)
    return Position(order_by, flag == "Y", int(limit), int(offset), cursor)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 18


def _bad(token: str) -> BadRequest:
    return BadRequest(
        f"invalid next_token {token[:100]!r}", hint="pass on the NextToken of the page before"
    )

"""Where a page ended: an opaque text that the next page starts after."""

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import NamedTuple

from bacalhau.model.errors import Rejected

ORDERS = ("created_at", "modified_at")


class Cursor(NamedTuple):
    """The last row of a page: its time in the page's order and its number of creation."""

    time: int
    number: int


def check_order(order_by: str) -> None:
    """Raises Rejected for an order that jobs cannot be listed in."""
    if order_by not in ORDERS:
        raise Rejected(f"cannot order jobs by '{order_by}'", hint=f"use {' or '.join(ORDERS)}")


def write(order_by: str, cursor: Cursor) -> str:
    """The text of a cursor."""
    text = f"{order_by[0]}:{cursor.time}:{cursor.number}"
    return urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def read(order_by: str, text: str) -> Cursor:
    """The cursor of that text. Raises Rejected when it is none, or of another order."""
    try:
        padded = text.encode("ascii") + b"=" * (-len(text) % 4)
        order, time, number = urlsafe_b64decode(padded).decode("ascii").split(":")
        cursor = Cursor(_integer(time), _integer(number))
    except (ValueError, binascii.Error):
        order, cursor = "", Cursor(0, 0)
    if order != order_by[0]:
        raise Rejected(
            f"'{text[:100]}' is not a page token of this list",
            hint="use the token of the previous page, with the same order",
        )
    return cursor


def _integer(text: str) -> int:
    if not (text.isdigit() and len(text) <= 19 and int(text) < 2**63):
        raise ValueError(text)
    return int(text)

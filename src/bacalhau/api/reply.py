"""Answers: what handlers return, and how it becomes bytes."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any

import msgspec

CHUNK_ITEMS = 100
"""Items of a long list that are encoded before other requests get their turn."""

_ENCODER = msgspec.json.Encoder()
_JSON_TYPE = (b"content-type", b"application/json")


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """`body` is anything that msgspec can encode."""

    body: Any = None
    status: int = 200
    escape: bool = True
    headers: tuple[tuple[bytes, bytes], ...] = ()


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """A page: `{"NextToken", <key>: [items]}`. Items may come from a generator."""

    items: Iterable[Any]
    next_token: str = ""
    key: str = "Items"
    escape: bool = True
    headers: tuple[tuple[bytes, bytes], ...] = ()


class Stream(msgspec.Struct, frozen=True, kw_only=True):
    """A body that is sent as it comes; headers tell its type and size."""

    body: AsyncIterator[bytes]
    status: int = 200
    headers: tuple[tuple[bytes, bytes], ...] = ()


def encode(body: Any) -> bytes:
    return _ENCODER.encode(body)


async def encode_listing(listing: Listing) -> bytes:
    """The page's bytes; others get their turn between the items of a long one."""
    out = bytearray(b'{"NextToken":')
    out += encode(listing.next_token) + b"," + encode(listing.key) + b":["
    for at, item in enumerate(listing.items):
        if at:
            out += b","
            if at % CHUNK_ITEMS == 0:
                await asyncio.sleep(0)
        out += encode(item)
    return bytes(out + b"]}")


async def render(reply: Reply | Listing, pretty: bool) -> tuple[int, bytes]:
    """Status and body of an answer, ending in a newline like Bacalhau's."""
    if isinstance(reply, Listing):
        status, body = 200, await encode_listing(reply)
    else:
        status, body = reply.status, encode(reply.body)
    if pretty:
        body = msgspec.json.format(body, indent=2)
    return status, (escape(body) if reply.escape else body) + b"\n"


def escape(body: bytes) -> bytes:
    """JSON that is harmless inside HTML. Outside of strings none of these can occur."""
    for plain, escaped in _ESCAPES:
        if plain in body:
            body = body.replace(plain, escaped)
    return body


_ESCAPES = (
    (b"<", b"\\u003c"),
    (b">", b"\\u003e"),
    (b"&", b"\\u0026"),
    ("\u2028".encode(), b"\\u2028"),
    ("\u2029".encode(), b"\\u2029"),
)


def json_headers(body: bytes) -> list[tuple[bytes, bytes]]:
    return [_JSON_TYPE, (b"content-length", b"%d" % len(body))]

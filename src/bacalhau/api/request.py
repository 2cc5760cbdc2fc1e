"""One HTTP request, as handlers see it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from typing import Any

import msgspec

from bacalhau.api.errors import BadRequest, TooLarge
from bacalhau.api.query import EMPTY, Query
from bacalhau.auth.guard import Caller
from bacalhau.model.policy import Principal

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

NOBODY = Principal(name="")
"""Who calls a route that is open to all."""

DRAIN_FACTOR = 8
DRAIN_S = 5.0
"""How much, and for how long, is read of a body that is too large.

A client that is still sending would lose the answer to a connection reset.
"""

_JSON = msgspec.json.Decoder()
_FORWARDED = (b"x-forwarded-for", b"x-forwarded-host", b"x-real-ip", b"forwarded", b"via")


class Request:
    """`values` are the path's variables, `headers` by lower-case name."""

    __slots__ = ("_receive", "body_limit", "headers", "principal", "query", "scope", "values")

    def __init__(self, scope: Scope, receive: Receive, body_limit: int) -> None:
        self.scope = scope
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.body_limit = body_limit
        self.principal = NOBODY
        self.query: Query = EMPTY
        self.values: Mapping[str, str] = {}
        self._receive = receive

    def header(self, name: bytes) -> str:
        return self.headers.get(name, b"").decode("latin-1")

    @property
    def caller(self) -> Caller:
        """What guard() wants to know."""
        headers = self.headers
        client = self.scope.get("client")
        return Caller(
            peer=client[0] if client else "",
            host=self.header(b"host"),
            origin=self.header(b"origin"),
            authorization=self.header(b"authorization"),
            site=self.header(b"sec-fetch-site"),
            forwarded=any(name in headers for name in _FORWARDED),
        )

    @property
    def base_url(self) -> str:
        """`http://127.0.0.1:1234`: this server as the caller addressed it."""
        return f"{self.scope['scheme']}://{self.header(b'host')}"

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes, without limit. Raises BadRequest when it is cut short."""
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise BadRequest("the body was cut short")
            if message.get("body"):
                yield message["body"]
            if not message.get("more_body", False):
                return

    async def body(self) -> bytes:
        """The whole body. Raises TooLarge beyond the limit."""
        announced = self.header(b"content-length")
        size = int(announced) if announced.isdigit() else 0
        if size > self.body_limit:
            await self._drain(size)
            raise self._too_large()
        parts, size = [], 0
        async for chunk in self.chunks():
            size += len(chunk)
            if size > self.body_limit:
                await self._drain(0)
                raise self._too_large()
            parts.append(chunk)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def json(self) -> Any:
        """The body's JSON document; None when there is no body. Raises BadRequest."""
        body = await self.body()
        if not body:
            return None
        kind = self.header(b"content-type").partition(";")[0].strip().lower()
        if kind not in ("application/json", ""):
            raise BadRequest(
                f"code=415, message=Unsupported Media Type: {kind[:60]!r}",
                hint="send Content-Type: application/json",
            )
        try:
            return _JSON.decode(body)
        except RecursionError:
            raise BadRequest("the JSON document is nested too deeply") from None
        except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
            raise BadRequest(f"code=400, message=Syntax error: {error}") from None

    async def _drain(self, announced: int) -> None:
        """Read on for a while and forget it, so that the client sees the answer."""
        left = DRAIN_FACTOR * self.body_limit
        if announced > left:
            return
        try:
            async with asyncio.timeout(DRAIN_S):
                async for chunk in self.chunks():
                    left -= len(chunk)
                    if left < 0:
                        return
        except (TimeoutError, BadRequest):
            return

    def _too_large(self) -> TooLarge:
        return TooLarge(
            f"the body is larger than {self.body_limit} bytes",
            hint="put data into inputs (a source), not into the job",
        )

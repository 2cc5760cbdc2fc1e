"""The listening end: sockets first, then uvicorn on them, inside the caller's event loop."""

import asyncio
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvicorn

if TYPE_CHECKING:
    from uvicorn.protocols.http.h11_impl import H11Protocol as HttpProtocol
else:
    # httptools when it is installed (five times as fast), else h11.
    from uvicorn.protocols.http.auto import AutoHTTPProtocol as HttpProtocol

from bacalhau.api.app import Api
from bacalhau.api.errors import BadRequest, envelope
from bacalhau.api.reply import encode
from bacalhau.model.errors import Conflict, Rejected

BACKLOG = 1024
MAX_CONNECTIONS = 4096
"""Connections and running requests; beyond that the answer is 503 at once."""

HEAD_BYTES = 64 * 1024
"""Request line and headers together."""

HEAD_S = 20.0
"""A connection that has not asked for anything by then is closed."""

KEEP_ALIVE_S = 75
GRACE_S = 2
"""How long requests may go on when the server is told to end."""

MAX_FRAME_BYTES = 64 * 1024
"""Readers of logs have nothing to say."""

_BODY = encode(envelope(BadRequest("this is no HTTP request"), "")) + b"\n"
_UNREADABLE = (
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\n"
    b"connection: close\r\ncontent-length: %d\r\n\r\n" % len(_BODY) + _BODY
)
_NAMES = {"loopback": "127.0.0.1", "any": "0.0.0.0", "": "127.0.0.1"}


def listen(host: str, port: int) -> list[socket.socket]:
    """Sockets that are bound and listen; port 0 takes a free one.

    `host` is an address, a name, or one of `loopback` and `any`. Raises Rejected for an
    address that is not ours, Conflict for a port that is in use.
    """
    name = _NAMES.get(host.lower(), host)
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            name, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise Rejected(
            f"API.Host '{host}' is not an address of this machine: {error.strerror}",
            hint="Use 127.0.0.1, an address of this machine, or 'any'.",
        ) from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise Conflict(
            f"cannot listen on {host or name}:{port}: {error.strerror}",
            hint="Another program has this port? Choose one with API.Port.",
        ) from None
    return [listener]


class _Protocol(HttpProtocol):
    """uvicorn's HTTP, with our envelope for what is no HTTP, and no patience with silence."""

    cycle: Any  # the running or last request; None before the first

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.loop.call_later(HEAD_S, self._give_up)

    def send_400_response(self, msg: str) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self.transport.write(_UNREADABLE)
        self.transport.close()

    def _give_up(self) -> None:
        # After an upgrade the transport serves a WebSocket, and is none of ours any more.
        if self.cycle is None and self.transport.get_protocol() is self:
            self.transport.close()


class _Uvicorn(uvicorn.Server):
    """uvicorn that leaves the process's signals alone and says when it answers."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.answering = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.answering.set()


class Server:
    """Serves an app on listening sockets until it is cancelled."""

    def __init__(
        self,
        app: Api,
        sockets: Sequence[socket.socket],
        *,
        cert_file: str | Path = "",
        key_file: str | Path = "",
    ) -> None:
        tls: dict[str, Any] = {}
        if cert_file:
            tls = {"ssl_certfile": cert_file, "ssl_keyfile": key_file or None}
        self._app = app
        self._sockets = list(sockets)
        self._uvicorn = _Uvicorn(
            uvicorn.Config(
                app,
                loop="none",
                http=_Protocol,
                ws="websockets-sansio",
                ws_max_size=MAX_FRAME_BYTES,
                ws_per_message_deflate=False,
                lifespan="off",
                interface="asgi3",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                limit_concurrency=MAX_CONNECTIONS,
                backlog=BACKLOG,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=GRACE_S,
                h11_max_incomplete_event_size=HEAD_BYTES,
                **tls,
            )
        )

    async def serve(self) -> None:
        """Run until cancelled; then open requests get GRACE_S to end."""
        serving = asyncio.ensure_future(self._uvicorn.serve(sockets=self._sockets))
        try:
            await asyncio.shield(serving)
        finally:
            self._app.end()
            self._uvicorn.should_exit = True
            await serving

    async def started(self) -> None:
        """Return when requests are answered."""
        await self._uvicorn.answering.wait()

"""The ASGI application: one request from its first byte to its answer.

Plain ASGI without a framework: the route table is ours anyway, for the OpenAPI document and
the test of permissions, and Starlette's routing alone costs as much time per request as all
that stands here.
"""

import asyncio
import logging
import re
import secrets
import time
from collections.abc import Callable
from typing import cast

from bacalhau.api import logs
from bacalhau.api.agent import DIALECT, MIN_CLIENT, build_info
from bacalhau.api.errors import BadRequest, TimedOut, envelope
from bacalhau.api.limits import Rate
from bacalhau.api.openapi import document
from bacalhau.api.query import parse
from bacalhau.api.reply import Listing, Reply, Stream, json_headers, render
from bacalhau.api.request import Receive, Request, Scope, Send
from bacalhau.api.routes import HANDLER_TIME_S, Route, Router
from bacalhau.api.signin import Signin
from bacalhau.api.table import routes
from bacalhau.auth.guard import Guard, is_loopback
from bacalhau.auth.users import Users
from bacalhau.config import Config
from bacalhau.core.authorise import may
from bacalhau.model.errors import Error, Forbidden, Limit, Unavailable
from bacalhau.model.resources import parse_bytes
from bacalhau.ports.cluster import Cluster

log = logging.getLogger(__name__)

BODY_LIMIT_BYTES = 10_000_000
RATE_PER_SECOND = 1000

_SEMVER = re.compile(r"v?([0-9]{1,9})\.([0-9]{1,9})\.([0-9]{1,9})(?:[-+][0-9A-Za-z.+-]*)?")
_UNVERSIONED = ("", "v0.0.0", "v0.0.0-xxxxxxx")
_REQUEST_ID_CHARS = 200

Headers = list[tuple[bytes, bytes]]


def create_app(cluster: Cluster, config: Config, *, token: str) -> "Api":
    """The API of this cluster as configured; `token` is the administrator's.

    Raises Rejected when the configured users make no sense.
    """
    guard = Guard(
        admin=token,
        users=Users(config.api.auth.users),
        require_token=config.api.auth.require_token,
        phrase=cluster.node_info().id,
        hosts=(config.api.host,),
    )
    return Api(
        cluster,
        guard,
        body_limit_bytes=parse_bytes(config.api.max_body_size),
        rate_per_second=config.api.rate_limit,
        handler_time_s=config.api.handler_timeout,
    )


class Api:
    """Serves `cluster` to whoever `guard` recognises."""

    def __init__(
        self,
        cluster: Cluster,
        guard: Guard,
        *,
        body_limit_bytes: int = BODY_LIMIT_BYTES,
        rate_per_second: int = RATE_PER_SECOND,
        handler_time_s: float = HANDLER_TIME_S,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cluster = cluster
        self._guard = guard
        self._body_limit_bytes = body_limit_bytes
        self._rate = Rate(rate_per_second)
        self._monotonic = monotonic
        self.routes = routes(Signin(guard), self._serve_document, handler_time_s)
        self._router = Router(self.routes)
        self._document = document(self.routes)
        self._version_headers = _version_headers()
        self._long: set[asyncio.Task[None]] = set()
        self._is_ending = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            if scope["type"] == "http":
                await self._http(scope, receive, send)
            elif scope["type"] == "websocket":
                await self._websocket(scope, receive, send)
        except asyncio.CancelledError:
            if not self._is_ending:
                raise
            log.info("%s was cut off because the server ends", scope["path"])

    def end(self) -> None:
        """The server ends: requests without a time limit are told to come back later."""
        self._is_ending = True
        for task in self._long:
            task.cancel()

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, self._body_limit_bytes)
        headers: Headers = [(b"x-request-id", _request_id(request))]
        answer: Reply | Listing | Stream
        try:
            answer = await self._answer(request, headers)
            if not isinstance(answer, Stream):
                pretty = b"pretty" in scope["query_string"].lower()
                status, body = await render(answer, pretty)
        except Exception as error:
            answer = _refusal(error, request)
            status, body = await render(answer, pretty=False)
        headers += answer.headers
        if isinstance(answer, Stream):
            await _send_stream(send, scope["method"], answer, headers)
        else:
            headers += json_headers(body)
            await _send(send, scope["method"], status, headers, body)

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, self._body_limit_bytes)
        headers: Headers = [(b"x-request-id", _request_id(request))]
        await receive()
        try:
            route = await self._admit(request, "GET", headers)
            if route.handler is not logs.without_upgrade:
                raise BadRequest("this path is no WebSocket")
            request.query = parse(scope["query_string"], route.params)
        except Exception as error:
            refusal = _refusal(error, request)
            status, body = await render(refusal, pretty=False)
            await _send(
                send, "GET", status, headers + json_headers(body), body, kind="websocket.http"
            )
            return
        await send({"type": "websocket.accept", "headers": headers})
        await logs.stream(self._cluster, request, receive, send)

    async def _answer(self, request: Request, headers: Headers) -> Reply | Listing | Stream:
        """Find the route, make sure that the caller may use it, and call its handler."""
        method = request.scope["method"]
        if method == "OPTIONS":
            allowed = ", ".join(self._router.methods(request.scope["raw_path"]))
            return Reply(status=204, headers=((b"allow", allowed.encode()),))
        route = await self._admit(request, method, headers)
        outdated = _check_client(request.header(b"x-bacalhau-git-version"))
        if outdated is not None:
            return outdated
        request.query = parse(request.scope["query_string"], route.params)
        if not route.time_s:
            return await self._take_long(route, request)
        try:
            async with asyncio.timeout(route.time_s) as limit:
                return await route.handler(self._cluster, request)
        except TimeoutError:
            if not limit.expired():
                raise
            raise TimedOut(f"no answer within {route.time_s:g} s", hint="try again") from None

    async def _take_long(self, route: Route, request: Request) -> Reply | Listing | Stream:
        """A request that may last, but not longer than the server."""
        task = cast("asyncio.Task[None]", asyncio.current_task())
        self._long.add(task)
        try:
            return await route.handler(self._cluster, request)
        except asyncio.CancelledError:
            if not self._is_ending:
                raise
            task.uncancel()
            raise Unavailable("the server ends", hint="try again in a moment") from None
        finally:
            self._long.discard(task)

    async def _admit(self, request: Request, method: str, headers: Headers) -> Route:
        """The route, when the caller asks not too often and has the right to use it.

        Raises Limit, NotFound, Rejected, Unauthenticated, Forbidden.
        """
        caller = request.caller
        # All programs of this machine share one address; the limit is for others.
        if not is_loopback(caller.peer) and not self._rate.allow(caller.peer, self._monotonic()):
            raise Limit("rate limit exceeded", hint="ask less often")
        route, request.values = self._router.find(method, request.scope["raw_path"])
        if route.access is not None:
            request.principal = await self._guard.identify(caller)
            reason = may(request.principal, *route.access)
            if reason:
                raise Forbidden(reason, hint="ask whoever configures API.Auth.Users")
        headers += self._version_headers
        return route

    async def _serve_document(self, cluster: Cluster, request: Request) -> Reply:
        return Reply(body=self._document)


async def _send(
    send: Send, method: str, status: int, headers: Headers, body: bytes, kind: str = "http"
) -> None:
    """Send a whole answer; when nobody is there any more, that is no fault."""
    try:
        await send({"type": f"{kind}.response.start", "status": status, "headers": headers})
        body = b"" if method == "HEAD" or status == 204 else body
        await send({"type": f"{kind}.response.body", "body": body})
    except OSError:
        log.debug("the client went away before its answer")


async def _send_stream(send: Send, method: str, stream: Stream, headers: Headers) -> None:
    """Send a body as it comes. A fault half-way can only be shown by breaking off."""
    await send({"type": "http.response.start", "status": stream.status, "headers": headers})
    if method != "HEAD":
        async for chunk in stream.body:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def _refusal(error: Exception, request: Request) -> Reply:
    """The envelope of this error. Only what nobody foresaw is logged with its traceback."""
    body = envelope(error, request.header(b"x-request-id")[:_REQUEST_ID_CHARS])
    if not isinstance(error, Error):
        log.error("%s failed", request.scope["path"], exc_info=error)
    return Reply(status=body.status, body=body)


def _request_id(request: Request) -> bytes:
    given = request.headers.get(b"x-request-id", b"")[:_REQUEST_ID_CHARS]
    return given or secrets.token_hex(16).encode()


def _check_client(version: str) -> Reply | None:
    """The refusal of a client whose version is too old or no version; its own shape."""
    if version in _UNVERSIONED:
        return None
    found = _SEMVER.fullmatch(version)
    if found is None:
        return Reply(status=400, body={"Error": f"Invalid client version {version[:100]}"})
    if tuple(int(part) for part in found.groups()) >= MIN_CLIENT:
        return None
    return Reply(
        status=403,
        body={
            "Error": "Client version is outdated. Update your client",
            "MinVersion": ".".join(str(part) for part in MIN_CLIENT),
            "ClientVersion": version.removeprefix("v"),
            "ServerVersion": DIALECT,
        },
    )


def _version_headers() -> Headers:
    info = build_info()
    return [
        (b"x-bacalhau-git-version", info["GitVersion"].encode()),
        (b"x-bacalhau-git-commit", info["GitCommit"].encode()),
        (b"x-bacalhau-build-date", b"0001-01-01 00:00:00 +0000 UTC"),
        (b"x-bacalhau-build-os", info["GOOS"].encode()),
        (b"x-bacalhau-arch", info["GOARCH"].encode()),
    ]

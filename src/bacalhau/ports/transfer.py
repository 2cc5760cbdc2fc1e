"""HTTP/1.1 for plug-ins that move data: streamed both ways, in bounded memory, cancellable.

h11 parses, asyncio carries. Redirects, retries and what a status means are the caller's:
this module makes one request on one connection. Certificates are always verified.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import NamedTuple, ParamSpec, TypeVar, cast
from urllib.parse import quote, urlsplit

import h11

CHUNK_BYTES = 256 * 1024
"""How much is read, hashed and written at a time."""
CONNECT_TIMEOUT_S = 20.0
"""For name, TCP and TLS together, per address."""
_URL_SAFE = "/%:@!$&'()*+,;=~-._?"

P = ParamSpec("P")
T = TypeVar("T")


class Broken(OSError):
    """The connection failed or broke the protocol; another try may work."""


class Place(NamedTuple):
    """An HTTP URL, taken apart: `path` with the query, ready for the request line."""

    secure: bool
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.secure else 80) else f"{host}:{self.port}"


class Answer(NamedTuple):
    """Status, headers (names in lower case) and the body, which comes as it is read."""

    status: int
    headers: Mapping[str, str]
    body: AsyncIterator[bytes]

    @property
    def length(self) -> int | None:
        """The body's size in bytes, if the other side tells."""
        text = self.headers.get("content-length", "")
        return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def place(url: str) -> Place | str:
    """Where that URL leads, or why it leads nowhere."""
    try:
        parts = urlsplit(url.strip())
        port = parts.port
        host = (parts.hostname or "").rstrip(".")
        if host and ":" not in host:
            host = host.encode("idna").decode("ascii")
    except ValueError as error:
        return f"not a valid URL ({error})"
    if parts.scheme not in ("http", "https"):
        return "only http:// and https:// can be fetched"
    if not host:
        return "the URL names no host"
    if parts.username is not None or parts.password is not None:
        return "credentials in a URL end up in specs and logs and are refused"
    path = quote(parts.path or "/", safe=_URL_SAFE)
    if parts.query:
        path += "?" + quote(parts.query, safe=_URL_SAFE)
    secure = parts.scheme == "https"
    return Place(secure, host, port or (443 if secure else 80), path)


async def in_thread(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Do blocking work on a thread; a cancellation waits for its end, so files can be closed."""
    job = asyncio.ensure_future(asyncio.to_thread(work, *args, **kwargs))
    try:
        return await asyncio.shield(job)
    except asyncio.CancelledError:
        await asyncio.wait([job])
        raise


@asynccontextmanager
async def request(
    method: str,
    to: Place,
    *,
    headers: Mapping[str, str] | None = None,
    body: AsyncIterator[bytes] | None = None,
    timeout_s: float,
    refuse: Callable[[str], str] = lambda _: "",
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Answer]:
    """Make one request; the answer's body can be read inside the `async with`.

    `timeout_s` limits each wait for the other side. `refuse` is asked about every IP address
    right before it is connected to, and gives the reason against it. A body without a
    `content-length` header goes out in chunks. Raises Broken, and PermissionError when every
    address was refused.
    """
    reader, writer = await _connect(to, refuse, tls)
    try:
        connection = h11.Connection(h11.CLIENT)
        lines = {"host": to.authority, "accept-encoding": "identity", "connection": "close"}
        lines |= headers or {}
        if body is not None and "content-length" not in lines:
            lines["transfer-encoding"] = "chunked"
        opening = h11.Request(method=method, target=to.path, headers=list(lines.items()))
        wire = _Wire(connection, reader, writer, timeout_s)
        await wire.send(opening, body)
        head = await wire.head()
        names = {key.decode().lower(): value.decode("latin-1") for key, value in head.headers}
        yield Answer(head.status_code, names, wire.body())
    except h11.LocalProtocolError as error:
        raise Broken(f"{to.authority}: the request cannot be sent ({error})") from error
    finally:
        writer.transport.abort()


async def _connect(
    to: Place, refuse: Callable[[str], str], tls: ssl.SSLContext | None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection to the first address that is not refused and answers."""
    context = (tls or await asyncio.to_thread(ssl.create_default_context)) if to.secure else None
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            found = await loop.getaddrinfo(to.host, to.port, type=1)  # 1: SOCK_STREAM
    except (OSError, UnicodeError) as error:
        raise Broken(f"{to.host}: no address ({error or 'timed out'})") from error
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    refusals, failures = [], []
    for address in addresses:
        if reason := refuse(address):
            refusals.append(reason)
            continue
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                # The address, not the name: nobody can make it another one in between.
                return await asyncio.open_connection(
                    address,
                    to.port,
                    ssl=context,
                    server_hostname=to.host if context else None,
                    limit=CHUNK_BYTES,
                )
        except (OSError, TimeoutError) as error:
            failures.append(f"{address}: {error or 'timed out'}")
    if failures or not refusals:
        raise Broken(f"{to.authority}: cannot connect ({'; '.join(failures) or 'no address'})")
    raise PermissionError(f"{to.host}: {refusals[0]}")


class _Wire:
    """One exchange on one connection."""

    def __init__(
        self,
        connection: h11.Connection,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        timeout_s: float,
    ) -> None:
        self._connection, self._reader, self._writer = connection, reader, writer
        self._timeout_s = timeout_s

    async def send(self, opening: h11.Request, body: AsyncIterator[bytes] | None) -> None:
        """Send head and body; ends early when the other side answers or hangs up before."""
        await self._push(self._connection.send(opening))
        if body is None:
            await self._push(self._connection.send(h11.EndOfMessage()))
            return
        early = asyncio.ensure_future(self._reader.read(CHUNK_BYTES))
        try:
            async for chunk in body:
                if early.done() or self._writer.is_closing():
                    break
                await self._push(self._connection.send(h11.Data(data=chunk)))
            else:
                await self._push(self._connection.send(h11.EndOfMessage()))
            async with asyncio.timeout(self._timeout_s):
                self._connection.receive_data(await early)
        except TimeoutError:
            raise Broken(f"no answer for {self._timeout_s:g} s") from None
        except (ConnectionError, h11.RemoteProtocolError) as error:
            raise Broken(f"the upload was cut off ({error})") from error
        finally:
            if not early.cancel() and not early.cancelled():
                early.exception()  # seen, whatever it was

    async def _push(self, data: bytes | None) -> None:
        try:
            self._writer.write(data or b"")
            async with asyncio.timeout(self._timeout_s):
                await self._writer.drain()
        except TimeoutError:
            raise Broken(f"nothing was taken for {self._timeout_s:g} s") from None
        except ConnectionError:
            return  # the answer, if there is one, says more than the broken pipe

    async def head(self) -> h11.Response:
        while True:
            event = await self._event()
            if isinstance(event, h11.Response):
                return event
            if not isinstance(event, h11.InformationalResponse):
                raise Broken("the connection was closed without an answer")

    async def body(self) -> AsyncIterator[bytes]:
        while True:
            event = await self._event()
            if not isinstance(event, h11.Data):
                return
            yield bytes(event.data)

    async def _event(self) -> h11.Event:
        try:
            while True:
                event = self._connection.next_event()
                if event is h11.PAUSED:
                    raise Broken("the other side went on after its answer")
                if event is not h11.NEED_DATA:
                    return cast("h11.Event", event)
                async with asyncio.timeout(self._timeout_s):
                    data = await self._reader.read(CHUNK_BYTES)
                self._connection.receive_data(data)
        except TimeoutError:
            raise Broken(f"nothing came for {self._timeout_s:g} s") from None
        except (OSError, h11.RemoteProtocolError) as error:
            raise Broken(f"the transfer was cut off ({error})") from error

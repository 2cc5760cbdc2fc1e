"""Results stay on the node, behind a small HTTP server of its own.

For clusters in one network, and for scripts that know Bacalhau's local publisher. The server
knows no users: it binds the configured address only, by default the loopback, and serves
nothing but archives whose execution id the caller knows.
"""

import asyncio
import logging
import os
import re
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import h11

from bacalhau.model.errors import EngineFailed
from bacalhau.model.execution import Execution, Fault, FaultKind
from bacalhau.model.job import SpecConfig
from bacalhau.ports.transfer import CHUNK_BYTES, in_thread
from bacalhau.publishers.archive import Item, pack, survey

RETENTION_S = 30 * 86_400
SWEEP_S = 3600.0
CONNECTIONS = 64
"""At a time; each holds a descriptor and a few KiB."""
PATIENCE_S = 30.0
"""How long a client may say nothing, or take nothing."""
_ARCHIVE = re.compile(r"/?(?P<name>[A-Za-z0-9_][A-Za-z0-9._-]{0,127}\.tar\.gz)")
_RANGE = re.compile(rb"bytes=(\d{1,18})-")

log = logging.getLogger(__name__)


class LocalPublisher:
    """Keeps `<directory>/local-publisher/<execution id>.tar.gz` and serves it.

    The result is `urlDownload` with `URL` = `http://<address>:<port>/<execution id>.tar.gz`.
    The server starts with the first probe or publish; port 0 takes a free one. Archives older
    than `retention_s` (0: none) are removed. `now` gives nanoseconds since the epoch.
    """

    name = "local"

    def __init__(
        self,
        directory: Path,
        *,
        address: str = "127.0.0.1",
        port: int = 6001,
        retention_s: float = RETENTION_S,
        now: Callable[[], int] = time.time_ns,
    ) -> None:
        self._directory = directory / "local-publisher"
        self._address, self._port = address, port
        self._retention_s, self._now = retention_s, now
        self._server: asyncio.Server | None = None
        self._sweeper: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()
        self._clients: set[asyncio.Task[None]] = set()
        self._told = ""

    async def probe(self) -> bool:
        """True while the server listens; False when its address is not to be had."""
        try:
            await self._start()
        except OSError as error:
            if str(error) != self._told:  # once, not with every probe
                log.warning(
                    "the local publisher is not offered: it cannot listen on %s port %s (%s)",
                    self._address,
                    self._port,
                    error.strerror or error,
                )
                self._told = str(error)
            return False
        self._told = ""
        return True

    @property
    def port(self) -> int:
        """Where the server listens, once it does."""
        return self._port

    def check(self, publisher: SpecConfig) -> Sequence[str]:
        return ()

    async def publish(
        self, execution: Execution, publisher: SpecConfig, directory: Path
    ) -> SpecConfig:
        """See ports.publisher."""
        name = f"{execution.id}.tar.gz"
        if not _ARCHIVE.fullmatch(name):
            raise _failed(f"'{execution.id}' cannot be the name of a file")
        try:
            await self._start()
            found = await in_thread(survey, directory)
            await in_thread(_write, self._directory / name, directory, found.items)
        except OSError as error:
            raise _failed(f"the results cannot be kept on this node: {error}") from error
        host = f"[{self._address}]" if ":" in self._address else self._address
        return SpecConfig(type="urlDownload", params={"URL": f"http://{host}:{self._port}/{name}"})

    async def close(self) -> None:
        """End the server and its transfers. What was published stays."""
        tasks = [task for task in (self._sweeper, *self._clients) if task]
        if self._server:
            self._server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._server = self._sweeper = None

    async def sweep(self) -> int:
        """Remove archives whose time is over, and remains of crashes; how many went."""
        return await in_thread(self._sweep)

    def _sweep(self) -> int:
        gone = 0
        oldest = self._now() - int(self._retention_s * 1e9)
        for path in self._directory.iterdir():
            with suppress(FileNotFoundError):
                if self._retention_s and path.stat().st_mtime_ns < oldest:
                    path.unlink()
                    gone += 1
        return gone

    async def _start(self) -> None:
        async with self._starting:
            if self._server:
                return
            self._directory.mkdir(parents=True, exist_ok=True)
            self._server = await asyncio.start_server(self._accept, self._address, self._port)
            self._port = self._server.sockets[0].getsockname()[1]
            self._sweeper = asyncio.create_task(self._sweep_for_ever(), name="local publisher")

    async def _sweep_for_ever(self) -> None:
        while True:
            try:
                await self.sweep()
            except OSError as error:
                log.warning("local publisher: %s", error)
            await asyncio.sleep(SWEEP_S)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._clients) >= CONNECTIONS:
            writer.transport.abort()
            return
        task = asyncio.create_task(self._serve(reader, writer))
        self._clients.add(task)
        task.add_done_callback(self._clients.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request, then the connection ends."""
        connection = h11.Connection(h11.SERVER)
        try:
            async with asyncio.timeout(PATIENCE_S):
                while (event := connection.next_event()) is h11.NEED_DATA:
                    connection.receive_data(await reader.read(CHUNK_BYTES))
            if isinstance(event, h11.Request):
                await self._answer(connection, event, writer)
            async with asyncio.timeout(PATIENCE_S):
                writer.close()
                await writer.wait_closed()
        except h11.RemoteProtocolError as error:
            log.info("local publisher: not HTTP: %s", error)
        except (OSError, TimeoutError):
            pass  # the client is gone
        finally:
            writer.transport.abort()

    async def _answer(
        self, connection: h11.Connection, asked: h11.Request, writer: asyncio.StreamWriter
    ) -> None:
        found = _ARCHIVE.fullmatch(asked.target.decode("latin-1").partition("?")[0])
        if asked.method not in (b"GET", b"HEAD"):
            await _send(connection, writer, 405, {"allow": "GET, HEAD"})
            return
        try:
            file = (self._directory / found["name"]).open("rb") if found else None
        except FileNotFoundError:
            file = None
        if file is None:
            await _send(connection, writer, 404, {})
            return
        with file:
            size = os.fstat(file.fileno()).st_size
            start = _wanted(asked)
            headers = {"content-type": "application/gzip", "accept-ranges": "bytes"}
            headers["etag"] = f'"{os.fstat(file.fileno()).st_mtime_ns:x}-{size:x}"'
            if 0 < start >= size:
                await _send(connection, writer, 416, {"content-range": f"bytes */{size}"})
                return
            if start >= 0:
                headers["content-range"] = f"bytes {start}-{size - 1}/{size}"
            status, first = (206, start) if start >= 0 else (200, 0)
            content = None if asked.method == b"HEAD" else file
            file.seek(first)
            await _send(connection, writer, status, headers, content, size - first)


def _wanted(asked: h11.Request) -> int:
    """Where the wanted range begins; -1 when all is wanted. Only `bytes=<start>-` is known."""
    values = dict(asked.headers)
    found = _RANGE.fullmatch(values.get(b"range", b""))
    # An archive never changes under its name but by being published again, as the same bytes.
    return int(found[1]) if found else -1


async def _send(
    connection: h11.Connection,
    writer: asyncio.StreamWriter,
    status: int,
    headers: dict[str, str],
    content: BinaryIO | None = None,
    size: int = 0,
) -> None:
    lines = {**headers, "content-length": str(size), "connection": "close"}
    writer.write(connection.send(h11.Response(status_code=status, headers=list(lines.items()))))
    while content and (chunk := await in_thread(content.read, CHUNK_BYTES)):
        writer.write(connection.send(h11.Data(data=chunk)))
        async with asyncio.timeout(PATIENCE_S):
            await writer.drain()
    writer.write(connection.send(h11.EndOfMessage()))


def _write(path: Path, directory: Path, items: tuple[Item, ...]) -> None:
    """Pack into a file that appears complete, durably."""
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as file:
            file.writelines(pack(directory, items))
            file.flush()
            os.fsync(file.fileno())
        part.rename(path)
    finally:
        part.unlink(missing_ok=True)


def _failed(message: str) -> EngineFailed:
    return EngineFailed(Fault(kind=FaultKind.NODE, code="PublishFailed", message=message))

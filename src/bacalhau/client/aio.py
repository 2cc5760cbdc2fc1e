"""The client for asyncio: the same calls, on asyncio's streams."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import suppress

from bacalhau.client import calls, exchange
from bacalhau.client.calls import Call
from bacalhau.client.endpoint import Endpoint
from bacalhau.client.exchange import Body, Broken, Head
from bacalhau.client.sync import (
    ANSWER_S,
    CONNECT_S,
    MAX_IDLE,
    PATIENCE_S,
    POLL_S,
    WAIT_S,
    Client,
    here,
    random_text,
    tls_context,
)

TYPE_CHECKING = False  # not from typing, which takes long to import
if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType
    from typing import Any, Self, TypeVar

    from bacalhau.client.calls import JSON, Spec
    from bacalhau.client.exchange import Steps
    from bacalhau.client.records import LogLine, Submitted
    from bacalhau.model.errors import Error
    from bacalhau.model.event import Event
    from bacalhau.model.execution import Execution
    from bacalhau.model.job import Job, SpecConfig
    from bacalhau.model.node import NodeInfo
    from bacalhau.model.plan import NodeView

    T = TypeVar("T")


class Connection:
    """One connection to a server. Raises OSError, TimeoutError and Broken."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, endpoint: Endpoint) -> "Self":
        async with asyncio.timeout(CONNECT_S):
            reader, writer = await asyncio.open_connection(
                endpoint.host,
                endpoint.port,
                ssl=tls_context(endpoint) if endpoint.tls else None,
                limit=exchange.MAX_LINE_BYTES,
            )
        return cls(reader, writer)

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        async with asyncio.timeout(ANSWER_S):
            await self._writer.drain()

    async def run(self, steps: "Steps[T]") -> "T":
        """Drive a generator of exchange with this connection's bytes."""
        try:
            need, amount = next(steps)
            while True:
                need, amount = steps.send(await self._provide(need, amount))
        except StopIteration as end:
            result: T = end.value
            return result
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError) as error:
            raise Broken("the connection ended too early") from error

    async def _provide(self, need: str, amount: "Any") -> bytes:
        if need == "send":
            await self.send(amount)
            return b""
        async with asyncio.timeout(ANSWER_S):
            if need == "line":
                return await self._reader.readline()
            if need == "some":
                return await self._reader.read(amount)
            return await self._reader.readexactly(amount)

    @property
    def is_stale(self) -> bool:
        """True when the server has closed."""
        return self._reader.at_eof() or self._writer.is_closing()

    def close(self) -> None:
        self._writer.close()


class AsyncClient:
    """A Bacalhau server, from asyncio code. See Client: same arguments, methods, errors."""

    def __init__(
        self,
        address: str | Endpoint = "",
        *,
        token: str = "",
        username: str = "",
        password: str = "",
        ca_file: str = "",
        insecure: bool = False,
        namespace: str = "",
    ) -> None:
        if isinstance(address, Endpoint):
            self.endpoint = address
        else:
            self.endpoint = here(
                address,
                token=token,
                username=username,
                password=password,
                ca_file=ca_file,
                insecure=insecure,
            )
        self.namespace = namespace
        self._idle: list[Connection] = []

    async def __aenter__(self) -> "Self":
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: "TracebackType | None",
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections. The client may be used again all the same."""
        while self._idle:
            self._idle.pop().close()

    # Jobs

    async def submit(self, spec: "Spec", *, force: bool = False) -> "Submitted":
        """Submit a job; durable when this returns. See Client.submit."""
        return await self._call(calls.submit(spec, force))

    async def submit_many(self, specs: "Iterable[Spec]") -> "list[Submitted | Error]":
        """Submit many jobs in one write; the answers in order, errors among them."""
        return await self._call(calls.submit_many(specs))

    async def diff(self, spec: "Spec") -> "tuple[str, tuple[str, ...]]":
        """How the spec differs from the stored job of its name ('' if equal), and warnings."""
        return await self._call(calls.diff(spec))

    async def rerun(self, job_id: str, *, version: int = 0) -> "Submitted":
        """Run that version (0: the latest) again, as a new version."""
        return await self._call(calls.rerun(job_id, version, self.namespace))

    async def stop(self, job_id: str, *, reason: str = "") -> str:
        """Stop the job; the evaluation's id, '' when it was stopped before. Raises Conflict."""
        return await self._call(calls.stop(job_id, reason, self.namespace))

    async def job(self, job_id: str, *, version: int = 0) -> "Job":
        """The job as it is now, or as that version last was. Raises NotFound, Ambiguous."""
        return await self._call(calls.job(job_id, version, self.namespace))

    async def jobs(
        self,
        *,
        labels: Sequence[str] = (),
        order_by: str = "",
        reverse: bool = False,
        page_size: int = 0,
    ) -> "AsyncIterator[Job]":
        """All jobs (of the client's namespace, else of all), oldest first, page by page."""
        token = ""
        while True:
            page, token = await self._call(
                calls.jobs(self.namespace or "*", labels, order_by, reverse, page_size, token)
            )
            for job in page:
                yield job
            if not token:
                return

    async def wait(
        self,
        job_id: str,
        *,
        timeout_s: float | None = None,
        on_change: "Callable[[Job], None] | None" = None,
    ) -> "Job":
        """The job as soon as it has ended; `on_change` is told each state before.

        Bears with a server that restarts. Raises TimeoutError after `timeout_s`.
        """
        from bacalhau.model.errors import Unavailable

        revision, has_long_poll, seen = -1, True, 0.0
        async with asyncio.timeout(timeout_s):
            while True:
                try:
                    if has_long_poll:
                        job, has_long_poll = await self._look(job_id, max(revision, 0))
                    else:
                        await asyncio.sleep(POLL_S)
                        job = await self.job(job_id)
                except Unavailable:
                    if revision < 0 or time.monotonic() - seen > PATIENCE_S:
                        raise
                    await asyncio.sleep(POLL_S)
                    continue
                seen = time.monotonic()
                if on_change is not None and job.revision != revision:
                    on_change(job)
                if job.state.is_terminal:
                    return job
                revision = job.revision

    async def executions(
        self, job_id: str, *, version: int = 0, all_versions: bool = False
    ) -> "list[Execution]":
        """Executions of the latest version, of that one, or of all, by time of creation."""
        found: list[Execution] = []
        token = ""
        while True:
            page, token = await self._call(
                calls.executions(job_id, version, all_versions, self.namespace, token)
            )
            found += page
            if not token:
                return found

    async def history(
        self,
        job_id: str,
        *,
        execution_id: str = "",
        kind: str = "",
        version: int = 0,
        follow: bool = False,
        page_size: int = 0,
    ) -> "AsyncIterator[Event]":
        """What happened, in order; `kind` is `job` or `execution`; `follow` to the end."""
        token = ""
        while True:
            page, token = await self._call(
                calls.history(job_id, execution_id, kind, version, self.namespace, page_size, token)
            )
            for event in page:
                yield event
            if not token or not (page or follow):
                return
            if not page:
                await asyncio.sleep(POLL_S)

    async def versions(self, job_id: str) -> "list[Job]":
        """Every version of the job as it last was, ascending."""
        return await self._call(calls.versions(job_id, self.namespace))

    async def results(self, job_id: str) -> "list[SpecConfig]":
        """Where the job's results are."""
        return await self._call(calls.results(job_id, self.namespace))

    async def download(
        self,
        job_id: str,
        directory: "str | Path",
        *,
        raw: bool = False,
        on_progress: "Callable[[int, int], None] | None" = None,
    ) -> "list[Path]":
        """Fetch and unpack the job's results. See Client.download.

        Files are a thread's work; `on_progress` is called from it.
        """

        def download() -> "list[Path]":
            with Client(self.endpoint, namespace=self.namespace) as client:
                return client.download(job_id, directory, raw=raw, on_progress=on_progress)

        return await asyncio.to_thread(download)

    async def logs(
        self,
        job_id: str,
        *,
        execution_id: str = "",
        version: int = 0,
        follow: bool = False,
        tail: bool = False,
    ) -> "AsyncIterator[LogLine]":
        """Output of one execution; `tail`: only what is new; `follow`: until it ends."""
        call = calls.logs(job_id, execution_id, version, follow, tail, self.namespace)
        try:
            connection = await Connection.open(self.endpoint)
        except OSError as error:
            raise self._unreachable(error) from None
        try:
            headers = {**calls.headers(self.endpoint), **exchange.upgrade(random_text(16))}
            await connection.send(exchange.request("GET", call.target, headers))
            head = await connection.run(exchange.read_head())
            if head.status != 101:
                self._raise_for(head, await connection.run(Body(head, "GET").whole()))
                raise Broken("the server did not open a log stream")
            while True:
                message = await connection.run(exchange.read_message(os.urandom(4)))
                if message is None:
                    return
                yield calls.read_line(message)
        except (OSError, Broken) as error:
            raise self._unreachable(error) from None
        finally:
            connection.close()

    # Nodes and the server

    async def nodes(
        self, *, labels: Sequence[str] = (), approval: str = "", status: str = ""
    ) -> "list[NodeView]":
        """All nodes, or those with these labels, that approval, that connection."""
        return await self._call(calls.nodes(labels, approval, status))

    async def node(self, node_id: str) -> "NodeView":
        """The node of that id or beginning of an id. Raises NotFound, Ambiguous."""
        return await self._call(calls.node(node_id))

    async def update_node(self, node_id: str, action: str, *, message: str = "") -> None:
        """`approve`, `reject` or `delete` a node. Raises NotFound, Conflict."""
        await self._call(calls.update_node(node_id, action, message))

    async def node_info(self) -> "NodeInfo":
        """What the server's own node is."""
        return await self._call(calls.node_info())

    async def alive(self) -> bool:
        """Does the server answer? Raises Unavailable when nobody does."""
        return await self._call(calls.alive())

    async def version(self) -> "JSON":
        """The server's version, as it spells it."""
        return await self._call(calls.version())

    async def config(self) -> "JSON":
        """The server's configuration, secrets masked."""
        return await self._call(calls.config())

    async def raw(
        self,
        method: str,
        path: str,
        query: "Mapping[str, Any] | None" = None,
        body: "JSON | None" = None,
    ) -> "JSON":
        """Any call below `/api/v1`: decoded JSON as the server sent it."""
        return await self._call(calls.raw(method, path, query or {}, body))

    # How it travels

    async def _call(self, call: "Call[T]") -> "T":
        headers = calls.headers(self.endpoint)
        data = exchange.request(call.method, call.target, headers, call.content)
        connection = self._take()
        if connection is not None:
            try:
                return await self._exchange(connection, call, data)
            except (OSError, Broken) as error:
                # As in Client: what changes nothing is asked again on a fresh connection.
                if call.method != "GET" or isinstance(error, TimeoutError):
                    raise self._unreachable(error) from None
        try:
            return await self._exchange(await Connection.open(self.endpoint), call, data)
        except (OSError, Broken) as error:
            raise self._unreachable(error) from None

    async def _exchange(self, connection: Connection, call: "Call[T]", data: bytes) -> "T":
        reusable = False
        try:
            with suppress(BrokenPipeError, ConnectionResetError):
                # A server that does not want all of a body answers and closes.
                await connection.send(data)
            head = await connection.run(exchange.read_head())
            body = Body(head, call.method)
            content = await connection.run(body.whole())
            reusable = body.is_reusable
        finally:
            if reusable and len(self._idle) < MAX_IDLE:
                self._idle.append(connection)
            else:
                connection.close()
        self._raise_for(head, content)
        return call.read(calls.decode(content))

    def _take(self) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_stale:
                return connection
            connection.close()
        return None

    async def _look(self, job_id: str, revision: int) -> "tuple[Job, bool]":
        """A long poll; False when the server knows no such thing."""
        from bacalhau.model.errors import NotFound

        try:
            return await self._call(calls.wait(job_id, revision, WAIT_S, self.namespace)), True
        except NotFound:
            return await self.job(job_id), False

    def _raise_for(self, head: Head, content: bytes) -> None:
        if head.status >= 300:
            from bacalhau.client.errors import raise_for

            raise_for(head, content, self.endpoint)

    def _unreachable(self, error: Exception) -> "Error":
        from bacalhau.client.errors import unreachable

        return unreachable(self.endpoint, error)

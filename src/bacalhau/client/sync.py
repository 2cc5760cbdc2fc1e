"""The client for plain code: sockets, no event loop, quick to import and to start."""

import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress

from bacalhau.client import calls, exchange
from bacalhau.client.calls import Call
from bacalhau.client.endpoint import Endpoint, resolve
from bacalhau.client.exchange import Body, Broken, Head

TYPE_CHECKING = False  # not from typing, which takes long to import
if TYPE_CHECKING:
    import ssl
    from pathlib import Path
    from types import TracebackType
    from typing import Any, BinaryIO, Self, TypeVar

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

CONNECT_S = 10.0
ANSWER_S = 60.0
"""Longer than any answer of the server takes, and than the pings of a log stream."""

WAIT_S = 20
"""One long poll; the server ends it after 25 s at the latest."""

POLL_S = 0.5
"""Between looks at a server that has no long poll, and for new events."""

PATIENCE_S = 60.0
"""How long wait() bears with a server that was there and is gone: it may be restarting."""

MAX_IDLE = 8
"""Connections that are kept for the next call."""


def here(address: str = "", port: int = 0, **wishes: "Any") -> Endpoint:
    """The endpoint for these wishes in this process's environment. See endpoint.resolve."""
    directory = os.environ.get("BACALHAU_DIR") or os.path.expanduser("~/.bacalhau")

    def read(name: str) -> str | None:
        try:
            with open(os.path.join(directory, name), encoding="utf-8") as file:
                return file.read(4096)
        except (OSError, UnicodeDecodeError):
            return None

    return resolve(address, port, env=os.environ, read=read, **wishes)


class Connection:
    """One connection to a server. Raises OSError, TimeoutError and Broken."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._socket = socket.create_connection((endpoint.host, endpoint.port), CONNECT_S)
        try:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if endpoint.tls:
                context = tls_context(endpoint)
                self._socket = context.wrap_socket(self._socket, server_hostname=endpoint.host)
            self._socket.settimeout(ANSWER_S)
            self._file: BinaryIO = self._socket.makefile("rb")
        except BaseException:
            self._socket.close()
            raise

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def run(self, steps: "Steps[T]") -> "T":
        """Drive a generator of exchange with this connection's bytes."""
        file, data = self._file, b""
        try:
            need, amount = next(steps)
            while True:
                if need == "line":
                    data = file.readline(amount)
                elif need == "some":
                    data = file.read1(amount)  # type: ignore[attr-defined]  # it is buffered
                elif need == "send":
                    self.send(amount)
                    data = b""
                else:
                    data = file.read(amount)
                    if len(data) < amount:
                        raise Broken("the connection ended too early")
                need, amount = steps.send(data)
        except StopIteration as end:
            result: T = end.value
            return result

    @property
    def is_stale(self) -> bool:
        """True when the server has closed, or sent what nobody asked for."""
        self._socket.setblocking(False)
        try:
            self._socket.recv(1, socket.MSG_PEEK)
        except (BlockingIOError, ValueError):
            # TLS sockets take no flags; they are asked the hard way, by using them.
            return False
        except OSError:
            return True
        else:
            return True
        finally:
            self._socket.settimeout(ANSWER_S)

    def close(self) -> None:
        self._file.close()
        self._socket.close()


class Client:
    """A Bacalhau server, from plain code. May be used by several threads.

    Without arguments: the server of BACALHAU_API_HOST and BACALHAU_API_PORT, else the one on
    this machine, with the credentials of the environment. Methods that name a job take its
    id, the beginning of it, or its name (in `namespace`). They raise the errors of
    bacalhau.model.errors; Unavailable when the server cannot be reached.
    """

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

    def __enter__(self) -> "Self":
        return self

    def __exit__(
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

    def submit(self, spec: "Spec", *, force: bool = False) -> "Submitted":
        """Submit a job (a JobSpec, or a mapping as in job files); durable when this returns.

        A job of that name is updated. Raises Rejected, NoChange (unless `force`), Limit.
        """
        return self._call(calls.submit(spec, force))

    def submit_many(self, specs: "Iterable[Spec]") -> "list[Submitted | Error]":
        """Submit many jobs in one write; the answers in order, errors among them."""
        return self._call(calls.submit_many(specs))

    def diff(self, spec: "Spec") -> "tuple[str, tuple[str, ...]]":
        """How the spec differs from the stored job of its name ('' if equal), and warnings."""
        return self._call(calls.diff(spec))

    def rerun(self, job_id: str, *, version: int = 0) -> "Submitted":
        """Run that version (0: the latest) again, as a new version."""
        return self._call(calls.rerun(job_id, version, self.namespace))

    def stop(self, job_id: str, *, reason: str = "") -> str:
        """Stop the job; the evaluation's id, '' when it was stopped before. Raises Conflict."""
        return self._call(calls.stop(job_id, reason, self.namespace))

    def job(self, job_id: str, *, version: int = 0) -> "Job":
        """The job as it is now, or as that version last was. Raises NotFound, Ambiguous."""
        return self._call(calls.job(job_id, version, self.namespace))

    def jobs(
        self,
        *,
        labels: Sequence[str] = (),
        order_by: str = "",
        reverse: bool = False,
        page_size: int = 0,
    ) -> "Iterator[Job]":
        """All jobs (of the client's namespace, else of all), oldest first, page by page."""
        token = ""
        while True:
            found, token = self._call(
                calls.jobs(self.namespace or "*", labels, order_by, reverse, page_size, token)
            )
            yield from found
            if not token:
                return

    def wait(
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

        until = None if timeout_s is None else time.monotonic() + timeout_s
        revision, has_long_poll, seen = -1, True, 0.0
        while True:
            left = WAIT_S if until is None else min(WAIT_S, max(1, int(until - time.monotonic())))
            try:
                if has_long_poll:
                    job, has_long_poll = self._look(job_id, max(revision, 0), left)
                else:
                    time.sleep(POLL_S)
                    job = self.job(job_id)
            except Unavailable:
                if revision < 0 or time.monotonic() - seen > PATIENCE_S:
                    raise
                time.sleep(POLL_S)
            else:
                seen = time.monotonic()
                if on_change is not None and job.revision != revision:
                    on_change(job)
                if job.state.is_terminal:
                    return job
                revision = job.revision
            if until is not None and time.monotonic() >= until:
                raise TimeoutError(f"job {job_id} has not ended after {timeout_s:g} s")

    def executions(
        self, job_id: str, *, version: int = 0, all_versions: bool = False
    ) -> "list[Execution]":
        """Executions of the latest version, of that one, or of all, by time of creation."""
        found: list[Execution] = []
        token = ""
        while True:
            page, token = self._call(
                calls.executions(job_id, version, all_versions, self.namespace, token)
            )
            found += page
            if not token:
                return found

    def history(
        self,
        job_id: str,
        *,
        execution_id: str = "",
        kind: str = "",
        version: int = 0,
        follow: bool = False,
        page_size: int = 0,
    ) -> "Iterator[Event]":
        """What happened, in order; `kind` is `job` or `execution`; `follow` to the end."""
        token = ""
        while True:
            page, token = self._call(
                calls.history(job_id, execution_id, kind, version, self.namespace, page_size, token)
            )
            yield from page
            if not token or not (page or follow):
                return
            if not page:
                time.sleep(POLL_S)

    def versions(self, job_id: str) -> "list[Job]":
        """Every version of the job as it last was, ascending."""
        return self._call(calls.versions(job_id, self.namespace))

    def results(self, job_id: str) -> "list[SpecConfig]":
        """Where the job's results are."""
        return self._call(calls.results(job_id, self.namespace))

    def download(
        self,
        job_id: str,
        directory: "str | Path",
        *,
        raw: bool = False,
        on_progress: "Callable[[int, int], None] | None" = None,
    ) -> "list[Path]":
        """Fetch and unpack the job's results into the directory; what now lies there.

        Results of several executions are merged, unless `raw` keeps each below
        `raw/<execution>`. `on_progress` is told (bytes so far, bytes in all or 0) of each.
        Raises NotFound when nothing was published, Conflict when files are in the way.
        """
        from bacalhau.client.download import download

        return download(self, job_id, directory, raw=raw, on_progress=on_progress)

    def logs(
        self,
        job_id: str,
        *,
        execution_id: str = "",
        version: int = 0,
        follow: bool = False,
        tail: bool = False,
    ) -> "Iterator[LogLine]":
        """Output of one execution; `tail`: only what is new; `follow`: until it ends."""
        call = calls.logs(job_id, execution_id, version, follow, tail, self.namespace)
        try:
            connection = Connection(self.endpoint)
        except OSError as error:
            raise self._unreachable(error) from None
        try:
            key = random_text(16)
            headers = {**self._headers(), **exchange.upgrade(key)}
            connection.send(exchange.request("GET", call.target, headers))
            head = connection.run(exchange.read_head())
            if head.status != 101:
                self._raise_for(head, connection.run(Body(head, "GET").whole()))
                raise Broken("the server did not open a log stream")
            while True:
                message = connection.run(exchange.read_message(os.urandom(4)))
                if message is None:
                    return
                yield calls.read_line(message)
        except (OSError, Broken) as error:
            raise self._unreachable(error) from None
        finally:
            connection.close()

    # Nodes and the server

    def nodes(
        self, *, labels: Sequence[str] = (), approval: str = "", status: str = ""
    ) -> "list[NodeView]":
        """All nodes, or those with these labels, that approval, that connection."""
        return self._call(calls.nodes(labels, approval, status))

    def node(self, node_id: str) -> "NodeView":
        """The node of that id or beginning of an id. Raises NotFound, Ambiguous."""
        return self._call(calls.node(node_id))

    def update_node(self, node_id: str, action: str, *, message: str = "") -> None:
        """`approve`, `reject` or `delete` a node. Raises NotFound, Conflict."""
        self._call(calls.update_node(node_id, action, message))

    def node_info(self) -> "NodeInfo":
        """What the server's own node is."""
        return self._call(calls.node_info())

    def alive(self) -> bool:
        """Does the server answer? Raises Unavailable when nobody does."""
        return self._call(calls.alive())

    def version(self) -> "JSON":
        """The server's version, as it spells it."""
        return self._call(calls.version())

    def config(self) -> "JSON":
        """The server's configuration, secrets masked."""
        return self._call(calls.config())

    def raw(
        self,
        method: str,
        path: str,
        query: "Mapping[str, Any] | None" = None,
        body: "JSON | None" = None,
    ) -> "JSON":
        """Any call below `/api/v1`: decoded JSON as the server sent it."""
        return self._call(calls.raw(method, path, query or {}, body))

    # How it travels

    def _call(self, call: "Call[T]") -> "T":
        content = call.content
        data = exchange.request(call.method, call.target, self._headers(), content)
        connection = self._take()
        if connection is not None:
            try:
                return self._exchange(connection, call, data)
            except (OSError, Broken) as error:
                # The server may have closed the idle connection at this very moment. What
                # changes nothing is asked again; the rest may have been done.
                if call.method != "GET" or isinstance(error, TimeoutError):
                    raise self._unreachable(error) from None
        try:
            return self._exchange(Connection(self.endpoint), call, data)
        except (OSError, Broken) as error:
            raise self._unreachable(error) from None

    def _exchange(self, connection: Connection, call: "Call[T]", data: bytes) -> "T":
        reusable = False
        try:
            with suppress(BrokenPipeError, ConnectionResetError):
                # A server that does not want all of a body answers and closes.
                connection.send(data)
            head = connection.run(exchange.read_head())
            body = Body(head, call.method)
            content = connection.run(body.whole())
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

    def _look(self, job_id: str, revision: int, timeout_s: int) -> "tuple[Job, bool]":
        """A long poll; False when the server knows no such thing."""
        from bacalhau.model.errors import NotFound

        try:
            return self._call(calls.wait(job_id, revision, timeout_s, self.namespace)), True
        except NotFound:
            return self.job(job_id), False

    def _headers(self) -> dict[str, str]:
        return calls.headers(self.endpoint)

    def _raise_for(self, head: Head, content: bytes) -> None:
        if head.status >= 300:
            from bacalhau.client.errors import raise_for

            raise_for(head, content, self.endpoint)

    def _unreachable(self, error: Exception) -> "Error":
        from bacalhau.client.errors import unreachable

        return unreachable(self.endpoint, error)


def tls_context(endpoint: Endpoint) -> "ssl.SSLContext":
    """How this endpoint is to be trusted."""
    import ssl

    context = ssl.create_default_context(cafile=endpoint.ca_file or None)
    if endpoint.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def random_text(size: int) -> str:
    """Base64 of so many random bytes."""
    from base64 import b64encode

    return b64encode(os.urandom(size)).decode()

"""The store on one SQLite file: durable, embedded, and read while it is written."""

import asyncio
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import TypeVar

from bacalhau.model.errors import Unavailable
from bacalhau.model.event import Event
from bacalhau.model.execution import Execution
from bacalhau.model.job import Job, Requirement
from bacalhau.model.plan import Change, JobView, NodeView
from bacalhau.ports.store import Page
from bacalhau.stores import changes, cursor, queries
from bacalhau.stores.database import Database, Synchronous, trouble
from bacalhau.stores.live import Live
from bacalhau.stores.writer import Writer

T = TypeVar("T")

READERS = 2
"""Threads for reading, so that one long listing does not hold up the rest."""


class SqliteStore:
    """State in the SQLite file `path`, used by this process alone. See ports.store.Store.

    `synchronous` FULL survives a power cut, NORMAL the death of the process only. A commit
    whose caller is cancelled may still be made. Raises Conflict when another process uses
    the file, Rejected when it is damaged or newer than this program, Unavailable when it
    cannot be opened.
    """

    def __init__(self, path: str | Path, synchronous: Synchronous = "FULL") -> None:
        self._database = Database(path, "store", synchronous)
        try:
            connection = self._database.connect()
            try:
                self._live = _load(connection)
            finally:
                connection.close()
            self._readers = _Readers(self._database)
            self._writer = Writer(self._database, "store-writer", self._reload)
        except sqlite3.Error as error:
            self._database.close()
            raise trouble(self._database.path, error) from error

    def _reload(self, connection: sqlite3.Connection) -> Callable[[], None]:
        """After a failed write the disk says what is true."""
        fresh = _load(connection)

        def adopt() -> None:
            self._live = fresh

        return adopt

    async def commit(self, change: Change) -> None:
        await self._writer.run(
            partial(changes.write, change=change), lambda _: self._live.apply(change)
        )

    def views(self, job_ids: Iterable[str]) -> tuple[JobView, ...]:
        return self._live.views(job_ids)

    def nodes(self) -> tuple[NodeView, ...]:
        return self._live.nodes()

    def live_jobs(self) -> tuple[Job, ...]:
        return self._live.jobs()

    def live_count(self) -> int:
        return self._live.count()

    def live_job(self, job_id: str) -> Job | None:
        return self._live.job(job_id)

    def live_execution(self, execution_id: str) -> Execution | None:
        return self._live.execution(execution_id)

    def unsettled(self, node_id: str) -> tuple[Execution, ...]:
        return self._live.unsettled(node_id)

    async def job(self, job_id: str, version: int = 0) -> Job | None:
        known = self._live.job(job_id)
        if known is not None and version in (0, known.version):
            return known
        return await self._readers.run(partial(queries.job, job_id=job_id, version=version))

    async def resolve(self, name_or_id: str, namespace: str) -> Sequence[str]:
        return await self._readers.run(
            partial(queries.resolve, name_or_id=name_or_id, namespace=namespace)
        )

    async def jobs(
        self,
        *,
        namespace: str = "",
        labels: Sequence[Requirement] = (),
        order_by: str = "created_at",
        reverse: bool = False,
        limit: int = 0,
        after: str = "",
    ) -> Page[Job]:
        cursor.check_order(order_by)
        query = partial(
            queries.jobs,
            namespace=namespace,
            labels=labels,
            order_by=order_by,
            reverse=reverse,
            limit=limit,
            after=cursor.read(order_by, after) if after else None,
        )
        return await self._readers.run(query)

    async def versions(self, job_id: str) -> tuple[Job, ...]:
        return await self._readers.run(partial(queries.versions, job_id=job_id))

    async def executions(self, job_id: str, version: int = 0) -> tuple[Execution, ...]:
        return await self._readers.run(partial(queries.executions, job_id=job_id, version=version))

    async def execution(self, execution_id: str) -> Execution | None:
        known = self._live.execution(execution_id)
        if known is not None:
            return known
        return await self._readers.run(partial(queries.execution, execution_id=execution_id))

    async def events(
        self,
        job_id: str,
        *,
        version: int = 0,
        execution_id: str = "",
        after: int = 0,
        limit: int = 0,
    ) -> tuple[Event, ...]:
        query = partial(
            queries.events,
            job_id=job_id,
            version=version,
            execution_id=execution_id,
            after=after,
            limit=limit,
        )
        return await self._readers.run(query)

    async def sweep(self, before: int, limit: int) -> Sequence[str]:
        return await self._writer.run(partial(changes.sweep, before=before, limit=limit))

    async def close(self) -> None:
        """Write what is waiting, then let go of the file."""
        await self._writer.close()
        await self._readers.close()
        self._database.close()


def _load(connection: sqlite3.Connection) -> Live:
    live = Live()
    live.apply(queries.live(connection), from_nothing=True)
    return live


class _Readers:
    """Runs queries on threads of their own, each with a connection that nobody else uses.

    Connections are opened at once, for a disk may be too full to open one later.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._pool = ThreadPoolExecutor(READERS, "store-reader")
        self._idle: SimpleQueue[sqlite3.Connection | None] = SimpleQueue()
        for _ in range(READERS):
            self._idle.put(database.connect(read_only=True))

    async def run(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """What the query returns. Raises Unavailable when the file cannot be read."""
        try:
            asked = asyncio.get_running_loop().run_in_executor(self._pool, self._ask, query)
        except RuntimeError:
            raise Unavailable("the store is closed") from None
        return await asked

    def _ask(self, query: Callable[[sqlite3.Connection], T]) -> T:
        connection = self._idle.get()
        try:
            if connection is None:
                connection = self._database.connect(read_only=True)
            # One transaction: all statements of a query see the same state.
            connection.execute("BEGIN")
            try:
                return query(connection)
            finally:
                connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            if connection is not None:
                connection.close()
                connection = None
            raise trouble(self._database.path, error) from error
        finally:
            self._idle.put(connection)

    async def close(self) -> None:
        """Wait for running queries; refuse new ones."""
        await asyncio.to_thread(self._pool.shutdown)
        while not self._idle.empty():
            connection = self._idle.get()
            if connection is not None:
                connection.close()

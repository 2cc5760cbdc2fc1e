"""One thread that writes to one SQLite file, many commits in each transaction.

While one transaction is being made durable, further commits queue up; the next
transaction takes all of them. Waiting for the disk is thereby shared.
"""

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Sequence
from functools import partial
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

from bacalhau.model.errors import Unavailable
from bacalhau.stores.database import Database, trouble

T = TypeVar("T")

MAX_WAITING = 10_000
"""Pieces of work that may wait: several seconds of it. More are refused as Unavailable."""

MAX_GROUP = 1_000
"""Pieces of work in one transaction, so that the first of them does not wait long."""

_DISK_ERRORS = (sqlite3.OperationalError, sqlite3.InternalError, sqlite3.DatabaseError)
"""Exactly these end the transaction; their other subclasses concern one statement."""


class Writer:
    """Runs pieces of work on a connection: each all or nothing, and durable when it returns.

    A failed write leaves open what the disk holds. So before the next one `reread` is called
    in the thread, and what it returns in the event loop, to put memory right.
    """

    def __init__(
        self,
        database: Database,
        name: str,
        reread: Callable[[sqlite3.Connection], Callable[[], None]] | None = None,
    ) -> None:
        self._database = database
        self._reread = reread
        self._connection: sqlite3.Connection | None = database.connect()
        self._queue: SimpleQueue[_Task[Any] | None] = SimpleQueue()
        self._waiting = 0
        self._closed = False
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    async def run(
        self, work: Callable[[sqlite3.Connection], T], then: Callable[[T], None] | None = None
    ) -> T:
        """What `work` returned, once its writes are durable.

        `then` is called in the event loop with the same result, in the order of the
        commits and before anyone is told of them, even when the caller has gone away.
        Raises what `work` raised (nothing is written), Unavailable when the disk refuses.
        """
        if self._closed:
            raise Unavailable("the store is closed")
        if self._waiting >= MAX_WAITING:
            raise Unavailable(
                f"{MAX_WAITING} writes are waiting for '{self._database.path}'",
                hint="try again in a few seconds",
            )
        loop = asyncio.get_running_loop()
        task = _Task(work, then, loop, loop.create_future())
        self._waiting += 1
        self._queue.put(task)
        result: T = await task.future
        return result

    async def close(self) -> None:
        """Write what is waiting, then stop."""
        if not self._closed:
            self._closed = True
            self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    def _work(self) -> None:
        stop = False
        while not stop:
            group: list[_Task[Any]] = []
            task = self._queue.get()
            while task is not None:
                group.append(task)
                if self._queue.empty() or len(group) == MAX_GROUP:
                    break
                task = self._queue.get()
            stop = task is None
            if group:
                adopt = self._commit(group)
                self._answer(group, adopt)
        if self._connection is not None:
            self._connection.close()

    def _commit(self, group: Sequence["_Task[Any]"]) -> Callable[[], None] | None:
        """One transaction for the group; a piece of work that raises is left out of it.

        Returns what `reread` returned, when it was called.
        """
        adopt = None
        try:
            if self._connection is None:
                self._connection = self._database.connect()
                if self._reread is not None:
                    adopt = self._reread(self._connection)
            self._connection.execute("BEGIN IMMEDIATE")
            for task in group:
                self._attempt(self._connection, task)
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._abandon()
            for task in group:
                task.error = trouble(self._database.path, error)
        return adopt

    def _attempt(self, connection: sqlite3.Connection, task: "_Task[Any]") -> None:
        connection.execute("SAVEPOINT one")
        try:
            task.result = task.work(connection)
        except Exception as error:
            if type(error) in _DISK_ERRORS:
                raise
            task.error = error
            connection.execute("ROLLBACK TO one")
        connection.execute("RELEASE one")

    def _abandon(self) -> None:
        """Drop the connection with its transaction; the next group opens a new one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _answer(self, group: Sequence["_Task[Any]"], adopt: Callable[[], None] | None) -> None:
        settle = partial(self._settle, group, adopt)
        try:
            group[-1].loop.call_soon_threadsafe(settle)
        except RuntimeError:
            # The loop has been closed: nobody waits, and nobody reads at the same time.
            settle()

    def _settle(self, group: Sequence["_Task[Any]"], adopt: Callable[[], None] | None) -> None:
        self._waiting -= len(group)
        if adopt is not None:
            adopt()
        for task in group:
            if task.error is None and task.then is not None:
                task.then(task.result)
        for task in group:
            if task.future.done():
                continue
            if task.error is None:
                task.future.set_result(task.result)
            else:
                task.future.set_exception(task.error)


class _Task(Generic[T]):
    """One piece of work, who waits for it, and how it went."""

    __slots__ = ("error", "future", "loop", "result", "then", "work")

    def __init__(
        self,
        work: Callable[[sqlite3.Connection], T],
        then: Callable[[T], None] | None,
        loop: asyncio.AbstractEventLoop,
        future: "asyncio.Future[T]",
    ) -> None:
        self.work = work
        self.then = then
        self.loop = loop
        self.future = future
        self.result: T
        self.error: Exception | None = None

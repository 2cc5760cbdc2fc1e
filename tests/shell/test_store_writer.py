"""The writer: what queues up during one fsync goes into the next transaction."""

import asyncio
import sqlite3
import threading
from functools import partial
from pathlib import Path

import pytest

from bacalhau.model.errors import Conflict, Unavailable
from bacalhau.stores import writer as module
from bacalhau.stores.database import Database
from bacalhau.stores.writer import Writer


def insert(connection: sqlite3.Connection, number: int) -> int:
    connection.execute("INSERT INTO nodes VALUES (?, 1, x'')", (str(number),))
    if number < 0:
        raise Conflict(f"{number} is negative")
    return number


class Stalled:
    """A writer in the middle of a piece of work, until `go` is set; its statements counted."""

    def __init__(self, directory: Path) -> None:
        self.database = Database(directory / "some.db", "store")
        self.writer = Writer(self.database, "writer")
        self.statements: list[str] = []
        self.go = threading.Event()
        self.busy = threading.Event()
        self.stall = asyncio.ensure_future(self.writer.run(self._wait))

    def _wait(self, connection: sqlite3.Connection) -> None:
        connection.set_trace_callback(self.statements.append)
        self.busy.set()
        self.go.wait()

    async def close(self) -> None:
        self.go.set()
        await self.stall
        await self.writer.close()
        self.database.close()

    def rows(self) -> list[int]:
        connection = self.database.connect(read_only=True)
        try:
            return [int(row_id) for (row_id,) in connection.execute("SELECT id FROM nodes")]
        finally:
            connection.close()


async def test_what_waited_is_one_transaction(tmp_path: Path) -> None:
    stalled = Stalled(tmp_path)
    await asyncio.to_thread(stalled.busy.wait)
    waiting = [asyncio.ensure_future(stalled.writer.run(partial(insert, number=n)))
               for n in range(50)]  # fmt: skip
    await asyncio.sleep(0)
    stalled.go.set()
    assert await asyncio.gather(*waiting) == list(range(50))
    assert stalled.statements.count("BEGIN IMMEDIATE") == 1
    assert sorted(stalled.rows()) == list(range(50))
    await stalled.close()


async def test_one_that_fails_does_not_harm_the_others_of_its_group(tmp_path: Path) -> None:
    stalled = Stalled(tmp_path)
    await asyncio.to_thread(stalled.busy.wait)
    waiting = [asyncio.ensure_future(stalled.writer.run(partial(insert, number=n)))
               for n in (1, -2, 3, -4)]  # fmt: skip
    await asyncio.sleep(0)
    stalled.go.set()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(result) for result in results] == [int, Conflict, int, Conflict]
    assert sorted(stalled.rows()) == [1, 3]
    await stalled.close()


async def test_then_runs_in_order_even_for_a_caller_that_has_gone(tmp_path: Path) -> None:
    stalled = Stalled(tmp_path)
    seen: list[int] = []
    await asyncio.to_thread(stalled.busy.wait)
    waiting = [asyncio.ensure_future(stalled.writer.run(partial(insert, number=n), seen.append))
               for n in range(5)]  # fmt: skip
    await asyncio.sleep(0)
    waiting[1].cancel()
    stalled.go.set()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert seen == [0, 1, 2, 3, 4]
    await stalled.close()


async def test_too_many_waiting_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 3)
    stalled = Stalled(tmp_path)
    await asyncio.to_thread(stalled.busy.wait)
    waiting = [asyncio.ensure_future(stalled.writer.run(partial(insert, number=n)))
               for n in range(5)]  # fmt: skip
    await asyncio.sleep(0)
    stalled.go.set()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(result) for result in results] == [int, int, Unavailable, Unavailable, Unavailable]
    assert await stalled.writer.run(partial(insert, number=9)) == 9
    await stalled.close()


async def test_closing_writes_what_waits(tmp_path: Path) -> None:
    stalled = Stalled(tmp_path)
    waiting = [asyncio.ensure_future(stalled.writer.run(partial(insert, number=n)))
               for n in range(5)]  # fmt: skip
    await asyncio.sleep(0)
    stalled.go.set()
    await stalled.close()
    assert await asyncio.gather(*waiting) == list(range(5))
    assert sorted(stalled.rows()) == list(range(5))

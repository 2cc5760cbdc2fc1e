"""kill -9 at random moments: what was acknowledged is on disk, whole and sound."""

import asyncio
import random
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bacalhau.model.execution import Observed
from bacalhau.stores.journal import SqliteJournal
from bacalhau.stores.sqlite import SqliteStore
from bacalhau.testing.contracts.store_records import expected_view, plain

KILLS = 20
PATIENCE_S = 30.0

STORE_WRITER = """
import asyncio, sys
from bacalhau.model.base import evolve
from bacalhau.model.execution import Observed
from bacalhau.model.plan import Change
from bacalhau.stores.sqlite import SqliteStore
from bacalhau.testing.contracts.store_records import ended, event, execution, job

async def work(store, first):
    for number in range(first, 10**9, 8):
        row = job(number, colour="red")
        run = execution(row, number)
        await store.commit(Change(jobs=(row,), executions=(run,), events=(event(row, "made"),)))
        await store.commit(Change(jobs=(evolve(row, revision=2),),
                                  executions=(ended(run, Observed.COMPLETED),)))
        print(number, flush=True)

async def main(path, first):
    store = SqliteStore(path)
    await asyncio.gather(*(work(store, first + lane) for lane in range(8)))

asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""

JOURNAL_WRITER = """
import asyncio, sys
from bacalhau.stores.journal import SqliteJournal
from bacalhau.testing.contracts.journal import entry
from bacalhau.testing.contracts.store_records import job

async def main(path, first):
    journal = SqliteJournal(path)
    for number in range(first, 10**9):
        forget = [f"e-{number - 3:05}"] if number - first >= 3 else []
        await journal.write([entry(job(number // 5), number, reported=1)], forget=forget)
        print(number, flush=True)

asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""


def acknowledged(script: str, path: Path, first: int, wait_s: float) -> list[int]:
    """What a child had acknowledged when it was killed, `wait_s` after its first word."""
    child = subprocess.Popen(
        [sys.executable, "-c", script, str(path), str(first)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    with child:
        said = child.stdout.readline()
        time.sleep(wait_s)  # the moment of death is what is random here
        child.kill()
        said += child.stdout.read()
    assert said, "the child died before its first word"
    # A last line cut short was not fully said.
    return [int(line) for line in said.splitlines(keepends=True) if line.endswith("\n")]


def assert_sound(path: Path) -> None:
    connection = sqlite3.connect(path)
    try:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    finally:
        connection.close()


@pytest.mark.slow
async def test_the_store_keeps_what_it_acknowledged(tmp_path: Path) -> None:
    path, rng, total = tmp_path / "state.db", random.Random(7), 0
    for kill in range(KILLS):
        first = kill * 1_000_000
        numbers = await asyncio.to_thread(
            acknowledged, STORE_WRITER, path, first, rng.uniform(0, 0.15)
        )
        total += len(numbers)
        assert_sound(path)
        store = SqliteStore(path)
        for number in numbers:
            found = await store.job(f"j-{number:05}")
            assert found is not None
            assert found.revision == 2
            run = await store.execution(f"e-{number:05}")
            assert run is not None
            assert run.observed is Observed.COMPLETED
        await store.close()
    assert total > KILLS
    # Also what was not acknowledged is there as a whole or not at all.
    store = SqliteStore(path)
    for found in (await store.jobs()).items:
        (run,) = await store.executions(found.id)
        assert run.is_settled == (found.revision == 2)
        assert [event.seq for event in await store.events(found.id)] == [1]
        assert plain(store.views([found.id])[0]) == await expected_view(store, found.id)
    await store.close()


@pytest.mark.slow
async def test_the_journal_keeps_what_it_acknowledged(tmp_path: Path) -> None:
    path, rng = tmp_path / "journal.db", random.Random(8)
    for kill in range(KILLS // 2):
        first = kill * 1_000_000
        numbers = await asyncio.to_thread(
            acknowledged, JOURNAL_WRITER, path, first, rng.uniform(0, 0.1)
        )
        assert_sound(path)
        journal = SqliteJournal(path)
        held = [int(entry.execution.id[2:]) for entry in await journal.load()]
        mine = [number for number in held if number >= first]
        # The newest three are held; one more write may have been made but not acknowledged.
        last = numbers[-1]
        assert mine in (
            [number for number in range(last - 2, last + 1) if number >= first],
            [number for number in range(last - 1, last + 2) if number >= first],
        )
        await journal.close()

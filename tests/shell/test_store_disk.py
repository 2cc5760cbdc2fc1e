"""A disk that refuses writes: nothing is acknowledged falsely, and work goes on afterwards."""

import asyncio
from pathlib import Path

import pytest

from bacalhau.model.base import evolve
from bacalhau.model.errors import Unavailable
from bacalhau.model.plan import Change
from bacalhau.stores.journal import SqliteJournal
from bacalhau.stores.sqlite import SqliteStore
from bacalhau.testing.contracts.full_disk import full_disk
from bacalhau.testing.contracts.journal import entry
from bacalhau.testing.contracts.store_records import event, execution, job


async def test_a_full_disk_refuses_writes_and_keeps_answering_reads(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "state.db")
    one = job(1)
    await store.commit(Change(jobs=(one,), events=(event(one, "made"),)))
    with full_disk():
        commits = [
            store.commit(Change(jobs=(job(2 + n),), executions=(execution(one, n),)))
            for n in range(5)
        ]
        results = await asyncio.gather(*commits, return_exceptions=True)
        assert [type(result) for result in results] == [Unavailable] * 5
        assert "disk" in str(results[0])
        assert store.live_jobs() == (one,)
        assert store.unsettled("n-1") == ()
        assert (await store.jobs()).items == (one,)
        assert len(await store.events(one.id)) == 1
    await store.close()


async def test_writing_goes_on_once_there_is_room_again(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "state.db")
    one = job(1)
    await store.commit(Change(jobs=(one,)))
    for number in range(2, 12):
        row = job(number)
        with full_disk(), pytest.raises(Unavailable):
            await store.commit(Change(jobs=(row,)))
        await store.commit(Change(jobs=(row,), events=(event(row, "made"),)))
    assert len(store.live_jobs()) == 11
    await store.close()
    store = SqliteStore(tmp_path / "state.db")
    assert len(store.live_jobs()) == 11
    await store.close()


async def test_a_store_that_outgrows_its_disk_loses_nothing(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "state.db")
    big = evolve(job(0).spec, meta={"text": "x" * 1_000_000})
    await store.commit(Change(jobs=(job(0),)))
    with full_disk():
        for number in range(1, 4):
            row = job(number)
            row = evolve(row, spec=evolve(big, name=row.spec.name))
            with pytest.raises(Unavailable):
                await store.commit(Change(jobs=(row,)))
    await store.close()
    store = SqliteStore(tmp_path / "state.db")
    assert (await store.jobs()).items == (job(0),)
    await store.close()


async def test_a_journal_on_a_full_disk_recovers_too(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path / "journal.db")
    await journal.write([entry(job(1), 1)])
    with full_disk(), pytest.raises(Unavailable):
        await journal.write([entry(job(1), 2)], forget=["e-00001"])
    await journal.write([entry(job(1), 3)])
    assert [found.execution.id for found in await journal.load()] == ["e-00001", "e-00003"]
    await journal.close()

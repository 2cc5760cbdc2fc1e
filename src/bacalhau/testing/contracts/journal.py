"""What every journal must do. Subclass JournalContract in a test module of the plug-in.

class TestMine(JournalContract):
    def make(self, directory): return MyJournal(directory / "journal")
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from pathlib import Path
from typing import ClassVar

import pytest
import pytest_asyncio

from bacalhau.model.base import evolve
from bacalhau.model.errors import Unavailable
from bacalhau.model.execution import Observed
from bacalhau.model.job import Job
from bacalhau.model.message import Report
from bacalhau.ports.store import Entry, Journal
from bacalhau.testing.contracts.store_records import BROKEN, ended, event, execution, job

pytestmark = pytest.mark.asyncio


def entry(of: Job, number: int, *, reported: int = 0) -> Entry:
    """An entry of execution `e-<number>`; with its newest report when one is given."""
    run = execution(of, number)
    if not reported:
        return Entry(job=of, execution=run)
    run = ended(run, Observed.FAILED, fault=BROKEN)
    report = Report(number=reported, execution=run, events=(event(of, "ran", run.id),))
    return Entry(job=of, execution=run, report=report, number=reported)


class JournalContract(ABC):
    """Tests of one implementation. `persistent` is False when entries die with the object."""

    persistent: ClassVar[bool] = True

    @abstractmethod
    def make(self, directory: Path) -> Journal:
        """A journal with its entries in `directory`: the same entries when called again."""

    @pytest_asyncio.fixture
    async def journal(self, tmp_path: Path) -> AsyncIterator[Journal]:
        made = self.make(tmp_path)
        yield made
        await made.close()

    async def test_a_new_journal_is_empty(self, journal: Journal) -> None:
        assert await journal.load() == ()

    async def test_entries_come_back_oldest_first_as_they_last_were(self, journal: Journal) -> None:
        one, two = job(1), job(2)
        await journal.write([entry(one, 3), entry(two, 1)])
        await journal.write([entry(one, 2)])
        await journal.write([entry(one, 3, reported=2)])
        assert await journal.load() == (entry(one, 3, reported=2), entry(two, 1), entry(one, 2))

    async def test_an_entry_follows_its_job_to_a_newer_row(self, journal: Journal) -> None:
        one = job(1)
        newer = evolve(one, revision=2, message="newer")
        await journal.write([entry(one, 1), entry(one, 2)])
        await journal.write([entry(newer, 2)])
        assert [found.job for found in await journal.load()] == [one, newer]
        await journal.write([], forget=["e-00001"])
        assert [found.job for found in await journal.load()] == [newer]

    async def test_what_is_forgotten_is_gone(self, journal: Journal) -> None:
        await journal.write([entry(job(1), n) for n in range(4)])
        await journal.write([entry(job(1), 9)], forget=["e-00000", "e-00002", "unknown"])
        assert [found.execution.id for found in await journal.load()] == [
            "e-00001",
            "e-00003",
            "e-00009",
        ]
        await journal.write((), forget=["e-00001", "e-00003", "e-00009"])
        assert await journal.load() == ()

    async def test_writing_nothing_is_fine(self, journal: Journal) -> None:
        await journal.write([])
        assert await journal.load() == ()

    async def test_concurrent_writes_all_arrive(self, journal: Journal) -> None:
        await asyncio.gather(*(journal.write([entry(job(n % 7), n)]) for n in range(200)))
        assert len(await journal.load()) == 200

    async def test_a_restart_loses_nothing(self, journal: Journal, tmp_path: Path) -> None:
        one = job(1)
        await journal.write([entry(one, n, reported=n) for n in range(5)])
        await journal.write([entry(one, 2)], forget=["e-00004"])
        before = await journal.load()
        if self.persistent:
            await journal.close()
            journal = self.make(tmp_path)
        assert await journal.load() == before
        await journal.close()

    async def test_a_closed_journal_refuses_writes(self, journal: Journal) -> None:
        await journal.close()
        with pytest.raises(Unavailable):
            await journal.write([entry(job(1), 1)])

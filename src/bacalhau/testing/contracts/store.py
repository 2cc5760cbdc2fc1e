"""What every store must do. Subclass StoreContract in a test module of the plug-in.

    class TestMine(StoreContract):
        def make(self, directory): return MyStore(directory / "state")

The suite needs pytest and pytest-asyncio.
"""

import asyncio
from pathlib import Path
from typing import ClassVar

import pytest

from bacalhau.core import selector
from bacalhau.model.base import evolve
from bacalhau.model.errors import Conflict, Unavailable
from bacalhau.model.execution import Desired, Observed
from bacalhau.model.job import JobState
from bacalhau.model.plan import Change
from bacalhau.ports.store import Store
from bacalhau.testing.contracts.store_pages import PagesContract
from bacalhau.testing.contracts.store_records import (
    BROKEN,
    ended,
    event,
    execution,
    expected_nodes,
    expected_view,
    job,
    node,
    plain,
    renewed,
    stopped,
)

pytestmark = pytest.mark.asyncio


class StoreContract(PagesContract):
    """Tests of one implementation. `persistent` is False when state dies with the object."""

    persistent: ClassVar[bool] = True

    async def reopened(self, store: Store, directory: Path) -> Store:
        """The store after a restart; the same one if it never outlives its process."""
        if not self.persistent:
            return store
        await store.close()
        return self.make(directory)

    # Writing

    async def test_what_was_committed_is_read_back_as_it_was(self, store: Store) -> None:
        one, place = job(1, colour="red"), node("n-1")
        run = execution(one, 1)
        await store.commit(Change(jobs=(one,), executions=(run,), nodes=(place,)))
        assert await store.job(one.id) == one
        assert await store.execution(run.id) == run
        assert await store.executions(one.id) == (run,)
        assert [view.node for view in store.nodes()] == [place]
        assert store.live_jobs() == (one,)
        assert store.live_job(one.id) == one
        assert store.live_execution(run.id) == run
        assert store.unsettled("n-1") == (run,)

    async def test_an_empty_change_is_accepted(self, store: Store) -> None:
        await store.commit(Change())

    async def test_a_row_over_a_stale_revision_is_a_conflict(self, store: Store) -> None:
        one, place = job(1), node("n-1")
        run = execution(one, 1)
        await store.commit(Change(jobs=(one,), executions=(run,), nodes=(place,)))
        for stale in (
            Change(jobs=(evolve(one, revision=3),)),
            Change(jobs=(evolve(one, message="again"),)),
            Change(executions=(evolve(run, revision=3),)),
            Change(executions=(evolve(run, partition=1),)),
            Change(nodes=(evolve(place, revision=3),)),
            Change(nodes=(evolve(place, message="again"),)),
            Change(jobs=(evolve(job(2), revision=2),)),
            Change(executions=(evolve(execution(one, 2), revision=2),)),
            Change(nodes=(evolve(node("n-2"), revision=2),)),
        ):
            with pytest.raises(Conflict):
                await store.commit(stale)
        assert await store.job(one.id) == one
        assert await store.job(job(2).id) is None

    async def test_a_conflict_names_the_row_and_its_stored_revision(self, store: Store) -> None:
        one = job(1)
        await store.commit(Change(jobs=(one,)))
        await store.commit(Change(jobs=(evolve(one, revision=2),)))
        with pytest.raises(Conflict) as caught:
            await store.commit(Change(jobs=(evolve(one, revision=2),)))
        assert caught.value.details == {"table": "job", "id": one.id, "revision": "2"}

    async def test_a_name_is_taken_once_per_namespace(self, store: Store) -> None:
        one = job(1)
        same = evolve(job(2), spec=one.spec)
        elsewhere = evolve(job(3), spec=evolve(one.spec, namespace="other"))
        await store.commit(Change(jobs=(one, elsewhere)))
        with pytest.raises(Conflict) as caught:
            await store.commit(Change(jobs=(same,)))
        assert caught.value.details["id"] == one.id

    async def test_an_execution_or_event_without_its_job_is_a_conflict(self, store: Store) -> None:
        for orphan in (
            Change(executions=(execution(job(1), 1),)),
            Change(events=(event(job(1), "made"),)),
        ):
            with pytest.raises(Conflict):
                await store.commit(orphan)
        assert await store.execution("e-00001") is None

    async def test_a_change_is_written_as_a_whole_or_not_at_all(self, store: Store) -> None:
        one = job(1)
        await store.commit(Change(jobs=(one,)))
        bad = Change(
            jobs=(evolve(one, revision=2, message="no"), job(2)),
            nodes=(node("n-1"),),
            executions=(execution(one, 1), evolve(execution(one, 2), revision=7)),
            events=(event(one, "no"),),
        )
        with pytest.raises(Conflict):
            await store.commit(bad)
        assert await store.job(one.id) == one
        assert await store.job("j-00002") is None
        assert store.nodes() == ()
        assert await store.executions(one.id) == ()
        assert await store.events(one.id) == ()
        assert plain(store.views([one.id])[0]) == await expected_view(store, one.id)

    async def test_what_was_read_must_still_be_so(self, store: Store) -> None:
        one, place = job(1), node("n-1")
        run = execution(one, 1)
        await store.commit(Change(jobs=(one,), executions=(run,), nodes=(place,)))
        reads = (("job", one.id, 1), ("execution", run.id, 1), ("node", place.id, 1))
        await store.commit(Change(jobs=(job(2),), read=reads))
        for number, (table, row_id, _) in enumerate(reads, 3):
            for wrong in ((table, row_id, 2), (table, "nobody", 1)):
                with pytest.raises(Conflict) as caught:
                    await store.commit(Change(jobs=(job(number),), read=(wrong,)))
                assert caught.value.details["table"] == table
            assert await store.job(job(number).id) is None

    async def test_of_two_concurrent_writers_one_wins(self, store: Store) -> None:
        one = job(1)
        await store.commit(Change(jobs=(one,)))
        writes = [
            store.commit(Change(jobs=(evolve(one, revision=2, message=str(n)), job(10 + n))))
            for n in range(20)
        ]
        results = await asyncio.gather(*writes, return_exceptions=True)
        assert sum(result is None for result in results) == 1
        assert sum(isinstance(result, Conflict) for result in results) == 19
        stored = await store.job(one.id)
        assert stored is not None
        assert results[int(stored.message)] is None
        assert len((await store.jobs()).items) == 2

    async def test_concurrent_commits_all_arrive(self, store: Store) -> None:
        await asyncio.gather(*(store.commit(Change(jobs=(job(n),))) for n in range(300)))
        assert len((await store.jobs()).items) == len(store.live_jobs()) == 300

    async def test_a_cancelled_commit_leaves_memory_and_record_alike(self, store: Store) -> None:
        one = job(1)
        commit = asyncio.ensure_future(store.commit(Change(jobs=(one,))))
        await asyncio.sleep(0)
        commit.cancel()
        await asyncio.gather(commit, return_exceptions=True)
        await store.commit(Change(jobs=(job(2),)))
        recorded = {row.id for row in (await store.jobs()).items}
        assert {row.id for row in store.live_jobs()} == recorded

    async def test_a_closed_store_refuses_writes(self, store: Store) -> None:
        await store.close()
        with pytest.raises(Unavailable):
            await store.commit(Change(jobs=(job(1),)))
        await store.close()

    # Views

    async def test_views_show_what_became_of_the_current_version(self, store: Store) -> None:
        one = job(1)
        runs = [execution(one, n, node=f"n-{n % 3}", partition=n % 4) for n in range(8)]
        await store.commit(Change(jobs=(one,), executions=tuple(runs)))
        await store.commit(
            Change(
                executions=(
                    ended(runs[0], Observed.COMPLETED),
                    ended(runs[1], Observed.FAILED, fault=BROKEN),
                    ended(runs[2], Observed.CANCELLED),
                    ended(runs[3], Observed.DECLINED, fault=BROKEN),
                    evolve(runs[4], lost=True, revision=2),
                    evolve(runs[5], desired=Desired.STOP, revision=2),
                )
            )
        )
        (view,) = store.views([one.id])
        assert plain(view) == await expected_view(store, one.id)
        assert view.done == {0}
        assert {row.id for row in view.live} == {run.id for run in runs[4:]}
        assert [tried.time for tried in view.tries[1]] == [runs[1].modify_time + 1]
        assert set(view.tries) == {1, 3}

    async def test_a_new_version_starts_with_nothing(self, store: Store) -> None:
        one = job(1)
        runs = [execution(one, n, partition=n) for n in range(3)]
        await store.commit(Change(jobs=(one,), executions=tuple(runs)))
        await store.commit(Change(executions=(ended(runs[0], Observed.COMPLETED),)))
        newer = renewed(one)
        await store.commit(Change(jobs=(newer,)))
        (view,) = store.views([one.id])
        assert (view.live, view.done, view.tries, view.nodes) == ((), frozenset(), {}, {})
        assert {row.id for row in view.others} == {runs[1].id, runs[2].id}
        late = ended(runs[1], Observed.FAILED, fault=BROKEN)
        await store.commit(Change(executions=(late, execution(newer, 9))))
        (view,) = store.views([one.id])
        assert plain(view) == await expected_view(store, one.id)
        assert view.tries == {}

    async def test_a_view_in_hand_does_not_change(self, store: Store) -> None:
        one = job(1)
        runs = [execution(one, n, partition=n) for n in range(2)]
        await store.commit(Change(jobs=(one,), executions=tuple(runs), nodes=(node("n-1"),)))
        (view,), places = store.views([one.id]), store.nodes()
        before = plain(view)
        await store.commit(
            Change(
                executions=(
                    ended(runs[0], Observed.COMPLETED),
                    ended(runs[1], Observed.FAILED, fault=BROKEN),
                    execution(one, 5, node="n-2"),
                )
            )
        )
        assert plain(view) == before
        assert places[0].placed == 2

    async def test_a_terminal_job_is_live_until_its_executions_settle(self, store: Store) -> None:
        one = job(1)
        run = execution(one, 1)
        await store.commit(Change(jobs=(one,), executions=(run,)))
        over = stopped(one)
        await store.commit(Change(jobs=(over,)))
        assert store.live_jobs() == (over,)
        assert len(store.views([one.id, "unknown"])) == 1
        await store.commit(Change(executions=(ended(run, Observed.CANCELLED),)))
        assert store.live_jobs() == ()
        assert store.live_job(one.id) is None
        assert store.live_execution(run.id) is None
        assert store.unsettled("n-1") == ()
        assert store.views([one.id]) == ()
        assert await store.job(one.id) == over

    async def test_a_job_that_ended_can_be_run_again(self, store: Store) -> None:
        over = stopped(job(1), JobState.FAILED)
        await store.commit(Change(jobs=(job(1),)))
        await store.commit(Change(jobs=(over,)))
        again = renewed(over)
        await store.commit(Change(jobs=(again,)))
        assert store.live_jobs() == (again,)

    async def test_nodes_count_what_occupies_them(self, store: Store) -> None:
        one, places = job(1), (node("n-2"), node("n-1"))
        runs = [execution(one, n, node="n-1", partition=n) for n in range(4)]
        await store.commit(Change(jobs=(one,), executions=tuple(runs), nodes=places))
        rows = [
            ended(runs[0], Observed.FAILED, fault=BROKEN),
            evolve(runs[1], lost=True, revision=2),
            evolve(runs[2], desired=Desired.STOP, revision=2),
        ]
        await store.commit(Change(executions=tuple(rows)))
        assert store.nodes() == expected_nodes(places, [*rows, runs[3]])
        assert [view.placed for view in store.nodes()] == [2, 0]
        assert store.unsettled("n-1") == (rows[1], rows[2], runs[3])

    # Reading

    async def test_each_version_is_kept_as_it_last_was(self, store: Store) -> None:
        first = job(1)
        ended_first = stopped(first, JobState.COMPLETED)
        second = renewed(ended_first)
        third = renewed(second)
        for row in (first, ended_first, second, third):
            await store.commit(Change(jobs=(row,)))
        assert await store.versions(first.id) == (ended_first, second, third)
        assert await store.job(first.id, 1) == ended_first
        assert await store.job(first.id, 2) == second
        assert await store.job(first.id, 3) == await store.job(first.id) == third
        assert await store.job(first.id, 4) is None
        assert await store.versions("nobody") == ()

    async def test_executions_are_listed_by_version_and_age(self, store: Store) -> None:
        one = job(1)
        runs = [execution(one, 9 - n) for n in range(5)]
        await store.commit(Change(jobs=(one,), executions=tuple(runs)))
        newer = renewed(one)
        await store.commit(Change(jobs=(newer,), executions=(execution(newer, 20),)))
        assert await store.executions(one.id, 1) == tuple(reversed(runs))
        assert await store.executions(one.id, 2) == (execution(newer, 20),)
        assert len(await store.executions(one.id)) == 6
        assert await store.executions("nobody") == ()

    # Events

    async def test_events_are_numbered_per_job(self, store: Store) -> None:
        one, two = job(1), job(2)
        await store.commit(Change(jobs=(one, two), events=(event(one, "a"), event(two, "b"))))
        await store.commit(Change(events=(event(one, "c"), event(one, "d"), event(two, "e"))))
        assert [(e.seq, e.message) for e in await store.events(one.id)] == [
            (1, "a"),
            (2, "c"),
            (3, "d"),
        ]
        assert [(e.seq, e.message) for e in await store.events(two.id)] == [(1, "b"), (2, "e")]
        assert await store.events("nobody") == ()

    async def test_events_are_read_in_parts(self, store: Store) -> None:
        one = job(1)
        await store.commit(Change(jobs=(one,)))
        newer = renewed(one)
        for n in range(5):
            of = one if n < 3 else newer
            batch = (event(of, f"{n}a", f"e-{n}0"), event(of, f"{n}b", f"e-{n}1"), event(of, "j"))
            await store.commit(Change(events=batch))
        assert [e.seq for e in await store.events(one.id, after=4)] == list(range(5, 16))
        assert [e.seq for e in await store.events(one.id, after=4, limit=3)] == [5, 6, 7]
        assert [e.seq for e in await store.events(one.id, limit=2)] == [1, 2]
        assert [e.seq for e in await store.events(one.id, version=2)] == list(range(10, 16))
        assert [e.seq for e in await store.events(one.id, execution_id="e-2")] == [7, 8]
        assert [e.seq for e in await store.events(one.id, execution_id="e-21")] == [8]
        assert await store.events(one.id, after=15) == ()

    async def test_concurrent_events_get_numbers_without_gaps(self, store: Store) -> None:
        one = job(1)
        await store.commit(Change(jobs=(one,)))
        await asyncio.gather(
            *(store.commit(Change(events=(event(one, str(n)),))) for n in range(100))
        )
        assert [e.seq for e in await store.events(one.id)] == list(range(1, 101))

    # Keeping and deleting

    async def test_a_restart_loses_nothing(self, store: Store, tmp_path: Path) -> None:
        rows = [job(n, colour="red") for n in range(4)]
        runs = [execution(row, 10 * k + n, node=f"n-{k}", partition=k)
                for n, row in enumerate(rows) for k in range(3)]  # fmt: skip
        places = (node("n-0"), node("n-1"), node("n-2"))
        facts = tuple(event(row, "made") for row in rows)
        await store.commit(
            Change(jobs=tuple(rows), executions=tuple(runs), nodes=places, events=facts)
        )
        newest = {run.id: run for run in runs}
        for row in (
            ended(runs[0], Observed.COMPLETED),
            ended(runs[1], Observed.FAILED, fault=BROKEN, time=99),
            ended(runs[2], Observed.FAILED, fault=BROKEN, time=98),
            evolve(runs[4], lost=True, revision=2),
        ):
            newest[row.id] = row
            await store.commit(Change(executions=(row,)))
        await store.commit(Change(jobs=(stopped(rows[1]), renewed(rows[2]))))
        ids = [row.id for row in rows]
        before = (store.views(ids), store.nodes(), store.live_jobs(), store.unsettled("n-1"))
        store = await self.reopened(store, tmp_path)
        try:
            after = (store.views(ids), store.nodes(), store.live_jobs(), store.unsettled("n-1"))
            assert after == before
            for view in store.views(ids):
                assert plain(view) == await expected_view(store, view.job.id)
            assert store.nodes() == expected_nodes(places, list(newest.values()))
            assert len(await store.versions(rows[2].id)) == 2
            await store.commit(Change(events=(event(rows[0], "more"),)))
            assert [e.seq for e in await store.events(rows[0].id)] == [1, 2]
        finally:
            await store.close()

    async def test_sweeping_deletes_what_is_over(self, store: Store) -> None:
        rows = [job(n, colour="red") for n in range(6)]
        run = execution(rows[4], 1)
        await store.commit(
            Change(
                jobs=tuple(rows),
                executions=(run, execution(rows[0], 2)),
                events=tuple(event(row, "made") for row in rows),
            )
        )
        await store.commit(Change(executions=(ended(execution(rows[0], 2), Observed.CANCELLED),)))
        again = renewed(stopped(rows[0], time=40))
        await store.commit(Change(jobs=(stopped(rows[0], time=40),)))
        await store.commit(Change(jobs=(again,)))
        overs = [
            stopped(again, time=50),
            *(stopped(row, time=50 + n) for n, row in enumerate(rows[1:5], 1)),
        ]
        await store.commit(Change(jobs=tuple(overs)))
        assert list(await store.sweep(50, 10)) == []
        assert list(await store.sweep(54, 2)) == ["j-00000", "j-00001"]
        assert list(await store.sweep(54, 10)) == ["j-00002", "j-00003"]
        # The fifth has an unsettled execution, the sixth is not over.
        assert list(await store.sweep(10**18, 10)) == []
        assert [row.id for row in (await store.jobs()).items] == ["j-00004", "j-00005"]
        assert len((await store.jobs(labels=selector.parse("colour=red"))).items) == 2
        for gone in ("j-00000", "j-00003"):
            assert await store.job(gone) is None
            assert await store.executions(gone) == ()
            assert await store.events(gone) == ()
            assert await store.versions(gone) == ()
        assert await store.execution("e-00002") is None
        assert await store.execution(run.id) == run

    async def test_a_swept_job_leaves_room_for_another(self, store: Store) -> None:
        await store.commit(Change(jobs=(job(1),), events=(event(job(1), "old"),)))
        await store.commit(Change(jobs=(stopped(job(1)),)))
        assert list(await store.sweep(10**18, 1)) == ["j-00001"]
        await store.commit(Change(jobs=(job(1),), events=(event(job(1), "new"),)))
        assert [(e.seq, e.message) for e in await store.events("j-00001")] == [(1, "new")]

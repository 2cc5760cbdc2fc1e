"""Random histories: a store under test must answer as the memory store does.

    class MyMachine(StoreMachine):
        def make(self, directory): return MyStore(directory / "state")

    TestMyStore = MyMachine.TestCase

Needs hypothesis. `failing` may be overridden to make the disk refuse writes for a while.
"""

import asyncio
import shutil
import tempfile
from abc import abstractmethod
from collections.abc import Coroutine, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from bacalhau.core import selector
from bacalhau.model.base import evolve
from bacalhau.model.errors import Conflict, Error, Unavailable
from bacalhau.model.execution import Desired, Execution, Observed
from bacalhau.model.job import Job, JobState
from bacalhau.model.plan import Change
from bacalhau.ports.store import Store
from bacalhau.stores.memory import MemoryStore
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

T = TypeVar("T")

NODES = ("n-1", "n-2", "n-3")
ENDS = st.sampled_from(
    [
        (Observed.COMPLETED, None),
        (Observed.FAILED, BROKEN),
        (Observed.DECLINED, BROKEN),
        (Observed.CANCELLED, None),
    ]
)
pick = st.integers(0, 10**6)
"""Chooses among the rows there are, by remainder."""


class StoreMachine(RuleBasedStateMachine):
    """Does the same to the store under test (`store`) and to a memory store (`model`)."""

    @abstractmethod
    def make(self, directory: Path) -> Store:
        """A store with its state in `directory`: the same state when called again."""

    def failing(self, directory: Path) -> AbstractContextManager[object] | None:
        """While inside, the disk refuses writes; None when that cannot be arranged."""
        return None

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.directory = Path(tempfile.mkdtemp())
        self.store = self._make()
        self.model = MemoryStore()
        self.now = 100
        self.count = 0
        self.jobs: dict[str, Job] = {}
        self.executions: dict[str, Execution] = {}

    def _make(self) -> Store:
        async def made() -> Store:
            return self.make(self.directory)

        return self.run(made())

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(coroutine)

    def commit(self, change: Change) -> None:
        """The same change to both; both accept it, or both refuse it for the same reason."""
        wanted = self.run(_outcome(self.model, change))
        got = self.run(_outcome(self.store, change))
        assert got == wanted
        if wanted is None:
            self.jobs.update((row.id, row) for row in change.jobs)
            self.executions.update((row.id, row) for row in change.executions)

    def tick(self) -> int:
        self.now += 1
        return self.now

    def next_number(self) -> int:
        self.count += 1
        return self.count

    def some_job(self, at: int) -> Job:
        return list(self.jobs.values())[at % len(self.jobs)]

    def unsettled(self) -> list[Execution]:
        return [row for row in self.executions.values() if not row.is_settled]

    @initialize()
    def nodes_join(self) -> None:
        self.commit(Change(nodes=tuple(node(node_id) for node_id in NODES)))

    @rule(namespace=st.sampled_from("ab"), red=st.booleans(), amount=st.integers(1, 3))
    def submit(self, namespace: str, red: bool, amount: int) -> None:
        labels = {"colour": "red"} if red else {}
        time = self.tick()
        rows = tuple(
            job(self.next_number(), time=time, namespace=namespace, **labels) for _ in range(amount)
        )
        self.commit(Change(jobs=rows, events=tuple(event(row, "made") for row in rows)))

    @precondition(lambda self: self.jobs)
    @rule(at=pick, where=st.sampled_from(NODES), partitions=st.sets(st.integers(0, 4), max_size=3))
    def place(self, at: int, where: str, partitions: set[int]) -> None:
        chosen = self.some_job(at)
        rows = tuple(
            evolve(
                execution(chosen, self.next_number(), node=where, partition=partition),
                create_time=self.tick(),
                modify_time=self.now,
            )
            for partition in sorted(partitions)
        )
        if not chosen.state.is_terminal:
            facts = tuple(event(chosen, "placed", row.id) for row in rows)
            self.commit(Change(executions=rows, events=facts, read=(_seen(chosen),)))

    @precondition(lambda self: self.unsettled())
    @rule(at=pick, end=ENDS)
    def settle(self, at: int, end: tuple[Observed, Any]) -> None:
        rows = self.unsettled()
        row = rows[at % len(rows)]
        observed, fault = end
        self.commit(Change(executions=(ended(row, observed, fault=fault, time=self.tick()),)))

    @precondition(lambda self: self.unsettled())
    @rule(at=pick, lost=st.booleans(), stop=st.booleans())
    def move(self, at: int, lost: bool, stop: bool) -> None:
        rows = self.unsettled()
        row = rows[at % len(rows)]
        desired = Desired.STOP if stop else row.desired
        moved = evolve(row, lost=lost, desired=desired, revision=row.revision + 1)
        self.commit(Change(executions=(evolve(moved, modify_time=self.tick()),)))

    @precondition(lambda self: self.jobs)
    @rule(at=pick, state=st.sampled_from([JobState.COMPLETED, JobState.STOPPED]))
    def end(self, at: int, state: JobState) -> None:
        row = self.some_job(at)
        if not row.state.is_terminal:
            fact = event(row, state)
            self.commit(Change(jobs=(stopped(row, state, self.tick()),), events=(fact,)))

    @precondition(lambda self: self.jobs)
    @rule(at=pick, red=st.booleans())
    def renew(self, at: int, red: bool) -> None:
        row = renewed(self.some_job(at))
        spec = evolve(row.spec, labels={"colour": "red"} if red else {})
        self.commit(Change(jobs=(evolve(row, spec=spec, modify_time=self.tick()),)))

    @precondition(lambda self: self.jobs)
    @rule(at=pick, ahead=st.integers(-1, 2), guard=st.booleans())
    def write_with_any_revision(self, at: int, ahead: int, guard: bool) -> None:
        row = self.some_job(at)
        revision = max(1, row.revision + ahead)
        if guard:
            self.commit(Change(jobs=(), read=(("job", row.id, revision),)))
        else:
            touched = evolve(row, message=str(self.tick()), revision=revision)
            self.commit(Change(jobs=(job(self.next_number(), time=self.now), touched)))

    @precondition(lambda self: self.jobs)
    @rule(at=pick)
    def take_a_name_twice(self, at: int) -> None:
        taken = self.some_job(at).spec
        self.commit(Change(jobs=(evolve(job(self.next_number()), spec=taken),)))

    @rule(back=st.integers(0, 30), limit=st.integers(0, 3))
    def sweep(self, back: int, limit: int) -> None:
        gone = self.run(self.model.sweep(self.now - back, limit))
        assert list(self.run(self.store.sweep(self.now - back, limit))) == list(gone)
        for job_id in gone:
            del self.jobs[job_id]
        self.executions = {k: v for k, v in self.executions.items() if v.job_id not in gone}

    @rule()
    def reopen(self) -> None:
        self.run(self.store.close())
        self.store = self._make()

    @rule(amount=st.integers(1, 3))
    def write_to_a_full_disk(self, amount: int) -> None:
        disk = self.failing(self.directory)
        if disk is None:
            return
        rows = [job(10**6 + self.next_number(), time=self.tick()) for _ in range(amount)]
        with disk:
            for outcome in self.run(_all(self.store, rows)):
                assert outcome == Unavailable.code
            self.agree()

    @invariant()
    def agree(self) -> None:
        ids = list(self.jobs)
        for got, wanted in zip(self.store.views(ids), self.model.views(ids), strict=True):
            assert plain(got) == plain(wanted)
            assert plain(got) == self.run(expected_view(self.store, got.job.id))
        assert self.store.nodes() == self.model.nodes()
        places = [view.node for view in self.model.nodes()]
        assert self.store.nodes() == expected_nodes(places, list(self.executions.values()))
        assert set(_ids(self.store.live_jobs())) == set(_ids(self.model.live_jobs()))
        for node_id in NODES:
            assert self.store.unsettled(node_id) == self.model.unsettled(node_id)

    @rule(
        namespace=st.sampled_from(["", "a"]),
        order_by=st.sampled_from(["created_at", "modified_at"]),
        reverse=st.booleans(),
        text=st.sampled_from(["", "colour=red", "!colour"]),
        limit=st.integers(0, 4),
    )
    def list_jobs(self, text: str, **query: Any) -> None:
        labels = selector.parse(text)
        listed = []
        for store in (self.store, self.model):
            page = self.run(store.jobs(labels=labels, **query))
            found = list(page.items)
            while page.next:
                page = self.run(store.jobs(labels=labels, after=page.next, **query))
                found += page.items
            listed.append(found)
        assert listed[0] == listed[1]

    @precondition(lambda self: self.jobs)
    @rule(at=pick, after=st.integers(0, 5), limit=st.integers(0, 4), version=st.integers(0, 2))
    def read_one(self, at: int, after: int, limit: int, version: int) -> None:
        row = self.some_job(at)

        async def everything(store: Store) -> object:
            return (
                await store.job(row.id, version),
                await store.versions(row.id),
                await store.executions(row.id, version),
                await store.events(row.id, version=version, after=after, limit=limit),
                list(await store.resolve(row.id[:-1], "a")),
            )

        assert self.run(everything(self.store)) == self.run(everything(self.model))

    def teardown(self) -> None:
        self.run(self.store.close())
        self.loop.close()
        shutil.rmtree(self.directory)


async def _outcome(store: Store, change: Change) -> object:
    """None when accepted, else why not."""
    try:
        await store.commit(change)
    except Conflict as refusal:
        return refusal.details
    except Error as error:
        return error.code
    return None


async def _all(store: Store, rows: Sequence[Job]) -> list[object]:
    return await asyncio.gather(*(_outcome(store, Change(jobs=(row,))) for row in rows))


def _seen(row: Job) -> tuple[str, str, int]:
    return "job", row.id, row.revision


def _ids(rows: Sequence[Job]) -> list[str]:
    return [row.id for row in rows]

"""An orchestrator when things around it break: store, objects, callers, clock, nodes."""

import asyncio
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from bacalhau.app import Running, SystemClock
from bacalhau.model.errors import Unavailable
from bacalhau.model.event import Event, Topic
from bacalhau.model.execution import Execution, Observed
from bacalhau.model.job import JobSpec, JobState, JobType, SpecConfig, Task
from bacalhau.model.message import Report, Reports
from bacalhau.model.node import Connection
from bacalhau.model.plan import Change, JobView
from bacalhau.ports.store import Store
from bacalhau.ports.transport import ORCHESTRATOR
from bacalhau.testing.stack import stack


class ShakyStore:
    """A real store behind a door that can be shut, or opened late."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.is_full = False
        self.poisoned = ""
        self.hold: Callable[[Change], bool] = lambda change: False
        self.held = asyncio.Event()
        self.go = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def commit(self, change: Change) -> None:
        if self.is_full:
            raise Unavailable("the disk is full")
        if self.hold(change):
            self.held.set()
            await self.go.wait()
        await self._store.commit(change)

    def views(self, job_ids: Iterable[str]) -> tuple[JobView, ...]:
        job_ids = list(job_ids)
        if self.poisoned in job_ids:
            raise RuntimeError("nobody can decide about this job")
        return self._store.views(job_ids)


def shake(here: Running) -> ShakyStore:
    store: Any = ShakyStore(here.orchestrator.state.store)
    here.orchestrator.state.store = store
    return store


def spec(name: str, **params: Any) -> JobSpec:
    engine = SpecConfig(type="noop", params=params)
    return JobSpec(name=name, type=JobType.BATCH, tasks=(Task(engine=engine),))


async def submit(here: Running, name: str, **params: Any) -> str:
    submitted = await here.orchestrator.submit(
        spec(name, **params), force=False, actor="test", client={}, given={}
    )
    return submitted.job_id


async def ended(here: Running, job_id: str, within_s: float = 10.0) -> JobState:
    job = await here.orchestrator.wait(job_id, 0, 0)
    async with asyncio.timeout(within_s):
        while not job.state.is_terminal:
            job = await here.orchestrator.wait(job_id, job.revision, within_s)
    return job.state


async def until(condition: Callable[[], object], what: str, within_s: float = 10.0) -> None:
    deadline = asyncio.get_running_loop().time() + within_s
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, f"never came: {what}"
        await asyncio.sleep(0.01)


NODES: dict[str, dict[str, object]] = {"node-0": {}}
QUICK = {"Orchestrator.NodeManager.DisconnectTimeout": 0.5}


async def test_a_full_disk_while_a_node_falls_silent_ends_nothing(tmp_path: Path) -> None:
    async with stack(tmp_path, QUICK, NODES) as here:
        nodes = here.orchestrator.store.nodes
        await until(lambda: nodes() and nodes()[0].node.is_ready, "the node")
        store = shake(here)
        store.is_full = True
        here.network.cut(ORCHESTRATOR, "node-0")
        await asyncio.sleep(1.0)  # the watch meets the full disk
        store.is_full = False
        await until(
            lambda: nodes()[0].node.connection is Connection.DISCONNECTED, "the disconnection"
        )
        here.network.heal()
        assert await ended(here, await submit(here, "after")) is JobState.COMPLETED


async def test_a_rerun_while_the_last_stops_are_written_is_not_forgotten(tmp_path: Path) -> None:
    async with stack(tmp_path, None, NODES) as here:
        job_id = await submit(here, "again", Sleep=60)
        await until(lambda: here.nodes[0].running, "a running execution")
        here.network.cut(ORCHESTRATOR, "node-0")  # its answer would have the job looked at
        store = shake(here)
        store.hold = lambda change: bool(change.executions) and not change.jobs
        await here.orchestrator.stop(job_id, "enough", "test")
        await store.held.wait()
        store.hold = lambda change: False
        again = await here.orchestrator.rerun(job_id, 0, "test")
        store.go.set()

        def versions() -> set[int]:
            return {e.job_version for e in here.orchestrator.store.unsettled("node-0")}

        await until(
            lambda: again.version in versions(), "an execution of the new version", within_s=1.5
        )
        here.network.heal()
        await here.orchestrator.stop(job_id, "enough", "test")


async def test_a_job_about_which_nothing_can_be_decided_stops_no_other(tmp_path: Path) -> None:
    async with stack(tmp_path, None, NODES) as here:
        store = shake(here)
        state = here.orchestrator.state
        store.hold = lambda change: bool(change.jobs)
        bad = asyncio.create_task(submit(here, "bad"))
        await store.held.wait()
        store.hold = lambda change: False
        waiting = asyncio.create_task(submit(here, "good"))
        good = await waiting
        store.go.set()
        store.poisoned = await bad
        assert await ended(here, good) is JobState.COMPLETED
        assert await ended(here, await submit(here, "later")) is JobState.COMPLETED
        poisoned, store.poisoned = store.poisoned, ""
        job = state.store.live_job(poisoned)
        assert job is not None
        state.evaluate(job)
        assert await ended(here, poisoned) is JobState.COMPLETED


async def test_a_caller_who_goes_away_during_the_write_still_gets_the_job_run(
    tmp_path: Path,
) -> None:
    async with stack(tmp_path, None, NODES) as here:
        store = shake(here)
        store.hold = lambda change: bool(change.jobs)
        leaving = asyncio.create_task(submit(here, "left"))
        await store.held.wait()
        store.hold = lambda change: False
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        store.go.set()

        await until(here.orchestrator.store.live_jobs, "the job in the store")
        left = here.orchestrator.store.live_jobs()[0].id
        assert await ended(here, left) is JobState.COMPLETED


async def test_a_foreign_file_among_the_objects_ends_nothing(tmp_path: Path) -> None:
    objects = tmp_path / "orchestrator" / "objects"
    objects.mkdir(parents=True)
    for name in (".DS_Store", "notes and more"):
        (objects / name).write_text("not an object")
        os.utime(objects / name, (1, 1))
    async with stack(tmp_path, {"Retention.Results": "1s"}, NODES) as here:
        assert await ended(here, await submit(here, "alive", Sleep=0.5)) is JobState.COMPLETED


async def test_a_clock_that_is_set_back_does_not_silence_the_orchestrator(tmp_path: Path) -> None:
    class Clock(SystemClock):
        back_ns = 0

        def now(self) -> int:
            return super().now() - self.back_ns

    async with stack(tmp_path, None, NODES) as here:
        nodes = here.orchestrator.store.nodes
        await until(lambda: nodes() and nodes()[0].node.is_ready, "the node")
        clock = here.orchestrator.state.clock = Clock()
        here.network.cut(ORCHESTRATOR, "node-0", one_way=True)
        job_id = await submit(here, "lost on the way")
        await until(
            lambda: here.orchestrator.store.unsettled("node-0") and here.network.dropped,
            "the loss of the assignment",
        )
        await asyncio.sleep(0.2)
        clock.back_ns = 3600 * 10**9
        here.network.heal()
        assert await ended(here, job_id) is JobState.COMPLETED


async def test_following_an_execution_of_a_lost_node_comes_to_an_end(tmp_path: Path) -> None:
    async with stack(tmp_path, QUICK, NODES) as here:
        job_id = await submit(here, "lost", Sleep=60)
        await until(lambda: here.nodes[0].running, "a running execution")
        here.network.cut(ORCHESTRATOR, "node-0")
        execution_id = next(iter(here.nodes[0].held))
        async with asyncio.timeout(10):
            async for _ in here.orchestrator.logs(
                job_id, execution_id=execution_id, version=0, follow=True, tail=False
            ):
                pass
        await here.orchestrator.stop(job_id, "enough", "test")


async def test_events_of_a_node_about_other_jobs_hold_up_nobody(tmp_path: Path) -> None:
    async with stack(tmp_path, None, NODES) as here:
        job_id = await submit(here, "mine", Sleep=60)
        await until(lambda: here.nodes[0].running, "a running execution")
        (row,) = here.orchestrator.store.unsettled("node-0")
        word = Execution(
            id=row.id,
            job_id=job_id,
            job_version=1,
            namespace=row.namespace,
            node_id="node-0",
            observed=Observed.COMPLETED,
        )
        foreign = Event(
            job_id="j-unknown",
            job_version=1,
            execution_id="e-unknown",
            topic=Topic.EXECUTION,
            message="about something else",
            time=row.event_time + 10**12,
            actor="node-0",
        )
        report = Report(number=99, execution=word, events=(foreign,))
        await here.nodes[0].transport.send(ORCHESTRATOR, [Reports(reports=(report,))])
        assert await ended(here, job_id) is JobState.COMPLETED

"""The state of the orchestrator in memory: all of it can be rebuilt from the store."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

from bacalhau.config import Config
from bacalhau.core import messages
from bacalhau.core.normal import Defaults
from bacalhau.core.queue import Queue
from bacalhau.core.schedule.feasible import signature
from bacalhau.model.execution import Execution
from bacalhau.model.job import Job, JobType
from bacalhau.model.message import LogChunk
from bacalhau.model.node import NodeInfo
from bacalhau.model.plan import Change
from bacalhau.ports.clock import Clock, Ids
from bacalhau.ports.objects import Objects
from bacalhau.ports.signal import Signal
from bacalhau.ports.store import Store
from bacalhau.ports.transport import Transport


@dataclass(slots=True)
class Seen:
    """When a node was last heard (ns), and what it said of its load."""

    time: int
    running: int = 0
    waiting: int = 0


@dataclass(slots=True)
class State:
    """What the loops of the orchestrator share. The store is the truth, this is its shadow."""

    info: NodeInfo
    config: Config
    store: Store
    objects: Objects
    transport: Transport
    clock: Clock
    ids: Ids
    object_key: bytes
    defaults: Mapping[JobType, Defaults]
    base_url: str = ""

    queue: Queue = field(default_factory=Queue)
    seen: dict[str, Seen] = field(default_factory=dict)
    to_schedule: Signal = field(default_factory=Signal)
    to_tell: Signal = field(default_factory=Signal)
    news: dict[str, dict[str, Execution]] = field(default_factory=lambda: defaultdict(dict))
    greeted: set[str] = field(default_factory=set)
    watchers: dict[str, set[asyncio.Event]] = field(default_factory=lambda: defaultdict(set))
    streams: dict[str, asyncio.Queue[LogChunk]] = field(default_factory=dict)

    async def commit(self, change: Change) -> None:
        """Write the change, then wake whoever it concerns. Raises Conflict, Unavailable."""
        writing = asyncio.ensure_future(self.store.commit(change))
        try:
            await asyncio.shield(writing)
        except asyncio.CancelledError:
            # Whoever asked has gone; what is written nevertheless must not lie about unseen.
            writing.add_done_callback(partial(self._written_unseen, change))
            raise
        self._wake(change)

    def _written_unseen(self, change: Change, writing: asyncio.Future[None]) -> None:
        if writing.cancelled() or writing.exception() is not None:
            return
        self._wake(change)
        for job in change.jobs:
            self.evaluate(job)

    def _wake(self, change: Change) -> None:
        for execution in change.executions:
            if messages.tell(execution) is not None:
                self.news[execution.node_id][execution.id] = execution
        if self.news:
            self.to_tell.set()
        for job in change.jobs:
            for watcher in self.watchers.get(job.id, ()):
                watcher.set()
        for event in change.events:
            if event.execution_id:
                for watcher in self.watchers.get(event.job_id, ()):
                    watcher.set()

    def evaluate(self, job: Job) -> None:
        """Have the scheduler look at this job, whatever else waits."""
        self.queue.put(job.id, job.spec.priority, job.create_time, signature(job), triggered=True)
        self.to_schedule.set()

    def enqueue(self, job: Job) -> None:
        """Have the scheduler look at a fresh job in its turn, and when a time-out is due."""
        self.queue.put(job.id, job.spec.priority, job.create_time, signature(job))
        timeouts = job.spec.task.timeouts
        for limit_s in (timeouts.queue_timeout, timeouts.total_timeout):
            if limit_s and job.spec.type.is_finite:
                self.queue.wake_at(job.id, job.version_time + limit_s * 1_000_000_000)
        self.to_schedule.set()

    def capacity_changed(self) -> None:
        """Have the scheduler look at the jobs that wait for room."""
        self.queue.open()
        self.to_schedule.set()

"""The state of a compute node: what it is, what it holds, what it has to say."""

import asyncio
import heapq
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bacalhau.config import Config
from bacalhau.model.base import evolve
from bacalhau.model.event import Event, Topic
from bacalhau.model.execution import Execution, RunOutput
from bacalhau.model.job import Job
from bacalhau.model.message import Report, UploadGrant
from bacalhau.model.node import NodeInfo
from bacalhau.model.resources import Resources
from bacalhau.ports.clock import Clock, Ids
from bacalhau.ports.executor import Executor, Work
from bacalhau.ports.publisher import Publisher
from bacalhau.ports.signal import Signal
from bacalhau.ports.source import Source
from bacalhau.ports.store import Entry, Journal
from bacalhau.ports.transport import Transport


@dataclass(slots=True)
class Held:
    """An execution on this node, from acceptance until its last report is acknowledged."""

    entry: Entry
    wanted: Resources
    task: asyncio.Task[None] | None = None
    work: Work | None = None
    output: RunOutput | None = None
    underway: bool = False
    stop_reason: str = ""
    restored: bool = False
    said_ns: int = 0

    @property
    def execution(self) -> Execution:
        return self.entry.execution

    @property
    def job(self) -> Job:
        return self.entry.job


@dataclass(slots=True)
class Node:
    """One compute node. Loops in this package act on it; nothing else does."""

    info: NodeInfo
    boot_id: str
    config: Config
    directory: Path
    journal: Journal
    transport: Transport
    clock: Clock
    ids: Ids
    executors: Mapping[str, Executor]
    sources: Mapping[str, Source]
    publishers: Mapping[str, Publisher]
    environ: Mapping[str, str]
    upload: Callable[[str, Path], Awaitable[object]]

    held: dict[str, Held] = field(default_factory=dict)
    waiting: dict[str, Held] = field(default_factory=dict)
    line: list[tuple[int, int, str]] = field(default_factory=list)
    running: dict[str, Held] = field(default_factory=dict)
    used: Resources = field(default_factory=Resources)
    recent_s: deque[float] = field(default_factory=lambda: deque(maxlen=64))
    welcomed: bool = False
    answered: bool = False
    refusal: str = ""
    told_lookahead: int = 0

    unsaid: dict[str, Held] = field(default_factory=dict)
    over: list[str] = field(default_factory=list)
    litter: deque[str] = field(default_factory=deque)
    to_tidy: Signal = field(default_factory=Signal)
    to_say: Signal = field(default_factory=Signal)
    to_start: Signal = field(default_factory=Signal)
    to_greet: Signal = field(default_factory=Signal)
    grants: dict[str, asyncio.Future[UploadGrant]] = field(default_factory=dict)
    streams: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    tasks: set[asyncio.Task[Any]] = field(default_factory=set)

    def queue(self, held: Held) -> None:
        """Have an accepted execution started when there is room: by priority, then by age."""
        execution = held.execution
        self.waiting[execution.id] = held
        heapq.heappush(self.line, (-held.job.spec.priority, execution.create_time, execution.id))
        self.to_start.set()

    def place_of(self, execution_id: str) -> Path:
        """The directory that belongs to that execution."""
        return self.directory / "executions" / execution_id

    def say(
        self, held: Held, topic: Topic | None = None, message: str = "", /, **observed: Any
    ) -> None:
        """Record what was seen of an execution; the relay makes it durable and sends it.

        With a topic it is also an event. `details` in `observed` belongs to the event.
        """
        details = observed.pop("details", None)
        now = max(self.clock.now(), held.execution.event_time + 1)
        if topic is not None:
            observed["event_time"] = now
        execution = evolve(held.execution, modify_time=now, **observed)
        events = held.entry.report.events if held.entry.report else ()
        if topic is not None:
            events = (
                *events,
                Event(
                    job_id=execution.job_id,
                    job_version=execution.job_version,
                    execution_id=execution.id,
                    topic=topic,
                    message=message,
                    time=now,
                    actor=self.info.id,
                    details=details or {},
                ),
            )
        number = held.entry.number + 1
        held.entry = Entry(
            job=held.job,
            execution=execution,
            number=number,
            report=Report(number=number, execution=execution, events=events),
        )
        self.repeat(held)

    def repeat(self, held: Held) -> None:
        """Have the relay send the newest report of an execution (again)."""
        self.unsaid[held.execution.id] = held
        self.to_say.set()

    def spawn(self, coroutine: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """A task that this node owns and ends when it ends."""
        task = asyncio.create_task(coroutine, name=name)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

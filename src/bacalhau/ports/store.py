"""The doors for state: the orchestrator's Store and the node's Journal."""

from collections.abc import Iterable, Sequence
from typing import Generic, Protocol, TypeVar

import msgspec

from bacalhau.model.event import Event
from bacalhau.model.execution import Execution
from bacalhau.model.job import Job, Requirement
from bacalhau.model.message import Report
from bacalhau.model.plan import Change, JobView, NodeView

T = TypeVar("T")


class Page(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """Rows in order; `next` is the cursor of the following page, '' at the end."""

    items: tuple[T, ...]
    next: str = ""


class Store(Protocol):
    """The orchestrator's state. The truth: what commit() acknowledged survives anything.

    Reads see every commit that was made before them. Live state (jobs that are not
    terminal, unsettled executions, nodes) is answered from memory; the rest from disk.
    Contract: bacalhau.testing.contracts.store.
    """

    async def commit(self, change: Change) -> None:
        """Write all of it or nothing, durably, before returning.

        Raises Conflict (details: table, id, and the stored revision, 0 when there is no
        such row) when a row is not as expected, a job's name is taken in its namespace, or
        an execution or event has no job; Unavailable when it cannot be written now. A
        commit whose caller is cancelled may still be made.
        """
        ...

    def views(self, job_ids: Iterable[str]) -> tuple[JobView, ...]:
        """What a scheduling decision sees of these jobs; unknown and settled ones left out."""
        ...

    def nodes(self) -> tuple[NodeView, ...]:
        """All nodes, by id."""
        ...

    def live_jobs(self) -> tuple[Job, ...]:
        """All jobs that are not terminal, and terminal ones with unsettled executions."""
        ...

    def live_count(self) -> int:
        """How many live_jobs() there are."""
        ...

    def live_job(self, job_id: str) -> Job | None:
        """A job that is not terminal, or a terminal one with unsettled executions."""
        ...

    def live_execution(self, execution_id: str) -> Execution | None:
        """An execution whose node has not said its last word."""
        ...

    def unsettled(self, node_id: str) -> tuple[Execution, ...]:
        """Executions of that node that have not settled: what it may have to be told."""
        ...

    async def job(self, job_id: str, version: int = 0) -> Job | None:
        """That job; `version` 0 is the latest, others as they last were."""
        ...

    async def resolve(self, name_or_id: str, namespace: str) -> Sequence[str]:
        """Job ids that this could mean: by name, else full id, else id prefix (two at most)."""
        ...

    async def jobs(
        self,
        *,
        namespace: str = "",
        labels: Sequence[Requirement] = (),
        order_by: str = "created_at",
        reverse: bool = False,
        limit: int = 0,
        after: str = "",
    ) -> Page[Job]:
        """Jobs, oldest first; order_by `created_at` or `modified_at`; '' is any namespace.

        `limit` 0 is all. With labels a page may be short, even empty, though `next` says
        that there is more. Raises Rejected for another order, or a foreign `after`.
        """
        ...

    async def versions(self, job_id: str) -> tuple[Job, ...]:
        """Every version of the job as it last was, ascending."""
        ...

    async def executions(self, job_id: str, version: int = 0) -> tuple[Execution, ...]:
        """Executions of that version by creation time; `version` 0 is all versions."""
        ...

    async def execution(self, execution_id: str) -> Execution | None:
        """That execution, live or long ended."""
        ...

    async def events(
        self,
        job_id: str,
        *,
        version: int = 0,
        execution_id: str = "",
        after: int = 0,
        limit: int = 0,
    ) -> tuple[Event, ...]:
        """Events with seq > after, in order; execution_id may be a prefix."""
        ...

    async def sweep(self, before: int, limit: int) -> Sequence[str]:
        """Delete up to `limit` settled terminal jobs last modified before that time (ns).

        Returns their ids.
        """
        ...

    async def close(self) -> None: ...


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """An execution as its node keeps it: with its job, until its last report is acknowledged.

    `report` is the newest report that the orchestrator has not acknowledged, if any.
    """

    job: Job
    execution: Execution
    report: Report | None = None
    number: int = 0


class Journal(Protocol):
    """A node's own durable memory. Contract: bacalhau.testing.contracts.journal."""

    async def load(self) -> tuple[Entry, ...]:
        """All entries, oldest first."""
        ...

    async def write(self, entries: Sequence[Entry], forget: Sequence[str] = ()) -> None:
        """Keep these (by execution id) and forget those, durably, before returning."""
        ...

    async def close(self) -> None: ...

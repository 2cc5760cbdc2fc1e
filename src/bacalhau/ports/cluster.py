"""The door to a running cluster: what the API (and everything above it) asks for.

The orchestrator implements it; handlers see nothing else of the orchestrator.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from bacalhau.model.base import Record
from bacalhau.model.errors import Error
from bacalhau.model.job import Job, JobSpec, SpecConfig
from bacalhau.model.node import NodeInfo
from bacalhau.model.plan import NodeView
from bacalhau.ports.objects import ObjectInfo, Objects
from bacalhau.ports.store import Store


class Submitted(Record, kw_only=True):
    """A submission that is durable: `version` 1 is a new job, higher an update or rerun."""

    job_id: str
    evaluation_id: str
    version: int = 1
    warnings: tuple[str, ...] = ()


class LogLine(Record, kw_only=True):
    """A piece of output as it was written: `source` 1 is stdout, 2 is stderr."""

    source: int
    data: bytes


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """A node with its liveness: `last_heartbeat` in ns (0: never), counts of executions."""

    view: NodeView
    last_heartbeat: int = 0
    running: int = 0
    waiting: int = 0


class Cluster(Protocol):
    """The orchestrator as its callers see it. Every method may raise Unavailable.

    Job ids are full ids here: names and prefixes are resolved by the caller through
    `store.resolve`.
    """

    store: Store
    objects: Objects

    async def submit(
        self,
        spec: JobSpec,
        *,
        force: bool,
        actor: str,
        client: Mapping[str, str],
        given: Mapping[str, Any],
    ) -> Submitted:
        """Store the job durably and have it scheduled.

        A spec whose name exists in its namespace updates that job. `client` holds the
        caller's `installation` and `instance` ids, `given` the fields that a client should
        not have sent (ID, State, Revision ...), for warnings.
        Raises Rejected, NoChange, Conflict, Limit.
        """
        ...

    async def submit_many(
        self, specs: Sequence[JobSpec], *, actor: str, client: Mapping[str, str]
    ) -> tuple[Submitted | Error, ...]:
        """The same for many, in one durable write; one bad spec spoils only its own item."""
        ...

    async def diff(self, spec: JobSpec) -> tuple[str, tuple[str, ...]]:
        """How the spec differs from the stored job of its name ('' when equal), and warnings.

        Raises NotFound, Rejected.
        """
        ...

    async def rerun(self, job_id: str, version: int, actor: str) -> Submitted:
        """Run that version (0: the latest) again as a new version. Raises NotFound, Conflict."""
        ...

    async def stop(self, job_id: str, reason: str, actor: str) -> str:
        """Stop the job; the evaluation's id, '' when it was stopped before.

        Raises NotFound, and Conflict when it completed or failed.
        """
        ...

    def queue_reason(self, job: Job) -> str:
        """Why partitions of the job wait; '' when none does."""
        ...

    def members(self) -> tuple[Member, ...]:
        """All nodes, by id."""
        ...

    async def update_node(self, node_id: str, action: str, message: str, actor: str) -> None:
        """approve, reject or delete a node. Raises NotFound, Conflict, Rejected."""
        ...

    def logs(
        self, job_id: str, *, execution_id: str, version: int, follow: bool, tail: bool
    ) -> AsyncIterator[LogLine]:
        """Output of one execution (the named, else the one that tells most).

        `version` 0 is any; `tail` leaves out what was written before now; `follow` goes on
        until the execution ends. Raises NotFound from the first step.
        """
        ...

    async def results(self, job: Job) -> tuple[SpecConfig, ...]:
        """Where the results are. URLs of our own API are paths with a signed query."""
        ...

    async def accept_upload(
        self, key: str, expires: str, signature: str, body: AsyncIterator[bytes]
    ) -> ObjectInfo:
        """Keep what was sent to a signed URL. Raises Forbidden, Limit, Rejected."""
        ...

    async def open_object(
        self, key: str, expires: str, signature: str, offset: int
    ) -> tuple[ObjectInfo, AsyncIterator[bytes]]:
        """What lies behind a signed URL, from that byte on. Raises Forbidden, NotFound."""
        ...

    async def wait(self, job_id: str, revision: int, timeout_s: float) -> Job:
        """The job as soon as its revision is newer than that, or when the time is over.

        Raises NotFound.
        """
        ...

    def node_info(self) -> NodeInfo:
        """This node's own word of itself."""
        ...

    def config_view(self) -> dict[str, Any]:
        """The effective configuration, secrets masked."""
        ...

    def debug(self) -> dict[str, Any]:
        """Figures for people who look for a fault."""
        ...

"""The store in plain dicts: the reference of what a store does, and the dev stack's state."""

from collections import ChainMap
from collections.abc import Iterable, Mapping, Sequence

from bacalhau.core import selector
from bacalhau.model.base import evolve
from bacalhau.model.errors import Unavailable
from bacalhau.model.event import Event
from bacalhau.model.execution import Execution
from bacalhau.model.job import Job, Requirement
from bacalhau.model.node import Node
from bacalhau.model.plan import Change, JobView, NodeView
from bacalhau.ports.store import Page
from bacalhau.stores import cursor
from bacalhau.stores.conflict import conflict
from bacalhau.stores.cursor import Cursor
from bacalhau.stores.live import Live


class MemoryStore:
    """All state in this process's memory; gone with it. See ports.store.Store."""

    def __init__(self) -> None:
        self._live = Live()
        self._jobs: dict[str, Job] = {}
        self._numbers: dict[str, int] = {}
        self._next_number = 1
        self._names: dict[tuple[str, str], str] = {}
        self._versions: dict[str, dict[int, Job]] = {}
        self._executions: dict[str, Execution] = {}
        self._by_job: dict[str, list[str]] = {}
        self._nodes: dict[str, Node] = {}
        self._events: dict[str, list[Event]] = {}
        self._closed = False

    async def commit(self, change: Change) -> None:
        """Take in all of the change or nothing. Raises Conflict, or Unavailable once closed."""
        if self._closed:
            raise Unavailable("the store is closed")
        self._check(change)
        for node in change.nodes:
            self._nodes[node.id] = node
        for job in change.jobs:
            self._write_job(job)
        for execution in change.executions:
            if execution.id not in self._executions:
                self._by_job.setdefault(execution.job_id, []).append(execution.id)
            self._executions[execution.id] = execution
        for event in change.events:
            events = self._events.setdefault(event.job_id, [])
            events.append(evolve(event, seq=len(events) + 1))
        self._live.apply(change)

    def _check(self, change: Change) -> None:
        """Raises Conflict unless every row follows what is there."""
        for table, row_id, revision in change.read:
            stored = self._revision(table, row_id)
            if stored != revision:
                raise conflict(table, row_id, stored)
        for table, rows in (
            ("node", change.nodes),
            ("job", change.jobs),
            ("execution", change.executions),
        ):
            seen: dict[str, int] = {}
            for row in rows:
                stored = seen.get(row.id, self._revision(table, row.id))
                if stored != row.revision - 1:
                    raise conflict(table, row.id, stored)
                seen[row.id] = row.revision
        self._check_names(change.jobs)
        created = {job.id for job in change.jobs}
        parts = [row.job_id for row in change.executions]
        parts += [event.job_id for event in change.events]
        for job_id in parts:
            if job_id not in self._jobs and job_id not in created:
                raise conflict("job", job_id, 0)

    def _check_names(self, jobs: Sequence[Job]) -> None:
        taken = ChainMap[tuple[str, str], str]({}, self._names)
        for job in jobs:
            key = (job.spec.namespace, job.spec.name)
            holder = taken.setdefault(key, job.id)
            if holder != job.id:
                raise conflict("job", holder, self._revision("job", holder))

    def _revision(self, table: str, row_id: str) -> int:
        """The stored revision; 0 when there is no such row."""
        tables: dict[str, Mapping[str, Job | Execution | Node]] = {
            "job": self._jobs,
            "execution": self._executions,
            "node": self._nodes,
        }
        row = tables[table].get(row_id)
        return row.revision if row is not None else 0

    def _write_job(self, job: Job) -> None:
        old = self._jobs.get(job.id)
        if old is None:
            self._numbers[job.id] = self._next_number
            self._next_number += 1
        else:
            self._names.pop((old.spec.namespace, old.spec.name), None)
        self._jobs[job.id] = job
        self._names[(job.spec.namespace, job.spec.name)] = job.id
        self._versions.setdefault(job.id, {})[job.version] = job

    def views(self, job_ids: Iterable[str]) -> tuple[JobView, ...]:
        return self._live.views(job_ids)

    def nodes(self) -> tuple[NodeView, ...]:
        return self._live.nodes()

    def live_jobs(self) -> tuple[Job, ...]:
        return self._live.jobs()

    def live_count(self) -> int:
        return self._live.count()

    def live_job(self, job_id: str) -> Job | None:
        return self._live.job(job_id)

    def live_execution(self, execution_id: str) -> Execution | None:
        return self._live.execution(execution_id)

    def unsettled(self, node_id: str) -> tuple[Execution, ...]:
        return self._live.unsettled(node_id)

    async def job(self, job_id: str, version: int = 0) -> Job | None:
        if version == 0:
            return self._jobs.get(job_id)
        return self._versions.get(job_id, {}).get(version)

    async def resolve(self, name_or_id: str, namespace: str) -> Sequence[str]:
        named = self._names.get((namespace, name_or_id))
        if named is not None:
            return (named,)
        if name_or_id in self._jobs:
            return (name_or_id,)
        if not name_or_id:
            return ()
        return sorted(job_id for job_id in self._jobs if job_id.startswith(name_or_id))[:2]

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
        cursor.check_order(order_by)
        start = cursor.read(order_by, after) if after else None
        placed = sorted(
            ((self._place(order_by, job), job) for job in self._jobs.values()),
            key=lambda pair: pair[0],
            reverse=reverse,
        )
        found = [
            (place, job)
            for place, job in placed
            if (start is None or (place < start if reverse else place > start))
            and (not namespace or job.spec.namespace == namespace)
            and not selector.matches(labels, job.spec.labels)
        ]
        page = found[:limit] if limit else found
        following = cursor.write(order_by, page[-1][0]) if len(page) < len(found) else ""
        return Page(items=tuple(job for _, job in page), next=following)

    def _place(self, order_by: str, job: Job) -> Cursor:
        time = job.create_time if order_by == "created_at" else job.modify_time
        return Cursor(time, self._numbers[job.id])

    async def versions(self, job_id: str) -> tuple[Job, ...]:
        versions = self._versions.get(job_id, {})
        return tuple(versions[version] for version in sorted(versions))

    async def executions(self, job_id: str, version: int = 0) -> tuple[Execution, ...]:
        rows = (self._executions[row_id] for row_id in self._by_job.get(job_id, ()))
        wanted = (row for row in rows if version in (0, row.job_version))
        return tuple(sorted(wanted, key=lambda row: row.create_time))

    async def execution(self, execution_id: str) -> Execution | None:
        return self._executions.get(execution_id)

    async def events(
        self,
        job_id: str,
        *,
        version: int = 0,
        execution_id: str = "",
        after: int = 0,
        limit: int = 0,
    ) -> tuple[Event, ...]:
        found = [
            event
            for event in self._events.get(job_id, [])[max(after, 0) :]
            if version in (0, event.job_version) and event.execution_id.startswith(execution_id)
        ]
        return tuple(found[:limit] if limit else found)

    async def sweep(self, before: int, limit: int) -> Sequence[str]:
        settled = (
            job
            for job in self._jobs.values()
            if job.modify_time < before and self._live.job(job.id) is None
        )
        oldest = sorted(settled, key=lambda job: self._place("modified_at", job))[:limit]
        for job in oldest:
            self._delete(job)
        return tuple(job.id for job in oldest)

    def _delete(self, job: Job) -> None:
        del self._jobs[job.id]
        del self._numbers[job.id]
        del self._names[(job.spec.namespace, job.spec.name)]
        del self._versions[job.id]
        self._events.pop(job.id, None)
        for execution_id in self._by_job.pop(job.id, ()):
            del self._executions[execution_id]

    async def close(self) -> None:
        """Refuse commits from now on."""
        self._closed = True

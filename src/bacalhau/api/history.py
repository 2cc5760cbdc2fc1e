"""What happened to a job: its events and its executions."""

from collections.abc import Iterator

from bacalhau.api import jobs, paging
from bacalhau.api.errors import BadRequest
from bacalhau.api.reply import Listing
from bacalhau.api.request import Request
from bacalhau.core import wire
from bacalhau.model.event import Event
from bacalhau.model.execution import Execution
from bacalhau.model.job import Job
from bacalhau.ports.cluster import Cluster

DEFAULT_EVENTS = 100
MAX_EVENTS = 1000
MAX_EXECUTIONS = 10_000
"""More come with the NextToken; a job may have that many partitions at a time."""

_TYPES = ("all", "job", "execution")


async def history(cluster: Cluster, request: Request) -> Listing:
    """Events in order. The token stays until the job (or the execution) has ended."""
    query = request.query
    kind = query.text("event_type").lower() or "all"
    if kind not in _TYPES:
        raise BadRequest(
            f"invalid event_type '{kind[:60]}'", hint=f"use one of {', '.join(_TYPES)}"
        )
    token = query.text("next_token")
    start = paging.read(token) if token else paging.Position()
    # The state is read before the events: a terminal job's events are all there.
    job = await jobs.find(cluster, request)
    ended = await _has_ended(cluster, job, query.text("execution_id"))
    limit = min(query.number("limit") or start.limit or DEFAULT_EVENTS, MAX_EVENTS)
    found, last, more = await _events(
        cluster,
        job.id,
        version=_version(request, job),
        execution_id=query.text("execution_id"),
        after=max(start.offset - 1, 0),
        limit=limit,
        kind=kind,
        since=query.number("since") * 1_000_000_000,
    )
    following = paging.write(paging.Position(limit=limit, offset=last + 1))
    return Listing(
        items=(wire.event(event) for event in found),
        next_token=following if more or not ended else "",
    )


async def _events(
    cluster: Cluster,
    job_id: str,
    *,
    version: int,
    execution_id: str,
    after: int,
    limit: int,
    kind: str,
    since: int,
) -> tuple[list[Event], int, bool]:
    """Up to `limit` wanted events, the last number that was looked at, and: are there more?"""
    found: list[Event] = []
    while True:
        events = await cluster.store.events(
            job_id, version=version, execution_id=execution_id, after=after, limit=MAX_EVENTS
        )
        for event in events:
            is_wanted = event.time >= since and (
                kind == "all" or (kind == "execution") == bool(event.execution_id)
            )
            if is_wanted and len(found) == limit:
                return found, after, True
            after = event.seq
            if is_wanted:
                found.append(event)
        if len(events) < MAX_EVENTS:
            return found, after, False


async def _has_ended(cluster: Cluster, job: Job, execution_id: str) -> bool:
    if job.state.is_terminal:
        return True
    execution = await cluster.store.execution(execution_id) if execution_id else None
    return execution is not None and execution.is_settled


async def executions(cluster: Cluster, request: Request) -> Listing:
    """Executions of the latest version, or of another, or of all."""
    query = request.query
    token = query.text("next_token")
    start = (
        paging.read(token)
        if token
        else paging.Position(query.text("order_by"), query.flag("reverse"), query.number("limit"))
    )
    job = await jobs.find(cluster, request)
    found = list(await cluster.store.executions(job.id, _version(request, job)))
    namespace = query.text("namespace")
    if namespace:
        found = [execution for execution in found if execution.namespace == namespace]
    if start.order_by in ("modify_time", "modified_at"):
        found.sort(key=lambda execution: (execution.modify_time, execution.id))
    if start.reverse:
        found.reverse()
    end = start.offset + min(start.limit or MAX_EXECUTIONS, MAX_EXECUTIONS)
    # Only whoever follows the token pages; Bacalhau's clients stop after their limit.
    following = paging.write(start._replace(offset=end)) if end < len(found) else ""
    versions = {each.version: each for each in await cluster.store.versions(job.id)}
    return Listing(items=_views(found[start.offset : end], versions, job), next_token=following)


def _views(found: list[Execution], versions: dict[int, Job], job: Job) -> Iterator[object]:
    for execution in found:
        yield wire.execution(execution, versions.get(execution.job_version, job))


def _version(request: Request, job: Job) -> int:
    """Which version is meant; 0 is all of them."""
    if request.query.flag("all_job_versions"):
        return 0
    return request.query.number("job_version") or job.version

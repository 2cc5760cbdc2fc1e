"""Jobs: submit, look at, stop, run again."""

from collections.abc import Mapping
from typing import Any

from bacalhau.api import paging
from bacalhau.api.errors import AmbiguousJob, BadRequest, envelope
from bacalhau.api.reply import Listing, Reply
from bacalhau.api.request import Request
from bacalhau.api.routes import field
from bacalhau.core import selector, wire
from bacalhau.core.bind import bind, bind_job
from bacalhau.model.base import Record
from bacalhau.model.errors import Error, NotFound, Rejected
from bacalhau.model.job import DEFAULT_NAMESPACE, Job, JobSpec, Requirement
from bacalhau.ports.cluster import Cluster, Submitted
from bacalhau.ports.store import Page

MAX_PAGE = 1000
"""Jobs of one page; who asks for all gets this many and a NextToken."""

MAX_BATCH = 10_000
"""Jobs of one batch: they are committed together."""

MAX_WAIT_S = 25
"""Below the time limits of proxies and of our own handlers."""

_ORDERS = ("created_at", "modified_at")


class SubmitBody(Record, kw_only=True):
    force: bool = False


class StopBody(Record, kw_only=True):
    reason: str = ""


class RerunBody(Record, kw_only=True):
    job_version: int = 0
    reason: str = ""
    namespace: str = ""


async def submit(cluster: Cluster, request: Request) -> Reply:
    body = _object(await request.json())
    spec, given = _spec(field(body, "Job"))
    # Only `Force` is bound here: the job inside is bound, once, above.
    options = bind(SubmitBody, {"Force": field(body, "Force")})
    done = await cluster.submit(
        spec,
        force=options.force,
        actor=request.principal.name,
        client=_client(request),
        given=given,
    )
    return Reply(body=_submitted(done))


async def submit_many(cluster: Cluster, request: Request) -> Reply:
    jobs = field(_object(await request.json()), "Jobs")
    if not isinstance(jobs, list) or not jobs:
        raise Rejected("Jobs: expected a list with at least one job")
    if len(jobs) > MAX_BATCH:
        raise Rejected(f"Jobs: {len(jobs)} jobs, at most {MAX_BATCH} are taken in one batch")
    bound = [_try_spec(job) for job in jobs]
    specs = [spec for spec in bound if isinstance(spec, JobSpec)]
    answers = iter(
        await cluster.submit_many(specs, actor=request.principal.name, client=_client(request))
    )
    items = [spec if isinstance(spec, Error) else next(answers) for spec in bound]
    request_id = request.header(b"x-request-id")
    return Reply(body={"Items": [_batch_item(item, request_id) for item in items]})


async def diff(cluster: Cluster, request: Request) -> Reply:
    spec, _ = _spec(field(_object(await request.json()), "Job"))
    if not spec.name.strip():
        raise Rejected("Name: a job without a name cannot be compared with a stored one")
    text, warnings = await cluster.diff(spec)
    return Reply(body={"Diff": text, "Warnings": list(warnings) or None})


async def list_jobs(cluster: Cluster, request: Request) -> Listing:
    query = request.query
    token = query.text("next_token")
    start = (
        paging.read(token)
        if token
        else paging.Position(query.text("order_by"), query.flag("reverse"), query.number("limit"))
    )
    order_by = start.order_by or "created_at"
    if order_by not in _ORDERS:
        raise BadRequest(f"invalid order_by '{order_by[:60]}'", hint=f"use {' or '.join(_ORDERS)}")
    namespace = query.text("namespace")
    page = await _page(
        cluster,
        start._replace(order_by=order_by),
        "" if namespace == "*" else namespace,
        labels(request),
    )
    following = (
        paging.write(start._replace(order_by=order_by, offset=0, cursor=page.next))
        if page.next
        else ""
    )
    return Listing(items=(view(cluster, job) for job in page.items), next_token=following)


async def _page(
    cluster: Cluster, start: paging.Position, namespace: str, wanted: tuple[Requirement, ...]
) -> Page[Job]:
    """The page at that position; a foreign token's offset is walked over first."""
    if start.offset > paging.MAX_OFFSET:
        raise BadRequest(f"next_token lies beyond {paging.MAX_OFFSET} jobs")
    cursor, skip = start.cursor, start.offset
    while True:
        limit = min(skip or start.limit or MAX_PAGE, MAX_PAGE)
        page = await cluster.store.jobs(
            namespace=namespace,
            labels=wanted,
            order_by=start.order_by,
            reverse=start.reverse,
            limit=limit,
            after=cursor,
        )
        if not skip:
            return page
        if not page.next:
            return Page(items=())
        cursor, skip = page.next, skip - len(page.items)


async def get(cluster: Cluster, request: Request) -> Reply:
    version = request.query.number("job_version")
    job = await find(cluster, request, version)
    body: dict[str, Any] = {"Job": view(cluster, job)}
    include = {word.strip().lower() for word in request.query.text("include").split(",")}
    if "history" in include:
        events = await cluster.store.events(job.id, version=job.version, limit=100)
        body["History"] = {"NextToken": "", "Items": [wire.event(event) for event in events]}
    if "executions" in include:
        executions = await cluster.store.executions(job.id, job.version)
        items = [wire.execution(execution, job) for execution in executions[:MAX_PAGE]]
        body["Executions"] = {"NextToken": "", "Items": items}
    return Reply(body=body)


async def wait(cluster: Cluster, request: Request) -> Reply:
    job = await find(cluster, request)
    timeout_s = min(request.query.number("timeout") or MAX_WAIT_S, MAX_WAIT_S)
    revision = request.query.number("revision")
    return Reply(body={"Job": view(cluster, await cluster.wait(job.id, revision, timeout_s))})


async def versions(cluster: Cluster, request: Request) -> Listing:
    job = await find(cluster, request)
    return Listing(items=(view(cluster, each) for each in await cluster.store.versions(job.id)))


async def results(cluster: Cluster, request: Request) -> Listing:
    job = await find(cluster, request)
    if not job.spec.type.is_finite:
        raise BadRequest(
            f"a {job.spec.type} job has no results", hint="only batch and ops jobs complete"
        )
    found = await cluster.results(job)
    return Listing(
        items=(wire.spec_config(absolute(result, request.base_url)) for result in found),
        escape=False,
    )


async def stop(cluster: Cluster, request: Request) -> Reply:
    job = await find(cluster, request)
    body = bind(StopBody, _object(await request.json() or {}))
    reason = body.reason or request.query.text("reason")
    evaluation_id = await cluster.stop(
        # Bacalhau's Python SDK spells "no reason" like this.
        job.id,
        "" if reason == "None" else reason,
        request.principal.name,
    )
    return Reply(body={"EvaluationID": evaluation_id})


async def rerun(cluster: Cluster, request: Request) -> Reply:
    body = bind(RerunBody, _object(await request.json() or {}))
    if body.job_version < 0:
        raise Rejected("JobVersion: must not be negative")
    job_id = await resolve(cluster, request.values["id"], body.namespace)
    done = await cluster.rerun(job_id, body.job_version, request.principal.name)
    return Reply(
        body={
            "EvaluationID": done.evaluation_id,
            "JobID": done.job_id,
            "JobVersion": done.version,
            "Warnings": list(done.warnings) or None,
        }
    )


async def find(cluster: Cluster, request: Request, version: int = 0) -> Job:
    """The job that the path names. Raises NotFound, AmbiguousJob."""
    wanted = request.values["id"]
    job_id = await resolve(cluster, wanted, request.query.text("namespace"))
    job = await cluster.store.job(job_id, version)
    if job is None:
        raise _not_found(f"{wanted} version {version}" if version else wanted)
    return job


async def resolve(cluster: Cluster, wanted: str, namespace: str) -> str:
    """The id of the job of that name, id or id prefix. Raises NotFound, AmbiguousJob."""
    found = await cluster.store.resolve(wanted, namespace or DEFAULT_NAMESPACE)
    if not found:
        raise _not_found(wanted)
    if len(found) > 1:
        raise AmbiguousJob(
            f"'{wanted}' could be {found[0]} or {found[1]}", hint="give the full job id"
        )
    return found[0]


def view(cluster: Cluster, job: Job) -> dict[str, Any]:
    """The job as clients see it, with the reason why it waits."""
    return wire.job(job, "" if job.state.is_terminal else cluster.queue_reason(job))


def labels(request: Request) -> tuple[Requirement, ...]:
    """The selector of the `labels` parameters, which all must hold. Raises BadRequest."""
    texts = request.query.texts("labels")
    try:
        return selector.parse(",".join(texts)) if texts else ()
    except ValueError as error:
        raise BadRequest(f"labels: {error}") from None


def absolute(result: Any, base_url: str) -> Any:
    """The result with a URL of our own API made whole."""
    url = result.param("URL", "")
    if not (isinstance(url, str) and url.startswith("/")):
        return result
    return type(result)(type=result.type, params={**result.params, "URL": base_url + url})


def _not_found(wanted: str) -> NotFound:
    return NotFound(f"job not found: {wanted}", hint="see 'bacalhau job list'")


def _object(body: Any) -> dict[str, Any]:
    if body is None:
        raise Rejected("empty body: expected a JSON object")
    if not isinstance(body, dict):
        raise Rejected("expected a JSON object as body")
    return body


def _spec(job: Any) -> tuple[JobSpec, dict[str, Any]]:
    if not job:
        raise Rejected("empty/nil job", hint='send {"Job": {...}}')
    return bind_job(job)


def _try_spec(job: Any) -> JobSpec | Error:
    try:
        return _spec(job)[0]
    except Rejected as error:
        return error


def _client(request: Request) -> Mapping[str, str]:
    return {
        "installation": request.header(b"x-bacalhau-installationid"),
        "instance": request.header(b"x-bacalhau-instanceid"),
    }


def _submitted(done: Submitted) -> dict[str, Any]:
    return {
        "JobID": done.job_id,
        "EvaluationID": done.evaluation_id,
        "Warnings": list(done.warnings) or None,
    }


def _batch_item(item: Submitted | Error, request_id: str) -> dict[str, Any]:
    if isinstance(item, Submitted):
        return _submitted(item)
    return {"Error": envelope(item, request_id)}

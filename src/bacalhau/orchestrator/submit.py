"""What users ask of jobs: submit, update, rerun, stop, compare."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from bacalhau.core import admit as admission
from bacalhau.core.admit import Admitted, Unchanged
from bacalhau.core.diff import diff
from bacalhau.model.errors import Conflict, Error, Limit, NoChange, NotFound, Rejected
from bacalhau.model.job import DEFAULT_NAMESPACE, Job, JobSpec, JobState
from bacalhau.model.plan import Change
from bacalhau.orchestrator.facts import facts
from bacalhau.orchestrator.state import State
from bacalhau.ports.cluster import Submitted

RACES_MAX = 5


async def submit(
    state: State,
    spec: JobSpec,
    *,
    force: bool,
    actor: str,
    client: Mapping[str, str],
    given: Mapping[str, Any],
) -> Submitted:
    """See ports.cluster.Cluster.submit."""
    for _ in range(RACES_MAX):
        admitted = await _admit(state, spec, force=force, actor=actor, client=client, given=given)
        try:
            await state.commit(admitted.change)
        except Conflict:
            continue  # somebody used the name, or changed the job, meanwhile
        return _accepted(state, admitted)
    raise Conflict(f"job '{spec.name}' is being changed by others", hint="Try again.")


async def submit_many(
    state: State, specs: Sequence[JobSpec], *, actor: str, client: Mapping[str, str]
) -> tuple[Submitted | Error, ...]:
    """See ports.cluster.Cluster.submit_many: new jobs share one commit."""
    answers: list[Submitted | Error | None] = [None] * len(specs)
    fresh: list[tuple[int, Admitted]] = []
    names: set[tuple[str, str]] = set()
    later: list[int] = []
    for number, spec in enumerate(specs):
        name = (spec.namespace or DEFAULT_NAMESPACE, spec.name)
        if spec.name and name in names:
            later.append(number)  # an update of a job of this very batch
            continue
        names.add(name)
        try:
            admitted = await _admit(state, spec, force=False, actor=actor, client=client, given={})
        except Error as error:
            answers[number] = error
            continue
        if admitted.created:
            fresh.append((number, admitted))
        else:
            later.append(number)
        if number % 200 == 199:
            await asyncio.sleep(0)  # others get their turn while a long batch is checked
    try:
        await state.commit(
            Change(
                jobs=tuple(job for _, a in fresh for job in a.change.jobs),
                events=tuple(event for _, a in fresh for event in a.change.events),
            )
        )
    except Conflict:
        later.extend(number for number, _ in fresh)
    else:
        for number, admitted in fresh:
            answers[number] = _accepted(state, admitted)
    for number in sorted(later):
        try:
            answers[number] = await submit(
                state, specs[number], force=False, actor=actor, client=client, given={}
            )
        except Error as error:
            answers[number] = error
    return tuple(answer for answer in answers if answer is not None)


async def _admit(
    state: State,
    spec: JobSpec,
    *,
    force: bool,
    actor: str,
    client: Mapping[str, str],
    given: Mapping[str, Any],
) -> Admitted:
    existing = await _named(state, spec)
    if existing is None and state.store.live_count() >= state.config.limits.max_jobs:
        raise Limit(
            f"{state.config.limits.max_jobs} jobs are live already",
            hint="Wait for some to end, or raise Limits.MaxJobs.",
        )
    answer = admission.admit(
        spec,
        facts(state, existing=existing, force=force, actor=actor, client=client, given=given),
    )
    if isinstance(answer, tuple):
        raise Rejected(*answer)
    if isinstance(answer, Unchanged):
        raise NoChange(
            f"no changes detected for new job spec. Job name: '{spec.name}'",
            hint="Use --force to submit it as a new version anyway.",
        )
    return answer


async def _named(state: State, spec: JobSpec) -> Job | None:
    """The job that this spec would update."""
    if not spec.name.strip():
        return None
    namespace = spec.namespace or DEFAULT_NAMESPACE
    for job_id in await state.store.resolve(spec.name, namespace):
        job = await state.store.job(job_id)
        if job is not None and job.spec.name == spec.name and job.spec.namespace == namespace:
            return job
    return None


def _accepted(state: State, admitted: Admitted) -> Submitted:
    if admitted.created:
        state.enqueue(admitted.job)
    else:
        state.evaluate(admitted.job)  # its running executions are to be replaced
    return Submitted(
        job_id=admitted.job.id,
        evaluation_id=state.ids.new(""),
        version=admitted.job.version,
        warnings=admitted.warnings,
    )


async def rerun(state: State, job_id: str, version: int, actor: str) -> Submitted:
    """See ports.cluster.Cluster.rerun."""
    for _ in range(RACES_MAX):
        job = await require(state, job_id)
        old = await state.store.job(job_id, version)
        if old is None:
            raise NotFound(f"job {job_id} has no version {version}")
        admitted = admission.rerun(
            job, old.spec, facts(state, existing=job, force=True, actor=actor)
        )
        if isinstance(admitted, str):
            raise Conflict(admitted, hint="Stop it first, or wait until it runs.")
        try:
            await state.commit(admitted.change)
        except Conflict:
            continue
        return _accepted(state, admitted)
    raise Conflict(f"job {job_id} is being changed by others", hint="Try again.")


async def stop(state: State, job_id: str, reason: str, actor: str) -> str:
    """See ports.cluster.Cluster.stop."""
    for _ in range(RACES_MAX):
        job = await require(state, job_id)
        if job.state is JobState.STOPPED:
            return ""
        change = admission.stop(job, reason, actor, state.clock.now())
        if isinstance(change, str):
            raise Conflict(change)
        try:
            await state.commit(change)
        except Conflict:
            continue
        state.evaluate(change.jobs[0])
        return state.ids.new("")
    raise Conflict(f"job {job_id} is being changed by others", hint="Try again.")


async def compare(state: State, spec: JobSpec) -> tuple[str, tuple[str, ...]]:
    """See ports.cluster.Cluster.diff."""
    if not spec.name.strip():
        raise Rejected("a job without a name cannot be compared", hint="Give it a Name.")
    existing = await _named(state, spec)
    namespace = spec.namespace or DEFAULT_NAMESPACE
    if existing is None:
        raise NotFound(f"job name index not found: {spec.name}:{namespace}")
    answer = admission.admit(spec, facts(state, existing=existing, force=True, actor=""))
    if isinstance(answer, tuple):
        raise Rejected(*answer)
    if isinstance(answer, Unchanged):
        return "", answer.warnings
    return diff(existing.spec, answer.job.spec), answer.warnings


async def require(state: State, job_id: str) -> Job:
    """The job of that id. Raises NotFound."""
    job = await state.store.job(job_id)
    if job is None:
        raise NotFound(f"job not found: {job_id}")
    return job

"""May this job in, and as what? Submission, update, rerun and stop as pure decisions.

submitted spec
└── prepare     translate old forms, check all, warn, normal form with defaults
    └── admit   create, or update the job of that name: a Change, the Job, warnings
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from bacalhau.core.check import check, timeouts_fit
from bacalhau.core.normal import Defaults, comparable, is_reserved, normal, translate_wasm
from bacalhau.core.params import ENGINES, PUBLISHERS, SOURCES, check_known, check_params
from bacalhau.model.base import evolve
from bacalhau.model.errors import Rejected
from bacalhau.model.event import Event, Topic
from bacalhau.model.job import (
    DEFAULT_NAMESPACE,
    RESERVED_META,
    Job,
    JobSpec,
    JobState,
    JobType,
    Task,
)
from bacalhau.model.plan import Change

__all__ = ["Admitted", "Defaults", "Facts", "Unchanged", "admit", "check", "rerun", "stop"]

MAX_SPEC_BYTES = 8 * 1024 * 1024
"""As JSON. A spec travels to every node that runs it: data belongs into inputs."""

MAX_REASON_CHARS = 4096

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """All that admission may know besides the spec.

    now        ns since the epoch
    job_id     a fresh id, for a new job
    node_id    of this orchestrator
    existing   the job that `address(spec)` names, if there is one
    force      make a new version even when nothing changed
    actor      who asks
    given      fields that a client should not send (bind.bind_job), for warnings
    client     `installation` and `instance` of the client, as far as known
    server     the same of this orchestrator
    defaults   by type of job
    engines, sources, publishers
               lower-case names: what Bacalhau defines and what nodes ever offered
    """

    now: int
    job_id: str
    node_id: str
    existing: Job | None = None
    force: bool = False
    actor: str = ""
    given: Mapping[str, Any] = {}
    client: Mapping[str, str] = {}
    server: Mapping[str, str] = {}
    defaults: Mapping[JobType, Defaults] = {}
    engines: frozenset[str] = frozenset(ENGINES)
    sources: frozenset[str] = frozenset(SOURCES)
    publishers: frozenset[str] = frozenset(PUBLISHERS)
    max_count: int = 1_000_000
    max_spec_bytes: int = MAX_SPEC_BYTES


class Admitted(msgspec.Struct, frozen=True, kw_only=True):
    """What to commit so that the job is in. `created` is False for an update or rerun."""

    change: Change
    job: Job
    warnings: tuple[str, ...] = ()
    created: bool = True


class Unchanged(msgspec.Struct, frozen=True, kw_only=True):
    """The stored job of that name has this very spec, and nobody forces a new version."""

    job: Job
    warnings: tuple[str, ...] = ()


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """An acceptable spec in its normal form; its name is still empty when none was given."""

    spec: JobSpec
    warnings: tuple[str, ...] = ()


def address(spec: JobSpec) -> tuple[str, str]:
    """(name, namespace) of the job that this spec updates; the name is '' for a new one."""
    return spec.name, spec.namespace or DEFAULT_NAMESPACE


def prepare(spec: JobSpec, facts: Facts) -> Prepared | tuple[str, ...]:
    """The spec in its normal form with warnings, or all reasons why it is unacceptable."""
    warnings = list(_warnings(spec, facts))
    if facts.existing is not None and spec.type is not facts.existing.spec.type:
        kept = facts.existing.spec.type
        warnings.append(f"Type: job '{spec.name}' stays of type {kept}, {spec.type} is ignored")
        spec = evolve(spec, type=kept)
    try:
        spec = translate_wasm(spec)
    except Rejected as rejected:
        return rejected.reasons
    reasons = list(check(spec))
    for at, task in enumerate(spec.tasks[:1]):
        reasons += [f"Tasks[{at}].{reason}" for reason in _plug_ins(task, facts)]
    if spec.count is not None and spec.count > facts.max_count:
        reasons.append(f"Count: {spec.count} is more than this cluster's {facts.max_count}")
    if reasons:
        return tuple(dict.fromkeys(reasons))
    settled = normal(comparable(spec), facts.defaults.get(spec.type, _DEFAULTS))
    contradiction = timeouts_fit(settled.task.timeouts)
    reasons = [f"Tasks[0].{contradiction}"] if contradiction else []
    reasons += _size(settled, facts.max_spec_bytes)
    return tuple(reasons) or Prepared(spec=settled, warnings=tuple(warnings))


def admit(spec: JobSpec, facts: Facts) -> Admitted | Unchanged | tuple[str, ...]:
    """A new job, or a new version of the one that has this name; else all reasons against it."""
    prepared = prepare(spec, facts)
    if isinstance(prepared, tuple):
        return prepared
    existing = facts.existing
    if existing is None:
        return _create(prepared, facts)
    if comparable(existing.spec) == prepared.spec and not facts.force:
        return Unchanged(job=existing, warnings=prepared.warnings)
    spec = _with_system_meta(prepared.spec, facts)
    return _again(
        existing, spec, facts, "Job update requested by user", "Job updated", prepared.warnings
    )


def rerun(job: Job, spec: JobSpec, facts: Facts, reason: str = "") -> Admitted | str:
    """The job once more, as a new version with this spec of an earlier one; or why not."""
    if job.state in (JobState.HELD, JobState.PENDING):
        return f"cannot rerun job in state {job.state.title()}"
    return _again(job, spec, facts, "job rerun", "Job rerun requested", reason=reason)


def stop(job: Job, reason: str, actor: str, now: int) -> Change | str:
    """The job as stopped (an empty change when it is already); or why it cannot be.

    Its executions are stopped by the scheduler, which looks at the job after the commit.
    """
    if job.state is JobState.STOPPED:
        return Change()
    if job.state.is_terminal:
        return f"cannot stop job in state {job.state.title()}"
    reason = reason[:MAX_REASON_CHARS] or "stopped by request"
    stopped = evolve(
        job,
        state=JobState.STOPPED,
        message=reason,
        revision=job.revision + 1,
        modify_time=now,
        queued_time=0,
        wake_time=0,
    )
    event = Event(
        job_id=job.id,
        job_version=job.version,
        topic=Topic.SCHEDULING,
        message="Job stop requested",
        time=now,
        actor=actor,
        details={"Reason": reason},
    )
    return Change(jobs=(stopped,), events=(event,))


_DEFAULTS = Defaults()


def _create(prepared: Prepared, facts: Facts) -> Admitted | tuple[str, ...]:
    job_id = facts.job_id
    if not prepared.spec.type.is_finite and facts.given.get("ID"):
        job_id = str(facts.given["ID"])
        if not _ID.fullmatch(job_id):
            return (
                f"ID: {job_id[:60]!a} is not at most 128 letters, digits, '.', '_' and '-', "
                "starting with a letter or digit",
            )
    spec = prepared.spec
    if not spec.name:
        spec = evolve(spec, name=job_id)
    job = Job(
        id=job_id,
        spec=_with_system_meta(spec, facts),
        create_time=facts.now,
        modify_time=facts.now,
        version_time=facts.now,
        queued_time=facts.now,
    )
    change = Change(jobs=(job,), events=(_submission(job, "Job submitted", facts),))
    return Admitted(change=change, job=job, warnings=prepared.warnings)


def _again(
    job: Job,
    spec: JobSpec,
    facts: Facts,
    message: str,
    told: str,
    warnings: tuple[str, ...] = (),
    reason: str = "",
) -> Admitted:
    """The next version of a job, back at the start."""
    again = evolve(
        job,
        spec=spec,
        state=JobState.PENDING,
        message=message,
        version=job.version + 1,
        revision=job.revision + 1,
        modify_time=facts.now,
        version_time=facts.now,
        queued_time=facts.now,
        wake_time=0,
    )
    change = Change(jobs=(again,), events=(_submission(again, told, facts, reason),))
    return Admitted(change=change, job=again, warnings=warnings, created=False)


def _submission(job: Job, message: str, facts: Facts, reason: str = "") -> Event:
    return Event(
        job_id=job.id,
        job_version=job.version,
        topic=Topic.SUBMISSION,
        message=message,
        time=facts.now,
        actor=facts.actor,
        details={"Reason": reason[:MAX_REASON_CHARS]} if reason else {},
    )


def _plug_ins(task: Task, facts: Facts) -> Sequence[str]:
    """Unknown types, and params that cannot be right. Blank types are check's business."""
    reasons: list[str] = []
    if task.engine.type.strip():
        reasons += check_known("Engine.Type", "engine", task.engine.type, facts.engines)
    if task.publisher.type.strip():
        reasons += check_known("Publisher.Type", "publisher", task.publisher.type, facts.publishers)
    for at, one in enumerate(task.input_sources):
        if one.source.type.strip():
            where = f"InputSources[{at}].Source.Type"
            reasons += check_known(where, "source", one.source.type, facts.sources)
    reasons += check_params(task)
    return reasons


def _warnings(spec: JobSpec, facts: Facts) -> Sequence[str]:
    """One text for each thing that is ignored."""
    warnings = []
    for name, value in facts.given.items():
        if name == "State":
            word = next((v for k, v in value.items() if k.lower() == "statetype"), "")
            if str(word).lower() not in ("", "undefined"):
                warnings.append("State: set by the orchestrator, ignored")
        elif name == "ID":
            if value and (spec.type.is_finite or facts.existing is not None):
                warnings.append("ID: set by the orchestrator, ignored")
        elif value:
            warnings.append(f"{name}: set by the orchestrator, ignored")
    if len(spec.tasks) > 1:
        warnings.append(f"Tasks: only the first of {len(spec.tasks)} tasks is kept")
    warnings += [
        f"Meta: key '{key[:200]}' is reserved, removed" for key in spec.meta if is_reserved(key)
    ]
    return warnings


def _with_system_meta(spec: JobSpec, facts: Facts) -> JobSpec:
    meta = {
        "orchestrator.id": facts.node_id,
        "requester.id": facts.node_id,
        "server.installation.id": facts.server.get("installation", ""),
        "server.instance.id": facts.server.get("instance", ""),
        "client.installation.id": facts.client.get("installation", ""),
        "client.instance.id": facts.client.get("instance", ""),
    }
    added = {RESERVED_META + key: text[:256] for key, text in meta.items() if text}
    return evolve(spec, meta=spec.meta | added)


def _size(spec: JobSpec, most: int) -> Sequence[str]:
    try:
        size = len(msgspec.json.encode(spec))
    except (UnicodeEncodeError, OverflowError, TypeError, RecursionError) as error:
        return (f"the spec cannot be written as JSON: {error}",)
    if size > most:
        return (
            f"the spec has {size} bytes, at most {most} are allowed; "
            "pass large data as an input, not inline",
        )
    return ()

"""The sentences that the scheduler writes into a job's history."""

import re
from collections.abc import Mapping

from bacalhau.model.event import Event, Topic
from bacalhau.model.execution import Execution, Fault, FaultKind
from bacalhau.model.job import Job, JobState

MESSAGE_MAX = 2000
"""Characters of a message that came from elsewhere; the rest is cut off."""

_UUID = re.compile(r"((?:[a-z]-)?[0-9a-f]{8})-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def short(identity: str) -> str:
    """The short form of an id: `n-5a1b0c9d`; what is no UUID stays as it is."""
    found = _UUID.fullmatch(identity)
    return found[1] if found else identity


def requested(job: Job, execution: Execution, now: int) -> Event:
    """An execution was placed on a node."""
    return Event(
        job_id=job.id,
        job_version=job.version,
        execution_id=execution.id,
        topic=Topic.SCHEDULING,
        message=f"Requested execution on {short(execution.node_id)}",
        time=now,
        details={"NodeID": execution.node_id},
    )


def stopped(execution: Execution, reason: str, now: int) -> Event:
    """An execution is not wanted any more."""
    return _of(execution, Topic.EXECUTION, f"Stopping: {reason}", now)


def failed(execution: Execution, fault: Fault, topic: Topic, now: int) -> Event:
    """An execution counts as failed by the orchestrator's judgement."""
    return _of(execution, topic, fault.message, now, _error(fault, execution=True))


def state(job: Job, now: int) -> Event:
    """The job is running or completed."""
    name = job.state.value.capitalize()
    return _at(job, Topic.STATE, name, now, {"NewState": name})


def queued(job: Job, reason: str, now: int) -> Event:
    """The job waits for nodes."""
    return _at(job, Topic.QUEUEING, f"Job queued. {reason}", now)


def ended(job: Job, fault: Fault, topic: Topic, now: int, details: Mapping[str, str] = {}) -> Event:
    """The job has failed or was stopped by the scheduler."""
    if job.state is JobState.STOPPED:
        return _at(job, topic, fault.message, now)
    return _at(job, topic, fault.message, now, {**_error(fault), **details})


def _error(fault: Fault, *, execution: bool = False) -> dict[str, str]:
    details = {"IsError": "true", "ErrorCode": f"Scheduler:{fault.code}"}
    if fault.hint:
        details["Hint"] = fault.hint
    if execution:
        details["FailsExecution"] = "true"
        if fault.kind is not FaultKind.PERMANENT:
            details["Retryable"] = "true"
    return details


def _at(
    job: Job, topic: Topic, message: str, now: int, details: dict[str, str] | None = None
) -> Event:
    return Event(
        job_id=job.id,
        job_version=job.version,
        topic=topic,
        message=message[:MESSAGE_MAX],
        time=now,
        details=details or {},
    )


def _of(
    execution: Execution,
    topic: Topic,
    message: str,
    now: int,
    details: dict[str, str] | None = None,
) -> Event:
    return Event(
        job_id=execution.job_id,
        job_version=execution.job_version,
        execution_id=execution.id,
        topic=topic,
        message=message[:MESSAGE_MAX],
        time=now,
        details=details or {},
    )

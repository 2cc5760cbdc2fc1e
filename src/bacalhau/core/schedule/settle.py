"""What becomes of the job: its state, why it waits, when to look again, what to write."""

from collections.abc import Iterable, Iterator

from bacalhau.core.schedule import history
from bacalhau.core.schedule.place import HEADS, queued_since
from bacalhau.core.schedule.reconcile import (
    Case,
    deadline,
    total_deadline,
)
from bacalhau.model.base import evolve
from bacalhau.model.event import Topic
from bacalhau.model.execution import Fault, FaultKind
from bacalhau.model.job import Job, JobState, JobType

_NS = 1_000_000_000


def settle(case: Case) -> Job | None:
    """The job's new row, or None when it stays as it is. Completes the case's events."""
    if case.job.state.is_terminal or case.job.state is JobState.HELD:
        return None
    _complete(case)
    if case.ending is not None:
        return _end(case)
    return _go_on(case)


def _complete(case: Case) -> None:
    """A batch is completed when all partitions are; a service of none has stopped."""
    job = case.job
    if case.ending is not None or not job.spec.type.is_counted:
        return
    if job.spec.type is JobType.SERVICE:
        if case.count == 0:
            case.end(JobState.STOPPED, _fault("CountZero", "Count is 0"), Topic.STATE)
    elif case.count == 0 or (
        len(case.done) >= case.count and all(p in case.done for p in range(case.count))
    ):
        case.end(JobState.COMPLETED, _fault("", ""), Topic.STATE)


def _fault(code: str, message: str) -> Fault:
    return Fault(kind=FaultKind.USER, code=code, message=message)


def _end(case: Case) -> Job:
    assert case.ending is not None
    state, fault, topic, details = case.ending
    job = evolve(
        case.job,
        state=state,
        message=fault.message[: history.MESSAGE_MAX],
        queued_time=0,
        wake_time=0,
        revision=case.job.revision + 1,
        modify_time=case.now,
    )
    if state is JobState.COMPLETED:
        case.events.append(history.state(job, case.now))
    else:
        case.events.append(history.ended(job, fault, topic, case.now, details))
    case.take_back()
    for execution in case.view.live:
        if execution.is_live and not _ended_here(case, execution.id):
            case.rows.pop(execution.id, None)
            case.stop(execution, f"job {state}")
    return job


def _ended_here(case: Case, execution_id: str) -> bool:
    row = case.rows.get(execution_id)
    return row is not None and not row.is_live


def _go_on(case: Case) -> Job | None:
    job = case.job
    running = job.state is JobState.RUNNING or bool(case.live or case.placed)
    state = JobState.RUNNING if running else JobState.PENDING
    queued_time = queued_since(case) if case.blocked else 0
    message = _message(job, state, case.blocked)
    wake_time = _wake_time(case, queued_time)
    if (state, message, queued_time, wake_time) == (
        job.state,
        job.message,
        job.queued_time,
        job.wake_time,
    ):
        return None
    row = evolve(
        job,
        state=state,
        message=message,
        queued_time=queued_time,
        wake_time=wake_time,
        revision=job.revision + 1,
        modify_time=case.now,
    )
    if state is not job.state:
        case.events.append(history.state(row, case.now))
    if queued_time and not job.queued_time:
        case.events.append(history.queued(row, case.blocked, case.now))
    return row


def _message(job: Job, state: JobState, blocked: str) -> str:
    """The reason for which it waits, written anew only when it is another one.

    Its details change with every look; the newest are in the plan.
    """
    head = _head(job.message)
    if blocked:
        return job.message if head and head == _head(blocked) else blocked
    return "" if head or state is not job.state else job.message


def _head(message: str) -> str:
    return next((head for head in HEADS if message.startswith(head)), "")


def _wake_time(case: Case, queued_time: int) -> int:
    """When to look again without a trigger (ns); 0: never.

    An earlier time that is already written stands: looking once too often costs less than
    writing the job with each start of an execution.
    """
    wanted = min(_wakes(case, queued_time), default=0)
    written = case.job.wake_time
    if written > case.now and (not wanted or written <= wanted):
        return written
    return wanted


def _wakes(case: Case, queued_time: int) -> Iterator[int]:
    yield from case.retries.values()
    job = case.job
    if case.limit_s:
        yield from _deadlines(case)
    total = total_deadline(job)
    if total:
        yield total
    queue_limit_s = job.spec.task.timeouts.queue_timeout
    if queued_time and queue_limit_s and job.spec.type is not JobType.DAEMON:
        yield queued_time + queue_limit_s * _NS


def _deadlines(case: Case) -> Iterable[int]:
    ends = (deadline(execution, case.limit_s) for execution in case.live.values())
    return (end for end in ends if end)

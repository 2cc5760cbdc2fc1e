"""Which moves are legal: of a job, of the orchestrator's wish, of the node's word.

An execution has two writers. The orchestrator moves `desired` (`wish`, `lose`), the node's
word moves `observed` (`observe`); on the node it is the other way round (`intend`).
Whatever is late, repeated or backwards changes nothing.
"""

from collections.abc import Collection, Mapping

from bacalhau.model.base import evolve
from bacalhau.model.execution import Desired, Execution, Fault, FaultKind, Observed
from bacalhau.model.job import Job, JobState, SpecConfig
from bacalhau.model.plan import JobView

_S = JobState
JOB_MOVES: Mapping[JobState, frozenset[JobState]] = {
    _S.HELD: frozenset({_S.PENDING, _S.FAILED, _S.STOPPED}),
    _S.PENDING: frozenset({_S.HELD, _S.RUNNING, _S.COMPLETED, _S.FAILED, _S.STOPPED}),
    _S.RUNNING: frozenset({_S.HELD, _S.PENDING, _S.COMPLETED, _S.FAILED, _S.STOPPED}),
    _S.COMPLETED: frozenset({_S.HELD, _S.PENDING}),
    _S.FAILED: frozenset({_S.HELD, _S.PENDING, _S.STOPPED}),
    _S.STOPPED: frozenset({_S.HELD, _S.PENDING}),
}
"""Where a job may go. Back to pending or held only with a new version."""

DESIRED_MOVES: Mapping[Desired, frozenset[Desired]] = {
    Desired.BID: frozenset({Desired.RUN, Desired.STOP}),
    Desired.RUN: frozenset({Desired.STOP}),
    Desired.STOP: frozenset(),
}
"""Where the orchestrator's wish may go."""

_O = Observed
_ENDS = frozenset({_O.COMPLETED, _O.FAILED, _O.CANCELLED})
OBSERVED_MOVES: Mapping[Observed, frozenset[Observed]] = {
    _O.NEW: _ENDS | {_O.BID, _O.DECLINED, _O.PREPARING, _O.RUNNING, _O.PUBLISHING, _O.HELD},
    _O.BID: _ENDS | {_O.DECLINED, _O.PREPARING, _O.RUNNING, _O.PUBLISHING, _O.HELD},
    _O.PREPARING: _ENDS | {_O.RUNNING, _O.PUBLISHING, _O.HELD},
    _O.RUNNING: _ENDS | {_O.PUBLISHING, _O.HELD},
    _O.PUBLISHING: _ENDS | {_O.HELD},
    _O.HELD: _ENDS,
    _O.DECLINED: frozenset(),
    _O.COMPLETED: frozenset(),
    _O.FAILED: frozenset(),
    _O.CANCELLED: frozenset(),
}
"""Where a node's word may go. Steps may be skipped, as only the newest report counts."""

UNEXPLAINED = Fault(kind=FaultKind.TRANSIENT, code="Unexplained", message="the node gave no reason")
DECLINED = Fault(kind=FaultKind.BUSY, code="Declined", message="the node declined")
ENDED_UNEXPECTEDLY = Fault(
    kind=FaultKind.USER,
    code="EndedUnexpectedly",
    message="execution completed unexpectedly",
    hint="A service or daemon job runs until it is stopped; use a batch job for work that ends.",
)


def observe(
    stored: Execution, word: Execution, now: int, *, finite: bool = True, filled: bool = False
) -> Execution | None:
    """The row that takes in a node's word, or None when the word changes nothing.

    `finite` False: the job must not end by itself, so completing is a fault. `filled`: nobody
    waits for its result (see `filled`), so completing is surplus.
    """
    if stored.is_settled or word.id != stored.id or word.node_id != stored.node_id:
        return None
    if not _is_news(stored, word):
        return None
    observed, message, fault = _verdict(stored, word, finite=finite, filled=filled)
    return evolve(
        stored,
        observed=observed,
        observed_message=message,
        fault=fault,
        lost=stored.lost and not observed.is_terminal,
        output=word.output or stored.output,
        result=word.result if word.result != SpecConfig() else stored.result,
        start_time=word.start_time or stored.start_time,
        end_time=word.end_time or (now if observed.is_terminal else stored.end_time),
        event_time=max(word.event_time, stored.event_time),
        revision=stored.revision + 1,
        modify_time=now,
    )


def filled(view: JobView, execution: Execution, now_completed: Collection[int] = ()) -> bool:
    """True when nobody waits for this execution's result.

    Its partition is completed by another (`now_completed`: in the same batch of reports), or
    its version of the job was replaced.
    """
    partition = execution.partition
    return (
        execution.job_version != view.job.version
        or partition in view.done
        or partition in now_completed
    )


def _is_news(stored: Execution, word: Execution) -> bool:
    if word.observed is stored.observed:
        return (
            word.observed_message != stored.observed_message and word.event_time > stored.event_time
        )
    return word.observed in OBSERVED_MOVES[stored.observed]


def _verdict(
    stored: Execution, word: Execution, *, finite: bool, filled: bool
) -> tuple[Observed, str, Fault | None]:
    """What the node's word means here: its state, its message, and the fault to remember."""
    message = word.observed_message or stored.observed_message
    stopped = stored.desired is Desired.STOP
    match word.observed:
        case Observed.COMPLETED if not finite:
            if stopped:
                return Observed.CANCELLED, stored.desired_message, stored.fault
            return Observed.FAILED, ENDED_UNEXPECTEDLY.message, ENDED_UNEXPECTEDLY
        case Observed.COMPLETED if filled:
            return Observed.CANCELLED, "completed, but its result is not needed any more", None
        case Observed.COMPLETED:
            return Observed.COMPLETED, message, None
        case Observed.FAILED if stopped and stored.fault is None:
            # It died of our own stop: nobody's failure.
            return Observed.CANCELLED, message, None
        case Observed.FAILED:
            return Observed.FAILED, message, word.fault or stored.fault or UNEXPLAINED
        case Observed.DECLINED:
            return Observed.DECLINED, message, word.fault or stored.fault or DECLINED
        case _:
            return word.observed, message, stored.fault


def intend(stored: Execution, wish: Execution) -> Execution | None:
    """The node's record with a newer wish of the orchestrator taken in, or None: it is old."""
    if stored.is_settled or wish.id != stored.id or wish.revision <= stored.revision:
        return None
    moves = wish.desired in DESIRED_MOVES[stored.desired]
    return evolve(
        stored,
        desired=wish.desired if moves else stored.desired,
        desired_message=wish.desired_message if moves else stored.desired_message,
        revision=wish.revision,
    )


def wish(
    stored: Execution, desired: Desired, message: str, now: int, fault: Fault | None = None
) -> Execution:
    """The row with a new wish. A `fault` says that this try counts as failed from now on."""
    return evolve(
        stored,
        desired=desired,
        desired_message=message,
        fault=fault or stored.fault,
        end_time=now if fault else stored.end_time,
        revision=stored.revision + 1,
        modify_time=now,
    )


def lose(stored: Execution, fault: Fault, now: int) -> Execution:
    """The row given up for lost: its slot is free, and the node is told to stop."""
    return evolve(wish(stored, Desired.STOP, fault.message, now, fault), lost=True)


def settle(stored: Execution, fault: Fault, now: int) -> Execution:
    """The row ended in the place of a node that will never say it."""
    stopped = stored.desired is Desired.STOP
    observed = Observed.CANCELLED if stopped else Observed.FAILED
    return evolve(
        stored,
        observed=observed,
        observed_message=fault.message,
        fault=stored.fault if stopped else fault,
        lost=False,
        end_time=stored.end_time or now,
        revision=stored.revision + 1,
        modify_time=now or stored.modify_time,
    )


def fault_of_job(before: Job | None, after: Job) -> str:
    """What is illegal about this write of a job; '' when nothing is."""
    if before is None:
        fresh = (JobState.PENDING, JobState.HELD)
        return "" if after.state in fresh and after.revision == 1 else "not a new job"
    if after.revision != before.revision + 1:
        return f"revision {before.revision} -> {after.revision}"
    if after.version < before.version:
        return f"version {before.version} -> {after.version}"
    if after.state is before.state:
        return ""
    if after.state not in JOB_MOVES[before.state]:
        return f"job {before.state} -> {after.state}"
    again = after.state in (JobState.PENDING, JobState.HELD) and before.state.is_terminal
    if again and after.version == before.version:
        return f"job {before.state} -> {after.state} without a new version"
    return ""


def fault_of_execution(before: Execution | None, after: Execution) -> str:
    """What is illegal about this write of an execution; '' when nothing is."""
    if before is None:
        new = after.observed is Observed.NEW and after.desired is not Desired.STOP
        return "" if new and after.revision == 1 and not after.lost else "not a new execution"
    if after.revision != before.revision + 1:
        return f"revision {before.revision} -> {after.revision}"
    for field in ("job_id", "job_version", "node_id", "partition", "attempt", "resources"):
        if getattr(before, field) != getattr(after, field):
            return f"{field} changed"
    if after.desired is not before.desired and after.desired not in DESIRED_MOVES[before.desired]:
        return f"desired {before.desired} -> {after.desired}"
    if (
        after.observed is not before.observed
        and after.observed not in OBSERVED_MOVES[before.observed]
    ):
        return f"observed {before.observed} -> {after.observed}"
    if after.lost and after.desired is not Desired.STOP:
        return "lost, but not told to stop"
    if before.lost and not (after.lost or after.is_settled):
        return "lost no more"
    return ""

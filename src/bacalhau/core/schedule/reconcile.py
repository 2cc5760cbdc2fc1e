"""What is there, what is missing, what is too much: one job compared with its spec.

`reconcile` stops what is not wanted, gives up what is lost or timed out, and leaves a Case:
the work table of one job on which the rest of the decision is made.
"""

from collections.abc import Iterator, Mapping

from bacalhau.core import lifecycle, selector
from bacalhau.core.schedule import history
from bacalhau.core.schedule.retry import again
from bacalhau.model.event import Event, Topic
from bacalhau.model.execution import Desired, Execution, Fault, FaultKind, Observed
from bacalhau.model.job import Job, JobState, JobType
from bacalhau.model.node import Membership, Node
from bacalhau.model.plan import JobView, Try

SLACK_NS = 30_000_000_000
"""The node enforces the execution time-out; when it has not after this, we do."""

_NS = 1_000_000_000
_PROGRESS = {observed: at for at, observed in enumerate(Observed)}


class Case:
    """One job while its plan is made.

    by_node   ops and daemon: a partition is a node, nobody else can do its work
    count     how many partitions a batch or service job has
    limit_s   how long one execution may run; 0 without limit
    live      partition -> the execution that holds it
    done      partitions that need no more
    retries   partition -> when its next try may start (ns)
    given_up  partition -> the fault for which it will not be tried again
    ending    the state, fault, topic and details with which the job ends now, if it does
    blocked   why what is still missing found no place
    """

    def __init__(self, view: JobView, now: int) -> None:
        self.view = view
        self.job: Job = view.job
        self.now = now
        self.live: dict[int, Execution] = {}
        spec = self.job.spec
        self.count = 1 if spec.count is None else spec.count
        self.by_node = not spec.type.is_counted
        self.limit_s = execution_limit_s(self.job)
        self.done: frozenset[int] = view.done if spec.type.is_finite else frozenset()
        self.retries: dict[int, int] = {}
        self.given_up: dict[int, Fault] = {}
        self.ending: tuple[JobState, Fault, Topic, dict[str, str]] | None = None
        self.rows: dict[str, Execution] = {}
        self.events: list[Event] = []
        self.placed: list[Execution] = []
        self.taken_back: list[Execution] = []
        self.blocked = ""
        self._pending: dict[int, list[Try]] = {}

    def tries(self, partition: int) -> tuple[Try, ...]:
        """Failed tries of the partition, also those whose node has not answered yet."""
        settled = self.view.tries.get(partition, ())
        pending = self._pending.get(partition)
        if not pending:
            return settled
        return tuple(sorted((*settled, *pending), key=lambda one: one.time))

    def tried(self) -> Iterator[int]:
        """Partitions with failed tries."""
        yield from self.view.tries
        yield from (partition for partition in self._pending if partition not in self.view.tries)

    def end(
        self, state: JobState, fault: Fault, topic: Topic, details: dict[str, str] | None = None
    ) -> None:
        """End the job; the first reason stands."""
        if self.ending is None:
            self.ending = (state, fault, topic, details or {})

    def take_back(self) -> None:
        """Write nothing of what was about to be placed: the job ends."""
        requested = {execution.id for execution in self.placed}
        self.events = [event for event in self.events if event.execution_id not in requested]
        self.placed, self.taken_back = [], self.placed
        self.blocked = ""

    def stop(self, execution: Execution, reason: str) -> None:
        """Wish the execution stopped, unless that is wished already."""
        if execution.desired is not Desired.STOP and execution.id not in self.rows:
            self.rows[execution.id] = lifecycle.wish(execution, Desired.STOP, reason, self.now)
            self.events.append(history.stopped(execution, reason, self.now))

    def give_up(self, execution: Execution, row: Execution, fault: Fault, topic: Topic) -> None:
        """Count the execution as failed, though its node has not said so."""
        self.rows[execution.id] = row
        self.events.append(history.failed(execution, fault, topic, self.now))
        self.remember(row, self.now)

    def remember(self, execution: Execution, time: int) -> None:
        """A failed try of the current version whose node has not answered yet."""
        if execution.fault is not None and execution.job_version == self.job.version:
            self._pending.setdefault(execution.partition, []).append(
                Try(
                    partition=execution.partition,
                    node_id=execution.node_id,
                    fault=execution.fault,
                    time=time,
                )
            )


def reconcile(view: JobView, nodes: Mapping[str, Node], now: int) -> Case:
    """The case of this job: what must stop has stopped, what remains is known."""
    case = Case(view, now)
    job = case.job
    for execution in view.others:
        if not _abandoned(case, execution, nodes):
            case.stop(execution, f"replaced by version {job.version} of the job")
    if job.state.is_terminal:
        for execution in view.live:
            if not _abandoned(case, execution, nodes):
                case.stop(execution, f"job {job.state}")
        return case
    for execution in view.live:
        if not (_abandoned(case, execution, nodes) or _out_of_date(case, execution, nodes)):
            _hold(case, execution)
    if job.state is JobState.HELD:
        return case
    _accept_bids(case)
    _total_time_out(case)
    _decide_retries(case)
    return case


def execution_limit_s(job: Job) -> int:
    """Seconds that one execution of this job may run; 0 without limit."""
    if not job.spec.type.is_finite:
        return 0
    timeouts = job.spec.task.timeouts
    return timeouts.execution_timeout or timeouts.total_timeout


def deadline(execution: Execution, limit_s: int) -> int:
    """When the orchestrator ends this execution if its node does not (ns); 0: never."""
    if not limit_s or not execution.start_time:
        return 0
    if execution.observed not in (Observed.PREPARING, Observed.RUNNING):
        return 0
    return execution.start_time + limit_s * _NS + SLACK_NS


def _abandoned(case: Case, execution: Execution, nodes: Mapping[str, Node]) -> bool:
    """Handle what cannot be expected back from its node; True when nothing is left of it.

    A node that left for good is spoken for. Executions on a node that is not heard are lost
    and replaced elsewhere; those that only this node can do wait for it.
    """
    node = nodes.get(execution.node_id)
    if node is None:
        fault = Fault(
            kind=FaultKind.NODE,
            code="NodeGone",
            message=f"node {history.short(execution.node_id)} left the cluster",
        )
        row = lifecycle.settle(execution, fault, case.now)
        if execution.is_live:
            case.give_up(execution, row, fault, Topic.EXECUTION)
        else:
            case.rows[execution.id] = row
            case.remember(row, case.now)
        return True
    if not execution.is_live:
        case.remember(execution, execution.end_time or execution.modify_time)
        return True
    if node.is_ready:
        return False
    waits = case.by_node and node.membership is Membership.APPROVED
    wanted = execution.job_version == case.job.version and not case.job.state.is_terminal
    if waits or not wanted:
        return False
    fault = Fault(
        kind=FaultKind.NODE,
        code="NodeLost",
        message=f"node {history.short(node.id)} was lost"
        + (f": {node.message}" if node.message else ""),
    )
    case.give_up(execution, lifecycle.lose(execution, fault, case.now), fault, Topic.EXECUTION)
    return True


def _out_of_date(case: Case, execution: Execution, nodes: Mapping[str, Node]) -> bool:
    """Stop a live execution that ran too long or is wanted no more; True when it was."""
    if case.limit_s:
        limit_s = case.limit_s
        end = deadline(execution, limit_s)
        if end and case.now >= end:
            fault = Fault(
                kind=FaultKind.USER,
                code="ExecutionTimeout",
                message=f"execution ran longer than its time-out of {limit_s} s",
                hint="Raise Timeouts.ExecutionTimeout.",
            )
            row = lifecycle.wish(execution, Desired.STOP, fault.message, case.now, fault)
            case.give_up(execution, row, fault, Topic.EXEC_TIMEOUT)
            return True
    if execution.partition in case.done:
        case.stop(execution, "its partition is completed by another execution")
        return True
    if not case.by_node:
        if execution.partition >= case.count:
            case.stop(execution, f"Count is {case.count}")
            return True
    elif case.job.spec.type is JobType.DAEMON:
        labels = nodes[execution.node_id].info.labels
        unmet = selector.matches(case.job.spec.constraints, labels)
        if unmet:
            case.stop(execution, f"the node does not fit any more: {unmet}")
            return True
    return False


def _hold(case: Case, execution: Execution) -> None:
    """Give the partition to this execution, or keep the one that is further on."""
    holder = case.live.get(execution.partition)
    if holder is None:
        case.live[execution.partition] = execution
    else:
        keep, surplus = sorted((holder, execution), key=_seniority)
        case.live[execution.partition] = keep
        case.stop(surplus, "another execution has its partition")


def _accept_bids(case: Case) -> None:
    for execution in case.live.values():
        if execution.desired is Desired.BID and execution.observed is Observed.BID:
            row = lifecycle.wish(execution, Desired.RUN, "bid accepted", case.now)
            case.rows[execution.id] = row


def _seniority(execution: Execution) -> tuple[int, int, str]:
    return (-_PROGRESS[execution.observed], execution.create_time, execution.id)


def _total_time_out(case: Case) -> None:
    limit_s = case.job.spec.task.timeouts.total_timeout
    end = total_deadline(case.job)
    if end and case.now >= end:
        fault = Fault(
            kind=FaultKind.USER,
            code="TotalTimeout",
            message=f"job ran longer than its total time-out of {limit_s} s",
            hint="Raise Timeouts.TotalTimeout.",
        )
        case.end(JobState.FAILED, fault, Topic.JOB_TIMEOUT)


def total_deadline(job: Job) -> int:
    """When the job as a whole times out (ns); 0: never."""
    limit_s = job.spec.task.timeouts.total_timeout
    since = job.version_time or job.create_time
    return since + limit_s * _NS if limit_s and job.spec.type.is_finite else 0


def _decide_retries(case: Case) -> None:
    """Sort the partitions that failed before: again at once, again later, or never."""
    spec = case.job.spec
    endless, forgets = spec.type is JobType.DAEMON, not spec.type.is_finite
    for partition in case.tried():
        if partition in case.live or partition in case.done:
            continue
        if not case.by_node and partition >= case.count:
            continue
        tries = case.tries(partition)
        verdict = again(spec.retry, tries, endless=endless, forgets=forgets)
        if isinstance(verdict, Fault):
            case.given_up[partition] = verdict
        elif verdict > case.now:
            case.retries[partition] = verdict

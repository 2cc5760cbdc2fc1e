"""Puts the missing partitions of one job on nodes, as far as there is room."""

import random
from collections.abc import Iterator

from bacalhau.core.schedule import history
from bacalhau.core.schedule.feasible import Demand, Room, demand, grouped
from bacalhau.core.schedule.rank import Index, Places, Slot, reserve
from bacalhau.core.schedule.reconcile import Case
from bacalhau.model.base import evolve
from bacalhau.model.event import Topic
from bacalhau.model.execution import Execution, Fault, FaultKind
from bacalhau.model.job import JobState, JobType
from bacalhau.model.node import Membership, Node

RESERVE_AFTER_NS = 30_000_000_000
"""A job that found no room for so long gets a node kept free for it."""

NO_ROOM = "no free capacity"
NO_FIT = "no node fits"
NO_NODE = "no compute node is connected"
AWAY = "waiting for"
HEADS = (NO_ROOM, NO_FIT, NO_NODE, AWAY)
"""How the reason begins for which a job waits; what follows may change with each look."""

_NS = 1_000_000_000
_NEVER: dict[str, int] = {}


def place(case: Case, places: Places, nodes: dict[str, Node], ids: random.Random) -> None:
    """Place what is missing of this job; what finds no room leaves it `blocked`."""
    if case.by_node:
        _place_on_each(case, places, nodes, ids)
    else:
        _place_count(case, places, ids)


def _place_count(case: Case, places: Places, ids: random.Random) -> None:
    if case.given_up:
        _fail(case)
        return
    missing = case.count - len(case.done) - len(case.live)
    if missing <= 0 or missing <= len(case.retries):
        return
    wanted = demand(case.job.spec)
    turn = places.turn(wanted, _counts(case))
    left = missing - len(case.retries)
    for partition in _missing(case):
        slot = turn.best(_failures(case, partition))
        if slot is None:
            break
        turn.take(slot)
        left -= 1
        _request(case, slot, partition, wanted, ids)
    turn.end()
    if left:
        _block(case, turn.index, places, left)


def _fail(case: Case) -> None:
    """One partition that cannot be done fails a batch or service job."""
    partition, fault = min(case.given_up.items(), key=lambda item: item[0])
    where = f"partition {partition}: " if case.count > 1 else ""
    case.end(JobState.FAILED, evolve(fault, message=where + fault.message), Topic.SCHEDULING)


def _missing(case: Case) -> Iterator[int]:
    """Partitions to place now, in order."""
    done, live, retries = case.done, case.live, case.retries
    for partition in range(case.count):
        if partition not in done and partition not in live and partition not in retries:
            yield partition


def _counts(case: Case) -> dict[str, int]:
    counts: dict[str, int] = {}
    for execution in case.live.values():
        counts[execution.node_id] = counts.get(execution.node_id, 0) + 1
    return counts


def _failures(case: Case, partition: int) -> dict[str, int]:
    """How often this partition failed on which node."""
    tries = case.tries(partition)
    if not tries:
        return _NEVER
    failures: dict[str, int] = {}
    for one in tries:
        failures[one.node_id] = failures.get(one.node_id, 0) + 1
    return failures


def _request(case: Case, slot: Slot, partition: int, wanted: Demand, ids: random.Random) -> None:
    job = case.job
    execution = Execution(
        id=_execution_id(ids),
        job_id=job.id,
        job_version=job.version,
        namespace=job.spec.namespace,
        node_id=slot.id,
        partition=partition,
        attempt=len(case.tries(partition)) + 1,
        resources=wanted.resources,
        create_time=case.now,
        modify_time=case.now,
    )
    case.placed.append(execution)
    case.events.append(history.requested(job, execution, case.now))


def _execution_id(ids: random.Random) -> str:
    """A version 4 UUID from the given source."""
    h = f"{ids.getrandbits(128):032x}"
    return f"e-{h[:8]}-{h[8:12]}-4{h[13:16]}-{'89ab'[int(h[16], 16) & 3]}{h[17:20]}-{h[20:]}"


def _block(case: Case, index: Index, places: Places, left: int) -> None:
    """Say why the rest waits; end the job when it has waited longer than it may."""
    case.blocked = _reason(index, places)
    since = queued_since(case)
    limit_s = case.job.spec.task.timeouts.queue_timeout
    if limit_s and case.job.spec.type is not JobType.DAEMON and case.now >= since + limit_s * _NS:
        _queue_time_out(case, index, places, left)
    elif index.suitable and case.now - _last_progress(case, since) > RESERVE_AFTER_NS:
        reserve(index)


def queued_since(case: Case) -> int:
    """When the current episode of waiting began (ns)."""
    job = case.job
    if job.queued_time:
        return job.queued_time
    if job.state is JobState.PENDING:
        return job.modify_time or job.create_time or case.now
    return case.now


def _last_progress(case: Case, since: int) -> int:
    """When the job last got a place (ns), at least the beginning of its waiting."""
    if case.placed:
        return case.now
    return max((since, *(execution.create_time for execution in case.live.values())))


def _reason(index: Index, places: Places) -> str:
    if not places.slots:
        return NO_NODE
    if not index.suitable:
        return f"{NO_FIT}: {'; '.join(grouped(index.reasons.items()))}"
    fitting = len(index.suitable)
    nodes = "the node that fits is" if fitting == 1 else f"all {fitting} nodes that fit are"
    return f"{NO_ROOM}: {nodes} full"


def _queue_time_out(case: Case, index: Index, places: Places, left: int) -> None:
    available, suitable = len(places.slots), len(index.suitable)
    lines = [
        f"not enough nodes to run job. requested: {left}, available: {available}, "
        f"suitable: {suitable}.",
        *(f"- {line}" for line in grouped(index.reasons.items())),
    ]
    if suitable:
        lines.append(f"- {'; '.join(grouped([('no free capacity', suitable)]))}")
    fault = Fault(
        kind=FaultKind.TRANSIENT,
        code="QueueTimeout",
        message="\n".join(lines),
        hint="Raise Timeouts.QueueTimeout, or add nodes that fit.",
    )
    counts = {
        "NodesRequested": str(left),
        "NodesAvailable": str(available),
        "NodesSuitable": str(suitable),
    }
    case.end(JobState.FAILED, fault, Topic.SCHEDULING, counts)


def _place_on_each(case: Case, places: Places, nodes: dict[str, Node], ids: random.Random) -> None:
    """One execution on every node that fits; a node keeps its partition number."""
    wanted = demand(case.job.spec)
    index = places.index(wanted)
    numbers = dict(case.view.nodes)
    following = max(numbers.values(), default=-1) + 1
    full = 0
    for slot in index.suitable:
        partition = numbers.get(slot.id, following)
        if (
            partition in case.live
            or partition in case.done
            or partition in case.retries
            or partition in case.given_up
        ):
            continue
        if slot.room(wanted.resources) is Room.FULL:
            full += 1
            continue
        slot.take(wanted.resources)
        if partition == following:
            numbers[slot.id] = partition
            following += 1
        _request(case, slot, partition, wanted, ids)
    away = _settle_absent(case, index, nodes) if case.job.spec.type is JobType.OPS else []
    idle = not (case.live or case.placed or case.retries)
    if full or (idle and (case.job.spec.type is JobType.DAEMON or not numbers)):
        _block(case, index, places, full or 1)
    elif away:
        shown = ", ".join(history.short(node_id) for node_id in away[:5])
        more = f" and {len(away) - 5} more" if len(away) > 5 else ""
        _wait_for(case, f"{AWAY} {shown}{more} to come back", len(away), places, index)
    elif idle:
        _conclude_ops(case)


def _wait_for(case: Case, reason: str, left: int, places: Places, index: Index) -> None:
    case.blocked = reason
    limit_s = case.job.spec.task.timeouts.queue_timeout
    if limit_s and case.now >= queued_since(case) + limit_s * _NS:
        _queue_time_out(case, index, places, left)


def _settle_absent(case: Case, index: Index, nodes: dict[str, Node]) -> list[str]:
    """Give up partitions whose nodes will not do them; the nodes that are worth waiting for."""
    placed = {execution.partition for execution in case.placed}
    suitable = {slot.id for slot in index.suitable}
    away: list[str] = []
    for node_id, partition in sorted(case.view.nodes.items()):
        if partition in placed or partition in case.given_up or partition in case.done:
            continue
        node = nodes.get(node_id)
        if node is not None and node.membership is Membership.APPROVED and not node.is_ready:
            away.append(node_id)
            continue
        if node_id in suitable or partition in case.live:
            continue
        case.retries.pop(partition, None)
        message = f"node {history.short(node_id)} "
        message += "left the cluster" if node is None else "does not fit any more"
        case.given_up[partition] = Fault(kind=FaultKind.NODE, code="NodeGone", message=message)
    return away


def _conclude_ops(case: Case) -> None:
    """All that could be done is done: an ops job has completed, or failed somewhere."""
    if not case.given_up:
        case.end(JobState.COMPLETED, _NO_FAULT, Topic.STATE)
        return
    partition, fault = min(case.given_up.items(), key=lambda item: item[0])
    total = len(set(case.view.nodes.values()) | case.done | case.given_up.keys())
    message = f"{len(case.given_up)} of {total} nodes failed, partition {partition}: "
    case.end(JobState.FAILED, evolve(fault, message=message + fault.message), Topic.SCHEDULING)


_NO_FAULT = Fault(kind=FaultKind.USER, code="", message="")

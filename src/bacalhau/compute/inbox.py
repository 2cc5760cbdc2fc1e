"""What the orchestrator tells a node, taken in one batch at a time."""

import logging

from bacalhau.compute.logs import cancel_stream, start_stream
from bacalhau.compute.node import Held, Node
from bacalhau.compute.relay import acknowledged
from bacalhau.core import bid, lifecycle
from bacalhau.model.base import evolve
from bacalhau.model.errors import Unavailable
from bacalhau.model.event import Topic
from bacalhau.model.execution import Desired, Execution, Observed
from bacalhau.model.job import Job
from bacalhau.model.message import (
    Ack,
    Assign,
    LogCancel,
    LogRequest,
    Message,
    Report,
    Reports,
    Stop,
    UploadGrant,
    Welcome,
)
from bacalhau.model.resources import parse
from bacalhau.ports.store import Entry
from bacalhau.ports.transport import ORCHESTRATOR

log = logging.getLogger(__name__)


async def receive(node: Node) -> None:
    """Take in messages for ever. A message that cannot be applied now comes again."""
    while True:
        _, messages = await node.transport.receive()
        accepted: list[Held] = []
        for message in messages:
            try:
                if isinstance(message, Assign):
                    if not node.welcomed:
                        continue  # meant for this node's former process; it comes again
                    accepted += _assign(node, message.job, message.executions)
                else:
                    await _take(node, message)
            except Exception:
                # One bad message must not deafen the node; it is repeated if it mattered.
                log.exception("message not applied: %s", type(message).__name__)
        if accepted:
            await _begin(node, accepted)


async def _take(node: Node, message: Message) -> None:
    match message:
        case Stop():
            for execution_id, revision, reason in message.executions:
                await stop(node, execution_id, revision, reason)
        case Ack():
            await acknowledged(node, message)
        case Welcome():
            _welcome(node, message)
        case LogRequest():
            start_stream(node, message)
        case LogCancel():
            cancel_stream(node, message.stream_id)
        case UploadGrant():
            answer = node.grants.get(message.request_id)
            if answer is not None and not answer.done():
                answer.set_result(message)
        case _:
            log.warning("a node does not take %s", type(message).__name__)


def _welcome(node: Node, message: Welcome) -> None:
    if message.boot_id not in ("", node.boot_id):
        return  # an answer to this node's former process
    node.answered = message.accepted
    if message.accepted and not node.welcomed:
        log.info("node %s is a member of the cluster", node.info.id)
        for held in node.held.values():
            if held.entry.report:
                node.repeat(held)
    if not message.accepted and (node.welcomed or message.reason != node.refusal):
        log.warning("node %s is not welcome: %s", node.info.id, message.reason)
        node.to_greet.set()
    node.welcomed = message.accepted
    node.refusal = "" if message.accepted else message.reason


def _assign(node: Node, job: Job, executions: tuple[Execution, ...]) -> list[Held]:
    """Take what fits this node, decline the rest; what is known already is said again."""
    accepted: list[Held] = []
    for wish in executions:
        known = node.held.get(wish.id)
        if known is not None:
            _intend(node, known, wish)
            node.repeat(known)
            continue
        held = Held(entry=Entry(job=job, execution=wish), wanted=parse(job.spec.task.resources))
        fault = bid.decide(job, wish, node.info)
        node.held[wish.id] = held
        if fault is not None:
            node.say(
                held,
                Topic.SCANNING,
                fault.message,
                details={"ErrorCode": fault.code, "Hint": fault.hint} if fault.hint else {},
                observed=Observed.DECLINED,
                observed_message=fault.message,
                fault=fault,
                end_time=node.clock.now(),
            )
        elif wish.desired is Desired.BID:
            node.say(held, observed=Observed.BID)
        else:
            accepted.append(held)
    return accepted


async def _begin(node: Node, accepted: list[Held]) -> None:
    """Durable before it is started, so that a restart knows of it; one write for all."""
    try:
        await node.journal.write([held.entry for held in accepted])
    except Unavailable as error:
        log.warning("%d executions not accepted, they come again: %s", len(accepted), error)
        for held in accepted:
            node.held.pop(held.execution.id, None)
        return
    for held in accepted:
        if not held.stop_reason:
            node.queue(held)


def _intend(node: Node, held: Held, wish: Execution) -> None:
    wanted = lifecycle.intend(held.execution, wish)
    if wanted is None:
        return
    was = held.execution.desired
    held.entry = Entry(
        job=held.job, execution=wanted, report=held.entry.report, number=held.entry.number
    )
    if was is Desired.BID and wanted.desired is Desired.RUN and held.task is None:
        node.queue(held)


async def stop(node: Node, execution_id: str, revision: int, reason: str) -> None:
    """End an execution; the answer is its terminal report, also for an unknown one."""
    held = node.held.get(execution_id)
    if held is None or held.execution.is_settled:
        if held is not None:
            node.repeat(held)
        else:
            await _deny(node, execution_id, revision, reason)
        return
    if held.stop_reason:
        return
    held.stop_reason = reason or "stopped"
    held.entry = Entry(
        job=held.job,
        execution=evolve(
            held.execution, desired=Desired.STOP, revision=max(revision, held.execution.revision)
        ),
        report=held.entry.report,
        number=held.entry.number,
    )
    node.waiting.pop(execution_id, None)
    if held.task is not None:
        if held.underway:  # else it has not made its first step, and sees the reason there
            held.task.cancel()
    else:
        node.say(
            held,
            Topic.EXECUTION,
            held.stop_reason,
            observed=Observed.CANCELLED,
            observed_message=held.stop_reason,
            end_time=node.clock.now(),
        )


async def _deny(node: Node, execution_id: str, revision: int, reason: str) -> None:
    """Report as cancelled what this node does not hold (any more), so that asking ends."""
    word = Execution(
        id=execution_id,
        job_id="",
        job_version=0,
        namespace="",
        node_id=node.info.id,
        observed=Observed.CANCELLED,
        observed_message=reason or "not on this node",
        desired=Desired.STOP,
        revision=revision,
        end_time=node.clock.now(),
    )
    report = Report(number=0, execution=word)
    await node.transport.send(ORCHESTRATOR, [Reports(reports=(report,), boot_id=node.boot_id)])

"""After a restart: take up what the journal holds, report what is lost, sweep what is left."""

import logging

from bacalhau.compute.node import Held, Node
from bacalhau.compute.start import begin
from bacalhau.compute.workspace import remove
from bacalhau.core import bid
from bacalhau.model.base import evolve
from bacalhau.model.event import Topic
from bacalhau.model.execution import Desired, FaultKind, Observed
from bacalhau.model.resources import parse

log = logging.getLogger(__name__)


async def restore(node: Node) -> None:
    """Bring the node back to where it was, before it greets the orchestrator."""
    for entry in await node.journal.load():
        held = Held(entry=entry, wanted=parse(entry.job.spec.task.resources))
        node.held[held.execution.id] = held
        began = bool(held.execution.start_time) or node.place_of(held.execution.id).exists()
        held.restored = began
        if held.execution.is_settled:
            if entry.report is None:
                node.say(held)  # acknowledged or not, its end is worth saying again
            else:
                node.repeat(held)
        elif held.execution.desired is Desired.STOP:
            held.stop_reason = held.execution.desired_message or "stopped"
            held.restored = True
            begin(node, held)
        elif held.execution.observed is Observed.BID:
            continue
        elif began:
            begin(node, held)
        else:
            _wait(node, held)
    await _sweep(node)
    node.to_start.set()


def _wait(node: Node, held: Held) -> None:
    """Queue what had not begun, or give it back when this node cannot take it any more."""
    fault = bid.decide(held.job, held.execution, node.info)
    if fault is None:
        node.queue(held)
        return
    message = f"the node was restarted and does not fit any more: {fault.message}"
    node.say(
        held,
        Topic.RESTART,
        message,
        observed=Observed.FAILED,
        observed_message=message,
        fault=evolve(fault, kind=FaultKind.NODE, message=message),
        end_time=node.clock.now(),
    )


async def _sweep(node: Node) -> None:
    """Remove work directories of executions that the journal does not know."""
    root = node.directory / "executions"
    if not root.exists():
        return
    for place in sorted(root.iterdir()):
        if place.name not in node.held:
            log.info("removing the left-over work directory %s", place)
            remove(place)

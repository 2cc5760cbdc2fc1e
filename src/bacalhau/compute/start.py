"""Starts what waits on this node, as its capacity allows."""

import heapq
import logging

from bacalhau.compute.node import Held, Node
from bacalhau.compute.run import run
from bacalhau.core import bid
from bacalhau.model.message import Heartbeat
from bacalhau.ports.transport import ORCHESTRATOR

log = logging.getLogger(__name__)


async def start(node: Node) -> None:
    """Whenever capacity or work appears, start by priority, then by age."""
    while True:
        await node.to_start.wait()
        while node.line and len(node.running) < node.config.compute.max_executions:
            held = node.waiting.get(node.line[0][2])
            if held is not None:
                free = node.info.capacity - node.used
                if not free.fits(held.wanted):
                    break  # nothing overtakes: a large request would starve
                begin(node, held)
            heapq.heappop(node.line)


def begin(node: Node, held: Held) -> None:
    """Start an accepted execution now; its resources count as used until it ends."""
    execution_id = held.execution.id
    node.waiting.pop(execution_id, None)
    node.running[execution_id] = held
    node.used = node.used + held.wanted
    held.task = node.spawn(_run(node, held), f"run {execution_id}")


async def _run(node: Node, held: Held) -> None:
    execution_id = held.execution.id
    began = node.clock.now()
    try:
        await run(node, held)
    finally:
        held.task = None
        node.running.pop(execution_id, None)
        node.used = node.used - held.wanted
        node.recent_s.append((node.clock.now() - began) / 1e9)
        node.to_start.set()
    await _tell_lookahead(node)


async def _tell_lookahead(node: Node) -> None:
    """Say at once when the node could take much more, or much less, work ahead."""
    lookahead = current_lookahead(node)
    if not node.told_lookahead / 2 < lookahead < node.told_lookahead * 2:
        await heartbeat(node)


def current_lookahead(node: Node) -> int:
    """How many executions this node wants to have waiting."""
    return bid.lookahead(max(1, len(node.running)), node.recent_s)


async def heartbeat(node: Node) -> None:
    """One sign of life."""
    node.told_lookahead = current_lookahead(node)
    await node.transport.send(
        ORCHESTRATOR,
        [
            Heartbeat(
                boot_id=node.boot_id,
                lookahead=node.told_lookahead,
                running=len(node.running),
                waiting=len(node.waiting),
            )
        ],
    )

"""The compute role: greets, beats, watches its own abilities, and runs its loops."""

import asyncio
import logging
from collections.abc import Awaitable, Mapping

from bacalhau.compute.inbox import receive
from bacalhau.compute.node import Node
from bacalhau.compute.relay import relay
from bacalhau.compute.restore import restore
from bacalhau.compute.start import heartbeat, start
from bacalhau.compute.tidy import tidy
from bacalhau.model.base import evolve
from bacalhau.model.execution import Observed
from bacalhau.model.message import Goodbye, Hello
from bacalhau.model.node import NodeInfo
from bacalhau.ports.plugins import Closable
from bacalhau.ports.transport import ORCHESTRATOR

log = logging.getLogger(__name__)

PROBE_S = 10.0
"""How often a node looks whether its engines, sources and publishers still work."""
PROBE_TIMEOUT_S = 5.0
GREET_AGAIN_S = 1.0
QUEUED_S = 0.5
"""After this long in the node's own queue an execution is reported as waiting there."""


async def serve(node: Node) -> None:
    """Run the node until cancelled. Runs that can outlive this process do."""
    node.directory.mkdir(parents=True, exist_ok=True)
    (node.directory / "executions").mkdir(exist_ok=True)
    node.info = await probe(node)
    await restore(node)
    try:
        async with asyncio.TaskGroup() as group:
            for loop in (receive, relay, start, tidy, _greet, _beat, _watch):
                group.create_task(loop(node), name=f"{loop.__name__} {node.info.id}")
    finally:
        await node.transport.send(ORCHESTRATOR, [Goodbye(boot_id=node.boot_id)])
        tasks = list(node.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for executor in node.executors.values():
            await executor.close()
        for plug_in in (*node.sources.values(), *node.publishers.values()):
            if isinstance(plug_in, Closable):
                await plug_in.close()


async def _greet(node: Node) -> None:
    """Say hello until welcome, and whenever the node's facts change."""
    while True:
        node.answered = False
        await node.transport.send(
            ORCHESTRATOR,
            [Hello(info=node.info, boot_id=node.boot_id, holds=tuple(node.held))],
        )
        if not await node.to_greet.wait(GREET_AGAIN_S) and node.answered:
            await node.to_greet.wait()


async def _beat(node: Node) -> None:
    while True:
        await heartbeat(node)
        due = node.clock.now() - int(QUEUED_S * 1e9)
        for held in node.waiting.values():
            if held.execution.observed is Observed.NEW and held.execution.create_time < due:
                node.say(
                    held,
                    observed=Observed.PREPARING,
                    observed_message="waiting for capacity on the node",
                )
        await node.clock.sleep(min(QUEUED_S, node.config.compute.heartbeat.interval))


async def _watch(node: Node) -> None:
    """Offer or withdraw engines, sources and publishers as they come and go."""
    while True:
        await node.clock.sleep(PROBE_S)
        info = await probe(node)
        if info != node.info:
            log.info("the abilities of node %s changed", info.id)
            node.info = info
            node.to_greet.set()


async def probe(node: Node) -> NodeInfo:
    """What the node can do now."""
    engines = await asyncio.gather(
        *(_ask(name, executor.probe()) for name, executor in node.executors.items())
    )
    sources = await asyncio.gather(
        *(_ask(name, source.probe()) for name, source in node.sources.items())
    )
    publishers = await asyncio.gather(
        *(_ask(name, publisher.probe()) for name, publisher in node.publishers.items())
    )
    attributes: dict[str, str] = {}
    offered = []
    for name, facts in zip(node.executors, engines, strict=True):
        if isinstance(facts, Mapping):
            offered.append(name)
            attributes.update(facts)
    return evolve(
        node.info,
        engines=tuple(sorted(offered)),
        sources=tuple(sorted(n for n, ok in zip(node.sources, sources, strict=True) if ok)),
        publishers=tuple(
            sorted(n for n, ok in zip(node.publishers, publishers, strict=True) if ok)
        ),
        attributes=attributes,
    )


async def _ask(name: str, question: Awaitable[object]) -> object:
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            return await question
    except Exception as error:
        log.warning("plug-in %s does not answer its probe: %r", name, error)
        return None

"""What the node has to say: made durable, sent, and repeated until acknowledged."""

import logging

from bacalhau.compute.node import Held, Node
from bacalhau.compute.workspace import may_be_large, prepare
from bacalhau.model.errors import Unavailable
from bacalhau.model.message import Ack, Reports
from bacalhau.ports.store import Entry
from bacalhau.ports.transport import ORCHESTRATOR

log = logging.getLogger(__name__)

CROWD = 16
LINGER_S = 0.003
"""With more executions than CROWD on the node, news waits this long for company."""
UNAVAILABLE_S = 1.0
REPEAT_S = 2.0
"""How long the node waits for an acknowledgement before it says a thing again."""
LOOK_NS = int(REPEAT_S / 4 * 1e9)


async def relay(node: Node) -> None:
    """Send news as it comes, in batches that grow while the last one is being written."""
    look_ns = 0
    while True:
        await node.to_say.wait(REPEAT_S / 2)
        if len(node.held) > CROWD:
            await node.clock.sleep(LINGER_S)
        now = node.clock.now()
        due = now - int(REPEAT_S * 1e9)
        fresh, node.unsaid = node.unsaid, {}
        over, node.over = node.over, []
        written = [held.entry for held in fresh.values()]
        if fresh or over:
            try:
                await node.journal.write(written, forget=over)
            except Unavailable as error:
                log.warning("reports wait until they can be written: %s", error)
                node.unsaid = {**fresh, **node.unsaid}
                node.over = over + node.over
                await node.clock.sleep(UNAVAILABLE_S)
                continue
        late: list[Held] = []
        if not look_ns - LOOK_NS < now < look_ns:
            look_ns = now + LOOK_NS
            late = [
                held
                for id_, held in node.held.items()
                if not due <= held.said_ns <= now and id_ not in fresh and id_ not in node.unsaid
            ]
        # Only what is durable here is said: what came up since waits for its own write.
        entries = (*written, *(held.entry for held in late))
        reports = tuple(entry.report for entry in entries if entry.report)
        for held in (*fresh.values(), *late):
            held.said_ns = now
        if reports and node.welcomed:
            await node.transport.send(
                ORCHESTRATOR, [Reports(reports=reports, boot_id=node.boot_id)]
            )


async def acknowledged(node: Node, ack: Ack) -> None:
    """The orchestrator has these reports: forget what is over, keep the rest without them."""
    for execution_id, number in ack.reports:
        held = node.held.get(execution_id)
        if held is None or number < held.entry.number:
            continue
        held.entry = Entry(job=held.job, execution=held.execution, number=number)
        if held.execution.is_settled and held.task is None:
            node.over.append(execution_id)
            del node.held[execution_id]
            node.unsaid.pop(execution_id, None)
            await _release(node, held)
            node.litter.append(execution_id)
            if may_be_large(held.job.spec.task):
                node.to_tidy.set()
    if node.over:
        node.to_say.set()


async def _release(node: Node, held: Held) -> None:
    """Let the engine forget it; what ended before a restart it must find again first."""
    executor = node.executors.get(held.job.spec.task.engine.type.lower())
    if executor is None or (held.work is None and not held.restored):
        return
    try:
        if held.work is None:
            await executor.attach(await prepare(node, held, resume=True))
        await executor.release(held.execution.id)
    except Exception:
        log.exception("the engine could not release execution %s", held.execution.id)

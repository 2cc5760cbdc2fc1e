"""What the node has to say: made durable, sent, and repeated until acknowledged."""

from bacalhau.compute.node import Held, Node
from bacalhau.compute.workspace import may_be_large
from bacalhau.model.message import Ack, Reports
from bacalhau.ports.store import Entry
from bacalhau.ports.transport import ORCHESTRATOR

CROWD = 16
LINGER_S = 0.003
"""With more executions than CROWD on the node, news waits this long for company."""
REPEAT_S = 2.0
"""How long the node waits for an acknowledgement before it says a thing again."""


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
        if fresh or over:
            await node.journal.write([held.entry for held in fresh.values()], forget=over)
        late: list[Held] = []
        if now >= look_ns:
            look_ns = now + int(REPEAT_S / 4 * 1e9)
            late = [
                held
                for id_, held in node.held.items()
                if held.entry.report and held.said_ns < due and id_ not in fresh
            ]
        batch = [*fresh.values(), *late]
        reports = tuple(held.entry.report for held in batch if held.entry.report)
        for held in batch:
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
            node.litter.append(execution_id)
            if may_be_large(held.job.spec.task):
                node.to_tidy.set()
            del node.held[execution_id]
            node.unsaid.pop(execution_id, None)
            if held.work is not None:
                await node.executors[held.work.engine.type.lower()].release(execution_id)
    if node.over:
        node.to_say.set()

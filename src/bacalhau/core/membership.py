"""Who is a member, who is connected, and what a node has forgotten.

Each function takes a row and answers with the row to commit; the same object means that
there is nothing to write.
"""

from collections.abc import Collection, Iterable, Mapping

from bacalhau.core import lifecycle
from bacalhau.model.base import evolve
from bacalhau.model.execution import Execution, Fault, FaultKind, Observed
from bacalhau.model.message import Heartbeat, Hello
from bacalhau.model.node import Connection, Membership, Node

FORGOTTEN = Fault(
    kind=FaultKind.NODE,
    code="Forgotten",
    message="the node was restarted and does not know this execution any more",
    hint="Its data directory was lost or replaced.",
)

_NS = 1_000_000_000


def hello(known: Node | None, message: Hello, now: int, *, manual_approval: bool) -> Node:
    """The row of a node that introduces itself. A rejected one stays as it is."""
    if known is None:
        return Node(
            id=message.info.id,
            info=message.info,
            membership=Membership.PENDING if manual_approval else Membership.APPROVED,
            connection=Connection.CONNECTED,
            message="node registered",
            boot_id=message.boot_id,
            create_time=now,
            modify_time=now,
            connected_time=now,
        )
    if known.membership is Membership.REJECTED:
        return known
    connected = known.connection is Connection.CONNECTED
    restarted = known.boot_id != message.boot_id
    if connected and not restarted and known.info == message.info:
        return known
    return evolve(
        known,
        info=message.info,
        connection=Connection.CONNECTED,
        message=known.message if connected and not restarted else "node reconnected",
        boot_id=message.boot_id,
        connected_time=known.connected_time if connected and not restarted else now,
        revision=known.revision + 1,
        modify_time=now,
    )


def heartbeat(known: Node | None, message: Heartbeat, now: int) -> Node | None:
    """The row after a sign of life; None when the node must say hello first."""
    if (
        known is None
        or known.connection is not Connection.CONNECTED
        or known.boot_id != message.boot_id
    ):
        return None
    if message.lookahead == known.lookahead:
        return known
    return evolve(known, lookahead=message.lookahead, revision=known.revision + 1, modify_time=now)


def is_current(known: Node | None, boot_id: str) -> bool:
    """True when a word of that process counts: it is the one whose hello we have.

    Late words of a process that died may speak of what its successor does not hold. An
    empty id is not checked.
    """
    return not boot_id or (known is not None and known.boot_id == boot_id)


def missing(
    holds: Collection[str], boot_changed: bool, executions: Iterable[Execution], now: int = 0
) -> tuple[Execution, ...]:
    """Rows to fail: the node had begun them, was started anew, and does not hold them.

    Only a new boot may forget: a hello without one can be older than what was assigned
    since. What the node never answered is assigned to it again and is not missing.
    """
    if not boot_changed:
        return ()
    held = frozenset(holds)
    return tuple(
        lifecycle.settle(execution, FORGOTTEN, now)
        for execution in executions
        if execution.id not in held
        and not execution.is_settled
        and execution.observed is not Observed.NEW
    )


def unwanted(holds: Collection[str], executions: Iterable[Execution]) -> tuple[str, ...]:
    """Ids that the node holds though nothing of them is open here: tell it to stop them.

    `executions` are the unsettled rows of that node. An ended one that waits for its
    acknowledgement is among the answer too; a stop does not touch it.
    """
    open_here = {execution.id for execution in executions}
    return tuple(sorted(set(holds) - open_here))


def silent(
    nodes: Iterable[Node], last_seen: Mapping[str, int], now: int, timeout_s: float
) -> tuple[Node, ...]:
    """Rows of connected nodes that were not heard for too long, now disconnected.

    A node without a time is not judged: at start, give every node the time of the start,
    so that silence is counted only while somebody listened.
    """
    limit = int(timeout_s * _NS)
    return tuple(
        _disconnected(node, "heartbeat timeout", now)
        for node in nodes
        if node.connection is Connection.CONNECTED
        and node.id in last_seen
        and now - last_seen[node.id] > limit
    )


def goodbye(node: Node, now: int) -> Node:
    """The row of a node that shuts down in order."""
    if node.connection is Connection.DISCONNECTED:
        return node
    return _disconnected(node, "graceful shutdown", now)


def decide(node: Node, action: str, message: str, now: int) -> Node | str:
    """The row after an operator's `approve` or `reject`, or why that cannot be."""
    if action == "approve":
        if node.membership is Membership.APPROVED:
            return f"node {node.id} is approved already"
        return evolve(
            node,
            membership=Membership.APPROVED,
            message=message,
            revision=node.revision + 1,
            modify_time=now,
        )
    if action == "reject":
        if node.membership is Membership.REJECTED:
            return f"node {node.id} is rejected already"
        row = _disconnected(node, message or "rejected by the operator", now)
        return evolve(row, membership=Membership.REJECTED)
    return f"unknown node action '{action}', use approve or reject"


def _disconnected(node: Node, message: str, now: int) -> Node:
    return evolve(
        node,
        connection=Connection.DISCONNECTED,
        message=message,
        disconnected_time=now
        if node.connection is Connection.CONNECTED
        else node.disconnected_time,
        revision=node.revision + 1,
        modify_time=now,
    )

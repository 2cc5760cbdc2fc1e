"""Who belongs to the cluster, and who is alive."""

import logging

from bacalhau.core import membership
from bacalhau.model.errors import Conflict, NotFound, Rejected, Unavailable
from bacalhau.model.message import Goodbye, Heartbeat, Hello, Stop, Welcome
from bacalhau.model.message import Message as WireMessage
from bacalhau.model.node import Membership, Node
from bacalhau.model.plan import Change
from bacalhau.orchestrator.state import Seen, State

log = logging.getLogger(__name__)

STALL_FACTOR = 4
"""A watch loop this many times later than planned was itself asleep: nobody is blamed."""


def node_of(state: State, node_id: str) -> Node | None:
    """The stored node of that id."""
    return next((v.node for v in state.store.nodes() if v.node.id == node_id), None)


async def hello(state: State, sender: str, message: Hello) -> None:
    """Take in a node's own word of itself, and answer."""
    known = node_of(state, sender)
    if message.info.id != sender:
        await _refuse(state, sender, f"node '{sender}' introduces itself as '{message.info.id}'")
        return
    now = state.clock.now()
    row = membership.hello(
        known, message, now, manual_approval=state.config.orchestrator.node_manager.manual_approval
    )
    restarted = known is not None and known.boot_id != message.boot_id
    mine = state.store.unsettled(sender)
    gone = membership.missing(message.holds, restarted, mine, now)
    if row is not known or gone:
        await state.commit(Change(nodes=(row,) if row is not known else (), executions=gone))
    state.seen[sender] = Seen(now)
    if row.membership is Membership.REJECTED:
        await _refuse(state, sender, row.message or "rejected by the operator")
        return
    answer: list[WireMessage] = [Welcome(accepted=True, boot_id=message.boot_id)]
    unwanted = membership.unwanted(message.holds, mine)
    if unwanted:
        answer.append(Stop(executions=tuple((id_, 0, "no longer wanted") for id_ in unwanted)))
    await state.transport.send(sender, answer)
    state.greeted.add(sender)
    state.to_tell.set()
    for execution in gone:
        job = state.store.live_job(execution.job_id)
        if job is not None:
            state.evaluate(job)
    if row is not known:
        _node_changed(state)


async def _refuse(state: State, sender: str, reason: str) -> None:
    await state.transport.send(sender, [Welcome(accepted=False, reason=reason)])


async def heartbeat(state: State, sender: str, message: Heartbeat) -> None:
    """A sign of life; an unknown or restarted node is asked to introduce itself."""
    node = node_of(state, sender)
    row = membership.heartbeat(node, message, state.clock.now())
    if node is None or row is None:
        await _refuse(state, sender, "say hello first")
        return
    state.seen[sender] = Seen(state.clock.now(), message.running, message.waiting)
    if row is not node:
        try:
            await state.commit(Change(nodes=(row,)))
        except Conflict:
            return  # the next heartbeat says it again
        if message.lookahead > node.lookahead:
            state.capacity_changed()


async def goodbye(state: State, sender: str, message: Goodbye) -> None:
    """An orderly end: no need to wait for silence."""
    node = node_of(state, sender)
    if node is None or node.boot_id != message.boot_id:
        return
    await state.commit(Change(nodes=(membership.goodbye(node, state.clock.now()),)))
    _node_changed(state)


async def watch(state: State) -> None:
    """Declare nodes disconnected that were silent too long, while we were awake to hear."""
    timeout_s = state.config.orchestrator.node_manager.disconnect_timeout
    tick_s = min(max(timeout_s / 4, 0.05), 5.0)
    now = state.clock.now()
    for view in state.store.nodes():
        state.seen.setdefault(view.node.id, Seen(now))
    last = now
    while True:
        await state.clock.sleep(tick_s)
        now = state.clock.now()
        if now - last > tick_s * 1e9 * STALL_FACTOR:
            for seen in state.seen.values():
                seen.time += now - last
        last = now
        nodes = [view.node for view in state.store.nodes()]
        times = {id_: seen.time for id_, seen in state.seen.items()}
        silent = membership.silent(nodes, times, now, timeout_s)
        if silent:
            try:
                await state.commit(Change(nodes=silent))
            except (Conflict, Unavailable) as error:
                log.warning("the silence of nodes could not be written: %s", error)
                continue  # the next look finds them silent again
            for node in silent:
                log.warning("node %s is disconnected: %s", node.id, node.message)
            _node_changed(state)


def _node_changed(state: State) -> None:
    """Look at every live job: some lost a node, some may use the new one."""
    for job in state.store.live_jobs():
        if not job.state.is_terminal and not job.queued_time:
            state.evaluate(job)
    state.capacity_changed()


async def decide(state: State, node_id: str, action: str, message: str) -> None:
    """approve or reject a node. Raises NotFound, Conflict, Rejected."""
    node = node_of(state, node_id)
    if node is None:
        raise NotFound(f"node not found: {node_id}")
    if action not in ("approve", "reject"):
        raise Rejected(f"unknown node action '{action}'", hint="Use approve or reject.")
    row = membership.decide(node, action, message, state.clock.now())
    if isinstance(row, str):
        raise Conflict(row)
    await state.commit(Change(nodes=(row,)))
    _node_changed(state)

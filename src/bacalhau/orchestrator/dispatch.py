"""Tells nodes what their executions' rows say, and repeats it until they answer."""

from collections import defaultdict
from collections.abc import Iterable

from bacalhau.core import messages
from bacalhau.model.execution import Execution
from bacalhau.model.message import Assign, Message, Stop
from bacalhau.orchestrator.state import State

REPEAT_S = 2.0
"""How long the orchestrator waits for a node's report before it says a thing again."""
LEAD_S = 0.5
"""Rows younger than this are on their way and not repeated yet."""


async def dispatch(state: State) -> None:
    """Send news at once, and all that is still unanswered every few seconds."""
    last = state.clock.now()
    while True:
        await state.to_tell.wait(REPEAT_S / 2)
        news, state.news = state.news, defaultdict(dict)
        greeted, state.greeted = state.greeted, set()
        now = state.clock.now()
        repeat = not 0 <= now - last < REPEAT_S * 1e9  # below 0: the clock was set back
        if repeat:
            last = now
        for node in [view.node for view in state.store.nodes()]:
            if not node.is_ready:
                continue
            rows: Iterable[Execution] = news.get(node.id, {}).values()
            if node.id in greeted or repeat:
                born = now - int(LEAD_S * 1e9)
                rows = [
                    *rows,
                    *(
                        row
                        for row in state.store.unsettled(node.id)
                        if row.id not in news.get(node.id, {})
                        and (node.id in greeted or not born <= row.modify_time <= now)
                    ),
                ]
            batch = compose(state, rows)
            if batch:
                await state.transport.send(node.id, batch)


def compose(state: State, rows: Iterable[Execution]) -> list[Message]:
    """The messages that these rows call for: one Assign per job, one Stop for all."""
    assign: dict[str, list[Execution]] = {}
    stop: list[tuple[str, int, str]] = []
    for row in rows:
        match messages.tell(row):
            case "assign":
                assign.setdefault(row.job_id, []).append(row)
            case "stop":
                stop.append((row.id, row.revision, row.desired_message))
    batch: list[Message] = []
    for job_id, executions in assign.items():
        job = state.store.live_job(job_id)
        if job is None:
            continue
        batch.append(
            Assign(job=job, executions=tuple(e for e in executions if e.job_version == job.version))
        )
    if stop:
        batch.append(Stop(executions=tuple(stop)))
    return batch

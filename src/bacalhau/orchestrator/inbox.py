"""What nodes say, made durable before it is acknowledged."""

import asyncio
import logging
from collections import defaultdict

from bacalhau.core import lifecycle, membership
from bacalhau.model.base import evolve
from bacalhau.model.errors import Conflict, Unavailable
from bacalhau.model.event import Event
from bacalhau.model.execution import Execution, Observed
from bacalhau.model.job import Job
from bacalhau.model.message import (
    Ack,
    Goodbye,
    Heartbeat,
    Hello,
    LogChunk,
    Message,
    Report,
    Reports,
    Stop,
    UploadRequest,
)
from bacalhau.model.plan import Change
from bacalhau.orchestrator import members
from bacalhau.orchestrator.objects import grant
from bacalhau.orchestrator.state import State

log = logging.getLogger(__name__)

RACES_MAX = 5
"""A report that loses more races than this is left for the node to repeat."""


async def receive(state: State) -> None:
    """Take in messages for ever; reports that pile up meanwhile share one commit."""
    pending: dict[str, dict[str, Report]] = {}
    arrived = asyncio.Event()
    writer = asyncio.create_task(_write_reports(state, pending, arrived), name="reports")
    try:
        while True:
            sender, messages = await state.transport.receive()
            for message in messages:
                if isinstance(message, Reports):
                    if not membership.is_current(members.node_of(state, sender), message.boot_id):
                        continue  # its successor will say what counts
                    mine = pending.setdefault(sender, {})
                    for report in message.reports:
                        known = mine.get(report.execution.id)
                        if known is None or known.number <= report.number:
                            mine[report.execution.id] = report
                    arrived.set()
                    continue
                try:
                    await _take(state, sender, message)
                except Unavailable as error:
                    log.warning("message of %s not applied, it will come again: %s", sender, error)
                except Exception:
                    log.exception("message of %s not applied", sender)
    finally:
        writer.cancel()
        await asyncio.gather(writer, return_exceptions=True)


async def _take(state: State, sender: str, message: Message) -> None:
    match message:
        case Heartbeat():
            await members.heartbeat(state, sender, message)
        case Hello():
            await members.hello(state, sender, message)
        case Goodbye():
            await members.goodbye(state, sender, message)
        case LogChunk():
            stream = state.streams.get(message.stream_id)
            if stream is not None and not stream.full():
                stream.put_nowait(message)
        case UploadRequest():
            await state.transport.send(sender, [grant(state, sender, message)])
        case _:
            log.warning("an orchestrator does not take %s", type(message).__name__)


async def _write_reports(
    state: State, pending: dict[str, dict[str, Report]], arrived: asyncio.Event
) -> None:
    while True:
        await arrived.wait()
        arrived.clear()
        batch = dict(pending)
        pending.clear()
        try:
            await take_reports(state, batch)
        except Unavailable as error:
            log.warning("reports not written, nodes will repeat them: %s", error)
        except Exception:
            log.exception("reports not written, nodes will repeat them")


async def take_reports(state: State, batch: dict[str, dict[str, Report]]) -> None:
    """Merge reports into the stored rows, commit, acknowledge, and have jobs looked at."""
    for _ in range(RACES_MAX):
        rows, events, unknown = _merge(state, batch)
        try:
            if rows:
                await state.commit(Change(executions=tuple(rows.values()), events=tuple(events)))
            break
        except Conflict:
            continue
    else:
        return
    for node_id, reports in batch.items():
        acks = tuple((id_, report.number) for id_, report in reports.items())
        messages: list[Message] = [Ack(reports=acks)]
        if node_id in unknown:
            messages.append(Stop(executions=tuple(unknown[node_id])))
        await state.transport.send(node_id, messages)
    _look(state, rows)


def _merge(
    state: State, batch: dict[str, dict[str, Report]]
) -> tuple[dict[str, Execution], list[Event], dict[str, list[tuple[str, int, str]]]]:
    now = state.clock.now()
    rows: dict[str, Execution] = {}
    events: list[Event] = []
    unknown: dict[str, list[tuple[str, int, str]]] = {}
    completed: dict[str, set[int]] = defaultdict(set)

    def filled(stored: Execution) -> bool:
        views = state.store.views([stored.job_id])
        return bool(views) and lifecycle.filled(views[0], stored, completed[stored.job_id])

    for node_id, reports in batch.items():
        for execution_id, report in reports.items():
            word = report.execution
            stored = state.store.live_execution(execution_id)
            if stored is None:
                if not word.is_settled:
                    unknown.setdefault(node_id, []).append(
                        (execution_id, word.revision, "the orchestrator does not know of it")
                    )
                continue
            if stored.node_id != node_id:
                log.warning("node %s reports execution %s of another node", node_id, execution_id)
                continue
            fresh = [
                event
                for event in report.events
                if event.time > stored.event_time
                and event.execution_id == execution_id
                and (event.job_id, event.job_version) == (stored.job_id, stored.job_version)
            ]
            row = lifecycle.observe(
                stored, word, now, finite=_is_finite(state, stored), filled=filled(stored)
            )
            if row is not None and row.observed is Observed.COMPLETED:
                completed[stored.job_id].add(stored.partition)
            if row is None and not fresh:
                continue
            if row is None:
                row = evolve(stored, revision=stored.revision + 1)
            if fresh:
                row = evolve(row, event_time=max(event.time for event in fresh))
            rows[execution_id] = row
            events.extend(fresh)
    return rows, events, unknown


def _is_finite(state: State, execution: Execution) -> bool:
    job = state.store.live_job(execution.job_id)
    return job is None or job.spec.type.is_finite


def _calls_for_a_look(row: Execution, job: Job) -> bool:
    """An end, an answer to a bid, or a start from which a time-out counts."""
    if row.is_settled or row.observed is Observed.BID:
        return True
    timeouts = job.spec.task.timeouts
    return row.observed is Observed.RUNNING and bool(
        timeouts.execution_timeout or timeouts.total_timeout
    )


def _look(state: State, rows: dict[str, Execution]) -> None:
    freed = False
    for row in rows.values():
        freed = freed or row.is_settled
        job = state.store.live_job(row.job_id)
        if job is not None and _calls_for_a_look(row, job):
            state.evaluate(job)
    if freed:
        state.capacity_changed()

"""Output of executions: from the node while it runs, from what was kept afterwards."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

from bacalhau.model.errors import NotFound, Unavailable
from bacalhau.model.execution import Execution, Observed
from bacalhau.model.message import LOG_PORTION, LogCancel, LogChunk, LogRequest
from bacalhau.orchestrator.state import State
from bacalhau.ports.cluster import LogLine

STREAM_CHUNKS = 64
ASK_AGAIN_S = 2.0
ASK_SOON_S = 0.1
ASK_MAX = 15
SOURCES = {1: "stdout", 2: "stderr"}


@contextmanager
def watching(state: State, job_id: str) -> Iterator[asyncio.Event]:
    """An event that is set with every commit that touches the job."""
    changed = asyncio.Event()
    state.watchers[job_id].add(changed)
    try:
        yield changed
    finally:
        state.watchers[job_id].discard(changed)
        if not state.watchers[job_id]:
            del state.watchers[job_id]


async def logs(
    state: State, job_id: str, *, execution_id: str, version: int, follow: bool, tail: bool
) -> AsyncIterator[LogLine]:
    """See ports.cluster.Cluster.logs."""
    execution = await _choose(state, job_id, execution_id, version, follow)
    if execution.is_settled or execution.lost:
        if not tail:
            async for line in kept(state, execution):
                yield line
        return
    async for line in _live(state, execution, follow=follow, tail=tail):
        yield line


async def _choose(
    state: State, job_id: str, execution_id: str, version: int, follow: bool
) -> Execution:
    """The named execution, else the one that tells most; with `follow`, wait for the first."""
    while True:
        job = await state.store.job(job_id)
        if job is None:
            raise NotFound(f"job not found: {job_id}")
        if execution_id:
            execution = await state.store.execution(execution_id)
            if execution is None or execution.job_id != job_id:
                raise NotFound(f"execution not found: {execution_id}")
            return execution
        rows = await state.store.executions(job_id, version)
        if rows:
            return max(rows, key=_tells)
        if not follow or job.state.is_terminal:
            raise NotFound(
                f"job {job_id} has no execution yet",
                hint="Follow the logs to wait for one, or see why it waits in its description.",
            )
        with watching(state, job_id) as changed:
            # The commit that creates the first execution also writes the job or an event.
            if not await state.store.executions(job_id, version):
                try:
                    async with asyncio.timeout(ASK_AGAIN_S):
                        await changed.wait()
                except TimeoutError:
                    continue


def _tells(execution: Execution) -> tuple[int, int]:
    """Executions that ran come before those that did not; newer before older."""
    rank = {Observed.DECLINED: 0, Observed.CANCELLED: 1, Observed.FAILED: 2}
    return rank.get(execution.observed, 3), execution.modify_time


async def kept(state: State, execution: Execution) -> AsyncIterator[LogLine]:
    """What was kept of an execution that has ended: the whole log, else its beginning."""
    output = execution.output
    if output is None:
        return
    parts = {
        1: (output.stdout, output.stdout_truncated),
        2: (output.stderr, output.stderr_truncated),
    }
    for source, (text, truncated) in parts.items():
        if truncated:
            key = f"{execution.job_id}/{execution.id}/{SOURCES[source]}"
            try:
                _, body = await state.objects.get(key)
            except NotFound:
                pass
            else:
                async for data in body:
                    yield LogLine(source=source, data=data)
                continue
        if text:
            yield LogLine(source=source, data=text.encode())


async def _live(
    state: State, execution: Execution, *, follow: bool, tail: bool
) -> AsyncIterator[LogLine]:
    """Ask the node, and ask again from where we are when it falls silent."""
    stream_id = state.ids.new("l-")
    chunks = state.streams[stream_id] = asyncio.Queue(STREAM_CHUNKS)
    offsets = {1: -1, 2: -1} if tail else {1: 0, 2: 0}
    silent = received = 0
    ask = True
    try:
        while True:
            if ask:
                request = LogRequest(
                    stream_id=stream_id,
                    execution_id=execution.id,
                    stdout_offset=offsets[1],
                    stderr_offset=offsets[2],
                    follow=follow,
                )
                await state.transport.send(execution.node_id, [request])
                ask, received = False, 0
            chunk = await _next(chunks)
            if chunk is not None and chunk.end and not chunk.error:
                return
            if chunk is None or chunk.end:  # silence, or a node that does not hold it
                row = await state.store.execution(execution.id)
                if row is None:
                    return
                if row.is_settled or row.lost or (chunk is not None and not follow):
                    async for line in _rest(state, row, offsets):
                        yield line
                    return
                if chunk is None:
                    silent += 1
                    _give_up(execution, follow, silent)
                else:  # the assignment, or the last report, is on its way
                    await state.clock.sleep(ASK_SOON_S)
                ask = True
                continue
            silent = 0
            received += 1
            ask = received >= LOG_PORTION
            if offsets[chunk.source] < 0:
                offsets[chunk.source] = chunk.offset
            if chunk.offset > offsets[chunk.source]:
                ask = True  # a piece got lost
                continue
            data = chunk.data[offsets[chunk.source] - chunk.offset :]
            offsets[chunk.source] += len(data)
            if data:
                yield LogLine(source=chunk.source, data=data)
    finally:
        state.streams.pop(stream_id, None)
        await state.transport.send(execution.node_id, [LogCancel(stream_id=stream_id)])


async def _next(chunks: asyncio.Queue[LogChunk]) -> LogChunk | None:
    try:
        async with asyncio.timeout(ASK_AGAIN_S):
            return await chunks.get()
    except TimeoutError:
        return None


def _give_up(execution: Execution, follow: bool, silent: int) -> None:
    if not follow and silent >= ASK_MAX:
        raise Unavailable(
            f"node {execution.node_id} does not answer",
            hint="Its output is shown once it is connected again.",
        )


async def _rest(
    state: State, execution: Execution, offsets: dict[int, int]
) -> AsyncIterator[LogLine]:
    """What was kept beyond the bytes that were already shown."""
    if min(offsets.values()) < 0:
        return  # only new output was asked for, and none came
    skip = dict(offsets)
    async for line in kept(state, execution):
        data = line.data[skip[line.source] :]
        skip[line.source] = max(0, skip[line.source] - len(line.data))
        if data:
            yield LogLine(source=line.source, data=data)

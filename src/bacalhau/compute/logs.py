"""Streams the output files of an execution while they grow."""

import asyncio
from functools import partial
from pathlib import Path

from bacalhau.compute.node import Held, Node
from bacalhau.compute.workspace import publishes_files
from bacalhau.model.message import LOG_PORTION, LogChunk, LogRequest
from bacalhau.ports.transport import ORCHESTRATOR

CHUNK_BYTES = 64 * 1024
STREAMS_MAX = 256
UNSEEN_S, UNSEEN_LOOK_S = 0.5, 0.002
LOOK_S = (0.001, 0.1)
"""How soon a follower looks again: quickly after new output, then ever more slowly."""


def start_stream(node: Node, request: LogRequest) -> None:
    """Begin (or begin again, from other offsets) to send an execution's output."""
    cancel_stream(node, request.stream_id)
    if len(node.streams) >= STREAMS_MAX:
        return  # the reader asks again
    task = node.spawn(_stream(node, request), f"logs {request.execution_id}")
    node.streams[request.stream_id] = task
    task.add_done_callback(partial(_forget, node, request.stream_id))


def _forget(node: Node, stream_id: str, task: asyncio.Task[None]) -> None:
    """Unless the reader has asked again meanwhile: then the name is a newer task's."""
    if node.streams.get(stream_id) is task:
        del node.streams[stream_id]


def cancel_stream(node: Node, stream_id: str) -> None:
    task = node.streams.pop(stream_id, None)
    if task is not None:
        task.cancel()


async def _stream(node: Node, request: LogRequest) -> None:
    """One portion; who has read it asks for the next."""
    results = node.place_of(request.execution_id)
    held = await _appears(node, request.execution_id)
    if held is not None and publishes_files(held.job.spec.task):
        results /= "results"
    files = {1: results / "stdout", 2: results / "stderr"}
    offsets = {1: request.stdout_offset, 2: request.stderr_offset}
    for number, path in files.items():
        if offsets[number] < 0:
            offsets[number] = path.stat().st_size if path.exists() else 0
    pause_s = LOOK_S[0]
    left = LOG_PORTION
    while left > 0:
        held = node.held.get(request.execution_id)
        ended = held is None or held.execution.is_settled
        chunks = [
            LogChunk(stream_id=request.stream_id, source=number, offset=offsets[number], data=data)
            for number, path in files.items()
            if (data := _read(path, offsets[number]))
        ]
        for chunk in chunks:
            offsets[chunk.source] += len(chunk.data)
        if chunks:
            left -= len(chunks)
            await node.transport.send(ORCHESTRATOR, chunks)
            pause_s = LOOK_S[0]
            await asyncio.sleep(0)  # others get their turn while a long log is read
            continue
        if ended or not request.follow:
            error = "" if held is not None else "the node no longer holds this execution"
            end = LogChunk(stream_id=request.stream_id, end=True, error=error)
            await node.transport.send(ORCHESTRATOR, [end])
            return
        await asyncio.sleep(pause_s)
        pause_s = min(pause_s * 1.1, LOOK_S[1])


async def _appears(node: Node, execution_id: str) -> Held | None:
    """The execution; a request for its log may be faster than its assignment."""
    for _ in range(round(UNSEEN_S / UNSEEN_LOOK_S)):
        held = node.held.get(execution_id)
        if held is not None:
            return held
        await asyncio.sleep(UNSEEN_LOOK_S)
    return node.held.get(execution_id)


def _read(path: Path, offset: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(CHUNK_BYTES)
    except OSError:
        return b""

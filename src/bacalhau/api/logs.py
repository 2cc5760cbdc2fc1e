"""Output of executions over a WebSocket: one text frame per piece."""

import asyncio
import codecs
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, cast

from bacalhau.api import jobs
from bacalhau.api.errors import BadRequest, envelope
from bacalhau.api.reply import Reply, encode, escape
from bacalhau.api.request import Receive, Request, Send
from bacalhau.model.errors import Error
from bacalhau.ports.cluster import Cluster, LogLine

log = logging.getLogger(__name__)

SEND_S = 60.0
"""A reader that takes nothing for so long is given up."""

_SOURCES = (1, 2)


async def without_upgrade(cluster: Cluster, request: Request) -> Reply:
    """The route as plain HTTP."""
    raise BadRequest("Bad Request", hint="logs are a WebSocket: send an upgrade request")


async def stream(cluster: Cluster, request: Request, receive: Receive, send: Send) -> None:
    """Serve an accepted WebSocket: send what comes, until it ends or nobody listens."""
    async with asyncio.TaskGroup() as group:
        sending = group.create_task(_send_all(cluster, request, send))
        watching = group.create_task(_until_gone(receive))
        sending.add_done_callback(lambda _: watching.cancel())
        watching.add_done_callback(lambda _: sending.cancel())


async def _send_all(cluster: Cluster, request: Request, send: Send) -> None:
    try:
        try:
            await _send_lines(cluster, request, send)
        except _Gone:
            raise
        except Exception as error:
            if not isinstance(error, Error):
                log.exception("log stream failed")
            await _send_frame(send, _error_frame(error))
        await send({"type": "websocket.close", "code": 1000, "reason": ""})
    except (_Gone, OSError):
        log.debug("the reader of a log stream went away")


async def _send_lines(cluster: Cluster, request: Request, send: Send) -> None:
    query = request.query
    job = await jobs.find(cluster, request)
    lines = cluster.logs(
        job.id,
        execution_id=query.text("execution_id"),
        version=query.number("job_version"),
        follow=query.flag("follow"),
        tail=query.flag("tail"),
    )
    # A character may be cut in two by the pieces, on each of the two streams.
    decoders = {source: codecs.getincrementaldecoder("utf-8")("replace") for source in _SOURCES}
    async with aclosing(cast("AsyncGenerator[LogLine, None]", lines)):
        async for line in lines:
            text = decoders[line.source].decode(line.data)
            if text:
                await _send_frame(send, _frame(line.source, text))
    for source, decoder in decoders.items():
        rest = decoder.decode(b"", final=True)
        if rest:
            await _send_frame(send, _frame(source, rest))


async def _send_frame(send: Send, frame: dict[str, Any]) -> None:
    text = escape(encode(frame)).decode() + "\n"
    try:
        async with asyncio.timeout(SEND_S):
            await send({"type": "websocket.send", "text": text})
    except OSError as error:
        raise _Gone from error


async def _until_gone(receive: Receive) -> None:
    """Read what the reader sends, which means nothing, to notice when it leaves."""
    while (await receive())["type"] != "websocket.disconnect":
        continue


def _frame(source: int, line: str) -> dict[str, Any]:
    return {"value": {"Type": source, "Line": line}}


def _error_frame(error: Exception) -> dict[str, Any]:
    """Bacalhau's shape, and the code, from which our client makes the same error again."""
    body = envelope(error, "")
    return {"error": body.message, "code": body.code, **_frame(0, "")}


class _Gone(Exception):
    """Nobody reads any more."""

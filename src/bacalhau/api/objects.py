"""Results and logs behind signed URLs: uploads from nodes, downloads by clients."""

import asyncio
import re
from collections.abc import AsyncIterator

from bacalhau.api.errors import BadRequest, TimedOut
from bacalhau.api.reply import Reply, Stream
from bacalhau.api.request import Request
from bacalhau.ports.cluster import Cluster

IDLE_S = 60.0
"""An upload of which nothing comes for so long is given up."""

_RANGE = re.compile(r"bytes=([0-9]{1,18})-([0-9]{0,18})")


async def put(cluster: Cluster, request: Request) -> Reply:
    query = request.query
    info = await cluster.accept_upload(
        request.values["key"], query.text("expires"), query.text("signature"), _body(request)
    )
    return Reply(body={"Key": info.key, "Size": info.size, "SHA256": info.sha256})


async def get(cluster: Cluster, request: Request) -> Stream:
    query = request.query
    wanted = _RANGE.fullmatch(request.header(b"range").replace(" ", ""))
    start = int(wanted[1]) if wanted else 0
    info, body = await cluster.open_object(
        request.values["key"], query.text("expires"), query.text("signature"), start
    )
    if wanted and start >= max(info.size, 1):
        raise BadRequest(f"the range starts at {start}, the object has {info.size} bytes")
    stop = min(int(wanted[2]) + 1, info.size) if wanted and wanted[2] else info.size
    headers = [
        (b"content-type", b"application/gzip"),
        (b"content-length", b"%d" % max(stop - start, 0)),
        (b"accept-ranges", b"bytes"),
        (b"x-content-type-options", b"nosniff"),
        (b"content-disposition", b'attachment; filename="%s"' % _file_name(info.key)),
    ]
    if info.sha256:
        headers.append((b"etag", b'"%s"' % info.sha256.encode()))
    if wanted:
        headers.append((b"content-range", b"bytes %d-%d/%d" % (start, stop - 1, info.size)))
    return Stream(
        status=206 if wanted else 200,
        headers=tuple(headers),
        body=_cut(body, stop - start) if stop < info.size else body,
    )


async def _body(request: Request) -> AsyncIterator[bytes]:
    """The upload's body; given up when the other side falls silent."""
    chunks = request.chunks()
    while True:
        try:
            async with asyncio.timeout(IDLE_S):
                chunk = await anext(chunks)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise TimedOut(f"nothing of the upload came for {IDLE_S:.0f} s") from None
        yield chunk


async def _cut(body: AsyncIterator[bytes], left: int) -> AsyncIterator[bytes]:
    async for chunk in body:
        yield chunk[:left]
        left -= len(chunk)
        if left <= 0:
            return


def _file_name(key: str) -> bytes:
    return re.sub(r"[^A-Za-z0-9._-]", "_", key.rpartition("/")[2]).encode()

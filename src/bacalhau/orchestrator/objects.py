"""The managed store's doors: signed URLs, uploads, downloads, and results made on the fly."""

import asyncio
import hashlib
import os
import tarfile
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack
from pathlib import PurePosixPath
from typing import IO

from bacalhau.core import signature
from bacalhau.model.errors import Forbidden, NotFound
from bacalhau.model.execution import Execution, Observed
from bacalhau.model.job import Job, SpecConfig
from bacalhau.model.message import UploadGrant, UploadRequest
from bacalhau.model.resources import parse_bytes
from bacalhau.orchestrator.logs import SOURCES, kept
from bacalhau.orchestrator.state import State
from bacalhau.ports.objects import ObjectInfo

ARCHIVE = "results.tar.gz"
CHUNK_BYTES = 64 * 1024
UPLOADS = (ARCHIVE, "stdout", "stderr")


def path_of(state: State, method: str, key: str) -> str:
    """The path and signed query by which that object may be reached for a while."""
    lifetime_s = state.config.publishers.types.managed.url_expiration
    expires = int(state.clock.now() / 1e9 + lifetime_s)
    mark = signature.sign(state.object_key, method, key, expires)
    return f"/api/v1/objects/{key}?expires={expires}&signature={mark}"


def grant(state: State, node_id: str, request: UploadRequest) -> UploadGrant:
    """A URL for the upload, if the execution is that node's and the name is one we keep."""
    execution = state.store.live_execution(request.execution_id)
    if execution is None or execution.node_id != node_id:
        return UploadGrant(
            request_id=request.request_id,
            error=f"execution {request.execution_id} is not one of this node",
        )
    if request.name not in UPLOADS:
        return UploadGrant(
            request_id=request.request_id, error=f"'{request.name}' is not kept here"
        )
    key = f"{execution.job_id}/{execution.id}/{request.name}"
    return UploadGrant(
        request_id=request.request_id, url=state.base_url + path_of(state, "PUT", key), key=key
    )


def _verify(state: State, method: str, key: str, expires: str, mark: str) -> None:
    reason = signature.verify(
        state.object_key, method, key, expires, mark, int(state.clock.now() / 1e9)
    )
    if reason:
        raise Forbidden(reason, hint="Ask for the results again to get a fresh URL.")


async def accept_upload(
    state: State, key: str, expires: str, mark: str, body: AsyncIterator[bytes]
) -> ObjectInfo:
    """See ports.cluster.Cluster.accept_upload."""
    _verify(state, "PUT", key, expires, mark)
    return await state.objects.put(
        key, body, parse_bytes(state.config.publishers.types.managed.max_size)
    )


async def open_object(
    state: State, key: str, expires: str, mark: str, offset: int
) -> tuple[ObjectInfo, AsyncIterator[bytes]]:
    """See ports.cluster.Cluster.open_object."""
    _verify(state, "GET", key, expires, mark)
    try:
        return await state.objects.get(key, offset)
    except NotFound:
        path = PurePosixPath(key)
        execution = await state.store.execution(path.parent.name)
        if path.name != ARCHIVE or execution is None or execution.output is None:
            raise
        return await _archive(state, key, execution, offset)


async def _archive(
    state: State, key: str, execution: Execution, offset: int
) -> tuple[ObjectInfo, AsyncIterator[bytes]]:
    """stdout, stderr and exitCode of an execution that left no files."""
    with ExitStack() as stack:
        parts = {
            name: stack.enter_context(tempfile.TemporaryFile())
            for name in (*SOURCES.values(), "exitCode")
        }
        archive = stack.enter_context(tempfile.TemporaryFile())
        async for line in kept(state, execution):
            parts[SOURCES[line.source]].write(line.data)
        exit_code = execution.output.exit_code if execution.output else 0
        parts["exitCode"].write(str(exit_code).encode())
        sha256 = await asyncio.to_thread(_tar, parts, archive, execution.end_time // 10**9)
        for part in parts.values():
            part.close()
        kept_open = stack.pop_all()  # from here on the reader of the body closes it
    info = ObjectInfo(
        key=key, size=archive.seek(0, os.SEEK_END), sha256=sha256, modified=execution.end_time
    )
    archive.seek(offset)

    async def body() -> AsyncIterator[bytes]:
        with kept_open:
            while data := archive.read(CHUNK_BYTES):
                yield data

    return info, body()


def _tar(parts: Mapping[str, IO[bytes]], archive: IO[bytes], modified_s: int) -> str:
    """Pack the files in order; the archive's SHA-256."""
    with tarfile.open(fileobj=archive, mode="w:gz", compresslevel=1) as packed:
        for name, part in parts.items():
            member = tarfile.TarInfo(name)
            member.size = part.seek(0, os.SEEK_END)
            member.mtime = modified_s
            part.seek(0)
            packed.addfile(member, part)
    archive.seek(0)
    digest = hashlib.sha256()
    while data := archive.read(CHUNK_BYTES):
        digest.update(data)
    return digest.hexdigest()


async def results(state: State, job: Job) -> tuple[SpecConfig, ...]:
    """One result per partition: of the execution that completed it, else of the last failed."""
    best: dict[int, Execution] = {}
    for execution in await state.store.executions(job.id, job.version):
        if execution.observed not in (Observed.COMPLETED, Observed.FAILED):
            continue
        if not execution.result.type:
            continue
        known = best.get(execution.partition)
        if known is None or known.observed is not Observed.COMPLETED:
            best[execution.partition] = execution
    return tuple(_shown(state, best[partition]) for partition in sorted(best))


def _shown(state: State, execution: Execution) -> SpecConfig:
    if execution.result.type != "managed":
        return execution.result
    key = f"{execution.job_id}/{execution.id}/{ARCHIVE}"
    return SpecConfig(type="urlDownload", params={"URL": path_of(state, "GET", key)})

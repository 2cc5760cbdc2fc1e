"""Asks the orchestrator where to upload, and keeps full logs there."""

import asyncio
from pathlib import Path

from bacalhau.compute.node import Held, Node
from bacalhau.model.errors import EngineFailed
from bacalhau.model.event import Topic
from bacalhau.model.execution import Fault, FaultKind
from bacalhau.model.message import UploadGrant, UploadRequest
from bacalhau.ports.transport import ORCHESTRATOR

ASK_AGAIN_S = 2.0
ASK_MAX = 30
"""A node asks about a minute for a URL, then the try fails and another one may start."""


async def request_upload(node: Node, execution_id: str, name: str) -> tuple[str, str]:
    """A signed URL for one upload, and the key it stands for. Raises EngineFailed."""
    request_id = node.ids.new("u-")
    answer: asyncio.Future[UploadGrant] = asyncio.get_running_loop().create_future()
    node.grants[request_id] = answer
    request = UploadRequest(request_id=request_id, execution_id=execution_id, name=name)
    try:
        for _ in range(ASK_MAX):
            await node.transport.send(ORCHESTRATOR, [request])
            try:
                grant = await asyncio.wait_for(asyncio.shield(answer), ASK_AGAIN_S)
            except TimeoutError:
                continue
            if grant.error:
                raise EngineFailed(
                    Fault(kind=FaultKind.TRANSIENT, code="UploadRefused", message=grant.error)
                )
            return grant.url, grant.key
    finally:
        node.grants.pop(request_id, None)
    raise EngineFailed(
        Fault(
            kind=FaultKind.TRANSIENT,
            code="OrchestratorSilent",
            message=f"no upload URL within {ASK_MAX * ASK_AGAIN_S:.0f} s",
        )
    )


async def upload_log(node: Node, held: Held, path: Path) -> None:
    """Keep a whole log on the orchestrator. Failing to do so does not fail the execution."""
    try:
        url, _ = await request_upload(node, held.execution.id, path.name)
        await node.upload(url, path)
    except EngineFailed as error:
        node.say(
            held,
            Topic.PUBLISHING,
            f"only the beginning of {path.name} was kept: {error.fault.message}",
            details={"IsError": "true", "ErrorCode": error.fault.code},
        )

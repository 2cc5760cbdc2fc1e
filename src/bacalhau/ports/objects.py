"""The door for the managed store: where published results and full logs are kept."""

from collections.abc import AsyncIterator
from typing import Protocol

import msgspec


class ObjectInfo(msgspec.Struct, frozen=True, kw_only=True):
    """`modified` in ns since the epoch, `size` in bytes."""

    key: str
    size: int
    sha256: str
    modified: int


class Objects(Protocol):
    """Keys are `<job id>/<execution id>/<name>`. A put is all or nothing."""

    async def put(self, key: str, body: AsyncIterator[bytes], limit: int) -> ObjectInfo:
        """Store the body under the key, replacing what was there.

        Raises Limit past `limit` bytes (0: none) and Rejected for a key that leaves the
        store; a body that fails half-way leaves the old state.
        """
        ...

    async def get(self, key: str, offset: int = 0) -> tuple[ObjectInfo, AsyncIterator[bytes]]:
        """The object from that byte on. Raises NotFound."""
        ...

    async def list(self, prefix: str) -> tuple[ObjectInfo, ...]: ...

    async def delete(self, prefix: str) -> int:
        """Delete everything below the prefix; how many objects went."""
        ...

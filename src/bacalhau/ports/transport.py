"""The door between orchestrator and nodes: a lossy fast path, never the truth."""

from collections.abc import Sequence
from typing import Protocol

from bacalhau.model.message import Message

ORCHESTRATOR = "orchestrator"
"""The address of the orchestrator; nodes are addressed by their ids."""


class Transport(Protocol):
    """One party's end of the wire.

    At most once, in order per sender while connected; anything may get lost, and losing it
    costs time only. Contract: bacalhau.testing.contracts.transport.
    """

    async def send(self, to: str, messages: Sequence[Message]) -> None:
        """Hand over a batch. Never waits for the other side, never raises for a lost one."""
        ...

    async def receive(self) -> tuple[str, Sequence[Message]]:
        """The next batch, with its sender's address. Raises Unavailable once closed."""
        ...

    async def close(self) -> None: ...

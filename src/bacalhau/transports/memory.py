"""A wire inside one process: bounded, lossy on overflow, and cuttable for tests."""

import asyncio
from collections import deque
from collections.abc import Sequence

from bacalhau.model.errors import Unavailable
from bacalhau.model.message import Message

MAX_WAITING = 10_000
"""Batches that may wait at one endpoint: some seconds of work; more are dropped."""


class MemoryNetwork:
    """Connects the endpoints that it hands out. `dropped` counts lost batches."""

    def __init__(self, max_waiting: int = MAX_WAITING) -> None:
        self.dropped = 0
        self._max_waiting = max_waiting
        self._endpoints: dict[str, MemoryTransport] = {}
        self._cuts: set[tuple[str, str]] = set()

    def endpoint(self, address: str) -> "MemoryTransport":
        """A fresh end of the wire; an older one of the same address is cut off and closed."""
        older = self._endpoints.get(address)
        if older is not None:
            older.shut()
        fresh = MemoryTransport(self, address)
        self._endpoints[address] = fresh
        return fresh

    def cut(self, sender: str, receiver: str, *, one_way: bool = False) -> None:
        """From now on nothing passes between these two; one way only from sender to receiver."""
        self._cuts.add((sender, receiver))
        if not one_way:
            self._cuts.add((receiver, sender))

    def heal(self, sender: str = "", receiver: str = "") -> None:
        """Undo the cuts between these two; without arguments all cuts."""
        if sender or receiver:
            self._cuts -= {(sender, receiver), (receiver, sender)}
        else:
            self._cuts.clear()

    def carry(self, sender: "MemoryTransport", to: str, messages: Sequence[Message]) -> None:
        """Bring one batch to its receiver, or lose it."""
        target = self._endpoints.get(to)
        stale = self._endpoints.get(sender.address) is not sender
        if (
            target is None
            or stale
            or (sender.address, to) in self._cuts
            or not target.take(sender.address, messages, self._max_waiting)
        ):
            self.dropped += 1

    def leave(self, endpoint: "MemoryTransport") -> None:
        """Forget an endpoint that has closed."""
        if self._endpoints.get(endpoint.address) is endpoint:
            del self._endpoints[endpoint.address]


class MemoryTransport:
    """One end of a MemoryNetwork; see ports.transport.Transport."""

    def __init__(self, network: MemoryNetwork, address: str) -> None:
        self.address = address
        self._network = network
        self._waiting: deque[tuple[str, Sequence[Message]]] = deque()
        self._news = asyncio.Event()
        self._closed = False

    async def send(self, to: str, messages: Sequence[Message]) -> None:
        """Hand over a batch; an empty one is not sent, a closed end loses it."""
        if messages:
            self._network.carry(self, to, tuple(messages))

    async def receive(self) -> tuple[str, Sequence[Message]]:
        """The next batch, with its sender's address. Raises Unavailable once closed."""
        while not self._waiting:
            if self._closed:
                raise Unavailable(f"the transport of '{self.address}' is closed")
            self._news.clear()
            await self._news.wait()
        return self._waiting.popleft()

    async def close(self) -> None:
        """Leave the network. Whoever waits in receive() is woken with Unavailable."""
        self._network.leave(self)
        self.shut()

    def take(self, sender: str, messages: Sequence[Message], max_waiting: int) -> bool:
        """Queue a batch that arrived; False when there is no room."""
        if self._closed or len(self._waiting) >= max_waiting:
            return False
        self._waiting.append((sender, messages))
        self._news.set()
        return True

    def shut(self) -> None:
        """Take nothing more, and wake whoever waits."""
        self._closed = True
        self._waiting.clear()
        self._news.set()

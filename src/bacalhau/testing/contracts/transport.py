"""What every transport must do. Subclass TransportContract in a test module of the plug-in.

class TestMine(TransportContract):
    async def make(self, addresses): return [await mine(address) for address in addresses]
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AsyncExitStack

import pytest

from bacalhau.model.errors import Unavailable
from bacalhau.model.message import Goodbye, Heartbeat, Message
from bacalhau.ports.transport import ORCHESTRATOR, Transport

PATIENCE_S = 10.0
"""How long a batch may be on its way in a test."""

pytestmark = pytest.mark.asyncio


async def received(end: Transport) -> tuple[str, Sequence[Message]]:
    """The next batch; fails the test when none comes."""
    return await asyncio.wait_for(end.receive(), PATIENCE_S)


def beat(number: int) -> Heartbeat:
    """A message to tell from others by its number."""
    return Heartbeat(boot_id="b", running=number)


class TransportContract(ABC):
    """Tests of one implementation."""

    @abstractmethod
    async def make(self, addresses: Sequence[str]) -> Sequence[Transport]:
        """Connected ends of one fresh network, one for each address."""

    async def ends(self, stack: AsyncExitStack, *addresses: str) -> Sequence[Transport]:
        """The same, closed at the end of the test."""
        made = await self.make(addresses)
        for end in made:
            stack.push_async_callback(end.close)
        return made

    async def test_a_batch_arrives_as_it_was_sent(self) -> None:
        async with AsyncExitStack() as stack:
            hub, one = await self.ends(stack, ORCHESTRATOR, "n-1")
            batch: list[Message] = [beat(1), Goodbye(boot_id="b"), beat(2)]
            await one.send(ORCHESTRATOR, batch)
            sender, messages = await received(hub)
            assert sender == "n-1"
            assert list(messages) == batch
            await hub.send("n-1", batch[:1])
            sender, messages = await received(one)
            assert sender == ORCHESTRATOR
            assert list(messages) == batch[:1]

    async def test_batches_of_one_sender_keep_their_order(self) -> None:
        async with AsyncExitStack() as stack:
            hub, one, two = await self.ends(stack, ORCHESTRATOR, "n-1", "n-2")
            for number in range(100):
                await one.send(ORCHESTRATOR, [beat(number)])
                await two.send(ORCHESTRATOR, [beat(number)])
            seen: dict[str, list[int]] = {"n-1": [], "n-2": []}
            for _ in range(200):
                sender, messages = await received(hub)
                seen[sender] += [m.running for m in messages if isinstance(m, Heartbeat)]
            assert seen == {"n-1": list(range(100)), "n-2": list(range(100))}

    async def test_a_batch_goes_to_its_address_only(self) -> None:
        async with AsyncExitStack() as stack:
            hub, one, two = await self.ends(stack, ORCHESTRATOR, "n-1", "n-2")
            await hub.send("n-1", [beat(1)])
            await hub.send("n-2", [beat(2)])
            assert list((await received(two))[1]) == [beat(2)]
            assert list((await received(one))[1]) == [beat(1)]

    async def test_what_is_sent_to_nobody_is_lost_in_silence(self) -> None:
        async with AsyncExitStack() as stack:
            hub, one = await self.ends(stack, ORCHESTRATOR, "n-1")
            await hub.send("nobody", [beat(1)])
            await hub.send("n-1", [])
            await hub.send("n-1", [beat(2)])
            assert list((await received(one))[1]) == [beat(2)]

    async def test_a_sender_never_waits_for_a_receiver(self) -> None:
        async with AsyncExitStack() as stack:
            hub, one = await self.ends(stack, ORCHESTRATOR, "n-1")
            async with asyncio.timeout(PATIENCE_S):
                for number in range(20_000):
                    await one.send(ORCHESTRATOR, [beat(number)])
            assert list((await received(hub))[1]) == [beat(0)]

    async def test_a_cancelled_receive_loses_nothing(self) -> None:
        async with AsyncExitStack() as stack:
            hub, one = await self.ends(stack, ORCHESTRATOR, "n-1")
            waiting = asyncio.ensure_future(hub.receive())
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            await one.send(ORCHESTRATOR, [beat(1)])
            assert list((await received(hub))[1]) == [beat(1)]

    async def test_closing_wakes_whoever_receives(self) -> None:
        async with AsyncExitStack() as stack:
            (one,) = await self.ends(stack, "n-1")
            waiting = asyncio.ensure_future(one.receive())
            await asyncio.sleep(0)
            await one.close()
            with pytest.raises(Unavailable):
                await asyncio.wait_for(waiting, PATIENCE_S)
            with pytest.raises(Unavailable):
                await received(one)
            await one.send(ORCHESTRATOR, [beat(1)])
            await one.close()

"""The memory network keeps the transport contract, and can be cut."""

import asyncio
from collections.abc import Sequence

import pytest

from bacalhau.model.errors import Unavailable
from bacalhau.model.message import Heartbeat
from bacalhau.ports.transport import Transport
from bacalhau.testing.contracts.transport import TransportContract, beat, received
from bacalhau.transports.memory import MemoryNetwork


class TestMemoryNetwork(TransportContract):
    async def make(self, addresses: Sequence[str]) -> Sequence[Transport]:
        network = MemoryNetwork()
        return [network.endpoint(address) for address in addresses]


async def test_overflow_is_dropped_and_counted() -> None:
    network = MemoryNetwork(max_waiting=3)
    one, two = network.endpoint("a"), network.endpoint("b")
    for number in range(5):
        await one.send("b", [beat(number)])
    assert network.dropped == 2
    got = [(await received(two))[1][0] for _ in range(3)]
    assert got == [beat(0), beat(1), beat(2)]


async def test_a_cut_holds_both_ways_or_one_way_until_healed() -> None:
    network = MemoryNetwork()
    one, two = network.endpoint("a"), network.endpoint("b")
    network.cut("a", "b")
    await one.send("b", [beat(1)])
    await two.send("a", [beat(2)])
    assert network.dropped == 2
    network.heal("a", "b")
    network.cut("a", "b", one_way=True)
    await one.send("b", [beat(3)])
    await two.send("a", [beat(4)])
    assert (await received(one))[1] == (beat(4),)
    network.heal()
    await one.send("b", [beat(5)])
    assert (await received(two))[1] == (beat(5),)


async def test_a_second_end_of_an_address_replaces_the_first() -> None:
    network = MemoryNetwork()
    hub, old = network.endpoint("hub"), network.endpoint("a")
    waiting = asyncio.ensure_future(old.receive())
    await asyncio.sleep(0)
    new = network.endpoint("a")
    with pytest.raises(Unavailable):
        await waiting
    await old.send("hub", [beat(1)])
    await new.send("hub", [beat(2)])
    sender, messages = await received(hub)
    assert (sender, messages) == ("a", (beat(2),))
    await old.close()
    await hub.send("a", [Heartbeat(boot_id="c")])
    assert (await received(new))[0] == "hub"

"""Virtual time: long waits take none, their order holds, a deadlock is seen."""

import asyncio
import time

import pytest

from bacalhau.testing.loop import START_NS, Stuck, VirtualClock, run


def test_an_hour_passes_at_once() -> None:
    async def main() -> int:
        await VirtualClock().sleep(3600)
        return VirtualClock().now()

    begin = time.perf_counter()
    assert run(main()) == START_NS + 3600 * 10**9
    assert time.perf_counter() - begin < 5


def test_timers_fire_in_their_order() -> None:
    order: list[int] = []

    async def note(after: int) -> None:
        await asyncio.sleep(after)
        order.append(after)

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            for after in (30, 10, 20):
                group.create_task(note(after))

    run(main())
    assert order == [10, 20, 30]


def test_a_timeout_comes_before_what_takes_longer() -> None:
    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await asyncio.sleep(6)

    run(main())


def test_a_deadlock_is_an_error_and_no_endless_wait() -> None:
    async def main() -> None:
        await asyncio.Event().wait()

    with pytest.raises(Stuck):
        run(main())

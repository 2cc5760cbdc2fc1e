"""An event loop in virtual time: when nothing is ready, it jumps to the next timer.

An hour's sleep takes no time, and time-outs happen in their exact order. Only for code whose
whole world is in this process (memory store, memory network): with real sockets, threads or
child processes it would jump over what they are about to say.
"""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

START_NS = 1_700_000_000_000_000_000
"""What the clock shows at the beginning: some time in 2023."""


class Stuck(RuntimeError):
    """Every task waits for something that nobody will ever do."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """See above. `time()` starts at 0 and only moves when nothing is left to do."""

    def __init__(self) -> None:
        self._virtual_s = 0.0
        super().__init__(_Jumping(self._jump))

    def time(self) -> float:
        return self._virtual_s

    def _jump(self, seconds: float) -> None:
        self._virtual_s += seconds


class _Jumping(selectors.SelectSelector):
    """Never waits: tells the loop to jump instead."""

    def __init__(self, jump: Callable[[float], None]) -> None:
        super().__init__()
        self._jump = jump

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            raise Stuck("nothing will ever happen: every task waits for another")
        self._jump(timeout)
        return []


class VirtualClock:
    """The Clock of the running VirtualLoop."""

    def now(self) -> int:
        return START_NS + round(asyncio.get_running_loop().time() * 1e9)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run to the end in virtual time. Raises Stuck when it can never end."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)

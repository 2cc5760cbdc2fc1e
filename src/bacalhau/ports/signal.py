"""A level-triggered wake-up for loops: many sets, one look."""

import asyncio


class Signal:
    """Set from anywhere in the loop's thread; wait() returns once and clears it."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def set(self) -> None:
        self._event.set()

    async def wait(self, timeout_s: float | None = None) -> bool:
        """Return when set (True), or after the time-out: the caller looks in both cases."""
        if not self._event.is_set():
            if timeout_s is None:
                await self._event.wait()
            elif timeout_s > 0:
                try:
                    async with asyncio.timeout(timeout_s):
                        await self._event.wait()
                except TimeoutError:
                    return False
        was_set = self._event.is_set()
        self._event.clear()
        return was_set

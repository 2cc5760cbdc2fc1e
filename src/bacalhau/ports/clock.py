"""Time and identity come from outside, so that a simulation can give them."""

from typing import Protocol


class Clock(Protocol):
    """The time, and waiting for it."""

    def now(self) -> int:
        """Nanoseconds since the epoch."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after that long."""
        ...


class Ids(Protocol):
    """Fresh identities and seeds."""

    def new(self, prefix: str) -> str:
        """A fresh id: the prefix (`j-`, `e-`, `n-`, or '') and a UUIDv4."""
        ...

    def seed(self) -> int:
        """A fresh 64-bit seed for one decision."""
        ...

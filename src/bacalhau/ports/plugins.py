"""Finds plug-ins by entry point; the built-ins come through the same door."""

from importlib.metadata import EntryPoint, entry_points
from typing import Protocol, runtime_checkable


@runtime_checkable
class Closable(Protocol):
    """An optional ability: a plug-in that holds something until it is closed."""

    async def close(self) -> None: ...


GROUPS = ("executors", "sources", "publishers", "stores", "transports")


def find(group: str) -> dict[str, EntryPoint]:
    """Entry points of `bacalhau.<group>` by lower-case name; not yet imported."""
    return {ep.name.lower(): ep for ep in entry_points(group=f"bacalhau.{group}")}

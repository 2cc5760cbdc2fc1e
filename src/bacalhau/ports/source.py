"""The door for inputs: where the data of a task comes from."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from bacalhau.model.base import Record
from bacalhau.model.job import SpecConfig

Progress = Callable[[int, int], None]
"""Told (bytes so far, bytes in all or 0) now and then while data moves."""


class Fetched(Record, kw_only=True):
    """Where the data now is on this host, and how it may be mounted at the target.

    `path` is a file or a directory inside the given directory, or the host's own path for
    data that is used where it lies.
    """

    path: str
    read_only: bool = True


class Source(Protocol):
    """Fetches inputs. `name` is the source type in specs, lower-case.

    Contract (bacalhau.testing.contracts.source): a failed fetch leaves nothing behind; no
    path leaves the directory; faults are EngineFailed: permanent when the reference is
    wrong, transient when another try may work.
    """

    name: str
    in_place: bool
    """The data is used where it lies: fetch() gets a directory that does not exist."""

    async def probe(self) -> bool:
        """Can this node serve such inputs now?"""
        ...

    def check(self, source: SpecConfig) -> Sequence[str]:
        """What is wrong with these params; empty when nothing is."""
        ...

    async def size(self, source: SpecConfig) -> int:
        """Bytes that a fetch would bring to this node's disk; 0 when unknown or in place."""
        ...

    async def fetch(self, source: SpecConfig, directory: Path, progress: Progress) -> Fetched:
        """Bring the data into `directory` (existing, empty) or point to where it lies."""
        ...

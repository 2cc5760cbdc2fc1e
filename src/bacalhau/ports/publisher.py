"""The door for results: where the outputs of an execution go."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from bacalhau.model.execution import Execution
from bacalhau.model.job import SpecConfig


class Publisher(Protocol):
    """Publishes results. `name` is the publisher type in specs, lower-case.

    The directory holds `stdout`, `stderr`, `exitCode` and one directory per result path.
    Contract (bacalhau.testing.contracts.publisher): publishing twice is harmless, nothing
    is half-published, faults are EngineFailed.
    """

    name: str

    async def probe(self) -> bool:
        """Can this node publish so now?"""
        ...

    def check(self, publisher: SpecConfig) -> Sequence[str]:
        """What is wrong with these params; empty when nothing is."""
        ...

    async def publish(
        self, execution: Execution, publisher: SpecConfig, directory: Path
    ) -> SpecConfig:
        """Publish the directory; the result says where it is (type and params)."""
        ...

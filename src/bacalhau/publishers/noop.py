"""Publishes nothing: for jobs whose results nobody wants."""

from collections.abc import Sequence
from pathlib import Path

from bacalhau.model.execution import Execution
from bacalhau.model.job import SpecConfig


class NoopPublisher:
    """Takes every directory and leaves it where it is; the result is empty."""

    name = "noop"

    async def probe(self) -> bool:
        return True

    def check(self, publisher: SpecConfig) -> Sequence[str]:
        return ()

    async def publish(
        self, execution: Execution, publisher: SpecConfig, directory: Path
    ) -> SpecConfig:
        return SpecConfig()

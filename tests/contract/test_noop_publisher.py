"""The noop publisher keeps nothing."""

from bacalhau.model.job import SpecConfig
from bacalhau.publishers.noop import NoopPublisher
from bacalhau.testing.contracts.publisher import PublisherContract


class TestNoopPublisher(PublisherContract):
    keeps = False

    async def make(self) -> NoopPublisher:
        return NoopPublisher()

    def spec(self) -> SpecConfig:
        return SpecConfig(type="noop")

    async def archive(self, result: SpecConfig) -> bytes | None:
        assert result == SpecConfig()
        return None

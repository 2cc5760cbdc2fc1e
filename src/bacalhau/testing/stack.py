"""A whole cluster in this process, for tests and demonstrations: real parts, own ports."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from bacalhau.app import Running, running
from bacalhau.config import configure

SETTINGS: Mapping[str, object] = {
    "API.Port": 0,
    "Orchestrator.Enabled": True,
    "Compute.Enabled": True,
    "Compute.Heartbeat.Interval": 0.2,
    "Orchestrator.NodeManager.DisconnectTimeout": 3.0,
    "Publishers.Types.Local.Port": 0,
}
"""A free port, and quick to notice what changes."""


@asynccontextmanager
async def stack(
    directory: Path,
    settings: Mapping[str, object] | None = None,
    nodes: Mapping[str, Mapping[str, object]] | None = None,
) -> AsyncIterator[Running]:
    """A cluster with its state in `directory`; `nodes` are compute nodes with own settings."""
    config = configure({**SETTINGS, "DataDir": str(directory), **(settings or {})})
    members = None
    if nodes is not None:
        members = {name: configure(own, config) for name, own in nodes.items()}
    async with running(config, nodes=members) as here:
        yield here

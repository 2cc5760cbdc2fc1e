"""The memory store keeps the store contract."""

from pathlib import Path

from bacalhau.stores.memory import MemoryStore
from bacalhau.testing.contracts.store import StoreContract


class TestMemoryStore(StoreContract):
    persistent = False

    def make(self, directory: Path) -> MemoryStore:
        return MemoryStore()

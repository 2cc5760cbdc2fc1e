"""The SQLite store keeps the store contract."""

from pathlib import Path

from bacalhau.stores.sqlite import SqliteStore
from bacalhau.testing.contracts.store import StoreContract


class TestSqliteStore(StoreContract):
    def make(self, directory: Path) -> SqliteStore:
        return SqliteStore(directory / "state.db")

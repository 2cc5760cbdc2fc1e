"""Random histories on the SQLite store, with restarts and a disk that is full for a while."""

from contextlib import AbstractContextManager
from pathlib import Path

from hypothesis import HealthCheck, settings

from bacalhau.stores.sqlite import SqliteStore
from bacalhau.testing.contracts.full_disk import full_disk
from bacalhau.testing.contracts.store_machine import StoreMachine


class SqliteMachine(StoreMachine):
    def make(self, directory: Path) -> SqliteStore:
        return SqliteStore(directory / "state.db")

    def failing(self, directory: Path) -> AbstractContextManager[None]:
        return full_disk()


TestSqliteHistories = SqliteMachine.TestCase
TestSqliteHistories.settings = settings(
    max_examples=30,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)

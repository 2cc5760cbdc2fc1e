"""Both journals keep the journal contract."""

from pathlib import Path

from bacalhau.stores.journal import MemoryJournal, SqliteJournal
from bacalhau.testing.contracts.journal import JournalContract


class TestMemoryJournal(JournalContract):
    persistent = False

    def make(self, directory: Path) -> MemoryJournal:
        return MemoryJournal()


class TestSqliteJournal(JournalContract):
    def make(self, directory: Path) -> SqliteJournal:
        return SqliteJournal(directory / "journal.db")

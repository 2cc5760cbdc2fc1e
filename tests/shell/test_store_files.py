"""Opening database files: one process at a time, known schemas only, private to their owner."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from bacalhau.model.errors import Rejected, Unavailable
from bacalhau.model.plan import Change
from bacalhau.stores.database import migrate
from bacalhau.stores.journal import SqliteJournal
from bacalhau.stores.sqlite import SqliteStore
from bacalhau.testing.contracts.store_records import job

OPENER = """
import sys
from bacalhau.model.errors import Error
from bacalhau.stores.sqlite import SqliteStore
try:
    SqliteStore(sys.argv[1])
except Error as error:
    print(error.code, error)
else:
    print("opened")
"""


def opened_elsewhere(path: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", OPENER, str(path)], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


async def test_a_second_process_is_refused_until_the_first_has_closed(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    store = SqliteStore(path)
    assert opened_elsewhere(path).startswith("Conflict")
    assert str(path) in opened_elsewhere(path)
    await store.close()
    assert opened_elsewhere(path) == "opened"


async def test_a_missing_directory_is_made_and_the_files_are_private(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "deep" / "down" / "state.db")
    await store.commit(Change(jobs=(job(1),)))
    modes = {file.name: file.stat().st_mode & 0o777 for file in (tmp_path / "deep/down").iterdir()}
    assert modes.pop("state.db.lock") & 0o022 == 0
    assert modes == {"state.db": 0o600, "state.db-wal": 0o600, "state.db-shm": 0o600}
    await store.close()


@pytest.mark.parametrize("opener", [SqliteStore, SqliteJournal])
def test_a_newer_schema_is_refused_and_left_alone(
    tmp_path: Path, opener: type[SqliteStore] | type[SqliteJournal]
) -> None:
    path = tmp_path / "some.db"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version=99")
    connection.close()
    with pytest.raises(Rejected, match="schema version 99"):
        opener(path)
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA user_version").fetchone() == (99,)
    connection.close()


def test_what_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    path.write_bytes(b"not a database at all " * 1000)
    with pytest.raises(Rejected, match="not a sound database"):
        SqliteStore(path)
    with pytest.raises(Unavailable):
        SqliteStore(tmp_path)


async def test_the_file_of_something_else_is_refused(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path / "journal.db")
    await journal.close()
    with pytest.raises(Rejected, match="holds a journal, not a store"):
        SqliteStore(tmp_path / "journal.db")
    foreign = sqlite3.connect(tmp_path / "foreign.db")
    foreign.execute("CREATE TABLE theirs (x)")
    foreign.close()
    with pytest.raises(Rejected, match="holds a foreign database"):
        SqliteJournal(tmp_path / "foreign.db")


def test_migrations_run_in_order_and_once() -> None:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    one = "CREATE TABLE a (x)"
    two = "ALTER TABLE a ADD COLUMN y DEFAULT 7; INSERT INTO a (x) VALUES (2)"
    migrate(connection, (one,), "memory")
    connection.execute("INSERT INTO a VALUES (1)")
    for _ in range(2):
        migrate(connection, (one, two), "memory")
    assert connection.execute("SELECT x, y FROM a").fetchall() == [(1, 7), (2, 7)]
    assert connection.execute("PRAGMA user_version").fetchone() == (2,)
    with pytest.raises(Rejected, match="schema version 2"):
        migrate(connection, (one,), "memory")
    connection.close()


def test_a_migration_that_fails_half_way_changes_nothing() -> None:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    one, two = "CREATE TABLE a (x)", "CREATE TABLE b (x); CREATE TABLE a (again)"
    with pytest.raises(sqlite3.OperationalError):
        migrate(connection, (one, two), "memory")
    assert connection.execute("PRAGMA user_version").fetchone() == (1,)
    assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("a",)]
    connection.close()

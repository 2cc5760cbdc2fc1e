"""Opening SQLite files: lock, durability, migrations, and what errors mean."""

import fcntl
import os
import sqlite3
from importlib import resources
from pathlib import Path
from typing import IO, Literal

from bacalhau.model.errors import Conflict, Error, Rejected, Unavailable

Synchronous = Literal["FULL", "NORMAL"]

BUSY_MS = 5_000
"""How long SQLite waits for a lock. Only checkpoints ever meet: one writer per file."""

CHECKPOINT_PAGES = 4_096
"""WAL pages (16 MB) after which a commit also writes back to the database file."""

WAL_LIMIT_BYTES = 64 * 2**20
"""The WAL file is cut back to this after a burst."""

CACHE_KIB = 16_384
"""Page cache of one connection."""


APPLICATION_IDS = {"store": 0x42616361, "journal": 0x4261636A}
"""What our files say in SQLite's header that they hold: `Baca` and `Bacj`."""


class Database:
    """One SQLite file that this process alone uses, at the newest schema of `folder`.

    `folder` names the directory in `stores/sql` that holds the migrations. Raises Conflict
    when another process uses the file, Rejected when it is not ours or newer than we know,
    Unavailable when it cannot be opened.
    """

    def __init__(self, path: str | Path, folder: str, synchronous: Synchronous = "FULL") -> None:
        self.path = Path(path)
        self._synchronous = synchronous
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # SQLite gives its WAL the same mode; jobs may hold private data.
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
            self._lock = _lock(self.path)
        except OSError as error:
            raise Unavailable(
                f"cannot open '{self.path}': {error.strerror}",
                hint="check the path, its owner and its permissions",
            ) from error
        try:
            connection = self.connect()
            try:
                _check_content(connection, folder, self.path)
                migrate(connection, scripts(folder), str(self.path))
            finally:
                connection.close()
        except BaseException as error:
            self._lock.close()
            if isinstance(error, sqlite3.Error):
                raise trouble(self.path, error) from error
            raise

    def connect(self, *, read_only: bool = False) -> sqlite3.Connection:
        """A connection whose transactions are spelt out (BEGIN ... COMMIT)."""
        connection = sqlite3.connect(
            self.path, isolation_level=None, check_same_thread=False, cached_statements=256
        )
        try:
            connection.execute(f"PRAGMA busy_timeout={BUSY_MS}")
            connection.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
            if read_only:
                connection.execute("PRAGMA query_only=1")
            else:
                connection.execute("PRAGMA journal_mode=WAL")
                connection.execute(f"PRAGMA synchronous={self._synchronous}")
                connection.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}")
                connection.execute(f"PRAGMA journal_size_limit={WAL_LIMIT_BYTES}")
        except BaseException:
            connection.close()
            raise
        return connection

    def close(self) -> None:
        """Let other processes have the file."""
        self._lock.close()


def scripts(folder: str) -> tuple[str, ...]:
    """The migrations of that folder in order; the first makes version 1."""
    files = resources.files("bacalhau.stores").joinpath("sql", folder).iterdir()
    named = sorted((file.name, file) for file in files if file.name.endswith(".sql"))
    return tuple(file.read_text(encoding="utf-8") for _, file in named)


def migrate(connection: sqlite3.Connection, scripts: tuple[str, ...], name: str) -> None:
    """Bring a database to version len(scripts), one transaction for each step.

    Raises Rejected when it is newer than that.
    """
    version = _pragma(connection, "user_version")
    if version > len(scripts):
        raise Rejected(
            f"'{name}' has schema version {version}, this program knows {len(scripts)} at most",
            hint="start the newer program that wrote it, or another data directory",
        )
    for number in range(version + 1, len(scripts) + 1):
        try:
            connection.executescript(
                f"BEGIN IMMEDIATE; {scripts[number - 1]}; PRAGMA user_version={number}; COMMIT;"
            )
        except sqlite3.Error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def _check_content(connection: sqlite3.Connection, folder: str, path: Path) -> None:
    """Mark a new file as ours. Raises Rejected when it holds something else."""
    ours = APPLICATION_IDS[folder]
    found = _pragma(connection, "application_id")
    if found == ours:
        return
    if found or connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone():
        names = {number: name for name, number in APPLICATION_IDS.items()}
        raise Rejected(
            f"'{path}' holds a {names.get(found, 'foreign database')}, not a {folder}",
            hint="name another file or data directory",
        )
    connection.execute(f"PRAGMA application_id={ours}")


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    value: int = connection.execute(f"PRAGMA {name}").fetchone()[0]
    return value


def trouble(path: Path, error: sqlite3.Error) -> Error:
    """What an SQLite error means to the caller."""
    if error.sqlite_errorcode in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
        return Rejected(
            f"'{path}' is not a sound database: {error}",
            hint="restore it from a backup, or name another file",
        )
    return Unavailable(
        f"cannot use '{path}' now: {error}",
        hint="check free space, permissions and the health of the disk",
    )


def _lock(path: Path) -> IO[bytes]:
    """Hold the file for this process; the kernel lets go of it when the process dies.

    A record lock, because it is not inherited by a forked worker that outlives us.
    """
    # The handle is the lock: it lives as long as the Database.
    held = open(f"{path}.lock", "wb")  # noqa: SIM115
    try:
        fcntl.lockf(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        held.close()
        raise Conflict(
            f"'{path}' is in use by another process",
            hint="stop the other server, or give this one its own data directory",
        ) from error
    return held

"""A node's memory of its executions: in this process, or in one SQLite file."""

import sqlite3
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

import msgspec

from bacalhau.model.errors import Unavailable
from bacalhau.model.execution import Execution
from bacalhau.model.job import Job
from bacalhau.model.message import Report
from bacalhau.ports.store import Entry
from bacalhau.stores.database import Database, Synchronous, trouble
from bacalhau.stores.writer import Writer


class MemoryJournal:
    """Entries in a dict, gone with the process. See ports.store.Journal."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        self._closed = False

    async def load(self) -> tuple[Entry, ...]:
        return tuple(self._entries.values())

    async def write(self, entries: Sequence[Entry], forget: Sequence[str] = ()) -> None:
        if self._closed:
            raise Unavailable("the journal is closed")
        for entry in entries:
            self._entries[entry.execution.id] = entry
        for execution_id in forget:
            self._entries.pop(execution_id, None)

    async def close(self) -> None:
        """Refuse writes from now on."""
        self._closed = True


class SqliteJournal:
    """Entries in the SQLite file `path`, used by this process alone. See ports.store.Journal.

    Parameters and errors as for SqliteStore.
    """

    def __init__(self, path: str | Path, synchronous: Synchronous = "FULL") -> None:
        self._database = Database(path, "journal", synchronous)
        try:
            self._writer = Writer(self._database, "journal-writer")
        except sqlite3.Error as error:
            self._database.close()
            raise trouble(self._database.path, error) from error

    async def load(self) -> tuple[Entry, ...]:
        return await self._writer.run(_load)

    async def write(self, entries: Sequence[Entry], forget: Sequence[str] = ()) -> None:
        if entries or forget:
            await self._writer.run(partial(_write, entries=entries, forget=forget))

    async def close(self) -> None:
        """Write what is waiting, then let go of the file."""
        await self._writer.close()
        self._database.close()


class _Body(msgspec.Struct, frozen=True, omit_defaults=True):
    """An entry without its job."""

    execution: Execution
    report: Report | None = None
    number: int = 0


_encode = msgspec.json.encode
_body = msgspec.json.Decoder(_Body).decode
_job = msgspec.json.Decoder(Job).decode


def _load(connection: sqlite3.Connection) -> tuple[Entry, ...]:
    jobs = {
        tuple(key): _job(body)
        for *key, body in connection.execute("SELECT id, version, revision, body FROM jobs")
    }
    found = []
    for *key, text in connection.execute(
        "SELECT job_id, job_version, job_revision, body FROM entries ORDER BY number"
    ):
        body = _body(text)
        found.append(
            Entry(
                job=jobs[tuple(key)],
                execution=body.execution,
                report=body.report,
                number=body.number,
            )
        )
    return tuple(found)


def _write(connection: sqlite3.Connection, entries: Sequence[Entry], forget: Iterable[str]) -> None:
    connection.executemany(
        "INSERT OR IGNORE INTO jobs (id, version, revision, body) VALUES (?, ?, ?, ?)",
        ((*key, _encode(job)) for key, job in {_key(e.job): e.job for e in entries}.items()),
    )
    connection.executemany(
        "INSERT INTO entries (execution_id, job_id, job_version, job_revision, body)"
        " VALUES (?, ?, ?, ?, ?) ON CONFLICT (execution_id) DO UPDATE SET"
        " job_id = excluded.job_id, job_version = excluded.job_version,"
        " job_revision = excluded.job_revision, body = excluded.body",
        ((entry.execution.id, *_key(entry.job), _encode(_strip(entry))) for entry in entries),
    )
    touched = {entry.job.id for entry in entries}
    for execution_id in forget:
        found = connection.execute(
            "DELETE FROM entries WHERE execution_id = ? RETURNING job_id", (execution_id,)
        ).fetchall()
        touched.update(job_id for (job_id,) in found)
    connection.executemany(
        "DELETE FROM jobs WHERE id = ? AND NOT EXISTS (SELECT 1 FROM entries"
        " WHERE job_id = jobs.id AND job_version = version AND job_revision = revision)",
        ((job_id,) for job_id in touched),
    )


def _key(job: Job) -> tuple[str, int, int]:
    return job.id, job.version, job.revision


def _strip(entry: Entry) -> _Body:
    return _Body(execution=entry.execution, report=entry.report, number=entry.number)

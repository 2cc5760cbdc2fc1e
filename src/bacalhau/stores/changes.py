"""Writes changes into the tables of the SQLite store: each row over its old revision."""

import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Sequence

import msgspec

from bacalhau.model.base import evolve
from bacalhau.model.event import Event
from bacalhau.model.execution import Execution
from bacalhau.model.job import Job
from bacalhau.model.node import Node
from bacalhau.model.plan import Change
from bacalhau.stores.conflict import conflict

_encode = msgspec.json.encode

_REVISION = {
    "job": "SELECT revision FROM jobs WHERE id = ?",
    "execution": "SELECT revision FROM executions WHERE id = ?",
    "node": "SELECT revision FROM nodes WHERE id = ?",
}


def write(connection: sqlite3.Connection, change: Change) -> None:
    """Write all rows of a change inside the caller's transaction. Raises Conflict."""
    for table, row_id, expected in change.read:
        stored = _stored(connection, table, row_id)
        if stored != expected:
            raise conflict(table, row_id, stored)
    for node in change.nodes:
        _write_node(connection, node)
    _insert_jobs(connection, [job for job in change.jobs if job.revision == 1])
    for job in change.jobs:
        if job.revision != 1:
            _update_job(connection, job)
    _insert_executions(connection, [row for row in change.executions if row.revision == 1])
    _update_executions(connection, [row for row in change.executions if row.revision != 1])
    if change.events:
        _append_events(connection, change.events)


def _stored(connection: sqlite3.Connection, table: str, row_id: str) -> int:
    """The stored revision; 0 when there is no such row."""
    found = connection.execute(_REVISION[table], (row_id,)).fetchone()
    return found[0] if found else 0


def _write_node(connection: sqlite3.Connection, node: Node) -> None:
    stored = _stored(connection, "node", node.id)
    if stored != node.revision - 1:
        raise conflict("node", node.id, stored)
    connection.execute(
        "REPLACE INTO nodes (id, revision, body) VALUES (?, ?, ?)",
        (node.id, node.revision, _encode(node)),
    )


def _insert_jobs(connection: sqlite3.Connection, jobs: Sequence[Job]) -> None:
    if not jobs:
        return
    current = jobs[0]

    def rows() -> Iterable[tuple[object, ...]]:
        nonlocal current
        for current in jobs:
            yield (
                current.id,
                current.spec.namespace,
                current.spec.name,
                current.version,
                int(current.state.is_terminal),
                current.create_time,
                current.modify_time,
                _encode(current),
            )

    try:
        connection.executemany(
            "INSERT INTO jobs (id, namespace, name, version, revision, ended,"
            " create_time, modify_time, body) VALUES (?, ?, ?, ?, 1, ?, ?, ?, ?)",
            rows(),
        )
    except sqlite3.IntegrityError:
        raise _taken(connection, current) from None
    _insert_labels(connection, jobs)


def _taken(connection: sqlite3.Connection, job: Job) -> Exception:
    """Why a new job does not fit in: its id or its name is in use."""
    holder, revision = connection.execute(
        "SELECT id, revision FROM jobs WHERE id = ? OR (namespace = ? AND name = ?)"
        " ORDER BY id <> ?",
        (job.id, job.spec.namespace, job.spec.name, job.id),
    ).fetchone()
    return conflict("job", holder, revision)


def _insert_labels(connection: sqlite3.Connection, jobs: Iterable[Job]) -> None:
    rows = (
        (key, value, job.create_time, job.id)
        for job in jobs
        for key, value in job.spec.labels.items()
    )
    connection.executemany(
        "INSERT INTO job_labels (key, value, create_time, job)"
        " VALUES (?, ?, ?, (SELECT number FROM jobs WHERE id = ?))",
        rows,
    )


def _update_job(connection: sqlite3.Connection, job: Job) -> None:
    """Write over revision - 1. What defines a job only changes with its version."""
    if job.version > 1:
        connection.execute(
            "REPLACE INTO job_versions (job, version, body)"
            " SELECT number, version, body FROM jobs WHERE id = ? AND version < ?",
            (job.id, job.version),
        )
    try:
        updated = connection.execute(
            "UPDATE jobs SET namespace = ?, name = ?, version = ?, revision = ?, ended = ?,"
            " create_time = ?, modify_time = ?, body = ? WHERE id = ? AND revision = ?",
            (
                job.spec.namespace,
                job.spec.name,
                job.version,
                job.revision,
                int(job.state.is_terminal),
                job.create_time,
                job.modify_time,
                _encode(job),
                job.id,
                job.revision - 1,
            ),
        )
    except sqlite3.IntegrityError:
        raise _name_taken(connection, job) from None
    if updated.rowcount != 1:
        raise conflict("job", job.id, _stored(connection, "job", job.id))
    if job.version > 1:
        connection.execute(
            "DELETE FROM job_labels WHERE job = (SELECT number FROM jobs WHERE id = ?)", (job.id,)
        )
        _insert_labels(connection, (job,))


def _name_taken(connection: sqlite3.Connection, job: Job) -> Exception:
    holder, revision = connection.execute(
        "SELECT id, revision FROM jobs WHERE namespace = ? AND name = ?",
        (job.spec.namespace, job.spec.name),
    ).fetchone()
    return conflict("job", holder, revision)


def _insert_executions(connection: sqlite3.Connection, executions: Sequence[Execution]) -> None:
    if not executions:
        return
    current = executions[0]

    def rows() -> Iterable[tuple[object, ...]]:
        nonlocal current
        for current in executions:
            yield (
                current.id,
                current.job_id,
                current.job_version,
                int(current.is_settled),
                _encode(current),
            )

    try:
        connection.executemany(
            "INSERT INTO executions (id, job, version, revision, settled, body)"
            " VALUES (?, (SELECT number FROM jobs WHERE id = ?), ?, 1, ?, ?)",
            rows(),
        )
    except sqlite3.IntegrityError:
        stored = _stored(connection, "execution", current.id)
        if stored:
            raise conflict("execution", current.id, stored) from None
        raise conflict("job", current.job_id, 0) from None


def _update_executions(connection: sqlite3.Connection, executions: Iterable[Execution]) -> None:
    for row in executions:
        updated = connection.execute(
            "UPDATE executions SET revision = ?, settled = ?, body = ?"
            " WHERE id = ? AND revision = ?",
            (row.revision, int(row.is_settled), _encode(row), row.id, row.revision - 1),
        )
        if updated.rowcount != 1:
            raise conflict("execution", row.id, _stored(connection, "execution", row.id))


def _append_events(connection: sqlite3.Connection, events: Iterable[Event]) -> None:
    by_job: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        by_job[event.job_id].append(event)
    rows: list[tuple[int, int, bytes]] = []
    for job_id, batch in by_job.items():
        found = connection.execute(
            "SELECT number, (SELECT max(last) FROM events WHERE job = number)"
            " FROM jobs WHERE id = ?",
            (job_id,),
        ).fetchone()
        if found is None:
            raise conflict("job", job_id, 0)
        number, last = found[0], found[1] or 0
        numbered = [evolve(event, seq=seq) for seq, event in enumerate(batch, last + 1)]
        rows.append((number, last + len(batch), _encode(numbered)))
    connection.executemany("INSERT INTO events (job, last, body) VALUES (?, ?, ?)", rows)


def sweep(connection: sqlite3.Connection, before: int, limit: int) -> tuple[str, ...]:
    """Delete the jobs that ended longest ago, with all that belongs to them; their ids."""
    found = connection.execute(
        "SELECT number, id FROM jobs WHERE modify_time < ? AND ended = 1 AND NOT EXISTS"
        " (SELECT 1 FROM executions WHERE job = jobs.number AND settled = 0)"
        " ORDER BY modify_time, number LIMIT ?",
        (before, limit),
    ).fetchall()
    numbers = [(number,) for number, _ in found]
    for table in ("executions", "events", "job_labels", "job_versions"):
        connection.executemany(f"DELETE FROM {table} WHERE job = ?", numbers)
    connection.executemany("DELETE FROM jobs WHERE number = ?", numbers)
    return tuple(job_id for _, job_id in found)

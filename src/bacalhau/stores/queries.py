"""Reads from the tables of the SQLite store; each function is one query of the Store port."""

import sqlite3
from collections.abc import Iterator, Sequence

import msgspec

from bacalhau.core import selector
from bacalhau.model.base import evolve
from bacalhau.model.event import Event
from bacalhau.model.execution import Execution
from bacalhau.model.job import FAVOUR, Job, Requirement
from bacalhau.model.node import Node
from bacalhau.model.plan import Change
from bacalhau.ports.store import Page
from bacalhau.stores import cursor
from bacalhau.stores.cursor import Cursor

MAX_SCANNED = 10_000
"""Rows that one page looks at to find fitting labels: some 50 ms; it may then be short."""

_job = msgspec.json.Decoder(Job).decode
_execution = msgspec.json.Decoder(Execution).decode
_node = msgspec.json.Decoder(Node).decode
_events = msgspec.json.Decoder(tuple[Event, ...]).decode


class _Labels(msgspec.Struct, rename="pascal"):
    labels: dict[str, str] = {}


class _Labelled(msgspec.Struct, rename="pascal"):
    """The part of a job that selectors look at."""

    spec: _Labels


_labels = msgspec.json.Decoder(_Labelled).decode

_LIVE = (
    "WITH live (number) AS (SELECT number FROM jobs WHERE ended = 0"
    " UNION SELECT job FROM executions WHERE settled = 0) "
)


def live(connection: sqlite3.Connection) -> Change:
    """All live state, as a change from nothing: what the live index starts from."""
    connection.execute("BEGIN")
    try:
        nodes = connection.execute("SELECT body FROM nodes")
        jobs = connection.execute(
            _LIVE + "SELECT body FROM live CROSS JOIN jobs USING (number) ORDER BY number"
        )
        executions = connection.execute(
            _LIVE + "SELECT e.body FROM live CROSS JOIN jobs j USING (number)"
            " CROSS JOIN executions e ON e.job = j.number"
            " WHERE e.settled = 0 OR e.version = j.version ORDER BY e.number"
        )
        found = Change(
            nodes=tuple(_node(body) for (body,) in nodes),
            jobs=tuple(_job(body) for (body,) in jobs),
            executions=tuple(_execution(body) for (body,) in executions),
        )
    finally:
        connection.execute("COMMIT")
    # Ended tries are listed oldest first; the sort keeps the order of creation otherwise.
    ordered = sorted(found.executions, key=lambda row: row.modify_time if row.is_settled else 0)
    return evolve(found, executions=tuple(ordered))


def job(connection: sqlite3.Connection, job_id: str, version: int) -> Job | None:
    found = connection.execute(
        "SELECT number, version, body FROM jobs WHERE id = ?", (job_id,)
    ).fetchone()
    if found is None:
        return None
    number, latest, body = found
    if version in (0, latest):
        return _job(body)
    found = connection.execute(
        "SELECT body FROM job_versions WHERE job = ? AND version = ?", (number, version)
    ).fetchone()
    return _job(found[0]) if found else None


def resolve(connection: sqlite3.Connection, name_or_id: str, namespace: str) -> tuple[str, ...]:
    for where, values in (
        ("namespace = ? AND name = ?", (namespace, name_or_id)),
        ("id = ?", (name_or_id,)),
    ):
        found = connection.execute(f"SELECT id FROM jobs WHERE {where}", values).fetchone()
        if found:
            return (found[0],)
    if not name_or_id:
        return ()
    # Ids are text in byte order, so those with a prefix are one range.
    rows = connection.execute(
        "SELECT id FROM jobs WHERE id >= ? AND id < ? ORDER BY id LIMIT 2",
        (name_or_id, name_or_id + chr(0x10FFFF)),
    )
    return tuple(job_id for (job_id,) in rows)


def jobs(
    connection: sqlite3.Connection,
    *,
    namespace: str,
    labels: Sequence[Requirement],
    order_by: str,
    reverse: bool,
    limit: int,
    after: Cursor | None,
) -> Page[Job]:
    """One page; with labels it may be short, though `next` says that there is more."""
    items: list[Job] = []
    last = Cursor(0, 0)
    rows = _ordered(connection, namespace, labels, order_by, reverse, after)
    for scanned, (seen, body, found_in) in enumerate(rows, 1):
        fits = not namespace or found_in == namespace
        if fits and not (labels and selector.matches(labels, _labels(body).spec.labels)):
            if limit and len(items) == limit:
                return Page(items=tuple(items), next=cursor.write(order_by, last))
            items.append(_job(body))
            last = seen
        if limit and scanned == MAX_SCANNED:
            end = last if len(items) == limit else seen
            return Page(items=tuple(items), next=cursor.write(order_by, end))
    return Page(items=tuple(items))


def _ordered(
    connection: sqlite3.Connection,
    namespace: str,
    labels: Sequence[Requirement],
    order_by: str,
    reverse: bool,
    after: Cursor | None,
) -> Iterator[tuple[Cursor, bytes, str]]:
    """Candidates in order, read one by one from the index that narrows them best."""
    order, compare = ("DESC", "<") if reverse else ("ASC", ">")
    label = _equality(labels) if order_by == "created_at" else None
    where: list[str] = []
    values: list[object] = []
    if label is not None:
        table = "job_labels l CROSS JOIN jobs j ON j.number = l.job"
        time, number = "l.create_time", "l.job"
        where.append("l.key = ? AND l.value = ?")
        values += label
    else:
        table = "jobs j"
        time = "j.create_time" if order_by == "created_at" else "j.modify_time"
        number = "j.number"
        if namespace:
            where.append("j.namespace = ?")
            values.append(namespace)
    # A page that starts among equal times first reads the rest of those: SQLite finds
    # its place in `time = ? AND number > ?`, but would scan for `(time, number) > (?, ?)`.
    parts: list[tuple[str, tuple[int, ...]]] = [("", ())]
    if after is not None:
        parts = [
            (f"{time} = ? AND {number} {compare} ?", (after.time, after.number)),
            (f"{time} {compare} ?", (after.time,)),
        ]
    for part, bounds in parts:
        conditions = " AND ".join([*where, part] if part else where)
        rows = connection.execute(
            f"SELECT {time}, {number}, j.body, j.namespace FROM {table}"
            + (f" WHERE {conditions}" if conditions else "")
            + f" ORDER BY {time} {order}, {number} {order}",
            [*values, *bounds],
        )
        try:
            for found_time, found_number, body, found_in in rows:
                yield Cursor(found_time, found_number), body, found_in
        finally:
            rows.close()


def _equality(labels: Sequence[Requirement]) -> tuple[str, str] | None:
    """A label with the one value that all wanted jobs have, if any is asked for."""
    for wanted in labels:
        single = wanted.operator in ("=", "==", "in") and len(wanted.values) == 1
        if single and not wanted.key.startswith(FAVOUR):
            return wanted.key, wanted.values[0]
    return None


def versions(connection: sqlite3.Connection, job_id: str) -> tuple[Job, ...]:
    rows = connection.execute(
        "SELECT v.version AS version, v.body FROM jobs j"
        " JOIN job_versions v ON v.job = j.number WHERE j.id = ?1"
        " UNION ALL SELECT version, body FROM jobs WHERE id = ?1 ORDER BY version",
        (job_id,),
    )
    return tuple(_job(body) for _, body in rows)


def executions(connection: sqlite3.Connection, job_id: str, version: int) -> tuple[Execution, ...]:
    rows = connection.execute(
        "SELECT e.body FROM jobs j JOIN executions e ON e.job = j.number"
        " WHERE j.id = ?1 AND (?2 = 0 OR e.version = ?2) ORDER BY e.number",
        (job_id, version),
    )
    return tuple(sorted((_execution(body) for (body,) in rows), key=lambda row: row.create_time))


def execution(connection: sqlite3.Connection, execution_id: str) -> Execution | None:
    found = connection.execute(
        "SELECT body FROM executions WHERE id = ?", (execution_id,)
    ).fetchone()
    return _execution(found[0]) if found else None


def events(
    connection: sqlite3.Connection,
    job_id: str,
    *,
    version: int,
    execution_id: str,
    after: int,
    limit: int,
) -> tuple[Event, ...]:
    found: list[Event] = []
    rows = connection.execute(
        "SELECT e.body FROM jobs j JOIN events e ON e.job = j.number"
        " WHERE j.id = ? AND e.last > ? ORDER BY e.last",
        (job_id, after),
    )
    for (body,) in rows:
        for event in _events(body):
            if event.seq <= after or version not in (0, event.job_version):
                continue
            if event.execution_id.startswith(execution_id):
                found.append(event)
                if len(found) == limit:
                    rows.close()
                    return tuple(found)
    return tuple(found)

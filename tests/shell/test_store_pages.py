"""Listing is a range of an index: it costs the same however many jobs there are."""

import sqlite3
from collections.abc import Iterator

import pytest

from bacalhau.core import selector
from bacalhau.model.base import evolve
from bacalhau.model.plan import Change
from bacalhau.stores import changes, queries
from bacalhau.stores.cursor import Cursor
from bacalhau.stores.database import migrate, scripts
from bacalhau.testing.contracts.store_records import job


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    made = sqlite3.connect(":memory:", isolation_level=None)
    migrate(made, scripts("store"), "memory")
    yield made
    made.close()


@pytest.mark.parametrize("is_first", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("order_by", ["created_at", "modified_at"])
@pytest.mark.parametrize("labels", ["", "colour=red"])
@pytest.mark.parametrize("namespace", ["", "a"])
def test_every_page_finds_its_place_in_an_index(
    connection: sqlite3.Connection,
    namespace: str,
    labels: str,
    order_by: str,
    reverse: bool,
    is_first: bool,
) -> None:
    said: list[str] = []
    connection.set_trace_callback(said.append)
    queries.jobs(
        connection,
        namespace=namespace,
        labels=selector.parse(labels),
        order_by=order_by,
        reverse=reverse,
        limit=10,
        after=None if is_first else Cursor(5, 5),
    )
    connection.set_trace_callback(None)
    assert len(said) == (1 if is_first else 2)
    for query in said:
        for *_, step in connection.execute(f"EXPLAIN QUERY PLAN {query}"):
            assert "USING INDEX" in step or "USING PRIMARY KEY" in step or "USING INTEGER" in step
            assert "TEMP B-TREE" not in step


def test_a_page_looks_at_a_bounded_number_of_rows(
    connection: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queries, "MAX_SCANNED", 10)
    rows = [job(n, **({"colour": "red"} if n % 25 == 24 else {})) for n in range(50)]
    changes.write(connection, Change(jobs=tuple(rows)))
    found, pages, after = [], 0, ""
    while pages == 0 or after:
        page = queries.jobs(
            connection,
            namespace="",
            labels=selector.parse("colour"),
            order_by="created_at",
            reverse=False,
            limit=5,
            after=queries.cursor.read("created_at", after) if after else None,
        )
        found += page.items
        pages, after = pages + 1, page.next
    assert found == [rows[24], rows[49]]
    assert 5 <= pages <= 6


def test_many_jobs_of_one_moment_are_paged_in_order_of_creation(
    connection: sqlite3.Connection,
) -> None:
    rows = tuple(evolve(job(n), create_time=7) for n in range(100))
    changes.write(connection, Change(jobs=rows))
    page = queries.jobs(
        connection,
        namespace="",
        labels=(),
        order_by="created_at",
        reverse=True,
        limit=2,
        after=Cursor(7, 51),
    )
    assert page.items == (rows[49], rows[48])

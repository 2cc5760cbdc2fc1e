"""The part of the store contract that is about finding and listing jobs."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from bacalhau.core import selector
from bacalhau.model.base import evolve
from bacalhau.model.errors import Rejected
from bacalhau.model.job import Job, Requirement
from bacalhau.model.plan import Change
from bacalhau.ports.store import Store
from bacalhau.testing.contracts.store_records import job, renewed

pytestmark = pytest.mark.asyncio


class PagesContract(ABC):
    """Tests of names, ids, pages and labels."""

    @abstractmethod
    def make(self, directory: Path) -> Store:
        """A store with its state in `directory`: the same state when called again."""

    @pytest_asyncio.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[Store]:
        made = self.make(tmp_path)
        yield made
        await made.close()

    async def pages(self, store: Store, **query: Any) -> list[Job]:
        """All jobs that following the pages of this query yields."""
        found: list[Job] = []
        after = ""
        while True:
            page = await store.jobs(**query, after=after)
            found += page.items
            if not page.next:
                return found
            after = page.next

    async def test_a_name_wins_over_an_id_and_an_id_over_a_prefix(self, store: Store) -> None:
        named = evolve(job(4), spec=evolve(job(4).spec, name="j-00001"))
        await store.commit(Change(jobs=(job(1), job(2), job(12, namespace="other"), named)))
        assert list(await store.resolve("j-00001", "default")) == [named.id]
        assert list(await store.resolve("j-00001", "other")) == ["j-00001"]
        assert list(await store.resolve("job-12", "other")) == ["j-00012"]
        assert list(await store.resolve("job-12", "default")) == []
        assert list(await store.resolve("j-00012", "default")) == ["j-00012"]
        assert list(await store.resolve("j-00002", "x")) == ["j-00002"]
        assert list(await store.resolve("j-0001", "x")) == ["j-00012"]
        assert len(await store.resolve("j-", "x")) == 2
        for nothing in ("j-9", "%", "J-00001", "j-00001 ", ""):
            assert list(await store.resolve(nothing, "default")) == []

    @pytest.mark.parametrize("order_by", ["created_at", "modified_at"])
    @pytest.mark.parametrize("reverse", [False, True])
    async def test_pages_are_complete_and_in_order(
        self, store: Store, order_by: str, reverse: bool
    ) -> None:
        rows = [
            evolve(job(n, time=1 + n // 4, namespace="ab"[n % 2]), modify_time=100 - n // 3)
            for n in range(41)
        ]
        await store.commit(Change(jobs=tuple(rows)))
        for namespace in ("", "a", "b", "c"):
            chosen = [row for row in rows if namespace in ("", row.spec.namespace)]
            wanted = sorted(chosen, key=_created if order_by == "created_at" else _modified)
            if reverse:
                wanted.reverse()
            for limit in (0, 1, 7, 41, 100):
                found = await self.pages(
                    store, namespace=namespace, order_by=order_by, reverse=reverse, limit=limit
                )
                assert [row.id for row in found] == [row.id for row in wanted]

    async def test_pages_stay_true_while_jobs_come_in(self, store: Store) -> None:
        await store.commit(Change(jobs=tuple(job(n) for n in range(20))))
        found: list[str] = []
        after, number = "", 20
        while True:
            page = await store.jobs(limit=3, after=after)
            found += [row.id for row in page.items]
            if not page.next:
                break
            after = page.next
            if number < 40:
                await store.commit(Change(jobs=(job(number),)))
                number += 1
        assert found == [job(n).id for n in range(number)]

    async def test_a_page_token_of_another_list_is_rejected(self, store: Store) -> None:
        await store.commit(Change(jobs=(job(1), job(2))))
        token = (await store.jobs(limit=1)).next
        for bad in ("x", "é", "AAAA", token[:-2], "Y3JlYXRlZF9hdDpOOjU6NQ"):
            with pytest.raises(Rejected):
                await store.jobs(limit=1, after=bad)
        with pytest.raises(Rejected):
            await store.jobs(limit=1, after=token, order_by="modified_at")
        with pytest.raises(Rejected):
            await store.jobs(order_by="id")

    @pytest.mark.parametrize(
        "text",
        ["colour=red", "colour!=red", "colour in (red,blue)", "colour notin (red)", "colour",
         "!colour", "size>3", "size<3", "colour=red,size>3", "colour in (red),!size", "other=1"],
    )  # fmt: skip
    async def test_labels_select(self, store: Store, text: str) -> None:
        colours: tuple[dict[str, str], ...] = (
            {},
            {"colour": "red"},
            {"colour": "blue"},
            {"colour": "", "size": "5"},
        )
        rows = []
        for n in range(24):
            labels = dict(colours[n % 4])
            if n % 5 == 0:
                labels["size"] = str(n % 7)
            rows.append(job(n, time=1 + n // 3, namespace="ab"[n % 2], **labels))
        await store.commit(Change(jobs=tuple(rows)))
        wanted: tuple[Requirement, ...] = selector.parse(text)
        for order_by in ("created_at", "modified_at"):
            for namespace in ("", "a"):
                found = await self.pages(
                    store, namespace=namespace, labels=wanted, order_by=order_by, limit=2
                )
                assert [row.id for row in found] == [
                    row.id
                    for row in rows
                    if namespace in ("", row.spec.namespace)
                    and not selector.matches(wanted, row.spec.labels)
                ]

    async def test_labels_are_those_of_the_newest_version(self, store: Store) -> None:
        one = job(1, colour="red")
        await store.commit(Change(jobs=(one,)))
        newer = renewed(one)
        newer = evolve(newer, spec=evolve(newer.spec, labels={"colour": "blue"}))
        await store.commit(Change(jobs=(newer,)))
        assert (await store.jobs(labels=selector.parse("colour=red"))).items == ()
        assert (await store.jobs(labels=selector.parse("colour=blue"))).items == (newer,)


def _created(row: Job) -> int:
    return row.create_time


def _modified(row: Job) -> int:
    return row.modify_time

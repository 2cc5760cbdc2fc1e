"""P13: a page of the job list in a store of a million jobs, against one of a thousand."""

import asyncio
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from harness import Result, Yardstick, compare, median
from server import serve
from yardsticks import Peers

from bacalhau import Client
from bacalhau.api import paging
from bacalhau.model.job import Job, JobSpec, JobState, JobType, SpecConfig, Task
from bacalhau.model.plan import Change
from bacalhau.stores.sqlite import SqliteStore

SMALL, LARGE, QUICK_LARGE = 1_000, 1_000_000, 20_000
PAGE = 100
BITE = 10_000
SAMPLES = 200


def p13(peers: Peers, quick: bool) -> list[Result]:
    """The first page and one from the middle, of the store alone and over HTTP."""
    large = QUICK_LARGE if quick else LARGE
    with tempfile.TemporaryDirectory(prefix="bacalhau-bench-") as scratch:
        few, many = Path(scratch) / "few", Path(scratch) / "many"
        tokens = {
            directory: {"first": "", "middle": asyncio.run(_fill(directory, count))}
            for directory, count in ((few, SMALL), (many, large))
        }

        def rows(how: str, ask: Callable[[Path, str], float]) -> list[Result]:
            return [
                result
                for where in ("first", "middle")
                for result in compare(
                    "P13",
                    f"{where} page of {PAGE} of {large:,} jobs, {how}, p50",
                    lambda where=where: ask(many, tokens[many][where]),
                    [
                        Yardstick(
                            f"of {SMALL:,}", lambda where=where: ask(few, tokens[few][where]), 1.5
                        )
                    ],
                    unit="s",
                    better="low",
                    trials=1 if quick else 3,
                )
            ]

        results = rows("store", lambda place, after: asyncio.run(_from_store(place, after)))
        with (
            serve("orchestrator", directory=few) as small,
            serve("orchestrator", directory=many) as big,
        ):
            clients = {few: small.client, many: big.client}
            results += rows("HTTP", lambda place, after: _over_http(clients[place], after))
    return results


async def _fill(directory: Path, count: int) -> str:
    """Write ended jobs through the store's own commits; where the middle of the list is."""
    (directory / "orchestrator").mkdir(parents=True)
    store = SqliteStore(_file(directory), "NORMAL")
    begin = time.time_ns() - 3600 * 10**9  # recent: retention leaves them alone
    try:
        for start in range(0, count, BITE):
            numbers = range(start, min(count, start + BITE))
            await store.commit(Change(jobs=tuple(_job(begin, number) for number in numbers)))
        after, left = "", count // 2
        while left > 0:
            page = await store.jobs(limit=min(left, BITE), after=after)
            after, left = page.next, left - len(page.items)
        return after
    finally:
        await store.close()


def _job(begin: int, number: int) -> Job:
    now = begin + number * 1000
    return Job(
        id=f"j-{number:08}",
        spec=JobSpec(
            name=f"job-{number}",
            namespace="default",
            type=JobType.BATCH,
            count=1,
            labels={"team": "blue"},
            tasks=(Task(engine=SpecConfig(type="noop"), publisher=SpecConfig(type="noop")),),
        ),
        state=JobState.COMPLETED,
        create_time=now,
        modify_time=now,
        version_time=now,
    )


def _file(directory: Path) -> Path:
    return directory / "orchestrator" / "state.db"


async def _from_store(directory: Path, after: str) -> float:
    """Median seconds of asking the store for the page that begins there."""
    store = SqliteStore(_file(directory))
    try:
        took = []
        for _ in range(SAMPLES):
            begin = time.perf_counter()
            page = await store.jobs(limit=PAGE, after=after)
            took.append(time.perf_counter() - begin)
            _check(len(page.items))
    finally:
        await store.close()
    return median(took)


def _over_http(client: Client, after: str) -> float:
    """Median seconds of asking the API for the page that begins there."""
    position = paging.Position("created_at", False, PAGE, cursor=after)
    query = {"next_token": paging.write(position)} if after else {"limit": PAGE}
    took = []
    for _ in range(SAMPLES):
        begin = time.perf_counter()
        page = client.raw("GET", "/orchestrator/jobs", query)
        took.append(time.perf_counter() - begin)
        _check(len(page["Items"]))
    return median(took)


def _check(count: int) -> None:
    if count != PAGE:
        raise AssertionError(f"a page of {count} jobs, not of {PAGE}")

"""P1, P8: how long one thing takes when nothing else goes on, or when a queue waits."""

import time
from itertools import pairwise

from harness import Result, Yardstick, compare, median, percentile
from server import END_S, Server, native, serve, wasm
from yardsticks import Peers

SLEEP_S = 0.02
FREED_P50_S, FREED_P99_S = 0.01, 0.05


def p1(peers: Peers, quick: bool) -> list[Result]:
    """From submitting a job to its first log line, both through the API."""
    count = 20 if quick else 150
    trials = 1 if quick else 3
    with serve() as server:
        echo = native("/bin/echo", "hello")
        _first_line(server, echo)
        results = compare(
            "P1",
            "submit to first log line, native, p50",
            lambda: median([_first_line(server, echo) for _ in range(count)]),
            [
                Yardstick("Ray, no-op round trip", _latency(peers, "ray", count), 1.25),
                Yardstick("Dask, no-op round trip", _latency(peers, "dask", count)),
            ],
            unit="s",
            better="low",
            trials=trials,
        )
        module = wasm(server.directory)
        _until_done(server, module)
        results += compare(
            "P1",
            "submit to completed, wasm, p50",
            lambda: median([_until_done(server, module) for _ in range(count)]),
            [Yardstick("Ray, no-op round trip", _latency(peers, "ray", count))],
            unit="s",
            better="low",
            trials=trials,
        )
    return results


def _latency(peers: Peers, name: str, count: int):
    return lambda: median(peers.ask(name, f"latency {count}"))


def _first_line(server: Server, job: dict[str, object]) -> float:
    """Seconds; a stream that ends before the first line is opened again while time runs on."""
    begin = time.perf_counter()
    done = server.client.submit(job)
    while time.perf_counter() - begin < END_S:
        for line in server.client.logs(done.job_id, follow=True):
            took = time.perf_counter() - begin
            if line.text != "hello\n":
                raise AssertionError(f"unexpected output: {line.text!r}")
            return took
    raise AssertionError(f"job {done.job_id} has no output")


def _until_done(server: Server, job: dict[str, object]) -> float:
    begin = time.perf_counter()
    server.client.wait(server.client.submit(job).job_id, timeout_s=END_S)
    return time.perf_counter() - begin


def p8(peers: Peers, quick: bool) -> list[Result]:
    """A long queue of sleepers on a node with one slot: from one's end to the next's start.

    Times are those of the executions' records, as the node reported them.
    """
    queued, measured = (200, 50) if quick else (10_000, 300)
    with serve(settings={"Compute.AllocatedCapacity.CPU": "1"}) as server:
        ids = server.submit([native("/bin/sleep", str(SLEEP_S), cpu="1")] * queued)
        server.client.wait(ids[measured], timeout_s=END_S)
        runs = [server.client.executions(job_id)[0] for job_id in ids[:measured]]
    runs.sort(key=lambda run: run.start_time)
    gaps = [(after.start_time - before.end_time) / 1e9 for before, after in pairwise(runs)]
    if min(gaps) < 0:
        raise AssertionError("two runs shared the one slot")
    what = f"freed slot to next start, {queued:,} queued"
    return [
        Result("P8", f"{what}, p50", "s", "low", FREED_P50_S, [percentile(gaps, 50)]),
        Result("P8", f"{what}, p99", "s", "low", FREED_P99_S, [percentile(gaps, 99)]),
    ]

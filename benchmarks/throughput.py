"""P2, P3, P4, P7: many jobs in one batch, from submitting to the last terminal state."""

import time

from harness import Result, Yardstick, compare, percentile
from server import END_S, Server, native, serve, wasm
from yardsticks import Peers, bubblewrap, xargs

NATIVE_CPU = "20m"
"""A hundred on two cores at once: enough that the node never waits for work."""
BOXED_AT_ONCE = 4


def p2(peers: Peers, quick: bool) -> list[Result]:
    """Native no-op jobs: /bin/true as it is, without a sandbox."""
    count = 1_000 if quick else 10_000
    with serve() as server:
        job = native(cpu=NATIVE_CPU)
        server.run_all([job] * 100)
        results = compare(
            "P2",
            f"{count:,} native no-op jobs, one batch",
            lambda: count / server.run_all([job] * count),
            [
                Yardstick("xargs -P2", lambda: count / xargs(count, 2, "/bin/true"), 0.7),
                Yardstick("Ray, subprocess", peers.rate("ray", "processes", count), 1.5),
            ],
            unit="/s",
            better="high",
            trials=1 if quick else 3,
        )
    return results


def p3(peers: Peers, quick: bool) -> list[Result]:
    """wasm no-op jobs against no-op functions."""
    count = 1_000 if quick else 10_000
    with serve() as server:
        job = wasm(server.directory)
        server.run_all([job] * 100)
        return compare(
            "P3",
            f"{count:,} wasm no-op jobs, one batch",
            lambda: count / server.run_all([job] * count),
            [
                Yardstick("Ray, no-op function", peers.rate("ray", "throughput", count), 4.0),
                Yardstick("Dask, no-op function", peers.rate("dask", "throughput", count // 5)),
            ],
            unit="/s",
            better="high",
            trials=1 if quick else 3,
        )


def p4(peers: Peers, quick: bool) -> list[Result]:
    """Sandboxed programs against bubblewrap alone, as many at a time."""
    count = 200 if quick else 1_000
    cpu = f"{2000 // BOXED_AT_ONCE}m"
    loop = bubblewrap()
    settings = {
        "Engines.Types.Process.Sandbox": "true",
        "Compute.AllocatedCapacity.CPU": "2",
    }
    with serve(settings=settings) as server:
        job = native(cpu=cpu)
        server.run_all([job] * 20)
        return compare(
            "P4",
            f"{count:,} sandboxed no-op jobs, one batch",
            lambda: count / server.run_all([job] * count),
            [
                Yardstick(
                    f"xargs -P{BOXED_AT_ONCE} bwrap",
                    lambda: count / xargs(count, BOXED_AT_ONCE, *loop),
                    0.7,
                )
            ],
            unit="/s",
            better="high",
            trials=1 if quick else 3,
        )


def p7(peers: Peers, quick: bool) -> list[Result]:
    """One job of many partitions against as many jobs, and how soon it is accepted."""
    count = 1_000 if quick else 10_000
    accepted: list[float] = []
    with serve() as server:
        one, many = wasm(server.directory, count=count), wasm(server.directory)
        server.run_all([many] * 100)
        results = compare(
            "P7",
            f"one wasm job of {count:,} partitions",
            lambda: _one(server, one, accepted),
            [Yardstick(f"{count:,} jobs, one batch", lambda: server.run_all([many] * count), 1.0)],
            unit="s",
            better="low",
            trials=1 if quick else 3,
        )
    what = f"a job of {count:,} partitions accepted, durable"
    return [*results, Result("P7", what, "s", "low", 0.05, [percentile(accepted, 50)])]


def _one(server: Server, job: dict[str, object], accepted: list[float]) -> float:
    begin = time.perf_counter()
    done = server.client.submit(job)
    accepted.append(time.perf_counter() - begin)
    server.client.wait(done.job_id, timeout_s=END_S)
    took = time.perf_counter() - begin
    server.check([done.job_id])
    return took

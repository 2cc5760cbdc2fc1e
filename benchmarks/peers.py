"""The yardsticks: Ray, Dask and Celery, driven over stdin and stdout in an environment of
their own, so that none of their packages mixes with ours.

    python peers.py ray|dask|celery

Commands, one a line: `latency N`, `throughput N`, `submit N`, `rss`, `quit`. Each answers
with one line of JSON: a list of seconds, seconds in all, or bytes.
"""

import json
import os
import subprocess
import sys
import time


class RayPeer:
    def __init__(self) -> None:
        import ray

        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        ray.init(num_cpus=2, include_dashboard=False, logging_level="ERROR")
        self.ray = ray

        @ray.remote
        def noop(value):  # type: ignore[no-untyped-def]
            return value

        self.noop = noop
        ray.get([noop.remote(i) for i in range(100)])

    def latency(self, count: int) -> list[float]:
        answer = []
        for number in range(count):
            begin = time.perf_counter()
            self.ray.get(self.noop.remote(number))
            answer.append(time.perf_counter() - begin)
        return answer

    def throughput(self, count: int) -> float:
        begin = time.perf_counter()
        self.ray.get([self.noop.remote(number) for number in range(count)])
        return time.perf_counter() - begin


class DaskPeer:
    def __init__(self) -> None:
        from distributed import Client, LocalCluster

        self.cluster = LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        )
        self.client = Client(self.cluster)
        self.throughput(100)

    def latency(self, count: int) -> list[float]:
        answer = []
        for number in range(count):
            begin = time.perf_counter()
            self.client.submit(_same, number, pure=False).result()
            answer.append(time.perf_counter() - begin)
        return answer

    def throughput(self, count: int) -> float:
        begin = time.perf_counter()
        self.client.gather(self.client.map(_same, range(count), pure=False))
        return time.perf_counter() - begin

    def rss(self) -> int:
        """Resident bytes of one idle worker process."""
        pids = self.client.run(os.getpid)
        return max(_rss(pid) for pid in pids.values())


class CeleryPeer:
    """Submission alone: `.delay` to a Redis broker on a port of its own."""

    def __init__(self) -> None:
        from celery import Celery

        self.redis = subprocess.Popen(
            ["redis-server", "--port", "6399", "--save", "", "--appendonly", "no"],
            stdout=subprocess.DEVNULL,
        )
        app = Celery("peer", broker="redis://127.0.0.1:6399/0")

        @app.task
        def noop(value):  # type: ignore[no-untyped-def]
            return value

        self.noop = noop
        deadline = time.monotonic() + 10
        while True:
            try:
                noop.delay(0)
            except Exception:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
            else:
                break

    def submit(self, count: int) -> float:
        begin = time.perf_counter()
        for number in range(count):
            self.noop.delay(number)
        return time.perf_counter() - begin

    def close(self) -> None:
        self.redis.terminate()
        self.redis.wait()


def _same(value: object) -> object:
    return value


def _rss(pid: int) -> int:
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    peer = {"ray": RayPeer, "dask": DaskPeer, "celery": CeleryPeer}[sys.argv[1]]()
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints must not look like an answer
    print(json.dumps("ready"), file=out, flush=True)
    for line in sys.stdin:
        word, *numbers = line.split()
        if word == "quit":
            break
        answer = getattr(peer, word)(*(int(number) for number in numbers))
        print(json.dumps(answer), file=out, flush=True)
    if hasattr(peer, "close"):
        peer.close()


if __name__ == "__main__":
    main()

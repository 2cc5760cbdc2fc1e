"""The yardsticks: Ray, Dask and Celery, driven over stdin and stdout in an environment of
their own, so that none of their packages mixes with ours.

    python peers.py ray|dask|celery

Commands, one a line: `latency N`, `throughput N`, `processes N`, `submit N`, `rss`,
`version`, `quit`. Each answers with one line of JSON: a list of seconds, seconds in all,
bytes, or text.
"""

import json
import os
import subprocess
import sys
import time
from importlib.metadata import version

REDIS_PORT = "6399"


class RayPeer:
    name = "ray"

    def __init__(self) -> None:
        import ray

        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        ray.init(num_cpus=2, include_dashboard=False, logging_level="ERROR")
        self.ray = ray

        @ray.remote
        def noop(value):
            return value

        @ray.remote
        def process(value):
            return subprocess.run(["/bin/true"], check=True).returncode

        self.noop = noop
        self.process = process
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

    def processes(self, count: int) -> float:
        begin = time.perf_counter()
        self.ray.get([self.process.remote(number) for number in range(count)])
        return time.perf_counter() - begin

    def close(self) -> None:
        self.ray.shutdown()


class DaskPeer:
    name = "distributed"

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
        """Resident bytes of the smallest idle worker process, its nanny not counted."""
        pids = self.client.run(os.getpid)
        return min(_rss(pid) for pid in pids.values())

    def close(self) -> None:
        self.client.close()
        self.cluster.close()


class CeleryPeer:
    """Submission alone: `.delay` to a Redis broker on a port of its own, nothing on disk."""

    name = "celery"

    def __init__(self) -> None:
        from celery import Celery

        self.redis = subprocess.Popen(
            ["redis-server", "--port", REDIS_PORT, "--save", "", "--appendonly", "no"],
            stdout=subprocess.DEVNULL,
        )
        app = Celery("peer", broker=f"redis://127.0.0.1:{REDIS_PORT}/0")

        @app.task(ignore_result=True)
        def noop(value):
            return value

        self.noop = noop
        deadline = time.monotonic() + 10
        while True:
            try:
                noop.delay(0)
            except Exception:
                if time.monotonic() > deadline:
                    self.close()
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
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints must not look like an answer
    peer = {"ray": RayPeer, "dask": DaskPeer, "celery": CeleryPeer}[sys.argv[1]]()
    try:
        print(json.dumps("ready"), file=out, flush=True)
        for line in sys.stdin:
            word, *numbers = line.split()
            if word == "quit":
                break
            if word == "version":
                answer = version(peer.name)
            else:
                answer = getattr(peer, word)(*(int(number) for number in numbers))
            print(json.dumps(answer), file=out, flush=True)
    finally:
        peer.close()


if __name__ == "__main__":
    main()

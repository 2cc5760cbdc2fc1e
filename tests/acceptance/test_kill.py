"""kill -9 at random moments: nothing is lost, nothing counts twice."""

import base64
import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from wasmtime import wat2wasm

from bacalhau.client import Client

JOBS = 200
KILLS = 8
DEADLINE_S = 110.0

WRITER = """
(module
  (import "wasi_snapshot_preview1" "path_open"
    (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write"
    (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 100) "effect")
  (data (i32.const 200) "effect\\n")
  (func (export "_start")
    (local $errno i32)
    ;; the only preopened directory is /outputs: create its file `effect` and append a line
    (local.set $errno (call $open (i32.const 3) (i32.const 0) (i32.const 100) (i32.const 6)
      (i32.const 1) (i64.const 64) (i64.const 0) (i32.const 1) (i32.const 0)))
    (if (local.get $errno) (then unreachable))
    (i32.store (i32.const 8) (i32.const 200))
    (i32.store (i32.const 12) (i32.const 7))
    (drop (call $write (i32.load (i32.const 0)) (i32.const 8) (i32.const 1) (i32.const 20)))))
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """`bacalhau serve` as a process that can be killed and started again."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self.directory / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "bacalhau", "serve", "--orchestrator", "--compute",
                 "--data-dir", str(self.directory / "data"),
                 "-c", f"API.Port={self.port}",
                 "-c", "Publishers.Disabled=local"],
                stdout=log, stderr=log,
            )  # fmt: skip

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def end(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(20)

    def ready(self) -> Client:
        client = Client(f"http://127.0.0.1:{self.port}")
        deadline = time.monotonic() + 30
        while True:
            try:
                assert client.alive()
            except Exception:
                if time.monotonic() > deadline:
                    raise AssertionError(
                        (self.directory / "server.log").read_text()[-4000:]
                    ) from None
                time.sleep(0.05)
            else:
                return client


def process_job(number: int) -> dict[str, object]:
    return {
        "Name": f"process-{number}",
        "Type": "batch",
        "Tasks": [
            {
                "Name": "main",
                "Engine": {
                    "Type": "process",
                    "Params": {
                        "Command": "sh",
                        "Arguments": ["-c", "sleep 0.05; echo effect >> /outputs/effect"],
                    },
                },
                "ResultPaths": [{"Name": "out", "Path": "/outputs"}],
                "Resources": {"CPU": "100m", "Memory": "64mb"},
            }
        ],
    }


def wasm_job(number: int) -> dict[str, object]:
    module = base64.b64encode(wat2wasm(WRITER)).decode()
    return {
        "Name": f"wasm-{number}",
        "Type": "batch",
        "Tasks": [
            {
                "Name": "main",
                "Engine": {"Type": "wasm", "Params": {"EntryModule": "/main.wasm"}},
                "InputSources": [
                    {
                        "Source": {
                            "Type": "inline",
                            "Params": {"URL": f"data:application/wasm;base64,{module}"},
                        },
                        "Target": "/main.wasm",
                    }
                ],
                "ResultPaths": [{"Name": "out", "Path": "/outputs"}],
                "Resources": {"CPU": "100m", "Memory": "64mb"},
            }
        ],
    }


@pytest.mark.sandbox
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_two_hundred_jobs_survive_kill_9_of_the_server_and_take_effect_once(
    tmp_path: Path,
) -> None:
    seed = int(os.environ.get("KILL_SEED", random.SystemRandom().randrange(10**6)))
    print(f"replay with KILL_SEED={seed}")
    chance = random.Random(seed)
    server = Server(tmp_path)
    server.start()
    client = server.ready()
    try:
        specs = [process_job(n) if n % 2 else wasm_job(n) for n in range(JOBS)]
        ids: list[str] = []
        for at in range(0, JOBS, 25):
            ids += [answer.job_id for answer in client.submit_many(specs[at : at + 25])]
        for _ in range(KILLS):
            time.sleep(chance.uniform(0.05, 1.5))
            client.close()
            server.kill()
            server.start()
            client = server.ready()
        deadline = time.monotonic() + DEADLINE_S
        open_ids = set(ids)
        while open_ids:
            open_ids = {i for i in open_ids if not client.job(i).state.is_terminal}
            assert time.monotonic() < deadline, f"{len(open_ids)} jobs never ended"
            time.sleep(0.1)
        for number, job_id in enumerate(ids):
            job = client.job(job_id)
            assert job.state == "completed", (job_id, job.state, job.message)
            done = [e for e in client.executions(job_id) if e.observed == "completed"]
            assert len(done) == 1, f"{job_id} completed {len(done)} times"
            target = tmp_path / "got" / str(number)
            target.mkdir(parents=True)
            client.download(job_id, target)
            assert (target / "out" / "effect").read_text() == "effect\n", job_id
    finally:
        client.close()
        server.end()

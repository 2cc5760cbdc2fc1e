"""The server under test: a process of its own, with a fresh data directory, ended by its id."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from processes import end, resident_bytes, tree

from bacalhau import Client
from bacalhau.model.errors import Error

START_S = 30.0
END_S = 300.0
LOOK_S = 0.02
PAGE = 1000

# The smallest module that does something: it starts and ends.
WASM = bytes.fromhex(
    "0061736d 01000000 01040160 00000302 0100070a 01065f73 74617274 00000a04 0102000b"
)
SETTINGS: Mapping[str, object] = {
    "API.Port": 0,
    "API.RateLimit": 0,
    "API.MaxBodySize": "100MB",
    "Compute.AllocatedCapacity.CPU": "100%",
    "Engines.Types.Process.Sandbox": "false",
}


class Server:
    """A serving node: its address, its process, and what to ask of it."""

    def __init__(self, process: "subprocess.Popen[str]", url: str, directory: Path) -> None:
        self.process = process
        self.url = url
        self.directory = directory
        self.client = Client(url)

    def run_all(self, specs: Sequence[Mapping[str, Any]]) -> float:
        """Seconds from submitting the batch until every job of it is terminal.

        All of them must be completed; that is read back from the API afterwards.
        """
        begin = time.perf_counter()
        ids = self.submit(specs)
        self.client.wait(ids[-1], timeout_s=END_S)
        self.settle()
        took = time.perf_counter() - begin
        self.check(ids)
        return took

    def submit(self, specs: Sequence[Mapping[str, Any]]) -> list[str]:
        """Submit them in one batch; the ids of the jobs."""
        ids = []
        for answer in self.client.submit_many(specs):
            if isinstance(answer, Error):
                raise answer
            ids.append(answer.job_id)
        return ids

    def settle(self) -> None:
        """Wait until no job is live."""
        deadline = time.monotonic() + END_S
        while self.client.raw("GET", "/agent/debug")["LiveJobs"]:
            if time.monotonic() > deadline:
                raise TimeoutError("jobs are still live")
            time.sleep(LOOK_S)

    def check(self, ids: Sequence[str]) -> None:
        """Raise unless the listing shows all these jobs as completed."""
        wanted = set(ids)
        for job in self.client.jobs(reverse=True, page_size=PAGE):
            if job.id in wanted:
                if job.state != "completed":
                    raise AssertionError(f"job {job.id} ended {job.state}: {job.message}")
                wanted.discard(job.id)
                if not wanted:
                    return
        raise AssertionError(f"{len(wanted)} jobs are not listed")

    def resident_bytes(self) -> int:
        """Resident memory of the server and all processes below it."""
        return sum(resident_bytes(pid) for pid in tree(self.process.pid))


@contextmanager
def serve(
    *roles: str, settings: Mapping[str, object] | None = None, directory: Path | None = None
) -> Iterator[Server]:
    """Serve while the block runs; `roles` default to orchestrator and compute."""
    with tempfile.TemporaryDirectory(prefix="bacalhau-bench-") as scratch:
        place = directory or Path(scratch) / "data"
        (Path(scratch) / "noop.wasm").write_bytes(WASM)
        options = {**SETTINGS, "Compute.AllowListedLocalPaths": f"{scratch}/**"}
        options.update(settings or {})
        command = [sys.executable, "-m", "bacalhau", "serve", "--data-dir", str(place)]
        command += [f"--{role}" for role in roles or ("orchestrator", "compute")]
        for key, value in options.items():
            command += ["--config", f"{key}={value}"]
        with open(Path(scratch) / "log", "w+") as log:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
            try:
                assert process.stdout is not None
                line = process.stdout.readline()
                if not line:
                    log.seek(0)
                    raise RuntimeError(f"the server did not start: {log.read()}")
                server = Server(process, line.split()[-1], Path(scratch))
                if "compute" in (roles or ("compute",)):
                    _await_node(server)
                yield server
            finally:
                end(process)


def _await_node(server: Server) -> None:
    deadline = time.monotonic() + START_S
    while not any(view.node.is_ready for view in server.client.nodes()):
        if time.monotonic() > deadline:
            raise TimeoutError("the node did not join")
        time.sleep(LOOK_S)


# What is run


def native(*command: str, cpu: str = "20m", count: int = 1) -> dict[str, Any]:
    """A program as it is; `cpu` decides how many run at once."""
    path, *arguments = command or ("/bin/true",)
    params = {"Command": path, "Arguments": arguments}
    return _job({"Type": "process", "Params": params}, cpu, count)


def wasm(directory: Path, *, cpu: str = "20m", count: int = 1) -> dict[str, Any]:
    """The smallest wasm module, read from a file of the node."""
    module = {
        "Source": {"Type": "local", "Params": {"SourcePath": str(directory / "noop.wasm")}},
        "Target": "/noop.wasm",
    }
    return _job({"Type": "wasm", "Params": {"EntryModule": "/noop.wasm"}}, cpu, count, module)


def _job(engine: dict[str, Any], cpu: str, count: int, *inputs: dict[str, Any]) -> dict[str, Any]:
    task = {
        "Name": "main",
        "Engine": engine,
        "Publisher": {"Type": "noop"},
        "Resources": {"CPU": cpu, "Memory": "32mb"},
        "InputSources": list(inputs),
    }
    return {"Type": "batch", "Count": count, "Tasks": [task]}

"""Whole clusters in one process: real store, real wasm engine, real HTTP."""

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from wasmtime import wat2wasm

from bacalhau.app import Running
from bacalhau.client import AsyncClient
from bacalhau.model.errors import NoChange, Rejected
from bacalhau.model.job import JobState
from bacalhau.testing.stack import stack

LOOP = '(module (memory (export "memory") 1) (func (export "_start") (loop (br 0))))'
PRINT = """
(module
  (import "wasi_snapshot_preview1" "fd_write"
    (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 64) "0123456789abcdef")
  (func (export "_start")
    (local $left i32)
    (i32.store (i32.const 0) (i32.const 64))
    (i32.store (i32.const 4) (i32.const 16))
    (local.set $left (i32.const %d))
    (loop $again
      (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))
      (local.set $left (i32.sub (local.get $left) (i32.const 1)))
      (br_if $again (local.get $left)))))
"""


def job(name: str = "", *, kind: str = "batch", engine: Any = None, **task: Any) -> dict[str, Any]:
    """A small job; `count`, `constraints` and `retry` belong to the job, the rest to its task."""
    spec: dict[str, Any] = {
        "Name": name,
        "Type": kind,
        "Tasks": [
            {
                "Name": "main",
                "Engine": engine or {"Type": "noop"},
                "Resources": {"CPU": "100m", "Memory": "32mb"},
            }
        ],
    }
    for key in ("Count", "Constraints", "Retry", "Priority"):
        if key in task:
            spec[key] = task.pop(key)
    spec["Tasks"][0].update(task)
    return spec


def noop(**params: Any) -> dict[str, Any]:
    return {"Type": "noop", "Params": params}


def wasm(text: str, **task: Any) -> dict[str, Any]:
    module = base64.b64encode(wat2wasm(text)).decode()
    source = {"Type": "inline", "Params": {"URL": f"data:application/wasm;base64,{module}"}}
    return job(
        engine={"Type": "wasm", "Params": {"EntryModule": "/main.wasm"}},
        InputSources=[{"Source": source, "Target": "/main.wasm"}],
        **task,
    )


@asynccontextmanager
async def cluster(
    directory: Path, nodes: int = 1, **settings: object
) -> AsyncIterator[tuple[AsyncClient, Running]]:
    """A client of a cluster with that many nodes, labelled n=0, 1, ..."""
    members = {f"node-{n}": {"Labels": {"n": str(n)}} for n in range(nodes)}
    async with stack(directory, settings, members) as here, AsyncClient(here.url) as client:
        yield client, here


async def until(condition: Callable[[], bool], what: str, within_s: float = 15.0) -> None:
    """Wait for a level, with a deadline."""
    deadline = asyncio.get_running_loop().time() + within_s
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, f"never came: {what}"
        await asyncio.sleep(0.02)


async def ended(client: AsyncClient, job_id: str) -> Any:
    return await client.wait(job_id, timeout_s=30)


async def test_ten_partitions_run_on_three_nodes_and_each_completes_once(tmp_path: Path) -> None:
    async with cluster(tmp_path, nodes=3) as (client, _):
        submitted = await client.submit(job("ten", Count=10))
        done = await ended(client, submitted.job_id)
        assert done.state is JobState.COMPLETED
        rows = await client.executions(submitted.job_id)
        completed = sorted(e.partition for e in rows if e.observed == "completed")
        assert completed == list(range(10))


async def test_a_failing_program_is_tried_again_and_then_fails_the_job_with_its_output(
    tmp_path: Path,
) -> None:
    async with cluster(tmp_path) as (client, _):
        spec = job("bad", engine=noop(ExitCode=3), Retry={"Attempts": 2, "Delay": 0.05})
        submitted = await client.submit(spec)
        done = await ended(client, submitted.job_id)
        assert done.state is JobState.FAILED
        rows = await client.executions(submitted.job_id)
        assert [e.attempt for e in rows] == [1, 2]
        assert all(e.output is not None and e.output.exit_code == 3 for e in rows)
        assert all(e.fault is not None and e.fault.code == "ExitCode" for e in rows)
        assert await client.results(submitted.job_id)


async def test_a_job_that_fits_nowhere_waits_with_a_reason_and_runs_when_a_node_fits(
    tmp_path: Path,
) -> None:
    async with cluster(tmp_path, nodes=2) as (client, here):
        wish = [{"Key": "n", "Operator": "=", "Values": ["7"]}]
        submitted = await client.submit(job("picky", Constraints=wish))
        orchestrator = here.orchestrator

        def reason() -> str:
            return orchestrator.queue_reason(orchestrator.store.live_jobs()[0])

        await until(lambda: "label n" in reason(), "a reason that names the label")
        node = here.nodes[0]
        node.info = type(node.info)(
            **{f: getattr(node.info, f) for f in node.info.__struct_fields__ if f != "labels"},
            labels={**node.info.labels, "n": "7"},
        )
        node.to_greet.set()
        done = await ended(client, submitted.job_id)
        assert done.state is JobState.COMPLETED


async def test_a_queue_time_out_fails_the_job_with_the_counts(tmp_path: Path) -> None:
    async with cluster(tmp_path) as (client, _):
        wish = [{"Key": "n", "Operator": "=", "Values": ["7"]}]
        submitted = await client.submit(job("late", Constraints=wish, Timeouts={"QueueTimeout": 1}))
        done = await ended(client, submitted.job_id)
        assert done.state is JobState.FAILED
        assert "not enough nodes" in done.message


async def test_a_running_job_stops_when_asked(tmp_path: Path) -> None:
    async with cluster(tmp_path) as (client, here):
        submitted = await client.submit(wasm(LOOP))
        await until(lambda: bool(here.nodes[0].running), "a running execution")
        await client.stop(submitted.job_id, reason="enough")
        done = await ended(client, submitted.job_id)
        assert done.state is JobState.STOPPED
        assert done.message == "enough"
        await until(lambda: not here.nodes[0].held, "the node to forget it")
        rows = await client.executions(submitted.job_id)
        assert [e.observed for e in rows] == ["cancelled"]


async def test_an_execution_time_out_ends_an_endless_program(tmp_path: Path) -> None:
    async with cluster(tmp_path) as (client, _):
        submitted = await client.submit(
            wasm(LOOP, Timeouts={"ExecutionTimeout": 1}, Retry={"Attempts": 1})
        )
        done = await ended(client, submitted.job_id)
        assert done.state is JobState.FAILED
        rows = await client.executions(submitted.job_id)
        assert rows[0].fault is not None
        assert rows[0].fault.code == "ExecutionTimeout"


async def test_a_long_log_is_replayed_whole_after_the_node_forgot_it(tmp_path: Path) -> None:
    lines = 4000
    async with cluster(tmp_path) as (client, here):
        submitted = await client.submit(wasm(PRINT % lines))
        done = await ended(client, submitted.job_id)
        assert done.state is JobState.COMPLETED, done.message
        await until(lambda: not here.nodes[0].held, "the node to forget it")
        rows = await client.executions(submitted.job_id)
        assert rows[0].output is not None
        assert rows[0].output.stdout_truncated
        text = b"".join([line.text.encode() async for line in client.logs(submitted.job_id)])
        assert text == b"0123456789abcdef" * lines


async def test_logs_can_be_followed_from_before_the_start_to_the_end(tmp_path: Path) -> None:
    async with cluster(tmp_path) as (client, _):
        submitted = await client.submit(wasm(PRINT % 3))
        async with asyncio.timeout(20):
            text = b"".join(
                [line.text.encode() async for line in client.logs(submitted.job_id, follow=True)]
            )
        assert text == b"0123456789abcdef" * 3


async def test_logs_followed_at_once_are_never_empty(tmp_path: Path) -> None:
    async with cluster(tmp_path) as (client, _):
        for _round in range(40):
            submitted = await client.submit(wasm(PRINT % 1))
            async with asyncio.timeout(20):
                lines = [line.text async for line in client.logs(submitted.job_id, follow=True)]
            assert "".join(lines) == "0123456789abcdef"


async def test_an_ops_job_runs_once_on_every_node(tmp_path: Path) -> None:
    async with cluster(tmp_path, nodes=3) as (client, _):
        submitted = await client.submit(job("ops", kind="ops"))
        done = await ended(client, submitted.job_id)
        assert done.state is JobState.COMPLETED
        rows = await client.executions(submitted.job_id)
        assert sorted(e.node_id for e in rows) == ["node-0", "node-1", "node-2"]


async def test_a_rerun_is_a_new_version_and_an_unchanged_spec_is_refused(tmp_path: Path) -> None:
    async with cluster(tmp_path) as (client, _):
        spec = job("again")
        first = await client.submit(spec)
        await ended(client, first.job_id)
        with pytest.raises(NoChange, match="no changes detected"):
            await client.submit(spec)
        again = await client.rerun(first.job_id)
        assert again.job_id == first.job_id
        done = await ended(client, first.job_id)
        assert done.version == 2
        assert done.state is JobState.COMPLETED
        assert [v.version for v in await client.versions(first.job_id)] == [1, 2]


async def test_work_on_a_cut_off_node_is_done_elsewhere_and_counted_once(tmp_path: Path) -> None:
    async with cluster(tmp_path, nodes=2) as (client, here):
        submitted = await client.submit(wasm(LOOP, Timeouts={"ExecutionTimeout": 60}))
        await until(lambda: any(n.running for n in here.nodes), "a running execution")
        victim = next(n for n in here.nodes if n.running)
        other = next(n for n in here.nodes if n is not victim)
        here.network.cut("orchestrator", victim.info.id)
        await until(lambda: bool(other.running), "a replacement elsewhere")
        here.network.heal()
        await until(lambda: not victim.running, "the first node to hear that it is not wanted")
        assert other.running
        await client.stop(submitted.job_id)
        await ended(client, submitted.job_id)


async def test_state_survives_an_orderly_restart(tmp_path: Path) -> None:
    async with cluster(tmp_path) as (client, _):
        submitted = await client.submit(job("kept", engine=noop(Sleep=0.2), Count=3))
    async with cluster(tmp_path) as (client, _):
        done = await ended(client, submitted.job_id)
        assert done.state is JobState.COMPLETED
        rows = await client.executions(submitted.job_id)
        assert sorted(e.partition for e in rows if e.observed == "completed") == [0, 1, 2]


async def test_one_job_with_a_poisoned_module_fails_at_once_and_says_why(tmp_path: Path) -> None:
    async with cluster(tmp_path) as (client, _):
        source = {"Type": "inline", "Params": {"URL": "data:application/wasm;base64,AAAA"}}
        submitted = await client.submit(
            job(
                engine={"Type": "wasm", "Params": {"EntryModule": "/main.wasm"}},
                InputSources=[{"Source": source, "Target": "/main.wasm"}],
                Retry={"Attempts": 5},
            )
        )
        done = await ended(client, submitted.job_id)
        assert done.state is JobState.FAILED
        rows = await client.executions(submitted.job_id)
        assert len(rows) == 1
        assert rows[0].fault is not None
        assert rows[0].fault.code == "InvalidModule"


async def test_results_without_files_are_made_of_the_whole_log(tmp_path: Path) -> None:
    lines = 3000
    async with cluster(tmp_path / "state") as (client, _):
        submitted = await client.submit(wasm(PRINT % lines))
        await ended(client, submitted.job_id)
        target = tmp_path / "got"
        target.mkdir()
        await client.download(submitted.job_id, target)
        assert (target / "stdout").read_text() == "0123456789abcdef" * lines
        assert (target / "stderr").read_text() == ""
        assert (target / "exitCode").read_text().strip() == "0"


async def test_what_is_no_job_is_refused_by_the_client(tmp_path: Path) -> None:
    async with cluster(tmp_path) as (client, _):
        for nonsense in (5, "x", None, ["a"]):
            with pytest.raises(Rejected, match="a job is a mapping"):
                await client.submit(nonsense)  # type: ignore[arg-type]  # that is the point

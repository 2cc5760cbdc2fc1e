"""What ends a wasm program that does not end well: limits, traps, stop."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from modules import module, tool, work

from bacalhau.executors.wasm import WasmExecutor
from bacalhau.model.execution import Fault, FaultKind
from bacalhau.model.job import SpecConfig
from bacalhau.model.resources import Resources
from bacalhau.ports.executor import Mount, Outcome, Work
from bacalhau.testing.contracts.executor import read, until

MB = 1 << 20


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[WasmExecutor]:
    made = WasmExecutor(tmp_path / "cache", workers=1)
    yield made
    await made.close()


async def run(engine: WasmExecutor, work: Work) -> Outcome:
    await engine.start(work)
    return await asyncio.wait_for(engine.wait(work.execution_id), 60)


def fault_of(outcome: Outcome) -> Fault:
    assert outcome.fault is not None
    return outcome.fault


# -- memory ----------------------------------------------------------------------------


async def test_a_program_gets_the_memory_it_asked_for_and_no_more(
    engine: WasmExecutor, tmp_path: Path
) -> None:
    memory = Resources(memory=32 * MB)
    outcome = await run(engine, work(tmp_path, tool("take", "24"), id="e-1", resources=memory))
    assert (outcome.exit_code, outcome.fault) == (0, None)
    given = work(tmp_path, tool("take", "64"), id="e-2", resources=memory)
    outcome = await run(engine, given)
    assert outcome.exit_code == 1
    assert read(given.stderr).startswith("no memory after ")
    assert (fault_of(outcome).code, fault_of(outcome).kind) == ("MemoryLimit", FaultKind.USER)
    assert outcome.usage["memory_bytes_max"] <= 32 * MB


async def test_a_failure_far_from_the_memory_limit_is_the_programs_own(
    engine: WasmExecutor, tmp_path: Path
) -> None:
    memory = Resources(memory=32 * MB)
    outcome = await run(engine, work(tmp_path, tool("exit", "1"), resources=memory))
    assert (outcome.exit_code, outcome.fault) == (1, None)


async def test_a_module_that_begins_beyond_the_limit_is_told_so(
    engine: WasmExecutor, tmp_path: Path
) -> None:
    main = module(tmp_path, '(module (memory 100) (func (export "_start")))')
    outcome = await run(engine, work(tmp_path, inputs=[main], resources=Resources(memory=MB)))
    assert fault_of(outcome).code == "MemoryLimit"


async def test_all_memories_together_keep_the_limit(engine: WasmExecutor, tmp_path: Path) -> None:
    grows = """(module (memory {0}) (memory 0) (func (export "_start")
      (if (i32.eq (memory.grow {0} (i32.const 12)) (i32.const -1)) (then unreachable))))"""
    main = module(tmp_path, grows.format(0))
    fits = work(tmp_path, inputs=[main], resources=Resources(memory=2 * MB))
    assert (await run(engine, fits)).fault is None
    tight = work(tmp_path, inputs=[main], resources=Resources(memory=MB), id="e-2")
    assert fault_of(await run(engine, tight)).code == "WasmTrap"


async def test_a_worker_that_grew_large_is_replaced(engine: WasmExecutor, tmp_path: Path) -> None:
    pids = set()
    for number in range(3):
        outcome = await run(engine, work(tmp_path, tool("take", "400"), id=f"e-{number}"))
        assert outcome.exit_code == 0
        pids |= {worker.pid for worker in engine.pool.workers}
        await until(lambda: all(w.batch or not w.leaving for w in engine.pool.workers), "its end")
    assert len(pids) >= 2


# -- traps -----------------------------------------------------------------------------

TRAPS = {
    "unreachable": ('(func $boom (export "_start") unreachable)', "unreachable"),
    "memory": (
        '(memory 1) (func (export "_start") (drop (i32.load (i32.const 70000))))',
        "out of bounds memory access",
    ),
    "stack": ('(func $again (export "_start") (call $again))', "call stack exhausted"),
    "division": (
        '(func (export "_start") (drop (i32.div_s (i32.const 1) (i32.const 0))))',
        "divide by zero",
    ),
    "start": ('(func $s unreachable) (start $s) (func (export "_start"))', "unreachable"),
}


@pytest.mark.parametrize(("body", "word"), TRAPS.values(), ids=TRAPS.keys())
async def test_a_trap_is_the_programs_failure(
    engine: WasmExecutor, tmp_path: Path, body: str, word: str
) -> None:
    outcome = await run(engine, work(tmp_path, inputs=[module(tmp_path, f"(module {body})")]))
    fault = fault_of(outcome)
    assert (outcome.exit_code, fault.code, fault.kind) == (1, "WasmTrap", FaultKind.USER)
    assert word in fault.message
    assert len(fault.message) < 1000


async def test_a_trap_says_where(engine: WasmExecutor, tmp_path: Path) -> None:
    main = module(
        tmp_path,
        '(module (func $inner unreachable) (func $outer (export "_start") (call $inner)))',
    )
    fault = fault_of(await run(engine, work(tmp_path, inputs=[main])))
    assert fault.message.endswith("in inner < outer")


async def test_abort_is_a_trap(engine: WasmExecutor, tmp_path: Path) -> None:
    outcome = await run(engine, work(tmp_path, tool("abort")))
    assert (outcome.exit_code, fault_of(outcome).code) == (1, "WasmTrap")


@pytest.mark.parametrize(("given", "seen"), [("126", 126), ("255", 255), ("-1", 255), ("256", 1)])
async def test_large_exit_codes_are_kept_in_eight_bits(
    engine: WasmExecutor, tmp_path: Path, given: str, seen: int
) -> None:
    outcome = await run(engine, work(tmp_path, tool("exit", given)))
    assert (outcome.exit_code, outcome.fault) == (seen, None)


# -- time ------------------------------------------------------------------------------


async def test_fuel_bounds_the_instructions(engine: WasmExecutor, tmp_path: Path) -> None:
    outcome = await run(engine, work(tmp_path, tool("loop", Fuel=1_000_000)))
    assert (outcome.exit_code, fault_of(outcome).code) == (1, "FuelExhausted")
    outcome = await run(engine, work(tmp_path, tool("exit", "3", Fuel=1_000_000), id="e-2"))
    assert (outcome.exit_code, outcome.fault) == (3, None)


async def test_an_endless_loop_is_stopped_and_its_worker_goes_on(
    engine: WasmExecutor, tmp_path: Path
) -> None:
    given = work(tmp_path, tool("loop"))
    await engine.start(given)
    await until(lambda: read(given.stdout) == "started\n", "the first line")
    pids = [worker.pid for worker in engine.pool.workers]
    await engine.stop("e-1", grace_s=30)
    outcome = await engine.wait("e-1")
    assert (outcome.exit_code, fault_of(outcome).code) == (137, "Stopped")
    assert (await run(engine, work(tmp_path, tool("exit", "0"), id="e-2"))).exit_code == 0
    assert [worker.pid for worker in engine.pool.workers] == pids


async def test_a_program_that_sleeps_in_the_system_is_stopped_by_force(
    engine: WasmExecutor, tmp_path: Path
) -> None:
    await engine.start(work(tmp_path, tool("sleep", "3600")))
    await until(lambda: any(w.pid for w in engine.pool.workers), "a worker")
    begin = time.monotonic()
    await engine.stop("e-1", grace_s=30)
    outcome = await engine.wait("e-1")
    assert (outcome.exit_code, fault_of(outcome).code) == (137, "Stopped")
    assert time.monotonic() - begin < 10
    assert (await run(engine, work(tmp_path, tool("exit", "0"), id="e-2"))).exit_code == 0


async def test_what_waits_is_stopped_without_having_run(
    engine: WasmExecutor, tmp_path: Path
) -> None:
    engine = WasmExecutor(tmp_path / "cache", workers=1, max_workers=1)
    works = [work(tmp_path, tool("loop"), id=f"e-{number}") for number in range(20)]
    for one in works:
        await engine.start(one)
    await until(lambda: read(works[0].stdout) == "started\n", "the first line")
    for one in reversed(works):
        await engine.stop(one.execution_id, grace_s=5)
        assert (await engine.wait(one.execution_id)).exit_code == 137
    assert [read(one.stdout) for one in works] == ["started\n", *[""] * 19]
    await engine.close()


# -- output ----------------------------------------------------------------------------


async def test_a_flood_of_output_is_cut_at_the_limit(engine: WasmExecutor, tmp_path: Path) -> None:
    given = work(tmp_path, tool("flood"), output_limit=100_000)
    outcome = await run(engine, given)
    assert (fault_of(outcome).code, fault_of(outcome).kind) == ("OutputLimit", FaultKind.USER)
    assert "stdout" in fault_of(outcome).message
    assert len(read(given.stdout)) == 100_000


@pytest.mark.parametrize("megabytes", ["0", "8"])
async def test_outputs_beyond_the_limit_are_told(
    engine: WasmExecutor, tmp_path: Path, megabytes: str
) -> None:
    (tmp_path / "out").mkdir()
    out = Mount(source=str(tmp_path / "out"), target="/out", read_only=False)
    spec = tool("fill", "/out/file", megabytes)
    outcome = await run(engine, work(tmp_path, spec, outputs=(out,), output_limit=4 * MB))
    assert fault_of(outcome).code == "OutputLimit"
    assert (tmp_path / "out" / "file").stat().st_size <= 4 * MB + 1


MANY_FILES = """(module
  (import "wasi_snapshot_preview1" "path_open"
    (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_close" (func $close (param i32) (result i32)))
  (memory (export "memory") 2)
  (func (export "_start") (local $n i32)
    (i32.store (i32.const 0) (i32.const 1000)) (i32.store (i32.const 4) (i32.const 100000))
    (loop $again
      (i32.store8 (i32.const 100) (i32.add (i32.const 97) (i32.and (local.get $n) (i32.const 15))))
      (i32.store8 (i32.const 101) (i32.add (i32.const 97)
        (i32.and (i32.shr_u (local.get $n) (i32.const 4)) (i32.const 15))))
      (drop (call $open (i32.const 4) (i32.const 0) (i32.const 100) (i32.const 2) (i32.const 1)
        (i64.const 64) (i64.const 0) (i32.const 0) (i32.const 16)))
      (drop (call $write (i32.load (i32.const 16)) (i32.const 0) (i32.const 1) (i32.const 20)))
      (drop (call $close (i32.load (i32.const 16))))
      (local.set $n (i32.add (local.get $n) (i32.const 1)))
      (br $again))))"""


async def test_many_small_files_are_counted_while_the_program_runs(
    engine: WasmExecutor, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    out = Mount(source=str(tmp_path / "out"), target="/out", read_only=False)
    main = module(tmp_path, MANY_FILES)
    given = work(tmp_path, inputs=[main], outputs=(out,), output_limit=10 * MB)
    outcome = await run(engine, given)
    assert fault_of(outcome).code == "OutputLimit"
    assert "outputs" in fault_of(outcome).message


async def test_a_log_that_cannot_be_written_is_the_nodes_fault(
    engine: WasmExecutor, tmp_path: Path
) -> None:
    given = work(tmp_path, tool("print", "hello", ""))
    os.mkdir(given.stdout)
    fault = fault_of(await run(engine, given))
    assert (fault.code, fault.kind) == ("LogFailed", FaultKind.NODE)


async def test_an_unready_directory_is_the_nodes_fault(
    engine: WasmExecutor, tmp_path: Path
) -> None:
    missing = Mount(source=str(tmp_path / "gone"), target="/out", read_only=False)
    fault = fault_of(await run(engine, work(tmp_path, tool("exit", "0"), outputs=(missing,))))
    assert (fault.code, fault.kind) == ("EngineFailed", FaultKind.NODE)
    assert "/out" in fault.message


async def test_params_are_checked_again_where_they_are_used(
    engine: WasmExecutor, tmp_path: Path
) -> None:
    spec = SpecConfig(type="wasm", params={"EntryModule": "tool.wasm", "Parameters": None})
    assert (await run(engine, work(tmp_path, spec))).exit_code == 2  # no command

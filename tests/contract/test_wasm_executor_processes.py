"""The worker processes of the wasm engine: how they come, serve, crash and go."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from modules import tool, work

from bacalhau.executors.wasm import WasmExecutor
from bacalhau.executors.wasm.processes import Worker
from bacalhau.executors.wasm.record import RECORD_AFTER_S
from bacalhau.executors.wasm.wire import Stop
from bacalhau.model.errors import EngineFailed
from bacalhau.model.execution import FaultKind
from bacalhau.ports.executor import Outcome, Work
from bacalhau.testing.contracts.executor import children, crash_after_start, read, until


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[WasmExecutor]:
    made = WasmExecutor(tmp_path / "cache", workers=1, max_workers=4)
    yield made
    await made.close()


async def run(engine: WasmExecutor, work: Work) -> Outcome:
    await engine.start(work)
    return await asyncio.wait_for(engine.wait(work.execution_id), 60)


def family() -> set[str]:
    """The processes below this one, to the second generation."""
    found = set(children(os.getpid()))
    for pid in tuple(found):
        found |= set(children(int(pid)))
    return found


def open_files(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


async def loop(engine: WasmExecutor, place: Path, id: str) -> tuple[Work, Worker]:
    """An endless run that has begun, and its worker."""
    given = work(place, tool("loop"), id=id)
    await engine.start(given)
    await until(lambda: read(given.stdout) == "started\n", "the first line")
    return given, next(w for w in engine.pool.workers if id in w.batch)


async def test_a_killed_worker_fails_its_run_alone(engine: WasmExecutor, tmp_path: Path) -> None:
    _, worker = await loop(engine, tmp_path, "e-1")
    others = [work(tmp_path, tool("exit", "4"), id=f"o-{n}") for n in range(30)]
    for other in others:
        await engine.start(other)
    os.kill(worker.pid, signal.SIGKILL)
    outcome = await engine.wait("e-1")
    assert outcome.fault is not None
    assert (outcome.fault.code, outcome.fault.kind) == ("EngineCrashed", FaultKind.NODE)
    assert "signal 9" in outcome.fault.message
    for other in others:
        assert (await engine.wait(other.execution_id)).exit_code == 4


async def test_a_killed_zygote_is_replaced_and_its_workers_go_on(
    engine: WasmExecutor, tmp_path: Path
) -> None:
    _, worker = await loop(engine, tmp_path, "e-1")
    zygote = engine.pool.zygote
    assert zygote is not None
    os.kill(zygote._process.pid, signal.SIGKILL)
    await until(lambda: not zygote.alive, "the zygote's end")
    assert (await run(engine, work(tmp_path, tool("exit", "4"), id="e-2"))).exit_code == 4
    await engine.stop("e-1", grace_s=5)
    assert (await engine.wait("e-1")).exit_code == 137
    assert engine.pool.zygote is not None
    assert worker.pid


async def test_a_runtime_that_cannot_start_fails_what_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.executable", "/bin/false")
    engine = WasmExecutor(tmp_path / "cache", workers=1)
    works = [work(tmp_path, tool("exit", "0"), id=f"e-{n}") for n in range(5)]
    for one in works:
        await engine.start(one)
    for one in works:
        fault = (await asyncio.wait_for(engine.wait(one.execution_id), 30)).fault
        assert fault is not None
        assert (fault.code, fault.kind) == ("EngineCrashed", FaultKind.NODE)
    await engine.close()


async def test_a_worker_that_talks_nonsense_is_not_believed(
    engine: WasmExecutor, tmp_path: Path
) -> None:
    _, worker = await loop(engine, tmp_path, "e-1")
    worker._frames._rest += b"\xff\xff\xff\xff"  # as if it had sent an impossible length
    await engine.start(work(tmp_path, tool("exit", "4"), id="e-2"))
    worker.say(Stop("e-1"))
    outcome = await asyncio.wait_for(engine.wait("e-1"), 30)
    assert outcome.fault is not None
    assert outcome.fault.code == "EngineCrashed"
    assert (await engine.wait("e-2")).exit_code == 4


async def test_long_runs_get_more_workers_and_the_rest_waits(
    engine: WasmExecutor, tmp_path: Path
) -> None:
    works = [work(tmp_path, tool("loop"), id=f"e-{n}") for n in range(6)]
    for one in works:
        await engine.start(one)
    await until(lambda: sum(read(w.stdout) == "started\n" for w in works) == 4, "four runs")
    assert len(engine.pool.workers) == 4
    assert [read(w.stdout) for w in works[4:]] == ["", ""]
    for one in works[:4]:
        await engine.stop(one.execution_id, grace_s=5)
    await until(lambda: all(read(w.stdout) == "started\n" for w in works), "the other two")
    for one in works[4:]:
        await engine.stop(one.execution_id, grace_s=5)
    await until(lambda: len(engine.pool.workers) == 1, "the additional workers' end")


async def test_a_short_run_does_not_wait_behind_a_long_one(
    engine: WasmExecutor, tmp_path: Path
) -> None:
    for number in range(50):  # so many short ones that batches have grown
        await run(engine, work(tmp_path, tool("exit", "0"), id=f"s-{number}"))
    works = [work(tmp_path, tool("loop"), id="e-1")]
    works += [work(tmp_path, tool("exit", "5"), id=f"e-{n}") for n in range(2, 12)]
    for one in works:
        await engine.start(one)
    for one in works[1:]:
        assert (await asyncio.wait_for(engine.wait(one.execution_id), 30)).exit_code == 5
    await engine.stop("e-1", grace_s=5)


async def test_a_thousand_runs_leave_nothing(engine: WasmExecutor, tmp_path: Path) -> None:
    await run(engine, work(tmp_path, tool("exit", "0"), id="first"))
    pids = family()
    worker = engine.pool.workers[0].pid
    before = (open_files(os.getpid()), open_files(worker), peak(worker))
    for number in range(1000):
        given = work(tmp_path, tool("print", "out", "err"), id="again")
        assert (await run(engine, given)).exit_code == 0, number
        await engine.release("again")
    assert family() == pids
    assert (open_files(os.getpid()), open_files(worker)) == before[:2]
    assert peak(worker) - before[2] < 8 << 20
    assert len(read(given.stdout)) == 3000
    assert os.listdir(given.directory) == []
    assert engine._runs.keys() == {"first"}


def peak(pid: int) -> int:
    """The most memory that a process ever held, in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"no VmHWM of {pid}")


async def test_close_ends_every_process_and_run(tmp_path: Path) -> None:
    files, before = open_files(os.getpid()), family()
    engine = WasmExecutor(tmp_path / "cache", workers=2, max_workers=4)
    await loop(engine, tmp_path, "e-1")
    await loop(engine, tmp_path, "e-2")
    await engine.start(work(tmp_path, tool("sleep", "3600"), id="e-3"))
    assert len(family() - before) >= 3
    await engine.close()
    assert family() == before
    assert open_files(os.getpid()) == files
    for id in ("e-1", "e-2", "e-3"):
        fault = (await engine.wait(id)).fault
        assert fault is not None
        assert fault.kind is FaultKind.NODE
    with pytest.raises(EngineFailed):
        await engine.start(work(tmp_path, tool("exit", "0"), id="late"))
    await engine.close()


async def test_an_idle_engine_ends_its_processes(tmp_path: Path) -> None:
    before = family()
    engine = WasmExecutor(tmp_path / "cache", workers=2, idle_s=0.05)
    for number in range(3):
        outcome = await run(engine, work(tmp_path, tool("exit", "4"), id=f"e-{number}"))
        assert outcome.exit_code == 4
        await until(lambda: family() == before, "the processes' end")
    await engine.close()


async def test_workers_do_not_outlive_a_killed_node(tmp_path: Path) -> None:
    given = work(tmp_path, tool("loop"))
    settings = {"cache": str(tmp_path / "cache"), "workers": 1}
    await crash_after_start("bacalhau.executors.wasm:WasmExecutor", settings, given)
    mark = str(tmp_path / "cache").encode()
    await until(lambda: not processes_with(mark), "their end")
    late = WasmExecutor(tmp_path / "cache")
    assert await late.attach(given) is False
    assert os.listdir(given.directory) == []
    await late.close()


def processes_with(mark: bytes) -> list[str]:
    """Processes whose command line holds `mark`."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (entry / "cmdline").read_bytes():
                found.append(entry.name)
        except OSError:  # it ended while we looked
            continue
    return found


async def test_the_outcome_of_a_long_run_is_told_after_a_restart(tmp_path: Path) -> None:
    first = WasmExecutor(tmp_path / "cache", workers=1)
    long = work(tmp_path, tool("sleep", "1"), id="long")
    short = work(tmp_path, tool("exit", "3"), id="short")
    assert RECORD_AFTER_S < 1
    assert (await run(first, long)).exit_code == 0
    assert (await run(first, short)).exit_code == 3
    await first.close()  # and nothing was released: so it is after a crash
    second = WasmExecutor(tmp_path / "cache", workers=1)
    assert await second.attach(long) is True
    assert (await second.wait("long")).fault is None
    assert await second.attach(short) is False
    await second.release("long")
    assert await second.attach(long) is False
    assert os.listdir(long.directory) == []
    await second.close()


async def test_workers_are_hardened(engine: WasmExecutor, tmp_path: Path) -> None:
    os.environ["NODE_SECRET"] = "secret"
    try:
        _, worker = await loop(engine, tmp_path, "e-1")
    finally:
        del os.environ["NODE_SECRET"]
    proc = Path(f"/proc/{worker.pid}")
    limits = (proc / "limits").read_text()
    core = next(line for line in limits.splitlines() if line.startswith("Max core file size"))
    assert core.split()[4:6] == ["0", "0"]
    assert "NoNewPrivs:\t1" in (proc / "status").read_text()
    assert b"NODE_SECRET" not in (proc / "environ").read_bytes()
    links = [os.readlink(proc / "fd" / fd) for fd in os.listdir(proc / "fd")]
    inside = [link for link in links if link.startswith(str(tmp_path))]
    assert inside == [str(tmp_path / "e-1" / "stdout")]
    assert sum(link.startswith("socket:") for link in links) == 2  # work, control
    await engine.stop("e-1", grace_s=5)

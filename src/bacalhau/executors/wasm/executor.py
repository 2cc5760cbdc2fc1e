"""The wasm engine as the node sees it."""

import asyncio
import importlib.util
import os
import stat
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from bacalhau.executors.wasm import record
from bacalhau.executors.wasm.params import check_env, read
from bacalhau.executors.wasm.pool import Pool, Run
from bacalhau.executors.wasm.wire import encode
from bacalhau.model.errors import EngineFailed, NotFound
from bacalhau.model.execution import Fault, FaultKind
from bacalhau.model.job import NetworkType, SpecConfig
from bacalhau.ports.executor import Outcome, Work

WASMTIME_MIN = 49
"""Older ones give read-only directories in another way."""

WAITING_MAX = 100_000
"""So many runs may wait for a worker; a node asks for far fewer."""


class WasmExecutor:
    """Runs WebAssembly programs (WASI preview 1) in worker processes.

    `cache` is a directory for compiled modules, which only the node's user may write.
    `workers` processes (default: one per core) stay warm and run many executions one after
    the other; while long runs occupy them, more are forked, up to `max_workers`; what does
    not fit waits. Nothing is started before the first execution, and all processes end
    after `idle_s` seconds without one.

    Runs end with the node. The outcome of one that took RECORD_AFTER_S or longer is kept
    in `work.directory` before it is reported, so that attach() finds it after a crash.
    """

    name = "wasm"

    def __init__(
        self,
        cache: Path | str,
        *,
        workers: int = 0,
        max_workers: int = 32,
        idle_s: float = 300.0,
    ) -> None:
        self._cache = Path(cache).absolute()
        most = max(1, max_workers)
        warm = min(workers or os.cpu_count() or 1, most)
        self.pool = Pool(self._cache, warm=warm, most=most, idle_s=idle_s)
        self._runs: dict[str, Run] = {}
        self._opened = False
        self._closed = False

    async def probe(self) -> Mapping[str, str] | None:
        """wasmtime's version; None when it is not installed, or too old."""
        if importlib.util.find_spec("wasmtime") is None:
            return None
        installed = version("wasmtime")
        if int(installed.partition(".")[0]) < WASMTIME_MIN:
            return None
        return {
            "wasm.runtime": f"wasmtime {installed}",
            "wasm.wasi": "preview1",
            "wasm.limits": "memory, cpu by epoch or fuel, output",
        }

    def check(self, engine: SpecConfig) -> Sequence[str]:
        """What is wrong with these params; empty when nothing is."""
        params = read(engine)
        return params if isinstance(params, tuple) else ()

    async def start(self, work: Work) -> None:
        """Queue the work. What only a look at its modules can tell comes with wait()."""
        if work.execution_id in self._runs:
            return
        body = self._accept(work)
        if not self._opened:
            open_cache(self._cache)
            self._opened = True
        run = Run(work.execution_id, work.directory, body)
        self._runs[run.id] = run
        self.pool.put(run)

    async def attach(self, work: Work) -> bool:
        """Runs do not outlive the node: True only when the outcome was recorded."""
        if work.execution_id in self._runs:
            return True
        outcome = record.read(work.directory)
        if outcome is None:
            await asyncio.to_thread(record.remove, work.directory)
            return False
        run = Run(work.execution_id, work.directory, b"")
        run.traces = True
        run.end(outcome)
        self._runs[run.id] = run
        return True

    async def wait(self, execution_id: str) -> Outcome:
        """The outcome, when there is one. Raises NotFound for what was never started."""
        run = self._runs.get(execution_id)
        if run is None:
            raise NotFound(f"the wasm engine knows no execution '{execution_id}'")
        await run.done.wait()
        return run.outcome

    async def stop(self, execution_id: str, grace_s: float) -> None:
        """Take it from the queue, or interrupt it; what cannot be interrupted is killed."""
        run = self._runs.get(execution_id)
        if run is not None:
            await self.pool.stop(run, grace_s)

    async def release(self, execution_id: str) -> None:
        """Forget it, and remove what it left in its directory."""
        run = self._runs.get(execution_id)
        if run is None:
            return
        await self.pool.stop(run, 0)
        self._runs.pop(execution_id, None)
        if run.traces:
            await asyncio.to_thread(record.remove, run.directory)

    async def close(self) -> None:
        """End all processes. Runs that have not ended end as interrupted."""
        self._closed = True
        await self.pool.close()

    def _accept(self, work: Work) -> bytes:
        """The work, encoded for the pipe. Raises EngineFailed."""
        if self._closed:
            raise _failed(FaultKind.NODE, "EngineClosed", "the wasm engine has been closed")
        if self.pool.waiting >= WAITING_MAX:
            raise _failed(FaultKind.BUSY, "EngineBusy", f"{WAITING_MAX} wasm runs wait already")
        faults = [*self.check(work.engine), *check_env(work.env)]
        if work.network.type not in (NetworkType.DEFAULT, NetworkType.NONE):
            faults.append(
                f"Network.Type is {work.network.type}: wasm programs have no network, say None"
            )
        try:
            body = encode(work)
        except UnicodeEncodeError:
            faults.append("the spec holds text that is not Unicode")
        if faults:
            raise _failed(FaultKind.PERMANENT, "BadParams", "; ".join(faults))
        return body


def open_cache(cache: Path) -> None:
    """Make the directory for compiled modules. Raises EngineFailed if others may write it."""
    try:
        cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = cache.lstat()
    except OSError as error:
        raise _failed(FaultKind.NODE, "CacheUnusable", f"module cache: {error}") from None
    shared = stat.S_IMODE(found.st_mode) & (stat.S_IWGRP | stat.S_IWOTH)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or shared:
        raise EngineFailed(
            Fault(
                kind=FaultKind.NODE,
                code="CacheUnusable",
                message=f"module cache {cache}: not a directory that only this user may write",
                hint="Compiled modules are machine code. Remove it; it is made again.",
            )
        )


def _failed(kind: FaultKind, code: str, message: str) -> EngineFailed:
    return EngineFailed(Fault(kind=kind, code=code, message=message))

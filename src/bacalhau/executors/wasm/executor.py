"""The wasm engine as the node sees it: a queue of runs, and workers that carry them out."""

import asyncio
import importlib.util
import os
import stat
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from math import ceil
from pathlib import Path

from bacalhau.executors.wasm import record
from bacalhau.executors.wasm.params import check_env, read
from bacalhau.executors.wasm.processes import Worker, Zygote
from bacalhau.executors.wasm.wire import Answer, Look, Report, Stop, encode, frame_batch, stopped
from bacalhau.model.errors import EngineFailed, NotFound
from bacalhau.model.execution import Fault, FaultKind
from bacalhau.model.job import NetworkType, SpecConfig
from bacalhau.ports.executor import Outcome, Work

WASMTIME_MIN = 49
"""Older ones give read-only directories in another way."""

BATCH_S = 0.005
BATCH_MAX = 64
BATCH_BYTES_MAX = 1 << 20
"""A batch holds about so much work: enough to hide a round trip, little to give back."""

TICK_S = 0.05
"""A run that takes longer is looked after: its batch moves on, its outputs are measured."""

FORCE_AFTER_S = 0.5
"""wasm cannot hear a request: what is not interrupted by then waits inside a system call."""

FORCE_EARLIEST_S = 0.05
QUEUED_MAX = 100_000


class Run:
    """One execution, from start() to release()."""

    __slots__ = ("body", "directory", "done", "id", "outcome", "stopping", "traces", "worker")

    def __init__(self, id: str, directory: str, body: bytes) -> None:
        self.id = id
        self.directory = directory
        self.body = body
        self.worker: Worker | None = None
        self.done = asyncio.Event()
        self.outcome = Outcome()
        self.stopping = False
        self.traces = False

    def end(self, outcome: Outcome) -> None:
        """It ended so; the first word counts."""
        if self.done.is_set():
            return
        self.outcome = outcome
        self.body = b""
        self.worker = None
        self.done.set()


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
        self._max_workers = max(1, max_workers)
        self._warm = min(workers or os.cpu_count() or 1, self._max_workers)
        self._idle_s = idle_s
        self._runs: dict[str, Run] = {}
        self._queue: OrderedDict[str, Run] = OrderedDict()
        self._workers: list[Worker] = []
        self._zygote: Zygote | None = None
        self._mean_s = BATCH_S
        self._feeding = False
        self._ticking: asyncio.TimerHandle | None = None
        self._idling: asyncio.TimerHandle | None = None
        self._ending: asyncio.Task[None] | None = None
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
        if not self._workers:
            open_cache(self._cache)
        run = Run(work.execution_id, work.directory, body)
        self._runs[run.id] = run
        self._queue[run.id] = run
        self._feed_soon()

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
        if run is None:
            return
        run.stopping = True
        patience_s = max(FORCE_EARLIEST_S, min(grace_s, FORCE_AFTER_S))
        while not run.done.is_set():
            worker = run.worker
            if worker is None:
                self._queue.pop(run.id)
                run.end(stopped())
                return
            worker.say(Stop(run.id))
            try:
                async with asyncio.timeout(patience_s):
                    await run.done.wait()
            except TimeoutError:
                if next(iter(worker.batch), None) == run.id:
                    worker.kill()

    async def release(self, execution_id: str) -> None:
        """Forget it, and remove what it left in its directory."""
        run = self._runs.get(execution_id)
        if run is None:
            return
        if not run.done.is_set():
            await self.stop(execution_id, 0)
        self._runs.pop(execution_id, None)
        if run.traces:
            await asyncio.to_thread(record.remove, run.directory)

    async def close(self) -> None:
        """End all processes. Runs that have not ended end as interrupted."""
        self._closed = True
        for run in self._runs.values():
            if not run.done.is_set():
                run.end(_node_fault("Interrupted", "the node went down while this ran"))
        self._queue.clear()
        for timer in (self._ticking, self._idling):
            if timer is not None:
                timer.cancel()
        await self._end_processes()
        if self._ending is not None:
            await self._ending

    # -- queue and workers -------------------------------------------------------------

    def _accept(self, work: Work) -> bytes:
        """The work, encoded for the pipe. Raises EngineFailed."""
        if self._closed:
            raise _failed(FaultKind.NODE, "EngineClosed", "the wasm engine has been closed")
        if len(self._queue) >= QUEUED_MAX:
            raise _failed(FaultKind.BUSY, "EngineBusy", f"{QUEUED_MAX} wasm runs wait already")
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

    def _feed_soon(self) -> None:
        """Feed once for all runs that are started in this turn of the loop."""
        if not self._feeding:
            self._feeding = True
            asyncio.get_running_loop().call_soon(self._feed)

    def _feed(self) -> None:
        """Give waiting runs to idle workers, and fork warm ones that are missing."""
        self._feeding = False
        if self._closed:
            return
        while self._queue:
            worker = next((w for w in self._workers if not w.batch and not w.leaving), None)
            if worker is None:
                if len(self._workers) >= self._warm:
                    break
                worker = self._fork()
            self._give(worker)
        self._set_timers()

    def _give(self, worker: Worker) -> None:
        """Send a batch: more runs the shorter they are, and its share for every worker."""
        share = ceil(len(self._queue) / self._warm)
        size = max(1, min(BATCH_MAX, share, int(BATCH_S / self._mean_s)))
        bodies: list[bytes] = []
        length = 0
        while self._queue and len(bodies) < size and length < BATCH_BYTES_MAX:
            id, run = self._queue.popitem(last=False)
            run.worker = worker
            worker.batch[id] = run
            bodies.append(run.body)
            length += len(run.body)
        worker.progress = asyncio.get_running_loop().time()
        worker.send(frame_batch(bodies))

    def _fork(self) -> Worker:
        if self._zygote is None:
            self._zygote = Zygote(self._cache, self._zygote_gone)
        worker = Worker(self._zygote, self._answered, self._gone)
        self._workers.append(worker)
        return worker

    def _answered(self, worker: Worker, answers: list[Answer]) -> None:
        back = []
        for answer in answers:
            if isinstance(answer, Report):
                run = worker.batch.pop(answer.execution_id)
                run.traces = answer.recorded
                run.end(answer.outcome)
                self._mean_s += (max(answer.took_s, 1e-5) - self._mean_s) / 8
                worker.leaving |= answer.last
            else:
                back += [worker.batch.pop(id) for id in answer.execution_ids]
        self._requeue(back)
        worker.progress = asyncio.get_running_loop().time()
        if not worker.batch:
            if not self._queue and len(self._workers) > self._warm:
                worker.kill()
            self._feed()

    def _requeue(self, runs: Sequence[Run]) -> None:
        """Put them back where they were, before all others."""
        for run in reversed(runs):
            run.worker = None
            if run.stopping:
                run.end(stopped())
            else:
                self._queue[run.id] = run
                self._queue.move_to_end(run.id, last=False)

    def _gone(self, worker: Worker) -> None:
        """A worker has ended. The first run of its batch was the one it carried out."""
        self._workers.remove(worker)
        runs = list(worker.batch.values())
        worker.batch.clear()
        if runs:
            run = runs[0]
            run.traces = True
            run.end(stopped() if run.stopping else _crashed(worker.status))
            self._requeue(runs[1:])
        self._feed()

    def _zygote_gone(self, zygote: Zygote) -> None:
        """The next fork starts another; but one that never forked will not do better."""
        if self._zygote is zygote:
            self._zygote = None
        if not zygote.forked:
            for run in self._queue.values():
                run.end(_node_fault("EngineCrashed", "the wasm runtime could not be started"))
            self._queue.clear()

    # -- time --------------------------------------------------------------------------

    def _set_timers(self) -> None:
        """Tick while anything runs; when nothing does, end the processes after a while."""
        loop = asyncio.get_running_loop()
        busy = any(worker.batch for worker in self._workers)
        if busy and self._ticking is None:
            self._ticking = loop.call_later(TICK_S, self._tick)
        if self._idling is not None and (busy or not self._workers):
            self._idling.cancel()
            self._idling = None
        if self._idling is None and self._workers and not busy:
            self._idling = loop.call_later(self._idle_s, self._end_idle)

    def _tick(self) -> None:
        """Look after long runs; add workers when all are occupied by such and others wait."""
        self._ticking = None
        if self._closed:
            return
        now = asyncio.get_running_loop().time()
        slow = [w for w in self._workers if w.batch and w.pid and now - w.progress > TICK_S]
        for worker in slow:
            worker.say(Look())
        if len(slow) == len(self._workers):
            room = min(self._max_workers - len(self._workers), self._warm)
            for _ in range(min(room, len(self._queue))):
                self._give(self._fork())
        self._set_timers()

    def _end_idle(self) -> None:
        self._idling = None
        self._ending = asyncio.get_running_loop().create_task(self._end_processes())

    async def _end_processes(self) -> None:
        """End the workers there are now, and their zygote; later runs get another."""
        zygote, self._zygote = self._zygote, None
        workers = list(self._workers)
        for worker in workers:
            worker.kill()
        for worker in workers:
            await worker.gone.wait()
        if zygote is not None:
            await zygote.close()


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


def _crashed(status: int | None) -> Outcome:
    """The outcome of a run whose worker died under it."""
    if status is None:
        how = "ended with the process that forked it"
    elif os.WIFSIGNALED(status):
        how = f"was killed by signal {os.WTERMSIG(status)}"
    else:
        how = f"ended with status {os.waitstatus_to_exitcode(status)}"
    return _node_fault("EngineCrashed", f"the worker process that ran this {how}")


def _node_fault(code: str, message: str) -> Outcome:
    return Outcome(exit_code=1, fault=Fault(kind=FaultKind.NODE, code=code, message=message))


def _failed(kind: FaultKind, code: str, message: str) -> EngineFailed:
    return EngineFailed(Fault(kind=kind, code=code, message=message))

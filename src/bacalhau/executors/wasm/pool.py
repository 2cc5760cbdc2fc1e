"""The queue of runs, and the worker processes that carry them out."""

import asyncio
import contextlib
import os
from collections import OrderedDict
from collections.abc import Sequence
from math import ceil
from pathlib import Path

from bacalhau.executors.wasm.processes import END_S, Worker, Zygote
from bacalhau.executors.wasm.wire import Answer, Look, Report, Stop, frame_batch, stopped
from bacalhau.model.execution import Fault, FaultKind
from bacalhau.ports.executor import Outcome

BATCH_S = 0.005
BATCH_MAX = 64
BATCH_BYTES_MAX = 1 << 20
"""A batch holds about so much work: enough to hide a round trip, little to give back."""

TICK_S = 0.05
"""A run that takes longer is looked after: its batch moves on, its outputs are measured."""

FORCE_AFTER_S = 0.5
"""wasm cannot hear a request: what is not interrupted by then waits inside a system call."""

FORCE_EARLIEST_S = 0.05


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


class Pool:
    """Runs in order of their start; `warm` workers while that is enough, else up to `most`.

    No process is there before the first run, and none after `idle_s` seconds without one.
    """

    def __init__(self, cache: Path, *, warm: int, most: int, idle_s: float) -> None:
        self.workers: list[Worker] = []
        self.zygote: Zygote | None = None
        self._cache = cache
        self._warm = warm
        self._most = most
        self._idle_s = idle_s
        self._queue: OrderedDict[str, Run] = OrderedDict()
        self._mean_s = BATCH_S
        self._feeding = False
        self._ticking: asyncio.TimerHandle | None = None
        self._idling: asyncio.TimerHandle | None = None
        self._ending: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def waiting(self) -> int:
        """How many runs have no worker yet."""
        return len(self._queue)

    def put(self, run: Run) -> None:
        """Queue it. All that comes in one turn of the loop is given out together."""
        self._queue[run.id] = run
        if not self._feeding:
            self._feeding = True
            asyncio.get_running_loop().call_soon(self._feed)

    async def stop(self, run: Run, grace_s: float) -> None:
        """Take it from the queue, or interrupt it; what cannot be interrupted is killed."""
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

    async def close(self) -> None:
        """End all processes, and what has not ended."""
        self._closed = True
        gone = node_fault("Interrupted", "the node went down while this ran")
        for run in (*self._queue.values(), *(r for w in self.workers for r in w.batch.values())):
            run.end(gone)
        self._queue.clear()
        for timer in (self._ticking, self._idling):
            if timer is not None:
                timer.cancel()
        await self._end_processes()
        if self._ending is not None:
            await self._ending

    # -- queue and workers -------------------------------------------------------------

    def _feed(self) -> None:
        """Give waiting runs to idle workers, and fork warm ones that are missing."""
        self._feeding = False
        if self._closed:
            return
        while self._queue:
            worker = next((w for w in self.workers if not w.batch and not w.leaving), None)
            if worker is None:
                if self._staying() >= self._warm:
                    break
                worker = self._fork()
                if worker is None:
                    break
            self._give(worker)
        self._set_timers()

    def _staying(self) -> int:
        """How many workers there are, without those about to end."""
        return sum(not worker.leaving for worker in self.workers)

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

    def _fork(self) -> Worker | None:
        """Another worker. None when the machine has none to give: then others do the work."""
        try:
            if self.zygote is None:
                self.zygote = Zygote(self._cache, self._zygote_gone)
            worker = Worker(self.zygote, self._answered, self._gone)
        except OSError as error:
            if not self.workers:
                self._fail_all(f"cannot start a worker: {error}")
            return None
        self.workers.append(worker)
        return worker

    def _fail_all(self, why: str) -> None:
        """Nothing that waits can be carried out."""
        for run in self._queue.values():
            run.end(node_fault("EngineCrashed", why))
        self._queue.clear()

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
            if not self._queue and self._staying() > self._warm:
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
        self.workers.remove(worker)
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
        if self.zygote is zygote:
            self.zygote = None
        if not zygote.forked:
            self._fail_all("the wasm runtime could not be started")

    # -- time --------------------------------------------------------------------------

    def _set_timers(self) -> None:
        """Tick while anything runs; when nothing does, end the processes after a while."""
        loop = asyncio.get_running_loop()
        busy = any(worker.batch for worker in self.workers)
        if busy and self._ticking is None:
            self._ticking = loop.call_later(TICK_S, self._tick)
        if self._idling is not None and (busy or not self.workers):
            self._idling.cancel()
            self._idling = None
        if self._idling is None and self.workers and not busy:
            self._idling = loop.call_later(self._idle_s, self._end_idle)

    def _tick(self) -> None:
        """Look after long runs; add workers when all are occupied by such and others wait."""
        self._ticking = None
        if self._closed:
            return
        now = asyncio.get_running_loop().time()
        slow = [w for w in self.workers if w.batch and w.pid and now - w.progress > TICK_S]
        for worker in slow:
            worker.say(Look())
        if len(slow) == len(self.workers):
            room = min(self._most - len(self.workers), self._warm)
            for _ in range(min(room, len(self._queue))):
                another = self._fork()
                if another is None:
                    break
                self._give(another)
        self._set_timers()

    def _end_idle(self) -> None:
        self._idling = None
        self._ending = asyncio.get_running_loop().create_task(self._end_processes())

    async def _end_processes(self) -> None:
        """End the workers there are now, and their zygote; later runs get another."""
        zygote, self.zygote = self.zygote, None
        workers = list(self.workers)
        for worker in workers:
            worker.kill()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_S):
                for worker in workers:
                    await worker.gone.wait()
        if zygote is not None:
            await zygote.close()


def _crashed(status: int | None) -> Outcome:
    """The outcome of a run whose worker died under it."""
    if status is None:
        how = "ended with the process that forked it"
    elif os.WIFSIGNALED(status):
        how = f"was killed by signal {os.WTERMSIG(status)}"
    else:
        how = f"ended with status {os.waitstatus_to_exitcode(status)}"
    return node_fault("EngineCrashed", f"the worker process that ran this {how}")


def node_fault(code: str, message: str) -> Outcome:
    """The outcome of a run that the node could not carry out or finish."""
    return Outcome(exit_code=1, fault=Fault(kind=FaultKind.NODE, code=code, message=message))

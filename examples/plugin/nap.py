"""The engine `nap`: does nothing for a while. It shows what an executor has to do."""

import asyncio

from bacalhau.model.errors import EngineFailed
from bacalhau.model.execution import Fault, FaultKind
from bacalhau.ports.executor import Outcome

STOPPED = Outcome(exit_code=143)


class NapExecutor:
    name = "nap"

    def __init__(self):
        self._runs = {}

    async def probe(self):
        return {"nap.version": "1"}  # becomes labels of the node; None: not offered now

    def check(self, engine):
        seconds = engine.param("Seconds")
        good = isinstance(seconds, int | float) and 0 <= seconds <= 86400
        return () if good else (f"Seconds must be from 0 to 86400, not {seconds!r}",)

    async def start(self, work):
        if work.execution_id in self._runs:  # told twice, started once
            return
        if reasons := self.check(work.engine):
            fault = Fault(kind=FaultKind.PERMANENT, code="BadParams", message="; ".join(reasons))
            raise EngineFailed(fault)
        run = self._runs[work.execution_id] = asyncio.get_running_loop().create_future()
        end = Outcome(exit_code=int(work.engine.param("Status", 0)))
        asyncio.get_running_loop().call_later(work.engine.param("Seconds"), self._end, run, end)

    async def attach(self, work):
        return work.execution_id in self._runs  # naps do not outlive the node: False

    async def wait(self, execution_id):
        return await asyncio.shield(self._runs[execution_id])

    async def stop(self, execution_id, grace_s):
        if execution_id in self._runs:
            self._end(self._runs[execution_id], STOPPED)

    async def release(self, execution_id):
        await self.stop(execution_id, 0)
        self._runs.pop(execution_id, None)

    async def close(self):
        for run in self._runs.values():
            self._end(run, STOPPED)

    def _end(self, run, outcome):
        if not run.done():
            run.set_result(outcome)

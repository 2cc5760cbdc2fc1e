"""The engine that runs nothing: for tests and benchmarks of everything around engines."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from bacalhau.model.errors import EngineFailed, NotFound
from bacalhau.model.execution import Fault, FaultKind
from bacalhau.model.job import SpecConfig
from bacalhau.ports.executor import Outcome, Work

SLEEP_MAX_S = 86_400.0
STOPPED = 143  # what a shell shows for a program ended by SIGTERM
_KINDS = {kind.value: kind for kind in FaultKind}


class NoopExecutor:
    """Ends at once, or after `Sleep` seconds, with `ExitCode` or the fault `Fail`.

    Params, all optional: `ExitCode` (0..255), `Sleep` (seconds), `Fail` (a fault code, or
    an object with `Kind`, `Code`, `Message`; kind `user` unless given). A fault of kind
    `permanent` or `busy` is raised by start(), the others end the run.
    """

    name = "noop"

    def __init__(self) -> None:
        self._ended: dict[str, Outcome] = {}
        self._asleep: dict[str, asyncio.Future[Outcome]] = {}

    async def probe(self) -> Mapping[str, str] | None:
        return {"noop.version": "1"}

    def check(self, engine: SpecConfig) -> Sequence[str]:
        if not engine.params:
            return ()
        return tuple(reason for _, reason in map(_complaint, engine.params.items()) if reason)

    async def start(self, work: Work) -> None:
        id = work.execution_id
        if id in self._ended or id in self._asleep:
            return
        engine = work.engine
        if not engine.params:  # the path that benchmarks take
            self._ended[id] = _COMPLETED
            return
        if reasons := self.check(engine):
            raise EngineFailed(
                Fault(kind=FaultKind.PERMANENT, code="BadParams", message="; ".join(reasons))
            )
        fault = _fault(engine.param("Fail"))
        if fault is not None and fault.kind in (FaultKind.PERMANENT, FaultKind.BUSY):
            raise EngineFailed(fault)
        outcome = Outcome(exit_code=int(engine.param("ExitCode", 0)), fault=fault)
        sleep_s = float(engine.param("Sleep", 0))
        if sleep_s == 0:
            self._ended[id] = outcome
            return
        loop = asyncio.get_running_loop()
        self._asleep[id] = loop.create_future()
        loop.call_later(sleep_s, self._end, id, outcome)

    async def attach(self, work: Work) -> bool:
        return work.execution_id in self._ended or work.execution_id in self._asleep

    async def wait(self, execution_id: str) -> Outcome:
        if (outcome := self._ended.get(execution_id)) is not None:
            return outcome
        if (pending := self._asleep.get(execution_id)) is not None:
            return await asyncio.shield(pending)
        raise NotFound(f"noop: execution '{execution_id}' was never started here")

    async def stop(self, execution_id: str, grace_s: float) -> None:
        self._end(execution_id, Outcome(exit_code=STOPPED))

    async def release(self, execution_id: str) -> None:
        self._end(execution_id, Outcome(exit_code=STOPPED))
        self._ended.pop(execution_id, None)

    async def close(self) -> None:
        for id in list(self._asleep):
            self._end(id, Outcome(exit_code=STOPPED))

    def _end(self, id: str, outcome: Outcome) -> None:
        pending = self._asleep.pop(id, None)
        if pending is not None:
            self._ended[id] = outcome
            pending.set_result(outcome)


_COMPLETED = Outcome()


def _complaint(item: tuple[str, Any]) -> tuple[str, str]:
    """(key, what is wrong with its value); '' when nothing is."""
    key, value = item
    match key.lower():
        case "exitcode":
            good = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 255
            return key, "" if good else f"ExitCode must be a number from 0 to 255, not {value!r}"
        case "sleep":
            good = isinstance(value, int | float) and not isinstance(value, bool)
            good = good and 0 <= value <= SLEEP_MAX_S
            most = int(SLEEP_MAX_S)
            return key, "" if good else f"Sleep must be from 0 to {most} seconds, not {value!r}"
        case "fail":
            given = _fields(value).get("kind", "user")
            good = isinstance(value, str | dict) and given in _KINDS
            kinds = ", ".join(_KINDS)
            return key, "" if good else f"Fail must be a code or have a Kind of {kinds}: {value!r}"
    return key, f"unknown parameter '{key}'; noop has ExitCode, Sleep, Fail"


def _fields(value: Any) -> dict[str, Any]:
    return {str(k).lower(): v for k, v in value.items()} if isinstance(value, dict) else {}


def _fault(value: Any) -> Fault | None:
    if value is None:
        return None
    fields = _fields(value) or {"code": value}
    code = str(fields.get("code", "NoopFailed"))
    return Fault(
        kind=_KINDS[fields.get("kind", "user")],
        code=code,
        message=str(fields.get("message", f"the job asked the noop engine to fail with {code}")),
    )

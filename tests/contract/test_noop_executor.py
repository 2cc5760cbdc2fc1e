"""The noop engine keeps the executor contract, and does what its params say."""

from pathlib import Path

import pytest

from bacalhau.executors.noop import NoopExecutor
from bacalhau.model.errors import EngineFailed, NotFound
from bacalhau.model.execution import FaultKind
from bacalhau.model.job import SpecConfig
from bacalhau.testing.contracts.executor import ExecutorContract


class TestNoopExecutor(ExecutorContract):
    plugin = "bacalhau.executors.noop:NoopExecutor"
    handles_files = False

    def exits(self, code: int) -> SpecConfig:
        return SpecConfig(type="noop", params={"exitcode": code})

    def loops(self) -> SpecConfig:
        return SpecConfig(type="noop", params={"Sleep": 3600})

    def invalid(self) -> SpecConfig:
        return SpecConfig(type="noop", params={"ExitCode": "three"})

    async def test_fail_ends_the_run_with_that_fault(self, place: Path) -> None:
        executor = NoopExecutor()
        fail = {"kind": "node", "code": "Gone", "message": "as asked"}
        await executor.start(self.work(place, SpecConfig(type="noop", params={"Fail": fail})))
        fault = (await executor.wait("e-1")).fault
        assert fault is not None
        assert (fault.kind, fault.code, fault.message) == (FaultKind.NODE, "Gone", "as asked")

    async def test_a_permanent_fault_is_raised_by_start(self, place: Path) -> None:
        params = {"Fail": {"Kind": "permanent", "Code": "Never"}}
        with pytest.raises(EngineFailed) as caught:
            await NoopExecutor().start(self.work(place, SpecConfig(type="noop", params=params)))
        assert caught.value.fault.code == "Never"

    async def test_sleep_takes_that_long(self, place: Path) -> None:
        executor = NoopExecutor()
        engine = SpecConfig(type="noop", params={"Sleep": 0.05, "ExitCode": 4})
        await executor.start(self.work(place, engine))
        assert (await executor.wait("e-1")).exit_code == 4

    async def test_waiting_for_the_unknown_is_not_found(self) -> None:
        with pytest.raises(NotFound):
            await NoopExecutor().wait("nobody")

    @pytest.mark.parametrize(
        "params",
        [{"Sleep": -1}, {"Sleep": True}, {"ExitCode": 256}, {"Fail": 3}, {"Other": 1}],
        ids=str,
    )
    def test_each_bad_param_is_named(self, params: dict[str, object]) -> None:
        reasons = NoopExecutor().check(SpecConfig(type="noop", params=params))
        assert len(reasons) == 1
        assert next(iter(params)) in reasons[0]

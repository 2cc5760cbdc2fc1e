"""The process engine keeps the executor contract, with its sandbox and without."""

from pathlib import Path

import pytest

from bacalhau.executors.process.executor import cgroup_name
from bacalhau.executors.process.status import holders
from bacalhau.model.job import SpecConfig
from bacalhau.ports.executor import Executor, Work
from bacalhau.testing.contracts.executor import ExecutorContract, crash_after_start, until


def sh(script: str, *arguments: str) -> SpecConfig:
    return SpecConfig(
        type="process", params={"Command": "sh", "Arguments": ["-c", script, "sh", *arguments]}
    )


class Programs(ExecutorContract):
    """Programs that behave as the contract asks."""

    plugin = "bacalhau.executors.process:ProcessExecutor"
    can_be_deaf = True

    def exits(self, code: int) -> SpecConfig:
        return sh(f"exit {code}")

    def loops(self) -> SpecConfig:
        return sh("echo started; exec sleep 3600")

    def ignores_stop(self) -> SpecConfig:
        return sh("trap '' TERM; echo started; while :; do sleep 0.1; done")

    def invalid(self) -> SpecConfig:
        return SpecConfig(type="process", params={"Arguments": "not a list"})

    def prints(self, out: str, err: str) -> SpecConfig:
        return sh('printf %s "$1"; printf %s "$2" >&2', out, err)

    def prints_env(self, name: str) -> SpecConfig:
        return sh(f'printf %s "${name}"')

    def copies(self, source: str, target: str) -> SpecConfig:
        return SpecConfig(type="process", params={"name": "cp", "arguments": [source, target]})

    def waits_then_exits(self, path: str, code: int) -> SpecConfig:
        return sh(f"echo started; until [ -e {path} ]; do sleep 0.01; done; exit {code}")


@pytest.mark.sandbox
class TestSandboxed(Programs):
    survives_crash = True
    can_be_absent = True
    absent = {"search": "", "user": 4_294_967_294}  # a uid that bubblewrap cannot map

    def traces(self, work: Work) -> list[str]:
        groups = Path("/sys/fs/cgroup").glob(f"**/{cgroup_name(work)}")
        return [*super().traces(work), *map(str, groups)]


class TestBare(Programs):
    """The sandbox switched off: no targets, so file paths are rewritten; no new life."""

    settings = {"sandbox": False}

    async def test_the_node_announces_that_the_sandbox_is_off(self, executor: Executor) -> None:
        facts = await executor.probe()
        assert facts is not None
        assert facts["process.sandbox"] == "off"

    test_inputs_cannot_be_written = None  # without a sandbox they can

    async def test_what_a_dead_node_left_running_is_ended_before_it_is_redone(
        self, place: Path
    ) -> None:
        work = self.work(place, self.loops())
        await crash_after_start(self.plugin, self.settings, work)
        assert holders(work.directory)
        late = self.make()
        assert await late.attach(work) is False
        await until(lambda: not holders(work.directory), "the end of the left-over")
        await late.close()

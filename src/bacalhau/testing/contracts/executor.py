"""What every executor must do. Subclass ExecutorContract in a test module of the plug-in.

    class TestMine(ExecutorContract):
        plugin = "my.package:MyExecutor"
        def exits(self, code): return SpecConfig(type="mine", params={...})
        ...

The suite needs pytest and pytest-asyncio (mode auto). It makes executors from `plugin` and
`settings` alone, so that it can also make one in a child process and kill that.
"""

import asyncio
import importlib
import os
import signal
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import msgspec
import pytest

from bacalhau.model.base import evolve
from bacalhau.model.errors import EngineFailed
from bacalhau.model.job import SpecConfig
from bacalhau.ports.executor import Executor, Mount, Work

PATIENCE_S = 30.0
"""How long a condition may take to come true before a test fails."""


def load(plugin: str, settings: Mapping[str, Any]) -> Executor:
    """An executor from `package.module:Class` and its constructor's settings."""
    module, _, name = plugin.partition(":")
    made: Executor = getattr(importlib.import_module(module), name)(**settings)
    return made


async def until(condition: Callable[[], bool], what: str) -> None:
    """Returns when the condition holds; fails the test after PATIENCE_S."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, f"waited {PATIENCE_S:.0f} s for: {what}"
        await asyncio.sleep(0.01)


def read(path: str) -> str:
    """The text of a file; empty while there is none."""
    try:
        return Path(path).read_text(errors="replace")
    except FileNotFoundError:
        return ""


def write(path: str, text: str) -> None:
    """Makes a file of that text."""
    Path(path).write_text(text)


Test = TypeVar("Test", bound=Callable[..., Any])


def needs(ability: str) -> Callable[[Test], Test]:
    """Marks a test that a plug-in has only when that class attribute is true."""

    def mark(test: Test) -> Test:
        test.ability = ability  # type: ignore[attr-defined]  # functions take attributes
        return test

    return mark


class ExecutorContract(ABC):
    """The tests. Abstract methods give engine specs that behave as their names say.

    Tests of an ability that the subclass does not claim are not part of its suite.
    """

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for name, member in list(vars(ExecutorContract).items()):
            ability = getattr(member, "ability", None)
            if ability is not None and not getattr(cls, ability):
                setattr(cls, name, None)

    plugin: ClassVar[str]
    settings: ClassVar[Mapping[str, Any]] = {}
    absent: ClassVar[Mapping[str, Any]] = {}
    survives_crash: ClassVar[bool] = False
    """True when runs go on, and are found again, after the node's process was killed."""
    handles_files: ClassVar[bool] = True
    """False for engines that run nothing (noop): no output, inputs, environment."""
    can_be_deaf: ClassVar[bool] = False
    """True when a program can ignore a polite stop; then ignores_stop() gives one."""
    can_be_absent: ClassVar[bool] = False
    """True when `absent` are settings with which the engine cannot work."""

    @abstractmethod
    def exits(self, code: int) -> SpecConfig:
        """Ends at once with this exit code."""

    @abstractmethod
    def loops(self) -> SpecConfig:
        """Runs for much longer than a test; ends politely when asked to.

        Where the engine has output, it prints `started` and a newline first.
        """

    def ignores_stop(self) -> SpecConfig:
        """Like loops(), but deaf to polite requests."""
        raise NotImplementedError

    def invalid(self) -> SpecConfig:
        """Params that check() must complain about."""
        return SpecConfig(type=self.exits(0).type, params={})

    def prints(self, out: str, err: str) -> SpecConfig:
        """Writes `out` to stdout and `err` to stderr and exits 0."""
        raise NotImplementedError

    def prints_env(self, name: str) -> SpecConfig:
        """Writes the value of an environment variable to stdout."""
        raise NotImplementedError

    def copies(self, source: str, target: str) -> SpecConfig:
        """Copies a file; both are paths inside. Exits non-zero when it cannot."""
        raise NotImplementedError

    def waits_then_exits(self, path: str, code: int) -> SpecConfig:
        """Prints `started`, waits until the file `path` exists inside, exits with `code`."""
        raise NotImplementedError

    # -- how the tests make things -----------------------------------------------------

    def make(self) -> Executor:
        """A new executor with this class's settings."""
        return load(self.plugin, self.settings)

    @pytest.fixture
    async def executor(self) -> AsyncIterator[Executor]:
        made = self.make()
        assert await made.probe() is not None
        self.begun: list[str] = []
        yield made
        for id in self.begun:
            await made.release(id)
        await made.close()

    @pytest.fixture
    def place(self, tmp_path: Path) -> Path:
        return tmp_path

    def work(self, place: Path, engine: SpecConfig, *, id: str = "e-1", **fields: Any) -> Work:
        """Work in a fresh directory for that execution id."""
        self.begun = [*getattr(self, "begun", ()), id]
        home = place / id
        (home / "engine").mkdir(parents=True, exist_ok=True)
        return Work(
            execution_id=id,
            engine=engine,
            directory=str(home / "engine"),
            stdout=str(home / "stdout"),
            stderr=str(home / "stderr"),
            **fields,
        )

    def files(self, place: Path) -> tuple[Path, Path, dict[str, Any]]:
        """An input directory, an output directory, and the Work fields that mount them."""
        source, output = place / "data", place / "results"
        source.mkdir()
        output.mkdir()
        (source / "numbers.txt").write_text("1 2 3\n")
        fields = {
            "inputs": (Mount(source=str(source), target="/inputs"),),
            "outputs": (Mount(source=str(output), target="/outputs", read_only=False),),
        }
        return source, output, fields

    # -- probe and check ----------------------------------------------------------------

    async def test_a_working_engine_states_its_facts(self, executor: Executor) -> None:
        facts = await executor.probe()
        assert facts is not None
        assert all(isinstance(k, str) and isinstance(v, str) for k, v in facts.items())
        assert executor.name == executor.name.lower()

    @needs("can_be_absent")
    async def test_an_absent_engine_probes_as_none(self) -> None:
        executor = load(self.plugin, self.absent)
        assert await executor.probe() is None
        await executor.close()

    def test_good_params_have_no_faults(self) -> None:
        assert not self.make().check(self.exits(0))

    def test_bad_params_are_named(self) -> None:
        reasons = self.make().check(self.invalid())
        assert reasons
        assert all(isinstance(reason, str) and reason for reason in reasons)

    # -- outcomes -------------------------------------------------------------------------

    @pytest.mark.parametrize("code", [0, 1, 3, 42, 255])
    async def test_an_exit_code_is_an_outcome(
        self, executor: Executor, place: Path, code: int
    ) -> None:
        await executor.start(self.work(place, self.exits(code)))
        outcome = await executor.wait("e-1")
        assert (outcome.exit_code, outcome.fault) == (code, None)

    async def test_wait_answers_again_long_after_the_end(
        self, executor: Executor, place: Path
    ) -> None:
        await executor.start(self.work(place, self.exits(3)))
        first = await executor.wait("e-1")
        both = await asyncio.gather(executor.wait("e-1"), executor.wait("e-1"))
        assert [outcome.exit_code for outcome in (first, *both)] == [3, 3, 3]

    async def test_what_the_engine_cannot_do_is_engine_failed(
        self, executor: Executor, place: Path
    ) -> None:
        with pytest.raises(EngineFailed) as caught:
            await executor.start(self.work(place, self.invalid()))
        assert caught.value.fault.code
        assert caught.value.fault.message

    async def test_many_runs_at_once_keep_their_own_outcomes(
        self, executor: Executor, place: Path
    ) -> None:
        ids = [f"e-{code}" for code in range(12)]
        for code, id in enumerate(ids):
            await executor.start(self.work(place, self.exits(code), id=id))
        outcomes = await asyncio.gather(*map(executor.wait, ids))
        assert [outcome.exit_code for outcome in outcomes] == list(range(12))

    # -- once ----------------------------------------------------------------------------

    @needs("handles_files")
    async def test_starting_twice_runs_once(self, executor: Executor, place: Path) -> None:
        work = self.work(place, self.prints("once\n", ""))
        await asyncio.gather(executor.start(work), executor.start(work))
        await executor.wait("e-1")
        await executor.start(work)
        assert (await executor.wait("e-1")).exit_code == 0
        assert read(work.stdout) == "once\n"

    # -- stop ----------------------------------------------------------------------------

    async def test_stop_ends_a_long_run_politely(self, executor: Executor, place: Path) -> None:
        work = self.work(place, self.loops())
        await executor.start(work)
        if self.handles_files:
            await until(lambda: "started" in read(work.stdout), "the first line")
        begin = time.monotonic()
        await executor.stop("e-1", grace_s=20)
        outcome = await asyncio.wait_for(executor.wait("e-1"), PATIENCE_S)
        assert time.monotonic() - begin < 15
        assert outcome.exit_code != 0
        await executor.stop("e-1", grace_s=1)

    @needs("can_be_deaf")
    async def test_stop_uses_force_after_the_grace(self, executor: Executor, place: Path) -> None:
        work = self.work(place, self.ignores_stop())
        await executor.start(work)
        await until(lambda: "started" in read(work.stdout), "the first line")
        begin = time.monotonic()
        await executor.stop("e-1", grace_s=0.5)
        outcome = await asyncio.wait_for(executor.wait("e-1"), PATIENCE_S)
        assert time.monotonic() - begin >= 0.4
        assert outcome.exit_code == 128 + signal.SIGKILL

    async def test_stop_straight_after_start_is_not_lost(
        self, executor: Executor, place: Path
    ) -> None:
        await executor.start(self.work(place, self.loops()))
        await executor.stop("e-1", grace_s=2)
        outcome = await asyncio.wait_for(executor.wait("e-1"), PATIENCE_S)
        assert outcome.exit_code != 0

    async def test_stopping_the_unknown_and_the_ended_is_no_error(
        self, executor: Executor, place: Path
    ) -> None:
        await executor.stop("never-started", grace_s=0)
        await executor.start(self.work(place, self.exits(5)))
        await executor.wait("e-1")
        await executor.stop("e-1", grace_s=0)
        assert (await executor.wait("e-1")).exit_code == 5

    # -- output, environment, files ---------------------------------------------------------

    @needs("handles_files")
    async def test_both_streams_land_in_their_files(self, executor: Executor, place: Path) -> None:
        work = self.work(place, self.prints("to out\n", "to err\n"))
        write(work.stdout, "before\n")
        await executor.start(work)
        await executor.wait("e-1")
        assert read(work.stdout) == "before\nto out\n"
        assert read(work.stderr) == "to err\n"

    @needs("handles_files")
    async def test_output_can_be_read_while_it_runs(self, executor: Executor, place: Path) -> None:
        work = self.work(place, self.loops())
        await executor.start(work)
        await until(lambda: read(work.stdout) == "started\n", "the first line")
        await executor.stop("e-1", grace_s=1)
        assert read(work.stdout) == "started\n"

    @needs("handles_files")
    async def test_the_environment_is_passed(self, executor: Executor, place: Path) -> None:
        value = "two words, 'quotes', = and \u00fcml\u00e4uts"
        work = self.work(place, self.prints_env("BACALHAU_TEST"), env={"BACALHAU_TEST": value})
        await executor.start(work)
        assert (await executor.wait("e-1")).exit_code == 0
        assert read(work.stdout).rstrip("\n") == value

    @needs("handles_files")
    async def test_inputs_are_read_and_outputs_land(self, executor: Executor, place: Path) -> None:
        _, output, fields = self.files(place)
        engine = self.copies("/inputs/numbers.txt", "/outputs/copy.txt")
        await executor.start(self.work(place, engine, **fields))
        assert (await executor.wait("e-1")).exit_code == 0
        assert (output / "copy.txt").read_text() == "1 2 3\n"

    @needs("handles_files")
    async def test_inputs_cannot_be_written(self, executor: Executor, place: Path) -> None:
        source, _, fields = self.files(place)
        engine = self.copies("/inputs/numbers.txt", "/inputs/planted.txt")
        await executor.start(self.work(place, engine, **fields))
        assert (await executor.wait("e-1")).exit_code != 0
        assert [entry.name for entry in source.iterdir()] == ["numbers.txt"]

    # -- attach -----------------------------------------------------------------------------

    async def test_what_never_started_is_not_found_again(
        self, executor: Executor, place: Path
    ) -> None:
        assert await executor.attach(self.work(place, self.exits(0))) is False

    @needs("survives_crash")
    async def test_a_running_execution_is_found_again_by_a_new_executor(self, place: Path) -> None:
        _, output, fields = self.files(place)
        work = self.work(place, self.waits_then_exits("/outputs/go", 7), **fields)
        first, second = self.make(), self.make()
        await first.start(work)
        await first.close()
        assert await second.attach(work) is True
        (output / "go").touch()
        assert (await asyncio.wait_for(second.wait("e-1"), PATIENCE_S)).exit_code == 7
        await second.release("e-1")
        await second.close()

    @needs("survives_crash")
    async def test_start_after_a_crash_attaches_instead_of_running_again(self, place: Path) -> None:
        _, output, fields = self.files(place)
        work = self.work(place, self.waits_then_exits("/outputs/go", 0), **fields)
        first, second = self.make(), self.make()
        await first.start(work)
        await first.close()
        await second.start(work)
        (output / "go").touch()
        await asyncio.wait_for(second.wait("e-1"), PATIENCE_S)
        assert read(work.stdout) == "started\n"
        await second.close()

    @needs("survives_crash")
    async def test_start_after_the_end_tells_the_outcome_instead_of_running_again(
        self, place: Path
    ) -> None:
        work = self.work(place, self.prints("once\n", ""))
        first, second = self.make(), self.make()
        await first.start(work)
        await first.wait("e-1")
        await first.close()
        await second.start(work)
        outcome = await asyncio.wait_for(second.wait("e-1"), PATIENCE_S)
        assert (outcome.exit_code, read(work.stdout)) == (0, "once\n")
        await second.release("e-1")
        await second.close()

    @needs("survives_crash")
    async def test_the_outcome_of_a_dead_node_is_still_told(self, place: Path) -> None:
        """A real crash: the process that started the work is killed with SIGKILL."""
        _, output, fields = self.files(place)
        work = self.work(place, self.waits_then_exits("/outputs/go", 9), **fields)
        await crash_after_start(self.plugin, self.settings, work)
        (output / "go").touch()
        late = self.make()
        assert await late.attach(work) is True
        outcome = await asyncio.wait_for(late.wait("e-1"), PATIENCE_S)
        assert (outcome.exit_code, outcome.fault) == (9, None)
        assert read(work.stdout) == "started\n"
        await late.release("e-1")
        await late.close()

    @needs("survives_crash")
    async def test_a_run_found_again_can_be_stopped(self, place: Path) -> None:
        work = self.work(place, self.loops())
        await crash_after_start(self.plugin, self.settings, work)
        late = self.make()
        assert await late.attach(work) is True
        await late.stop("e-1", grace_s=10)
        outcome = await asyncio.wait_for(late.wait("e-1"), PATIENCE_S)
        assert outcome.exit_code == 128 + signal.SIGTERM
        await late.release("e-1")
        await late.close()

    # -- release ------------------------------------------------------------------------------

    async def test_release_leaves_nothing(self, executor: Executor, place: Path) -> None:
        work = self.work(place, self.exits(0))
        before = set(self.traces(work))
        await executor.start(work)
        await executor.wait("e-1")
        await executor.release("e-1")
        await executor.release("e-1")
        assert set(self.traces(work)) - before == set()
        assert os.listdir(work.directory) == []
        assert await executor.attach(evolve(work, stdout=work.stdout)) is False

    def traces(self, work: Work) -> list[str]:
        """What a run may leave on the machine beyond work.directory: child processes."""
        return children(os.getpid())


def children(pid: int) -> list[str]:
    """Ids of the processes whose parent is `pid`, zombies included."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it ended while we looked
            continue
        if fields[1] == str(pid):
            found.append(entry.name)
    return found


CRASHER = """
import asyncio, sys, time
import msgspec
from bacalhau.ports.executor import Work
from bacalhau.testing.contracts.executor import load
plugin, settings, work = sys.argv[1:]
async def main():
    executor = load(plugin, msgspec.json.decode(settings))
    await executor.start(msgspec.json.decode(work, type=Work))
    print("up", flush=True)
    await asyncio.sleep(3600)
asyncio.run(main())
"""


async def crash_after_start(plugin: str, settings: Mapping[str, Any], work: Work) -> None:
    """Starts the work in a process of its own, waits for its first line, kills that process."""
    node = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        CRASHER,
        plugin,
        msgspec.json.encode(settings).decode(),
        msgspec.json.encode(work).decode(),
        stdout=asyncio.subprocess.PIPE,
    )
    assert node.stdout is not None
    try:
        line = await asyncio.wait_for(node.stdout.readline(), PATIENCE_S)
        assert line == b"up\n", "the node could not start the work"
        await until(lambda: "started" in read(work.stdout), "the first line")
    finally:
        node.kill()
        await node.wait()

"""A compute node when things around it break: plug-ins, disk, wire, its own process."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from bacalhau.app import SystemClock, UuidIds
from bacalhau.compute import agent
from bacalhau.compute.inbox import stop
from bacalhau.compute.node import Held, Node
from bacalhau.compute.start import begin
from bacalhau.config import configure
from bacalhau.executors.noop import NoopExecutor
from bacalhau.model.base import evolve
from bacalhau.model.errors import EngineFailed, Unavailable
from bacalhau.model.execution import Desired, Execution, Fault, FaultKind, Observed
from bacalhau.model.job import Job, JobSpec, JobType, ResultPath, SpecConfig, Task, Timeouts
from bacalhau.model.message import Ack, Assign, Hello, LogCancel, LogRequest, Reports, Stop, Welcome
from bacalhau.model.node import NodeInfo
from bacalhau.model.resources import Resources, ResourcesConfig
from bacalhau.ports.executor import Outcome, Work
from bacalhau.ports.store import Entry
from bacalhau.ports.transport import ORCHESTRATOR
from bacalhau.stores.journal import MemoryJournal
from bacalhau.transports.memory import MemoryNetwork, MemoryTransport

CAPACITY = Resources(cpu=4000, memory=1 << 30, disk=1 << 30)


class Desk:
    """The orchestrator's side of the wire: sends, and keeps what the node said."""

    def __init__(self, transport: MemoryTransport) -> None:
        self.transport = transport
        self.said: list[Any] = []

    async def listen(self) -> None:
        while True:
            _, messages = await self.transport.receive()
            self.said += messages

    async def tell(self, *messages: Any) -> None:
        await self.transport.send("n", messages)

    def of(self, kind: type) -> list[Any]:
        return [message for message in self.said if isinstance(message, kind)]

    def words(self, execution_id: str) -> list[Execution]:
        """What the node reported of that execution, oldest first."""
        return [
            report.execution
            for message in self.of(Reports)
            for report in message.reports
            if report.execution.id == execution_id
        ]

    async def end_of(self, execution_id: str) -> Execution:
        def ends() -> list[Execution]:
            return [word for word in self.words(execution_id) if word.is_settled]

        await until(lambda: bool(ends()), f"the end of {execution_id}")
        return ends()[-1]


async def until(condition: Any, what: str, within_s: float = 8.0) -> None:
    deadline = asyncio.get_running_loop().time() + within_s
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, f"never came: {what}"
        await asyncio.sleep(0.005)


def make(directory: Path, network: MemoryNetwork | None = None, **given: Any) -> Node:
    directory.mkdir(parents=True, exist_ok=True)
    parts: dict[str, Any] = {
        "info": NodeInfo(id="n", capacity=CAPACITY, max_job=CAPACITY),
        "boot_id": "b-1",
        "config": configure({"Compute.StopGrace": "100ms"}),
        "directory": directory,
        "journal": MemoryJournal(),
        "transport": (network or MemoryNetwork()).endpoint("n"),
        "clock": SystemClock(),
        "ids": UuidIds(),
        "executors": {"noop": NoopExecutor()},
        "sources": {},
        "publishers": {},
        "environ": {},
        "upload": None,
    }
    return Node(**{**parts, **given})


@asynccontextmanager
async def serving(node: Node, network: MemoryNetwork) -> AsyncIterator[Desk]:
    """The node, served, and welcome at a desk."""
    desk = Desk(network.endpoint(ORCHESTRATOR))
    listening = asyncio.create_task(desk.listen())
    served = asyncio.create_task(agent.serve(node))
    try:
        await until(lambda: desk.of(Hello) or served.done(), "a hello")
        await desk.tell(Welcome(accepted=True, boot_id=node.boot_id))
        yield desk
        assert not served.done(), "the node has ended by itself"
    finally:
        served.cancel()
        listening.cancel()
        await asyncio.gather(served, listening, return_exceptions=True)


def work(name: str = "e-1", engine: SpecConfig | None = None, **task: Any) -> Entry:
    resources = task.pop("resources", ResourcesConfig(cpu="100m", memory="1mb"))
    spec = JobSpec(
        name=name,
        type=JobType.BATCH,
        tasks=(Task(engine=engine or SpecConfig(type="noop"), resources=resources, **task),),
    )
    job = Job(id=f"j-{name}", spec=spec)
    return Entry(
        job=job,
        execution=Execution(
            id=name, job_id=job.id, job_version=1, namespace="default", node_id="n", create_time=1
        ),
    )


def assign(entry: Entry) -> Assign:
    return Assign(job=entry.job, executions=(entry.execution,))


def sleeping(seconds: float) -> SpecConfig:
    return SpecConfig(type="noop", params={"Sleep": seconds})


class BrokenWait(NoopExecutor):
    async def wait(self, execution_id: str) -> Outcome:
        raise RuntimeError("a bug of the plug-in")


class BrokenStop(NoopExecutor):
    """Hangs when started, and cannot be stopped."""

    async def start(self, work: Work) -> None:
        await asyncio.Event().wait()

    async def stop(self, execution_id: str, grace_s: float) -> None:
        raise RuntimeError("a bug of the plug-in")


class FoundAgain(NoopExecutor):
    """A run that went on while the node was down; it needs a moment more."""

    async def attach(self, work: Work) -> bool:
        await self.start(evolve(work, engine=sleeping(0.2)))
        return True


class Released(NoopExecutor):
    def __init__(self) -> None:
        super().__init__()
        self.released: list[str] = []

    async def release(self, execution_id: str) -> None:
        self.released.append(execution_id)
        await super().release(execution_id)


class FullJournal(MemoryJournal):
    """Refuses so many writes, as when the disk is full for a while."""

    def __init__(self) -> None:
        super().__init__()
        self.refuse = 0

    async def write(self, entries: Sequence[Entry], forget: Sequence[str] = ()) -> None:
        if self.refuse:
            self.refuse -= 1
            raise Unavailable("the disk is full")
        await super().write(entries, forget)


class SlowJournal(MemoryJournal):
    """Keeps what it was given once `go` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.go = asyncio.Event()
        self.go.set()
        self.writes = 0

    async def write(self, entries: Sequence[Entry], forget: Sequence[str] = ()) -> None:
        entries = list(entries)
        self.writes += 1
        await self.go.wait()
        await super().write(entries, forget)


class BrokenPublisher:
    async def probe(self) -> bool:
        return True

    async def publish(self, execution: Execution, publisher: SpecConfig, directory: Path) -> Any:
        raise EngineFailed(Fault(kind=FaultKind.TRANSIENT, code="UploadFailed", message="no way"))


async def test_a_bug_in_a_plug_in_ends_the_execution_with_a_report(tmp_path: Path) -> None:
    network = MemoryNetwork()
    node = make(tmp_path, network, executors={"noop": BrokenWait()})
    async with serving(node, network) as desk:
        await desk.tell(assign(work()))
        end = await desk.end_of("e-1")
        assert end.observed is Observed.FAILED
        assert end.fault is not None
        assert "a bug of the plug-in" in end.fault.message
        assert end.fault.kind is FaultKind.TRANSIENT  # counted: it must not go on for ever
        assert node.used == Resources()


async def test_an_engine_that_cannot_stop_still_lets_the_stop_be_answered(tmp_path: Path) -> None:
    network = MemoryNetwork()
    node = make(tmp_path, network, executors={"noop": BrokenStop()})
    async with serving(node, network) as desk:
        await desk.tell(assign(work()))
        await until(lambda: node.running and node.running["e-1"].work, "a start")
        await desk.tell(Stop(executions=(("e-1", 2, "enough"),)))
        end = await desk.end_of("e-1")
        assert end.observed is Observed.CANCELLED


async def test_a_stop_before_the_first_step_of_a_run_frees_its_room(tmp_path: Path) -> None:
    node = make(tmp_path)
    held = node.held["e-1"] = Held(entry=work(), wanted=Resources(cpu=100))
    begin(node, held)
    await stop(node, "e-1", 2, "enough")  # in the same turn of the loop
    await until(lambda: held.execution.is_settled, "a report")
    assert held.execution.observed is Observed.CANCELLED
    assert node.used == Resources()
    assert not node.running


async def test_a_full_disk_of_the_node_delays_reports_and_ends_nothing(tmp_path: Path) -> None:
    network, journal = MemoryNetwork(), FullJournal()
    node = make(tmp_path, network, journal=journal)
    async with serving(node, network) as desk:
        await desk.tell(assign(work(engine=sleeping(0.2))))
        await until(lambda: node.running, "a start")
        journal.refuse = 2
        end = await desk.end_of("e-1")
        assert end.observed is Observed.COMPLETED
        await desk.tell(Ack(reports=(("e-1", node.held["e-1"].entry.number),)))
        await until(lambda: not node.held, "the node to forget it")
        await node.journal.write([])
        await until(lambda: not journal._entries, "the journal to forget it")


async def test_only_what_is_durable_on_the_node_is_reported(tmp_path: Path) -> None:
    network, journal = MemoryNetwork(), SlowJournal()
    node = make(tmp_path, network, journal=journal)
    async with serving(node, network) as desk:
        held = node.held["e-1"] = Held(entry=work(), wanted=Resources())
        journal.go.clear()
        before = journal.writes
        node.say(held, observed=Observed.RUNNING)
        await until(lambda: journal.writes > before, "a write under way")
        node.say(held, observed=Observed.COMPLETED)  # not in that write
        journal.go.set()
        await until(lambda: desk.words("e-1"), "a report")
        assert desk.words("e-1")[0].observed is Observed.RUNNING
        await desk.end_of("e-1")


async def test_a_run_found_again_gets_its_whole_time_when_its_start_was_not_written(
    tmp_path: Path,
) -> None:
    network, journal = MemoryNetwork(), MemoryJournal()
    await journal.write([work(timeouts=Timeouts(execution_timeout=60))])
    node = make(tmp_path, network, journal=journal, executors={"noop": FoundAgain()})
    node.place_of("e-1").mkdir(parents=True)
    async with serving(node, network) as desk:
        await until(lambda: desk.words("e-1"), "a first word")
        assert desk.words("e-1")[0].observed is Observed.RUNNING
        end = await desk.end_of("e-1")
        assert end.observed is Observed.COMPLETED, end.fault


async def test_what_had_begun_is_not_begun_again_after_a_restart(tmp_path: Path) -> None:
    """Even when its directory is gone: how it ended is unknown."""
    network, journal = MemoryNetwork(), MemoryJournal()
    entry = work()
    begun = evolve(entry.execution, observed=Observed.RUNNING, start_time=5)
    await journal.write([Entry(job=entry.job, execution=begun)])
    node = make(tmp_path, network, journal=journal)
    async with serving(node, network) as desk:
        end = await desk.end_of("e-1")
        assert end.fault is not None
        assert end.fault.code == "Interrupted"


async def test_accepted_work_that_fits_no_more_after_a_restart_is_given_back(
    tmp_path: Path,
) -> None:
    network, journal = MemoryNetwork(), MemoryJournal()
    large = work("e-1", resources=ResourcesConfig(cpu="64"))
    await journal.write([large, work("e-2")])
    node = make(tmp_path, network, journal=journal)
    async with serving(node, network) as desk:
        assert (await desk.end_of("e-2")).observed is Observed.COMPLETED
        given_back = await desk.end_of("e-1")
        assert given_back.observed is Observed.FAILED
        assert given_back.fault is not None
        assert given_back.fault.kind is FaultKind.NODE


async def test_the_engine_releases_what_ended_before_a_restart(tmp_path: Path) -> None:
    network, journal, engine = MemoryNetwork(), MemoryJournal(), Released()
    entry = work()
    ended = evolve(entry.execution, observed=Observed.COMPLETED, start_time=5, end_time=6)
    await journal.write([Entry(job=entry.job, execution=ended, number=3)])
    node = make(tmp_path, network, journal=journal, executors={"noop": engine})
    async with serving(node, network) as desk:
        await desk.end_of("e-1")
        await desk.tell(Ack(reports=(("e-1", node.held["e-1"].entry.number),)))
        await until(lambda: engine.released, "its release")


async def test_a_failed_publication_keeps_the_output_and_the_programs_own_verdict(
    tmp_path: Path,
) -> None:
    network = MemoryNetwork()
    node = make(tmp_path, network, publishers={"mine": BrokenPublisher()})
    mine = SpecConfig(type="mine")
    paths = (ResultPath(name="out", path="/out"),)
    failing = SpecConfig(type="noop", params={"ExitCode": 3})
    async with serving(node, network) as desk:
        await until(lambda: node.info.publishers, "the publisher")
        await desk.tell(assign(work("e-1", publisher=mine, result_paths=paths)))
        await desk.tell(assign(work("e-2", engine=failing, publisher=mine, result_paths=paths)))
        good, bad = await desk.end_of("e-1"), await desk.end_of("e-2")
        assert good.fault is not None
        assert good.fault.code == "UploadFailed"
        assert good.output is not None
        assert bad.fault is not None
        assert bad.fault.code == "ExitCode"
        assert bad.output is not None
        assert bad.output.exit_code == 3


async def test_a_refused_node_asks_again_without_haste(tmp_path: Path) -> None:
    network = MemoryNetwork()
    node = make(tmp_path, network)
    async with serving(node, network) as desk:
        for _ in range(20):
            asked = len(desk.of(Hello))
            await desk.tell(Welcome(accepted=False, reason="rejected", boot_id=node.boot_id))
            await asyncio.sleep(0.005)
            if len(desk.of(Hello)) == asked:
                break
        else:
            raise AssertionError("every refusal brings the next hello at once")
        await until(lambda: len(desk.of(Hello)) > asked, "another hello after a while")


async def test_changed_facts_are_said_until_they_are_answered(tmp_path: Path) -> None:
    network = MemoryNetwork()
    node = make(tmp_path, network)
    async with serving(node, network) as desk:
        await until(lambda: node.welcomed, "the welcome")
        await asyncio.sleep(1.2)  # beyond the greeting that follows every hello
        node.info = evolve(node.info, labels={"n": "7"})
        network.cut("n", ORCHESTRATOR)
        node.to_greet.set()
        await until(lambda: network.dropped, "the loss of the hello")
        network.heal()
        await until(
            lambda: any(hello.info.labels.get("n") == "7" for hello in desk.of(Hello)),
            "the changed facts",
        )


async def test_a_stream_that_was_asked_for_again_can_be_cancelled(tmp_path: Path) -> None:
    network = MemoryNetwork()
    node = make(tmp_path, network)
    async with serving(node, network) as desk:
        await desk.tell(assign(work(engine=sleeping(60))))
        await until(lambda: node.running, "a start")
        ask = LogRequest(stream_id="l-1", execution_id="e-1", follow=True)
        for _ in range(4):  # as a follower does who hears nothing
            await desk.tell(ask)
            await asyncio.sleep(0.02)

        def streams() -> int:
            return sum(task.get_name().startswith("logs") for task in node.tasks)

        assert streams() == 1
        await desk.tell(LogCancel(stream_id="l-1"))
        await until(lambda: streams() == 0, "the end of the stream")


async def test_a_long_log_is_sent_in_portions(tmp_path: Path) -> None:
    network = MemoryNetwork()
    node = make(tmp_path, network)
    async with serving(node, network) as desk:
        await desk.tell(assign(work(engine=sleeping(60))))
        await until(lambda: node.running, "a start")
        node.place_of("e-1").mkdir(parents=True, exist_ok=True)
        with (node.place_of("e-1") / "stdout").open("wb") as file:
            file.truncate(64 << 20)
        desk.transport.shut()  # a reader that does not keep up
        network.dropped = 0
        await network.endpoint(ORCHESTRATOR).send(
            "n", [LogRequest(stream_id="l-1", execution_id="e-1")]
        )
        slow = network._endpoints[ORCHESTRATOR]
        await asyncio.sleep(0.3)
        chunks = [c for _, batch in slow._waiting for c in batch if hasattr(c, "stream_id")]
        assert 0 < len(chunks) <= 64


async def test_a_clock_that_is_set_back_does_not_silence_the_node(tmp_path: Path) -> None:
    class Clock(SystemClock):
        back_ns = 0

        def now(self) -> int:
            return super().now() - self.back_ns

    network, clock = MemoryNetwork(), Clock()
    node = make(tmp_path, network, clock=clock)
    async with serving(node, network) as desk:
        await desk.tell(assign(work(engine=sleeping(60))))
        await until(lambda: desk.words("e-1"), "a first report")
        clock.back_ns = 3600 * 10**9
        said = len(desk.words("e-1"))
        await until(lambda: len(desk.words("e-1")) > said, "a repetition")


async def test_a_wish_to_stop_is_kept_when_the_run_was_restored(tmp_path: Path) -> None:
    network, journal = MemoryNetwork(), MemoryJournal()
    entry = work()
    wished = evolve(entry.execution, desired=Desired.STOP, desired_message="enough")
    await journal.write([Entry(job=entry.job, execution=wished)])
    node = make(tmp_path, network, journal=journal)
    async with serving(node, network) as desk:
        end = await desk.end_of("e-1")
        assert end.observed is Observed.CANCELLED
        assert end.observed_message == "enough"

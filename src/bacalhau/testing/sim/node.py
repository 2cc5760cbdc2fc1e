"""A toy compute node: a durable journal, volatile work, and the real core."""

from typing import TYPE_CHECKING

from bacalhau.core import bid, lifecycle
from bacalhau.model.base import evolve
from bacalhau.model.execution import Desired, Execution, Fault, FaultKind, Observed
from bacalhau.model.job import Job, Timeouts
from bacalhau.model.message import (
    Ack,
    Assign,
    Goodbye,
    Heartbeat,
    Hello,
    Message,
    Report,
    Reports,
    Stop,
    Welcome,
)
from bacalhau.model.node import NodeInfo
from bacalhau.model.resources import Resources, parse
from bacalhau.ports.store import Entry
from bacalhau.testing.sim import work

if TYPE_CHECKING:
    from bacalhau.testing.sim.world import World

NS = 1_000_000_000
TICK_NS = NS
HEARTBEAT_TICKS = 3
REPEAT_TICKS = 2
HELLO_TICKS = 10
"""Also a welcome node says hello now and then: news of its facts may have been lost."""

INTERRUPTED = Fault(kind=FaultKind.NODE, code="Interrupted", message="the node was restarted")


class SimNode:
    """One node. `journal` outlives a crash, `disk` loss aside; the rest does not."""

    def __init__(self, world: "World", info: NodeInfo, *, lookahead: int, speed: int) -> None:
        self.world = world
        self.info = info
        self.lookahead = lookahead
        self.speed = speed
        self.skew_ns = 0
        self.journal: dict[str, Entry] = {}
        self.boots = 0
        self.up = False
        self.boot()

    @property
    def id(self) -> str:
        return self.info.id

    @property
    def boot_id(self) -> str:
        return f"boot-{self.boots}"

    def now(self) -> int:
        return self.world.now + self.skew_ns

    def boot(self) -> None:
        """Start the process: what ran is lost, or found again."""
        self.boots += 1
        self.up = True
        self.welcomed = False
        self.said: set[str] = set()
        self.running: dict[str, Resources] = {}
        self.waiting: dict[str, None] = {}
        for id_, entry in list(self.journal.items()):
            execution = entry.execution
            if execution.is_settled:
                continue
            if execution.observed in (Observed.NEW, Observed.BID):
                self._answer_or_wait(id_)
            elif self.world.draw.random() < 0.3:
                self._begin(id_)  # the run outlived the process and is found again
            else:
                self._report(id_, observed=Observed.FAILED, fault=INTERRUPTED)
        self._hello()
        self._tick(self.boots, 0)
        self._start()

    def crash(self, *, disk: bool) -> None:
        """The process dies; with `disk` the journal goes too."""
        self.up = False
        self.running, self.waiting = {}, {}
        if disk:
            self.journal = {}

    def shut_down(self) -> None:
        """An orderly end."""
        self._send(Goodbye(boot_id=self.boot_id))
        self.crash(disk=False)

    def change(self, info: NodeInfo) -> None:
        """The node's facts change."""
        self.info = info
        self._hello()
        self._start()

    def receive(self, message: Message) -> None:
        match message:
            case Welcome() if message.boot_id != self.boot_id:
                pass
            case Welcome():
                self.welcomed = message.accepted
                if message.accepted:
                    self._repeat()
            case Assign() if not self.welcomed:
                pass  # it will be said again; until then our hello may be on its way
            case Assign():
                for wish in message.executions:
                    self._assigned(message.job, wish)
                self._start()
            case Stop():
                for id_, revision, reason in message.executions:
                    self._stop(id_, revision, reason)
                self._start()
            case Ack():
                for id_, number in message.reports:
                    self._acknowledged(id_, number)
            case _:
                raise AssertionError(message)

    def _assigned(self, job: Job, wish: Execution) -> None:
        entry = self.journal.get(wish.id)
        if entry is not None:
            self._intend(entry, wish)
            return
        self.journal[wish.id] = Entry(job=job, execution=wish)
        fault = None if self.world.plant == "no-unfit" else bid.decide(job, wish, self.info)
        if fault is not None:
            self._report(wish.id, observed=Observed.DECLINED, fault=fault)
        else:
            self.world.check_accepted(self, job)
            self._answer_or_wait(wish.id)

    def _answer_or_wait(self, id_: str) -> None:
        if self.journal[id_].execution.desired is Desired.BID:
            self._report(id_, observed=Observed.BID)
        else:
            self.waiting[id_] = None

    def _intend(self, entry: Entry, wish: Execution) -> None:
        stored = entry.execution
        wanted = lifecycle.intend(stored, wish)
        if wanted is not None:
            self.journal[wish.id] = Entry(
                job=entry.job, execution=wanted, report=entry.report, number=entry.number
            )
            if stored.desired is Desired.BID and wanted.desired is Desired.RUN:
                self.waiting[wish.id] = None
        self._say([wish.id])

    def _stop(self, id_: str, revision: int, reason: str) -> None:
        entry = self.journal.get(id_)
        if entry is None:
            word = Execution(
                id=id_,
                job_id="",
                job_version=0,
                namespace="",
                node_id=self.id,
                observed=Observed.CANCELLED,
                observed_message=reason,
                desired=Desired.STOP,
                revision=revision,
            )
            denial = Report(number=0, execution=word)
            self._send(Reports(reports=(denial,), boot_id=self.boot_id))
        elif entry.execution.is_settled:
            self._say([id_])
        else:
            self.waiting.pop(id_, None)
            if self.world.plant != "deaf-to-stop":
                self.running.pop(id_, None)
            self._report(
                id_,
                desired=Desired.STOP,
                revision=max(revision, entry.execution.revision),
                observed=Observed.CANCELLED,
                observed_message=reason,
            )

    def _acknowledged(self, id_: str, number: int) -> None:
        entry = self.journal.get(id_)
        if entry is None or number < entry.number or entry.report is None:
            return
        if entry.execution.is_settled:
            del self.journal[id_]
        else:
            self.journal[id_] = Entry(job=entry.job, execution=entry.execution, number=entry.number)

    def used(self) -> Resources:
        total = Resources()
        for wanted in self.running.values():
            total = total + wanted
        return total

    def _start(self) -> None:
        """Start what waits, by priority and age; nothing overtakes."""
        order = sorted(
            self.waiting,
            key=lambda id_: (
                -self.journal[id_].job.spec.priority,
                self.journal[id_].execution.create_time,
                id_,
            ),
        )
        for id_ in order:
            wanted = parse(self.journal[id_].job.spec.task.resources)
            if not (self.info.capacity - self.used()).fits(wanted):
                break
            self._begin(id_)

    def _begin(self, id_: str) -> None:
        entry = self.journal[id_]
        self.waiting.pop(id_, None)
        self.running[id_] = parse(entry.job.spec.task.resources)
        self.world.check_node(self)
        self._report(id_, observed=Observed.RUNNING, start_time=self.now())
        ends = work.duration_ns(entry.job) * self.speed
        limit_s = _limit_s(entry.job)
        timed_out = bool(limit_s) and ends > limit_s * NS
        after = limit_s * NS if timed_out else ends
        if after < 10**14:
            self.world.after(after, self._end, self.boots, id_, timed_out)

    def _end(self, boots: int, id_: str, timed_out: bool) -> None:
        if not self.up or boots != self.boots or id_ not in self.running:
            return
        del self.running[id_]
        if not self.journal[id_].execution.is_settled:
            fault = _fault(self.world.draw.random(), work.fate(self.journal[id_].job), timed_out)
            if fault is None:
                self._report(id_, observed=Observed.COMPLETED)
            else:
                self._report(id_, observed=Observed.FAILED, fault=fault)
        self._start()

    def _report(self, id_: str, **seen: object) -> None:
        entry = self.journal[id_]
        execution = evolve(entry.execution, modify_time=self.now(), **seen)
        number = entry.number + 1
        self.journal[id_] = Entry(
            job=entry.job,
            execution=execution,
            number=number,
            report=Report(number=number, execution=execution),
        )
        self.said.discard(id_)
        self._say([id_])

    def _say(self, ids: list[str]) -> None:
        """Send these reports, if the orchestrator listens."""
        if not self.welcomed:
            return
        if self.world.plant == "outbox-off":
            ids = [id_ for id_ in ids if id_ not in self.said]
            self.said.update(ids)
        reports = [self.journal[id_].report for id_ in ids]
        known = tuple(report for report in reports if report is not None)
        if known:
            self._send(Reports(reports=known, boot_id=self.boot_id))

    def _repeat(self) -> None:
        self._say([id_ for id_, entry in self.journal.items() if entry.report is not None])

    def _hello(self) -> None:
        self._send(Hello(info=self.info, boot_id=self.boot_id, holds=tuple(self.journal)))

    def _tick(self, boots: int, tick: int) -> None:
        if not self.up or boots != self.boots:
            return
        if not self.welcomed or tick % HELLO_TICKS == 0:
            self._hello()
        elif tick % HEARTBEAT_TICKS == 0:
            self._send(Heartbeat(boot_id=self.boot_id, lookahead=self.lookahead))
        if tick % REPEAT_TICKS == 0:
            self._repeat()
        self.world.after(TICK_NS, self._tick, boots, tick + 1)

    def _send(self, message: Message) -> None:
        self.world.send(self.id, "orchestrator", message)


def _limit_s(job: Job) -> int:
    timeouts: Timeouts = job.spec.task.timeouts
    return timeouts.execution_timeout if job.spec.type.is_finite else 0


def _fault(chance: float, fate: str, timed_out: bool) -> Fault | None:
    if timed_out:
        return Fault(kind=FaultKind.USER, code="ExecutionTimeout", message="timed out")
    if fate == "permanent":
        return Fault(kind=FaultKind.PERMANENT, code="BadParams", message="can never work")
    if fate == "poison":
        return Fault(kind=FaultKind.USER, code="ExitCode", message="exit code 1")
    if fate == "flaky" and chance < 0.3:
        return Fault(kind=FaultKind.TRANSIENT, code="FetchFailed", message="no luck")
    return None

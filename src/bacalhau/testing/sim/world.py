"""The world: time, luck, the network between the parties, and what must always hold."""

import heapq
import random
from collections.abc import Callable

import msgspec

from bacalhau.core import lifecycle, membership
from bacalhau.core.schedule.feasible import demand, unfit
from bacalhau.model.base import evolve
from bacalhau.model.execution import Execution, Observed
from bacalhau.model.job import Job, JobSpec, JobState, JobType, Timeouts
from bacalhau.model.message import Message
from bacalhau.model.node import NodeInfo
from bacalhau.model.plan import Change
from bacalhau.model.resources import Resources
from bacalhau.testing.sim import work
from bacalhau.testing.sim.faults import Faults, drawn
from bacalhau.testing.sim.node import SimNode
from bacalhau.testing.sim.orchestrator import Lost, Orchestrator

NS = 1_000_000_000
START_NS = 1_000_000 * NS
TROUBLE_NS = 40 * NS
"""How long things go wrong; after that everything is well again."""
PATIENCE_NS = 300 * NS
"""Within this long after the trouble everything must have settled."""
STEPS_MAX = 100_000
"""A world takes about a thousand steps; one that takes so many has gone round in circles."""
EXECUTIONS_MAX = 1_000
"""A world has some dozens."""
LOOKAHEAD_MAX = 4
"""What nodes of this world want at most; 4 is the default before the first heartbeat."""
CALM_NS = 30 * NS
"""Daemons and services are left alone so long after the trouble, and then stopped."""


class Broken(AssertionError):
    """Something that must always hold did not."""


class World:
    """One simulated cluster. `run` plays it to its end and raises Broken if it went bad.

    `plant` names a bug of faults.PLANTS that is to be found.
    """

    def __init__(self, seed: int, faults: Faults | None = None, plant: str = "") -> None:
        self.seed = seed
        self.draw = random.Random(seed)
        self.faults = drawn(self.draw) if faults is None else faults
        self.plant = plant
        self.now = START_NS
        self.log: list[str] = []
        self.steps = 0
        self.troubled = True
        self.cut: set[tuple[str, str]] = set()
        self.largest: dict[str, int] = {}
        self._events: list[tuple[int, int, Callable[..., None], tuple[object, ...]]] = []
        self._number = 0
        self.note("faults", self.faults)
        self.orchestrator = Orchestrator(self)
        self.nodes = {f"n-{at}": self._node(at) for at in range(self.draw.randint(2, 4))}
        self._plan_work()
        self._plan_trouble()

    # --- time and luck

    def after(self, delay_ns: int, act: Callable[..., None], *args: object) -> None:
        """Do this later."""
        self._number += 1
        heapq.heappush(self._events, (self.now + delay_ns, self._number, act, args))

    def unlucky(self, chance: float) -> bool:
        """Does something with this chance go wrong now?"""
        return bool(chance) and self.troubled and self.draw.random() < chance

    def note(self, *words: object) -> None:
        self.log.append(f"{(self.now - START_NS) / NS:.6f} {' '.join(map(str, words))}")

    def send(self, sender: str, to: str, message: Message) -> None:
        """Put a message on the wire; it may be lost, come twice, or late."""
        self.note(sender, "->", to, _short(message))
        if (sender, to) in self.cut or self.unlucky(self.faults.loss):
            return
        copies = 2 if self.unlucky(self.faults.duplication) else 1
        for _ in range(copies):
            delay_s = self.draw.random() * self.faults.delay_s
            if self.unlucky(0.02):
                delay_s *= 10
            self.after(int(delay_s * NS), self._deliver, sender, to, message)

    def _deliver(self, sender: str, to: str, message: Message) -> None:
        if to == "orchestrator":
            if self.orchestrator.up:
                self.orchestrator.receive(sender, message)
        elif self.nodes[to].up:
            self.nodes[to].receive(message)

    # --- what is planned

    def _node(self, at: int) -> SimNode:
        id_ = f"n-{at}"
        info = NodeInfo(
            id=id_,
            labels={"region": "eu" if at % 2 == 0 else "us"},
            engines=("noop",),
            capacity=Resources(cpu=self.draw.choice((1000, 2000, 4000)) if at else 2000),
        )
        slow = self.draw.random() < self.faults.slow
        node = SimNode(
            self, info, lookahead=self.draw.choice((0, 1, LOOKAHEAD_MAX)), speed=4 if slow else 1
        )
        node.skew_ns = int(self.draw.uniform(-1, 1) * self.faults.skew_s * NS)
        return node

    def _plan_work(self) -> None:
        for at in range(self.draw.randint(1, 5)):
            spec = work.spec_of(self.draw, self.faults.poison)
            self.after(self.draw.randrange(20 * NS), self._submit, f"j-{at}", spec)
        for _ in range(8):
            if self.unlucky(self.faults.users * 3):
                self.after(self.draw.randrange(TROUBLE_NS), self._meddle)

    def _submit(self, job_id: str, spec: JobSpec) -> None:
        try:
            if not self.orchestrator.up:
                raise Lost
            self.orchestrator.submit(job_id, spec)
        except Lost:
            self.after(NS, self._submit, job_id, spec)

    def _meddle(self) -> None:
        """A user stops a job or submits it anew."""
        if not self.orchestrator.up or not self.orchestrator.jobs:
            return
        job = self.draw.choice(list(self.orchestrator.jobs.values()))
        try:
            if self.draw.random() < 0.5:
                if not job.state.is_terminal:
                    self.orchestrator.stop(job)
            else:
                count = self.draw.choice((1, 2, 4)) if job.spec.type.is_counted else None
                self.orchestrator.update(job, evolve(job.spec, count=count))
        except Lost:
            self.note("the user gives up")

    def _plan_trouble(self) -> None:
        faults = self.faults
        for second in range(TROUBLE_NS // NS):
            for id_ in self.nodes:
                if self.unlucky(faults.cuts):
                    self.after(second * NS, self._cut, id_)
                if self.unlucky(faults.crashes):
                    disk = self.draw.random() < faults.disk_loss
                    self.after(second * NS + NS // 2, self._crash, id_, disk)
                if self.unlucky(faults.changes):
                    self.after(second * NS + NS // 3, self._change, id_)
            if self.unlucky(faults.orchestrator):
                self.after(second * NS + NS // 4, self._crash_orchestrator)
        self.after(TROUBLE_NS, self._heal)

    def _cut(self, id_: str) -> None:
        ways = self.draw.choice(
            (
                [(id_, "orchestrator")],
                [("orchestrator", id_)],
                [(id_, "orchestrator"), ("orchestrator", id_)],
            )
        )
        self.cut.update(ways)
        self.note("cut", ways)
        self.after(self.draw.randrange(1, 15) * NS, self._mend, ways)

    def _mend(self, ways: list[tuple[str, str]]) -> None:
        self.cut.difference_update(ways)

    def _crash(self, id_: str, disk: bool) -> None:
        node = self.nodes[id_]
        if not node.up or not self.troubled:
            return
        if not disk and self.draw.random() < 0.3:
            self.note(id_, "shuts down")
            node.shut_down()
        else:
            self.note(id_, "crashes", "and loses its disk" if disk else "")
            node.crash(disk=disk)
        self.after(self.draw.choice((NS // 10, 2 * NS, 12 * NS)), self._boot, id_)

    def _boot(self, id_: str) -> None:
        if not self.nodes[id_].up:
            self.note(id_, "boots")
            self.nodes[id_].boot()

    def _change(self, id_: str) -> None:
        """The node loses its engine or most of its size, and has it back later."""
        node = self.nodes[id_]
        if not self.troubled or node.info.engines == ():
            return
        whole = node.info
        node.info = evolve(whole, engines=())
        self.note(id_, "has no engine")
        self.after(self.draw.randrange(1, 8) * NS, self._restore, id_, whole)
        if node.up:
            node.change(node.info)

    def _restore(self, id_: str, info: NodeInfo) -> None:
        node = self.nodes[id_]
        node.info = info
        if node.up:
            node.change(info)

    def _crash_orchestrator(self) -> None:
        if self.orchestrator.up and self.troubled:
            self.note("orchestrator crashes")
            self.orchestrator.crash()
            self.after(self.draw.choice((NS // 10, 3 * NS)), self._boot_orchestrator)

    def _boot_orchestrator(self) -> None:
        if not self.orchestrator.up:
            self.note("orchestrator boots")
            self.orchestrator.boot()

    def _heal(self) -> None:
        self.note("all is well from now on")
        self.troubled = False
        self.cut.clear()
        for id_ in self.nodes:
            self._boot(id_)
        self._boot_orchestrator()
        self.after(CALM_NS, self._stop_endless)

    def _stop_endless(self) -> None:
        """What never ends by itself had time to come to rest; now it is stopped."""
        for job in list(self.orchestrator.jobs.values()):
            if job.state.is_terminal:
                continue
            if not job.spec.type.is_finite and work.fate(job) == "endless":
                self._check_at_rest(job)
            if not job.spec.type.is_finite or work.fate(job) == "endless":
                self.orchestrator.stop(job)

    # --- playing

    def run(self) -> "World":
        """Play until everything has settled. Raises Broken."""
        end = START_NS + TROUBLE_NS + PATIENCE_NS
        calm = START_NS + TROUBLE_NS + CALM_NS
        try:
            while self._events and self._events[0][0] <= end:
                self.now, _, act, args = heapq.heappop(self._events)
                self.steps += 1
                self._demand(self.steps < STEPS_MAX, "does not come to rest")
                act(*args)
                if self.now > calm and not self.steps % 64 and self._is_settled():
                    break
            self._check_settled()
        except Broken:
            raise
        except Exception as error:
            raise Broken(f"{type(error).__name__}: {error}") from error
        return self

    def _is_settled(self) -> bool:
        return not self.orchestrator.live.jobs() and not any(
            node.journal or node.running for node in self.nodes.values()
        )

    def _demand(self, holds: bool, *words: object) -> None:
        if not holds:
            raise Broken(" ".join(map(str, words)))

    # --- what must always hold

    def check_change(self, orchestrator: Orchestrator, change: Change) -> None:
        """Before a commit: only legal moves."""
        for job in change.jobs:
            illegal = lifecycle.fault_of_job(orchestrator.jobs.get(job.id), job)
            self._demand(not illegal, job.id, illegal)
        for row in change.executions:
            illegal = lifecycle.fault_of_execution(orchestrator.executions.get(row.id), row)
            self._demand(not illegal, row.id, illegal)

    def check_rows(self, orchestrator: Orchestrator, change: Change) -> None:
        """After a commit: one holder and one result per partition, no node over-committed."""
        tried = len(orchestrator.executions)
        self._demand(tried < EXECUTIONS_MAX, tried, "executions: tries race on")
        for row in change.executions:
            self.note(_line(row))
            self._check_forgotten(orchestrator, row)
        for job_id in {row.job_id: None for row in change.executions}:
            held: set[tuple[int, int]] = set()
            completed: set[tuple[int, int]] = set()
            for row in self._executions_of(orchestrator, job_id):
                place = (row.job_version, row.partition)
                if row.is_live:
                    self._demand(place not in held, "two live executions:", row.id, place)
                    held.add(place)
                elif row.observed is Observed.COMPLETED:
                    self._demand(place not in completed, "two results:", row.id, place)
                    completed.add(place)
        if change.executions:
            self._check_load(orchestrator, change)

    def _check_forgotten(self, orchestrator: Orchestrator, row: Execution) -> None:
        """Nothing counts as forgotten that its node holds and carries on with.

        Unless a hello of an earlier boot came late: that costs a second run, no more.
        """
        if row.observed is Observed.FAILED and row.fault == membership.FORGOTTEN:
            node = self.nodes[row.node_id]
            held = node.up and (row.id in node.running or row.id in node.waiting)
            late = orchestrator.nodes[row.node_id].boot_id != node.boot_id
            self._demand(not held or late, row.node_id, "has not forgotten", row.id)

    def _executions_of(self, orchestrator: Orchestrator, job_id: str) -> list[Execution]:
        return [row for row in orchestrator.executions.values() if row.job_id == job_id]

    def _check_load(self, orchestrator: Orchestrator, change: Change) -> None:
        for row in change.executions:
            if row.revision == 1:
                self.largest[row.node_id] = max(self.largest.get(row.node_id, 0), row.resources.cpu)
        placed = {row.node_id for row in change.executions if row.revision == 1}
        for view in orchestrator.live.nodes():
            if view.node.id in placed:
                most = view.node.info.capacity.cpu
                most += LOOKAHEAD_MAX * self.largest[view.node.id]
                self._demand(view.used.cpu <= most, view.node.id, "is over-committed", view.used)

    def check_accepted(self, node: SimNode, job: Job) -> None:
        """A node takes only what it can carry out."""
        reason = unfit(demand(job.spec), node.info)
        self._demand(not reason, node.id, "accepted what it cannot do:", reason)

    def check_node(self, node: SimNode) -> None:
        """What runs on a node never exceeds it."""
        used = node.used()
        self._demand(node.info.capacity.fits(used), node.id, "runs more than it can", used)

    def _check_at_rest(self, job: Job) -> None:
        """A service has its count, a daemon is everywhere it fits, or it says why not."""
        queue = self.orchestrator.queue
        rows = self._executions_of(self.orchestrator, job.id)
        live = {row.partition: row.node_id for row in rows if row.is_live}
        if job.spec.type is JobType.SERVICE:
            wanted = job.spec.count or 1
        else:
            infos = [node.info for node in self.nodes.values()]
            wanted = sum(not unfit(demand(job.spec), info) for info in infos)
        waits = bool(queue.reason(job.id) or job.queued_time or job.wake_time)
        self._demand(len(live) == wanted or waits, job.id, "has", live, "of", wanted)

    def _check_settled(self) -> None:
        """In the end: every job has ended or says why it waits, no node holds anything."""
        orchestrator = self.orchestrator
        for job in orchestrator.live.jobs():
            if job.state.is_terminal:
                (view,) = orchestrator.live.views([job.id])
                open_rows = [row.id for row in (*view.live, *view.others)]
                self._demand(False, job.id, job.state, "but not settled:", open_rows)
            self._demand(False, job.id, "is", job.state, job.message, "for ever")
        for job in orchestrator.jobs.values():
            if job.spec.type is JobType.BATCH and job.state is JobState.COMPLETED:
                rows = self._executions_of(orchestrator, job.id)
                done = {
                    row.partition
                    for row in rows
                    if row.observed is Observed.COMPLETED and row.job_version == job.version
                }
                count = 1 if job.spec.count is None else job.spec.count
                self._demand(done == set(range(count)), job.id, "completed with", sorted(done))
            if work.fate(job) == "good" and job.spec.type is JobType.BATCH:
                timed = job.spec.task.timeouts != Timeouts()
                fine = job.state in (JobState.COMPLETED, JobState.STOPPED) or timed
                self._demand(fine, job.id, "is good, but", job.state, job.message)
        for node in self.nodes.values():
            self._demand(not node.journal, node.id, "still holds", list(node.journal))
            self._demand(not node.running, node.id, "still runs", list(node.running))


def _line(row: Execution) -> str:
    """An execution's row in the log."""
    lost = " lost" if row.lost else ""
    fault = f" {row.fault.code}" if row.fault else ""
    return (
        f"  {row.id[:10]} of {row.job_id} v{row.job_version} p{row.partition} on {row.node_id}: "
        f"{row.desired}/{row.observed}{lost}{fault} r{row.revision}"
    )


def _short(message: Message) -> str:
    return msgspec.json.encode(message).decode()[:200] if _VERBOSE else type(message).__name__


_VERBOSE = False

"""A toy orchestrator: durable rows, a volatile queue, and the real core."""

from typing import TYPE_CHECKING

from bacalhau.core import lifecycle, membership, messages
from bacalhau.core.queue import Queue
from bacalhau.core.schedule import schedule
from bacalhau.core.schedule.feasible import signature
from bacalhau.model.base import evolve
from bacalhau.model.execution import Execution, Observed
from bacalhau.model.job import Job, JobSpec, JobState
from bacalhau.model.message import (
    Ack,
    Assign,
    Goodbye,
    Heartbeat,
    Hello,
    Message,
    Reports,
    Stop,
    Welcome,
)
from bacalhau.model.node import Membership, Node
from bacalhau.model.plan import Change, Plan, Snapshot
from bacalhau.stores.live import Live

if TYPE_CHECKING:
    from bacalhau.testing.sim.world import World

NS = 1_000_000_000
TICK_NS = NS
REPEAT_TICKS = 2
TIMEOUT_S = 8.0
"""Silence after which a node counts as disconnected."""
BATCH = 16


class Lost(Exception):
    """A commit that found another row than it had read."""


class Orchestrator:
    """`jobs`, `executions`, `nodes` are durable; the queue and what was seen are not."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.jobs: dict[str, Job] = {}
        self.executions: dict[str, Execution] = {}
        self.nodes: dict[str, Node] = {}
        self.live = Live()
        self.boots = 0
        self.up = False
        self.boot()

    def boot(self) -> None:
        """Start the process: everything volatile is made anew from the rows."""
        self.boots += 1
        self.up = True
        self.queue = Queue()
        self.seen = dict.fromkeys(self.nodes, self.world.now)
        self.deciding = False
        for job in self.live.jobs():
            self._look(job)
        self._tick(self.boots, 0)

    def crash(self) -> None:
        self.up = False

    # --- what users do

    def submit(self, job_id: str, spec: JobSpec) -> None:
        now = self.world.now
        job = Job(id=job_id, spec=spec, create_time=now, modify_time=now, version_time=now)
        self._commit(Change(jobs=(job,)))
        self.queue.put(job.id, spec.priority, now, signature(job))
        self._decide_soon()

    def stop(self, job: Job) -> None:
        self._write(job, state=JobState.STOPPED, queued_time=0, wake_time=0)

    def update(self, job: Job, spec: JobSpec) -> None:
        now = self.world.now
        self._write(
            job,
            spec=spec,
            state=JobState.PENDING,
            version=job.version + 1,
            version_time=now,
            queued_time=0,
            wake_time=0,
        )

    def _write(self, job: Job, **fields: object) -> None:
        row = evolve(job, revision=job.revision + 1, modify_time=self.world.now, **fields)
        self._commit(Change(jobs=(row,)))
        self._look(row)

    def decide_node(self, node_id: str, action: str) -> None:
        row = membership.decide(self.nodes[node_id], action, "", self.world.now)
        if isinstance(row, Node):
            self._commit(Change(nodes=(row,)))
            self._node_changed()

    # --- what nodes say

    def receive(self, sender: str, message: Message) -> None:
        """Take in a message; one that loses a race comes again."""
        try:
            match message:
                case Reports():
                    self._reports(sender, message)
                case Hello():
                    self._hello(sender, message)
                case Heartbeat():
                    self._heartbeat(sender, message)
                case Goodbye():
                    node = self.nodes.get(sender)
                    if node is not None and node.boot_id == message.boot_id:
                        self._put_node(node, membership.goodbye(node, self.world.now))
                case _:
                    raise AssertionError(message)
        except Lost:
            self.world.note("lost a race over a message of", sender)

    def _hello(self, sender: str, message: Hello) -> None:
        known = self.nodes.get(sender)
        row = membership.hello(known, message, self.world.now, manual_approval=False)
        restarted = known is not None and known.boot_id != message.boot_id
        if self.world.plant == "forgetful-hello":
            restarted = True
        mine = self.live.unsettled(sender)
        gone = membership.missing(message.holds, restarted, mine, self.world.now)
        if row is not known or gone:
            self._commit(Change(nodes=(row,) if row is not known else (), executions=gone))
        self.seen[sender] = self.world.now
        if row.membership is Membership.REJECTED:
            self._send(sender, Welcome(accepted=False, boot_id=message.boot_id))
            return
        self._send(sender, Welcome(accepted=True, boot_id=message.boot_id))
        unwanted = membership.unwanted(message.holds, mine)
        if unwanted:
            self._send(sender, Stop(executions=tuple((id_, 2**62, "over") for id_ in unwanted)))
        self._tell(self.live.unsettled(sender))
        if row is not known:
            self._node_changed()
        for execution in gone:
            self._look_at(execution.job_id)

    def _heartbeat(self, sender: str, message: Heartbeat) -> None:
        node = self.nodes.get(sender)
        row = membership.heartbeat(node, message, self.world.now)
        if row is None:
            self._send(sender, Welcome(accepted=False, boot_id=message.boot_id))
            return
        self.seen[sender] = self.world.now
        if node is not None and row is not node:
            self._commit(Change(nodes=(row,)))
            self._open()

    def _reports(self, sender: str, message: Reports) -> None:
        if not membership.is_current(self.nodes.get(sender), message.boot_id):
            return  # a process that died said it; its successor says what is true
        rows: dict[str, Execution] = {}
        unwanted: list[tuple[str, int, str]] = []
        completed: dict[str, set[int]] = {}
        acks = Ack(reports=tuple((r.execution.id, r.number) for r in message.reports))
        if self.world.plant == "early-ack":
            self._send(sender, acks)
        for report in message.reports:
            word = report.execution
            stored = self.live.execution(word.id)
            if messages.unwanted(stored, word):
                unwanted.append((word.id, 2**62, "over"))
            if stored is None or stored.node_id != sender:
                continue
            row = self._observe(stored, word, completed)
            if row is not None:
                rows[row.id] = row
                if row.observed is Observed.COMPLETED:
                    completed.setdefault(row.job_id, set()).add(row.partition)
        if rows:
            self._commit(Change(executions=tuple(rows.values())))
        self._send(sender, acks)
        if unwanted:
            self._send(sender, Stop(executions=tuple(unwanted)))
        for row in rows.values():
            self._look_at(row.job_id)
        if any(row.is_settled for row in rows.values()):
            self._open()

    def _observe(
        self, stored: Execution, word: Execution, completed: dict[str, set[int]]
    ) -> Execution | None:
        (view,) = self.live.views([stored.job_id])
        if self.world.plant == "any-word":
            return evolve(stored, observed=word.observed, revision=stored.revision + 1)
        filled = lifecycle.filled(view, stored, completed.get(stored.job_id, ()))
        return lifecycle.observe(
            stored,
            word,
            self.world.now,
            finite=view.job.spec.type.is_finite,
            filled=filled and self.world.plant != "double-result",
        )

    # --- deciding

    def _look(self, job: Job) -> None:
        self.queue.put(job.id, job.spec.priority, job.create_time, signature(job), triggered=True)
        self._decide_soon()

    def _look_at(self, job_id: str) -> None:
        job = self.live.job(job_id)
        if job is not None:
            self._look(job)

    def _open(self) -> None:
        self.queue.open()
        self._decide_soon()

    def _node_changed(self) -> None:
        for job in self.live.jobs():
            self._look(job)
        self._open()

    def _decide_soon(self) -> None:
        if not self.deciding:
            self.deciding = True
            self.world.after(1_000_000, self._decide, self.boots)

    def _decide(self, boots: int) -> None:
        """Take a snapshot and decide; the world goes on before the plan is committed."""
        if not self.up or boots != self.boots:
            return
        taken = self.queue.take(self.world.now, BATCH)
        if not taken:
            self.deciding = False
            return
        snapshot = Snapshot(
            now=self.world.now,
            seed=self.world.draw.getrandbits(64),
            jobs=self.live.views(taken),
            nodes=self.live.nodes(),
        )
        plan = schedule(snapshot)
        self.world.after(2_000_000, self._carry_out, boots, taken, snapshot, plan)

    def _carry_out(self, boots: int, taken: list[str], snapshot: Snapshot, plan: Plan) -> None:
        if not self.up or boots != self.boots:
            return
        try:
            if plan.change != _NOTHING:
                self._commit(plan.change)
        except Lost as row:
            self.world.note("decides again, lost a race over", row)
            self.queue.nack(taken)
        else:
            self.queue.ack(taken)
            for line in plan.explain:
                self.world.note(line)
            self._follow_up(taken, snapshot, plan)
        self.world.after(1_000_000, self._decide, self.boots)

    def _follow_up(self, taken: list[str], snapshot: Snapshot, plan: Plan) -> None:
        after = {view.job.id: view.job for view in snapshot.jobs}
        after.update((job.id, job) for job in plan.change.jobs)
        for job_id in taken:
            job = after.get(job_id)
            if job is None or job.state.is_terminal:
                self.queue.drop(job_id)
                continue
            self.queue.wake_at(job_id, job.wake_time)
            if job_id in plan.blocked:
                self.queue.block(job_id, plan.blocked[job_id])

    # --- writing and telling

    def _put_node(self, known: Node, row: Node) -> None:
        if row is not known:
            self._commit(Change(nodes=(row,)))
            self._node_changed()

    def _commit(self, change: Change) -> None:
        """All of it or nothing; the world checks every row. Raises Lost."""
        if self.world.unlucky(self.world.faults.conflict):
            raise Lost("bad luck")
        for table, row_id, revision in change.read:
            self._check_revision(table, row_id, revision)
        for name, rows in (
            ("node", change.nodes),
            ("job", change.jobs),
            ("execution", change.executions),
        ):
            for row in rows:
                self._check_revision(name, row.id, row.revision - 1)
        self.world.check_change(self, change)
        self.nodes.update((node.id, node) for node in change.nodes)
        self.jobs.update((job.id, job) for job in change.jobs)
        self.executions.update((row.id, row) for row in change.executions)
        self.live.apply(change)
        self.world.check_rows(self, change)
        self._tell(change.executions, fresh=True)

    def _check_revision(self, table: str, row_id: str, revision: int) -> None:
        if self.world.plant == "unchecked-commit":
            return
        row: Node | Job | Execution | None = self.nodes.get(row_id)
        if table == "job":
            row = self.jobs.get(row_id)
        elif table == "execution":
            row = self.executions.get(row_id)
        if (row.revision if row is not None else 0) != revision:
            raise Lost(f"{table} {row_id}")

    def _tell(self, executions: tuple[Execution, ...], *, fresh: bool = False) -> None:
        """Say to nodes what these rows call for."""
        if self.world.plant == "outbox-off" and not fresh:
            return
        stops: dict[str, list[tuple[str, int, str]]] = {}
        assigns: dict[tuple[str, str], list[Execution]] = {}
        for row in executions:
            node = self.nodes.get(row.node_id)
            if node is None or not node.is_ready:
                continue
            if self.world.plant == "lost-final" and row.lost:
                continue
            match messages.tell(row):
                case "stop":
                    stops.setdefault(row.node_id, []).append(
                        (row.id, row.revision, row.desired_message)
                    )
                case "assign":
                    assigns.setdefault((row.node_id, row.job_id), []).append(row)
        for (node_id, job_id), rows in assigns.items():
            job = self.jobs[job_id]
            current = tuple(row for row in rows if row.job_version == job.version)
            if current:
                self._send(node_id, Assign(job=job, executions=current))
        for node_id, words in stops.items():
            self._send(node_id, Stop(executions=tuple(words)))

    def _tick(self, boots: int, tick: int) -> None:
        """Every second: who is silent, what is due, what is still unanswered."""
        if not self.up or boots != self.boots:
            return
        silent = membership.silent(self.nodes.values(), self.seen, self.world.now, TIMEOUT_S)
        try:
            if silent:
                self._commit(Change(nodes=silent))
                self._node_changed()
        except Lost:
            self.world.note("lost a race over silent nodes")
        if tick % REPEAT_TICKS == 0:
            for node_id in self.nodes:
                self._tell(self.live.unsettled(node_id))
        wake = self.queue.next_wake()
        if wake is not None and wake <= self.world.now:
            self._decide_soon()
        self.world.after(TICK_NS, self._tick, boots, tick + 1)

    def _send(self, node_id: str, message: Message) -> None:
        self.world.send("orchestrator", node_id, message)


_NOTHING = Change()

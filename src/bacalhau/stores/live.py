"""The live part of the state, in memory, ready for decisions.

Holds jobs that are not terminal, unsettled executions and all nodes. It is only ever told
of changes that are durable, so whatever is read here has truly happened.
"""

from bisect import insort
from collections.abc import Iterable

from bacalhau.model.execution import Execution, Fault, Observed
from bacalhau.model.job import Job
from bacalhau.model.node import Node
from bacalhau.model.plan import Change, JobView, NodeView, Try
from bacalhau.model.resources import Resources


class Live:
    """An index of live state, kept up to date by `apply` and read by decisions.

    Views are immutable and rebuilt only when what they show has changed.
    """

    def __init__(self) -> None:
        self._ledgers: dict[str, _Ledger] = {}
        self._unsettled: dict[str, Execution] = {}
        self._by_node: dict[str, dict[str, Execution]] = {}
        self._loads: dict[str, _Load] = {}
        self._node_ids: list[str] = []
        self._node_views: tuple[NodeView, ...] | None = ()

    def apply(self, change: Change, *, from_nothing: bool = False) -> None:
        """Take in a change that the store has accepted; jobs come before their executions.

        `from_nothing` when it is all that is on record, as at a start: then it holds all
        executions of current versions, ended ones too.
        """
        for node in change.nodes:
            self._take_node(node)
        for job in change.jobs:
            self._take_job(job)
        for execution in change.executions:
            self._take_execution(execution, from_nothing)
        touched = {job.id for job in change.jobs}
        touched.update(execution.job_id for execution in change.executions)
        for job_id in touched:
            ledger = self._ledgers.get(job_id)
            if ledger is not None and ledger.is_settled:
                del self._ledgers[job_id]

    def views(self, job_ids: Iterable[str]) -> tuple[JobView, ...]:
        """These jobs in the order asked for, without unknown and settled ones."""
        ledgers = self._ledgers
        return tuple(ledgers[job_id].view() for job_id in job_ids if job_id in ledgers)

    def nodes(self) -> tuple[NodeView, ...]:
        """All nodes, by id."""
        if self._node_views is None:
            self._node_views = tuple(self._loads[node_id].view() for node_id in self._node_ids)
        return self._node_views

    def jobs(self) -> tuple[Job, ...]:
        """All jobs that are not terminal, and terminal ones with unsettled executions."""
        return tuple(ledger.job for ledger in self._ledgers.values())

    def count(self) -> int:
        return len(self._ledgers)

    def job(self, job_id: str) -> Job | None:
        ledger = self._ledgers.get(job_id)
        return ledger.job if ledger is not None else None

    def execution(self, execution_id: str) -> Execution | None:
        return self._unsettled.get(execution_id)

    def unsettled(self, node_id: str) -> tuple[Execution, ...]:
        """Unsettled executions of that node, oldest first."""
        return tuple(self._by_node.get(node_id, {}).values())

    def _take_node(self, node: Node) -> None:
        load = self._load(node.id)
        if load.node is None:
            insort(self._node_ids, node.id)
        load.node = node
        load.cached = None
        self._node_views = None

    def _take_job(self, job: Job) -> None:
        ledger = self._ledgers.get(job.id)
        if ledger is None:
            self._ledgers[job.id] = _Ledger(job)
        else:
            ledger.take_job(job)

    def _take_execution(self, execution: Execution, from_nothing: bool) -> None:
        old = self._unsettled.get(execution.id)
        if old is not None and _occupies(old):
            self._count(old, -1)
        if execution.is_settled:
            if old is not None:
                del self._unsettled[execution.id]
                self._drop_from_node(old)
        else:
            self._unsettled[execution.id] = execution
            self._by_node.setdefault(execution.node_id, {})[execution.id] = execution
            if _occupies(execution):
                self._count(execution, +1)
        ledger = self._ledgers.get(execution.job_id)
        if ledger is not None:
            # A settled row that is written again has ended before.
            is_first = from_nothing or old is not None or execution.revision == 1
            ledger.take_execution(execution, has_ended=execution.is_settled and is_first)

    def _drop_from_node(self, execution: Execution) -> None:
        held = self._by_node[execution.node_id]
        del held[execution.id]
        if not held:
            del self._by_node[execution.node_id]

    def _count(self, execution: Execution, sign: int) -> None:
        load = self._load(execution.node_id)
        wanted = execution.resources
        load.cpu += sign * wanted.cpu
        load.memory += sign * wanted.memory
        load.disk += sign * wanted.disk
        load.gpu += sign * wanted.gpu
        load.placed += sign
        load.cached = None
        self._node_views = None

    def _load(self, node_id: str) -> "_Load":
        load = self._loads.get(node_id)
        if load is None:
            load = self._loads[node_id] = _Load()
        return load


def _occupies(execution: Execution) -> bool:
    """True while it uses its node: a stopping one does, until the node answers."""
    return not (execution.is_settled or execution.lost)


class _Load:
    """What one node carries."""

    __slots__ = ("cached", "cpu", "disk", "gpu", "memory", "node", "placed")

    def __init__(self) -> None:
        self.node: Node | None = None
        self.cpu = self.memory = self.disk = self.gpu = self.placed = 0
        self.cached: NodeView | None = None

    def view(self) -> NodeView:
        if self.cached is None:
            assert self.node is not None, "only nodes with a row are listed"
            used = Resources(cpu=self.cpu, memory=self.memory, disk=self.disk, gpu=self.gpu)
            self.cached = NodeView(node=self.node, used=used, placed=self.placed)
        return self.cached


_NO_TRIES: dict[int, tuple[Try, ...]] = {}
_NO_NODES: dict[str, int] = {}
"""Shared by all jobs that have none, and never written to: see _Ledger."""


class _Ledger:
    """One live job with what happened to its current version.

    There may be 100,000 of these, so what is empty is shared, and what a view shows is
    copied only before it changes. Of several partitions on one node, `nodes` names the
    highest.
    """

    __slots__ = (
        "_done",
        "_nodes",
        "_shows_nodes",
        "_shows_tries",
        "_tries",
        "_view",
        "_view_done",
        "job",
        "live",
        "others",
    )

    def __init__(self, job: Job) -> None:
        self.live: dict[str, Execution] = {}
        self.others: dict[str, Execution] | None = None
        self._start_version(job)

    @property
    def is_settled(self) -> bool:
        return self.job.state.is_terminal and not self.live and not self.others

    def _start_version(self, job: Job) -> None:
        self.job = job
        if self.live:
            self.others = {**(self.others or {}), **self.live}
            self.live = {}
        self._done: set[int] | None = None
        self._view_done: frozenset[int] | None = frozenset()
        self._tries = _NO_TRIES
        self._nodes = _NO_NODES
        self._shows_tries = self._shows_nodes = True
        self._view: JobView | None = None

    def take_job(self, job: Job) -> None:
        if job.version != self.job.version:
            self._start_version(job)
        self.job = job
        self._view = None

    def take_execution(self, execution: Execution, *, has_ended: bool) -> None:
        """Take in a row; `has_ended` when this is how it comes to its end."""
        self._view = None
        if execution.job_version != self.job.version:
            self._take_other(execution)
            return
        if execution.is_settled:
            self.live.pop(execution.id, None)
        else:
            self.live[execution.id] = execution
        if self._nodes.get(execution.node_id, -1) < execution.partition:
            self._own_nodes()[execution.node_id] = execution.partition
        if has_ended and execution.observed is Observed.COMPLETED:
            if self._done is None:
                self._done = set()
            self._done.add(execution.partition)
            self._view_done = None
        elif has_ended and execution.fault is not None:
            self._add_try(execution, execution.fault)

    def _take_other(self, execution: Execution) -> None:
        if self.others is None:
            self.others = {}
        if execution.is_settled:
            self.others.pop(execution.id, None)
        else:
            self.others[execution.id] = execution

    def _add_try(self, execution: Execution, fault: Fault) -> None:
        # The time of our own write: the node's clock may be wrong, back-off must not.
        failed = Try(
            partition=execution.partition,
            node_id=execution.node_id,
            fault=fault,
            time=execution.modify_time,
        )
        if self._shows_tries:
            self._tries = dict(self._tries)
            self._shows_tries = False
        self._tries[failed.partition] = (*self._tries.get(failed.partition, ()), failed)

    def _own_nodes(self) -> dict[str, int]:
        if self._shows_nodes:
            self._nodes = dict(self._nodes)
            self._shows_nodes = False
        return self._nodes

    def view(self) -> JobView:
        if self._view is None:
            if self._view_done is None:
                self._view_done = frozenset(self._done or ())
            self._shows_tries = self._shows_nodes = True
            self._view = JobView(
                job=self.job,
                live=tuple(self.live.values()),
                done=self._view_done,
                tries=self._tries,
                nodes=self._nodes,
                others=tuple(self.others.values()) if self.others else (),
            )
        return self._view

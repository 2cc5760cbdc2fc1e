"""What a decision sees (Snapshot), what it decides (Plan), what is written (Change)."""

from collections.abc import Mapping

import msgspec

from bacalhau.model.base import Record
from bacalhau.model.event import Event
from bacalhau.model.execution import Execution, Fault
from bacalhau.model.job import Job
from bacalhau.model.node import Node
from bacalhau.model.resources import Resources


class Try(Record, kw_only=True):
    """An ended try that did not complete its partition: what retry decides on."""

    partition: int
    node_id: str
    fault: Fault
    time: int


class JobView(msgspec.Struct, frozen=True, kw_only=True):
    """One job as a decision sees it. Everything but `others` is of the current version.

    live    executions whose node has not said its last word (lost ones included)
    done    partitions that are completed
    tries   per partition, its ended tries without success, oldest first
    nodes   per node, partitions of this version tried or running there (ops, daemon)
    others  unsettled executions of older versions
    """

    job: Job
    live: tuple[Execution, ...] = ()
    done: frozenset[int] = frozenset()
    tries: Mapping[int, tuple[Try, ...]] = {}
    nodes: Mapping[str, int] = {}
    others: tuple[Execution, ...] = ()


class NodeView(msgspec.Struct, frozen=True, kw_only=True):
    """One node as a decision sees it: `used` and `placed` count its live executions."""

    node: Node
    used: Resources = Resources()
    placed: int = 0


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """All that a scheduling decision may know. `now` in ns; `seed` gives ids and tie-breaks."""

    now: int
    seed: int
    jobs: tuple[JobView, ...]
    nodes: tuple[NodeView, ...]


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """The one unit of writing: all of it or nothing.

    Each row carries its new revision: the store accepts it only over revision - 1
    (revision 1: only where nothing is). `read` lists (table, id, revision) of rows that
    must still be as the decision saw them; tables are `job`, `execution`, `node`.
    """

    jobs: tuple[Job, ...] = ()
    executions: tuple[Execution, ...] = ()
    nodes: tuple[Node, ...] = ()
    events: tuple[Event, ...] = ()
    read: tuple[tuple[str, str, int], ...] = ()


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What schedule() decided.

    change    what to commit
    blocked   job id -> why its remaining partitions wait
    explain   lines for the log, in order
    """

    change: Change
    blocked: Mapping[str, str] = {}
    explain: tuple[str, ...] = ()

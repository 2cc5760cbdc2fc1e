"""Which node is best: places are taken one by one from a heap that equal demands share.

The order of candidates for one partition of one job, best first:

1. nodes where this partition has not failed (or failed least),
2. nodes with free capacity before nodes where it would wait ahead of its turn,
3. the score: share of wished capacity that is free, wishes (`favour_`) that come true,
   less for each partition of the same job that is there already,
4. a seeded draw, so that no node is always first.

While a plan is made nodes only fill up. So a heap entry can be too good, never too bad: the
top is refreshed until it is true, and nothing else is looked at.
"""

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from bacalhau.core import selector
from bacalhau.core.schedule.feasible import (
    NODE_EXECUTIONS_MAX,
    Demand,
    Room,
    judge,
    room,
)
from bacalhau.model.execution import Execution
from bacalhau.model.node import NodeInfo
from bacalhau.model.plan import NodeView
from bacalhau.model.resources import Resources

FREE_WEIGHT = 100.0
"""For a node that is all free."""
WISH_WEIGHT = 200.0
"""For a node that fulfils all wishes: more than any amount of free capacity."""
SPREAD_WEIGHT = 10.0
"""Against each partition of the job that the node has already."""

Key = tuple[int, int, float, int]
"""(failures there, room, minus score, draw): the least is best."""


_MASK = 2**64 - 1
_ODD = 0x9E3779B97F4A7C15
"""An odd factor, so that every place in the list of nodes has a draw of its own."""


class Slot(msgspec.Struct, eq=False, gc=False):
    """One ready node while a plan is made. `stamp` grows whenever it changes."""

    id: str
    info: NodeInfo
    capacity: Resources
    lookahead: int
    used: Resources
    placed: int
    draw: int
    reserved: bool = False
    stamp: int = 0

    def room(self, wanted: Resources) -> Room:
        if self.reserved:
            return Room.FULL
        return room(wanted, self.capacity, self.used, self.placed, self.lookahead)

    def free_share(self, wanted: Resources) -> float:
        """The free share of what is wanted, 1.0 all free, below 0 when over-committed."""
        capacity, used = self.capacity, self.used
        total, kinds = 0.0, 0
        if wanted.cpu and capacity.cpu:
            total, kinds = total + (capacity.cpu - used.cpu) / capacity.cpu, kinds + 1
        if wanted.memory and capacity.memory:
            total, kinds = total + (capacity.memory - used.memory) / capacity.memory, kinds + 1
        if wanted.disk and capacity.disk:
            total, kinds = total + (capacity.disk - used.disk) / capacity.disk, kinds + 1
        if wanted.gpu and capacity.gpu:
            total, kinds = total + (capacity.gpu - used.gpu) / capacity.gpu, kinds + 1
        return total / kinds if kinds else 1.0 - self.placed / NODE_EXECUTIONS_MAX

    def take(self, wanted: Resources) -> None:
        self.used = self.used + wanted
        self.placed += 1
        self.stamp += 1

    def give_back(self, wanted: Resources) -> None:
        self.used = self.used - wanted
        self.placed -= 1
        self.stamp += 1

    def reserve(self) -> None:
        """Place nothing more here in this plan: a starving job is to have it."""
        self.reserved = True
        self.stamp += 1


class Index:
    """The nodes that can take one demand, and why the others cannot."""

    def __init__(
        self, wanted: Demand, slots: Iterable[Slot], unfit: Callable[[NodeInfo], str]
    ) -> None:
        self.wanted = wanted
        self.suitable: list[Slot] = []
        self.reasons: Counter[str] = Counter()
        self._wishes: dict[str, float] = {}
        self._heap: list[tuple[int, float, int, int, Slot]] | None = None
        for slot in slots:
            reason = unfit(slot.info)
            if reason:
                self.reasons[reason] += 1
            else:
                self.suitable.append(slot)
                if wanted.wishes:
                    self._wishes[slot.id] = _fulfilled(wanted, slot.info)

    @property
    def heap(self) -> list[tuple[int, float, int, int, Slot]]:
        """(room, minus score, draw, stamp, slot) of all that have room; made on first use."""
        if self._heap is None:
            entries = (self.entry(slot) for slot in self.suitable)
            self._heap = [entry for entry in entries if entry[0] != Room.FULL]
            heapq.heapify(self._heap)
        return self._heap

    def forget_order(self) -> None:
        """Rank anew on the next use: some node is better than it was."""
        self._heap = None

    def score(self, slot: Slot) -> float:
        """How good the node is for any job of this demand, the more the better."""
        score = FREE_WEIGHT * slot.free_share(self.wanted.resources)
        if self._wishes:
            score += WISH_WEIGHT * self._wishes[slot.id]
        return score

    def entry(self, slot: Slot) -> tuple[int, float, int, int, Slot]:
        """The slot's heap entry as it is now."""
        there = slot.room(self.wanted.resources)
        return (there, -self.score(slot), slot.draw, slot.stamp, slot)

    def key(self, slot: Slot, failures: int, count: int) -> Key:
        """The slot's place in the order, for a partition that failed there so often and a
        job that has so many partitions there."""
        there = slot.room(self.wanted.resources)
        return (failures, there, -(self.score(slot) - SPREAD_WEIGHT * count), slot.draw)


class Turn:
    """One job's turn to take places. `counts`: node id -> its executions there."""

    def __init__(self, index: Index, counts: dict[str, int]) -> None:
        self.index = index
        self.counts = counts
        self._mine: list[tuple[int, float, int, int, int, Slot]] = []
        self._aside: list[Slot] = []

    def best(self, failures: Mapping[str, int]) -> Slot | None:
        """The best node now, None when all are full. `failures`: node id -> of the partition."""
        passed: list[Slot] = []
        found = self._top(failures, passed)
        if found is None:
            # Only nodes where it failed have room: the one with the fewest failures.
            wanted = self.index.wanted.resources
            found = min(
                (slot for slot in passed if slot.room(wanted) != Room.FULL),
                key=lambda slot: self.index.key(
                    slot, failures[slot.id], self.counts.get(slot.id, 0)
                ),
                default=None,
            )
        for slot in passed:
            self._join_mine(slot)
        return found

    def take(self, slot: Slot) -> None:
        slot.take(self.index.wanted.resources)
        self.counts[slot.id] = self.counts.get(slot.id, 0) + 1

    def end(self) -> None:
        """Give back to the other jobs what was set aside."""
        heap = self.index.heap
        for slot in self._aside:
            entry = self.index.entry(slot)
            if entry[0] != Room.FULL:
                heapq.heappush(heap, entry)
        self._aside = []

    def _top(self, failures: Mapping[str, int], passed: list[Slot]) -> Slot | None:
        """The best node without a failure; those with one are put into `passed`."""
        while True:
            shared = self._shared_top()
            mine = self._mine_top()
            if shared is None and mine is None:
                return None
            if mine is not None and (shared is None or mine[:3] < shared[:3]):
                if mine[-1].id not in failures:
                    return mine[-1]
                heapq.heappop(self._mine)
                passed.append(mine[-1])
            elif shared is not None:
                slot = shared[-1]
                if slot.id not in failures:
                    return slot
                heapq.heappop(self.index.heap)
                self._aside.append(slot)
                passed.append(slot)

    def _shared_top(self) -> tuple[int, float, int, int, Slot] | None:
        """The true top among nodes where this job has nothing."""
        heap = self.index.heap
        while heap:
            top = heap[0]
            slot = top[-1]
            if top[3] != slot.stamp:
                fresh = self.index.entry(slot)
                if fresh[0] == Room.FULL:
                    heapq.heappop(heap)
                else:
                    heapq.heapreplace(heap, fresh)
            elif slot.id in self.counts:
                heapq.heappop(heap)
                self._aside.append(slot)
                self._join_mine(slot)
            else:
                return top
        return None

    def _mine_top(self) -> tuple[int, float, int, int, int, Slot] | None:
        """The true top among nodes where this job has something."""
        while self._mine:
            top = self._mine[0]
            slot = top[-1]
            if top[3] == slot.stamp and top[4] == self.counts.get(slot.id, 0):
                return top
            heapq.heappop(self._mine)
            self._join_mine(slot)
        return None

    def _join_mine(self, slot: Slot) -> None:
        count = self.counts.get(slot.id, 0)
        _, there, score, draw = self.index.key(slot, 0, count)
        if there != Room.FULL:
            heapq.heappush(self._mine, (there, score, draw, slot.stamp, count, slot))


class Places:
    """All places of the cluster, while one plan is made."""

    def __init__(self, nodes: Iterable[NodeView], seed: int) -> None:
        self.slots = [
            _slot(view, (at ^ seed) * _ODD & _MASK)
            for at, view in enumerate(nodes)
            if view.node.is_ready
        ]
        self._indexes: dict[Demand, Index] = {}

    def index(self, wanted: Demand) -> Index:
        """The nodes for this demand; equal demands get the same index."""
        index = self._indexes.get(wanted)
        if index is None:
            index = self._indexes[wanted] = Index(wanted, self.slots, judge(wanted))
        return index

    def turn(self, wanted: Demand, counts: dict[str, int]) -> Turn:
        """One job's turn; end() it before the next one's."""
        return Turn(self.index(wanted), counts)

    def give_back(self, executions: Sequence[Execution]) -> None:
        """Free the places of executions that will not be written after all."""
        if not executions:
            return
        slots = {slot.id: slot for slot in self.slots}
        for execution in executions:
            slots[execution.node_id].give_back(execution.resources)
        for index in self._indexes.values():
            index.forget_order()


def reserve(index: Index) -> Slot | None:
    """Keep the largest of the full nodes for a job of this demand; that node.

    Always the same one, so that it runs empty in the end.
    """
    open_slots = [slot for slot in index.suitable if not slot.reserved]
    if not open_slots:
        return None
    chosen = min(open_slots, key=lambda slot: (-slot.capacity.cpu, -slot.capacity.memory, slot.id))
    chosen.reserve()
    return chosen


def _slot(view: NodeView, draw: int) -> Slot:
    node = view.node
    info = node.info
    return Slot(node.id, info, info.capacity, node.lookahead, view.used, view.placed, draw)


def _fulfilled(wanted: Demand, info: NodeInfo) -> float:
    """The share of wishes that this node fulfils."""
    met = sum(not selector.unmet(wish, wish.key, info.labels) for wish in wanted.wishes)
    return met / len(wanted.wishes)

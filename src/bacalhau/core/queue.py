"""Which jobs to look at next: all of it in memory, rebuilt from the store at start.

A job is looked at when something happened to it (`put(triggered=True)`, `wake_at`), or when
it waits in the lane of its signature and the lane is open. A lane closes when one of its jobs
found no room (`block`), as then none of the lane would; `open` opens all lanes when capacity
came free, a node joined or changed. So a long queue costs one failed look per signature and
event. Order is priority first, then age.
"""

import heapq
from collections.abc import Iterable

RESERVE_AFTER_NS = 30_000_000_000
"""A lane closed for longer sends its first job along with younger ones, see `take`."""
RESCAN_NS = 30_000_000_000
"""All lanes open at least this often, so that a missed event costs time only."""
COMPANIONS_MAX = 4
"""So many starving lanes send somebody along."""
_WINDOW_MAX = 4096

Order = tuple[int, int, str]


class _Item:
    """One job: its place in the order, and where it is now."""

    __slots__ = (
        "again",
        "epoch",
        "flying",
        "order",
        "reason",
        "signature",
        "triggered",
        "waiting",
        "wake",
    )

    def __init__(self, order: Order, signature: str) -> None:
        self.order = order
        self.signature = signature
        self.triggered = False  # to be looked at for a reason of its own
        self.waiting = False  # in its lane
        self.flying = False  # taken, not yet acknowledged
        self.again = False  # triggered while flying
        self.reason = ""
        self.wake = 0
        self.epoch = 0  # how often lanes had been opened when it was taken


class _Lane:
    """Jobs of one signature that wait, in order.

    `window` is how many one take may have: about as many as the last event made room for.
    """

    __slots__ = ("blocked", "closed", "closed_since", "reason", "signature", "taken",
                 "waiting", "window")  # fmt: skip

    def __init__(self, signature: str) -> None:
        self.signature = signature
        self.waiting: list[Order] = []
        self.closed = False
        self.reason = ""
        self.closed_since = 0
        self.window = _WINDOW_MAX
        self.taken = 0
        self.blocked = 0

    def turn(self) -> None:
        """Begin a new round: fit the window to how the last one went."""
        if self.taken > self.blocked:
            self.closed_since = 0
        if self.blocked:
            self.window = max(1, self.taken - self.blocked + 1)
        elif self.taken:
            self.window = min(2 * self.window, _WINDOW_MAX)
        self.taken = self.blocked = 0


class Queue:
    """Jobs to evaluate. One in flight per job: taken ones come back after ack or nack."""

    def __init__(self) -> None:
        self._items: dict[str, _Item] = {}
        self._triggered: list[Order] = []
        self._lanes: dict[str, _Lane] = {}
        self._wakes: list[tuple[int, str]] = []
        self._now = 0
        self._epoch = 0
        self._opened = 0

    def __len__(self) -> int:
        return len(self._items)

    def put(
        self,
        job_id: str,
        priority: int,
        create_time: int,
        signature: str,
        *,
        triggered: bool = False,
    ) -> None:
        """Have a job looked at.

        `triggered`: something happened to it, so look even while its lane is closed;
        otherwise it waits in its lane. Putting it again is harmless.
        """
        order = (-priority, create_time, job_id)
        item = self._items.get(job_id)
        if item is None:
            item = self._items[job_id] = _Item(order, signature)
        elif item.order != order or item.signature != signature:
            waited = item.waiting
            self._leave_lane(item)
            item.order, item.signature = order, signature
            if item.triggered:
                heapq.heappush(self._triggered, order)
            elif waited:
                self._wait(item)
        if item.flying:
            item.again = True
        elif triggered:
            self._trigger(item)
        elif not item.triggered:
            self._wait(item)

    def take(self, now: int, limit: int) -> list[str]:
        """Up to `limit` jobs to look at now, in order; each is in flight until ack or nack.

        The first jobs of lanes that have been closed for long come along before younger
        ones, so that the scheduler can keep room for them.
        """
        self._now = now
        self._due(now)
        if now - self._opened >= RESCAN_NS:
            self.open()
        for lane in self._lanes.values():
            lane.turn()
        taken: list[str] = []
        heads = [
            (lane.waiting[0], signature)
            for signature, lane in self._lanes.items()
            if lane.waiting and not lane.closed
        ]
        heapq.heapify(heads)
        while len(taken) < limit:
            order, source = self._next(heads)
            if order is None:
                break
            self._fly(order[2])
            taken.append(order[2])
            if source is not None:
                source.taken += 1
                if source.waiting and source.taken < source.window:
                    heapq.heappush(heads, (source.waiting[0], source.signature))
        return self._companions(taken) + taken if taken else taken

    def _next(self, heads: list[tuple[Order, str]]) -> tuple[Order | None, _Lane | None]:
        """The first of what was triggered and of the heads of open lanes, with its lane."""
        self._prune(self._triggered)
        own = self._triggered[0] if self._triggered else None
        while heads and (own is None or heads[0][0] < own):
            order, signature = heapq.heappop(heads)
            lane = self._lanes[signature]
            if lane.waiting and lane.waiting[0] == order:
                return order, lane
            if lane.waiting:  # its head was taken meanwhile for a reason of its own
                heapq.heappush(heads, (lane.waiting[0], signature))
        return own, None

    def ack(self, job_ids: Iterable[str]) -> None:
        """These were looked at, with effect. What happened meanwhile is looked at next."""
        for job_id in job_ids:
            item = self._items.get(job_id)
            if item is None or not item.flying:
                continue
            item.flying = False
            item.reason = ""
            if item.again:
                item.again = False
                self._trigger(item)

    def nack(self, job_ids: Iterable[str]) -> None:
        """These could not be looked at properly: give them again."""
        for job_id in job_ids:
            item = self._items.get(job_id)
            if item is not None and item.flying:
                item.flying = item.again = False
                self._trigger(item)

    def block(self, job_id: str, reason: str) -> None:
        """This job found no room: it waits, and with it all of its signature, until `open`.

        When lanes were opened since it was taken, its look was too early: its lane stays open.
        """
        item = self._items.get(job_id)
        if item is None:
            return
        lane = self._lane(item.signature)
        lane.reason = item.reason = reason
        lane.blocked += 1
        if item.epoch == self._epoch:
            lane.closed = True
            lane.closed_since = lane.closed_since or self._now
        if not item.flying and not item.triggered:
            self._wait(item)

    def open(self) -> None:
        """Something may fit now: every lane is worth a look again."""
        self._epoch += 1
        self._opened = self._now
        for lane in self._lanes.values():
            lane.closed = False

    def wake_at(self, job_id: str, time: int) -> None:
        """Look at the job at that time (ns) whatever happens; an earlier time stands."""
        item = self._items.get(job_id)
        if item is not None and time and (not item.wake or time < item.wake):
            item.wake = time
            heapq.heappush(self._wakes, (time, job_id))

    def next_wake(self) -> int | None:
        """When to take again if nothing happens (ns), or None."""
        while self._wakes:
            time, job_id = self._wakes[0]
            item = self._items.get(job_id)
            if item is not None and item.wake == time:
                break
            heapq.heappop(self._wakes)
        rescan = self._opened + RESCAN_NS
        if any(lane.closed and lane.waiting for lane in self._lanes.values()):
            return min(rescan, self._wakes[0][0]) if self._wakes else rescan
        return self._wakes[0][0] if self._wakes else None

    def drop(self, job_id: str) -> None:
        """Forget the job, unless something happened to it since it was taken."""
        item = self._items.get(job_id)
        if item is None or item.triggered or item.again:
            return
        del self._items[job_id]
        self._leave_lane(item)
        lane = self._lanes.get(item.signature)
        if lane is not None and not lane.waiting:
            del self._lanes[item.signature]

    def reason(self, job_id: str) -> str:
        """Why the job waits; '' when it does not wait for room."""
        item = self._items.get(job_id)
        if item is None or not item.waiting:
            return ""
        return item.reason or self._lane(item.signature).reason

    def position(self, job_id: str) -> int:
        """The job's place among all that wait for room, from 1; 0 when it does not wait."""
        item = self._items.get(job_id)
        if item is None or not item.waiting:
            return 0
        return 1 + sum(other.waiting and other.order < item.order for other in self._items.values())

    def _lane(self, signature: str) -> _Lane:
        lane = self._lanes.get(signature)
        if lane is None:
            lane = self._lanes[signature] = _Lane(signature)
        return lane

    def _trigger(self, item: _Item) -> None:
        if not item.triggered:
            item.triggered = True
            heapq.heappush(self._triggered, item.order)

    def _wait(self, item: _Item) -> None:
        if not item.waiting:
            item.waiting = True
            heapq.heappush(self._lane(item.signature).waiting, item.order)

    def _leave_lane(self, item: _Item) -> None:
        if item.waiting:
            item.waiting = False
            self._prune_lane(item.signature)

    def _prune_lane(self, signature: str) -> None:
        """The head of a lane is always a job that truly waits there."""
        waiting = self._lanes[signature].waiting
        while waiting:
            item = self._items.get(waiting[0][2])
            if (
                item is not None
                and item.waiting
                and item.order == waiting[0]
                and item.signature == signature
            ):
                return
            heapq.heappop(waiting)

    def _prune(self, triggered: list[Order]) -> None:
        while triggered:
            item = self._items.get(triggered[0][2])
            if item is not None and item.triggered and item.order == triggered[0]:
                return
            heapq.heappop(triggered)

    def _fly(self, job_id: str) -> None:
        item = self._items[job_id]
        item.flying, item.triggered, item.wake = True, False, 0
        item.epoch = self._epoch
        self._leave_lane(item)

    def _due(self, now: int) -> None:
        while self._wakes and self._wakes[0][0] <= now:
            time, job_id = heapq.heappop(self._wakes)
            item = self._items.get(job_id)
            if item is not None and item.wake == time:
                item.wake = 0
                if item.flying:
                    item.again = True
                else:
                    self._trigger(item)

    def _companions(self, taken: list[str]) -> list[str]:
        """First jobs of lanes closed for long, if they come before what was taken."""
        last = max(self._items[job_id].order for job_id in taken)
        starving = sorted(
            lane.waiting[0]
            for lane in self._lanes.values()
            if lane.closed
            and lane.waiting
            and self._now - lane.closed_since > RESERVE_AFTER_NS
            and lane.waiting[0] < last
        )
        heads = [order[2] for order in starving[:COMPANIONS_MAX]]
        for job_id in heads:
            self._fly(job_id)
        return heads

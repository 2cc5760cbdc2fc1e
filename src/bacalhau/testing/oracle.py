"""Placement as one would first write it: for each partition, ask every node.

The yardstick and the oracle of the scheduler: `schedule(snapshot, NaivePlaces)` must give
the same plan as `schedule(snapshot)`, only slower.
"""

from collections.abc import Mapping

from bacalhau.core.schedule.feasible import Demand, Room, unfit
from bacalhau.core.schedule.rank import Index, Places, Slot, Turn


class NaiveTurn(Turn):
    """Looks at all nodes each time."""

    def best(self, failures: Mapping[str, int]) -> Slot | None:
        index = self.index
        wanted = index.wanted.resources
        return min(
            (slot for slot in index.suitable if slot.room(wanted) is not Room.FULL),
            key=lambda slot: index.key(slot, failures.get(slot.id, 0), self.counts.get(slot.id, 0)),
            default=None,
        )

    def end(self) -> None:
        """Nothing was set aside."""


class NaivePlaces(Places):
    """Asks every node anew for each job."""

    def index(self, wanted: Demand) -> Index:
        return Index(wanted, self.slots, lambda info: unfit(wanted, info))

    def turn(self, wanted: Demand, counts: dict[str, int]) -> Turn:
        return NaiveTurn(self.index(wanted), counts)

"""Which jobs are looked at next, and how little a long queue costs."""

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from bacalhau.core.queue import RESCAN_NS, RESERVE_AFTER_NS, Queue

S = 1_000_000_000


def queue(*jobs: tuple[str, int, int]) -> Queue:
    """A queue with (id, priority, create_time), all of one signature."""
    made = Queue()
    for job_id, priority, create_time in jobs:
        made.put(job_id, priority, create_time, "sig")
    return made


def test_priority_goes_first_then_age() -> None:
    made = queue(("a", 0, 2), ("b", 0, 1), ("c", 5, 3), ("d", 5, 3))
    assert made.take(0, 10) == ["c", "d", "b", "a"]


def test_one_look_at_a_time_per_job() -> None:
    made = queue(("a", 0, 1))
    assert made.take(0, 10) == ["a"]
    made.put("a", 0, 1, "sig", triggered=True)
    assert made.take(0, 10) == []
    made.ack(["a"])
    assert made.take(0, 10) == ["a"]
    made.ack(["a"])
    assert made.take(0, 10) == []


def test_what_was_not_looked_at_properly_comes_again() -> None:
    made = queue(("a", 0, 1))
    made.take(0, 10)
    made.nack(["a"])
    assert made.take(0, 10) == ["a"]


def test_a_full_queue_costs_one_failed_look_per_event() -> None:
    made = queue(*((f"j-{at:05}", 0, at) for at in range(10_000)))
    assert made.take(1, 3) == ["j-00000", "j-00001", "j-00002"]
    made.ack(["j-00000", "j-00001", "j-00002"])
    for job_id in ("j-00000", "j-00001", "j-00002"):
        made.block(job_id, "no free capacity")
    assert made.take(2, 256) == []
    assert made.reason("j-00777") == "no free capacity"
    for event in range(3):
        made.open()
        assert made.take(3 + event, 256) == ["j-00000"]
        made.ack(["j-00000"])
        made.block("j-00000", "no free capacity")
        assert made.take(3 + event, 256) == []


def test_the_window_grows_while_there_is_room() -> None:
    made = queue(*((f"j-{at:05}", 0, at) for at in range(1_000)))
    first = made.take(1, 1)
    made.ack(first)
    made.block(first[0], "full")
    made.open()
    sizes = []
    for at in range(5):
        taken = made.take(2 + at, 256)
        sizes.append(len(taken))
        made.ack(taken)
        for job_id in taken:
            made.drop(job_id)
    assert sizes == [1, 2, 4, 8, 16]


def test_a_job_with_a_reason_of_its_own_is_looked_at_while_its_lane_is_closed() -> None:
    made = queue(("a", 0, 1), ("b", 0, 2))
    made.ack(made.take(1, 1))
    made.block("a", "full")
    assert made.take(1, 10) == []
    made.put("b", 0, 2, "sig", triggered=True)
    assert made.take(1, 10) == ["b"]
    made.ack(["b"])
    made.wake_at("a", 5 * S)
    assert made.next_wake() == 5 * S
    assert made.take(5 * S, 10) == ["a"]


def test_only_the_blocked_signature_waits() -> None:
    made = queue(("a", 9, 1), ("b", 0, 2))
    made.put("small", 0, 3, "other")
    made.ack(made.take(1, 1))
    made.block("a", "full")
    assert made.take(1, 10) == ["small"]


def test_room_that_came_free_during_a_look_is_not_missed() -> None:
    made = queue(("a", 0, 1))
    made.take(1, 10)
    made.open()
    made.ack(["a"])
    made.block("a", "full, as it was before")
    assert made.take(1, 10) == ["a"]


def test_lanes_open_by_themselves_now_and_then() -> None:
    made = queue(("a", 0, 1))
    made.take(RESCAN_NS, 10)
    made.ack(["a"])
    made.block("a", "full")
    wake = made.next_wake()
    assert wake is not None
    assert made.take(wake - 1, 10) == []
    assert made.take(wake, 10) == ["a"]


def test_an_earlier_wake_stands() -> None:
    made = queue(("a", 0, 1))
    made.ack(made.take(1, 10))
    made.wake_at("a", 9 * S)
    made.wake_at("a", 5 * S)
    made.wake_at("a", 7 * S)
    assert made.next_wake() == 5 * S
    made.drop("a")
    assert made.next_wake() is None


def test_a_starving_job_comes_along_before_younger_ones() -> None:
    made = queue(("old", 0, 1))
    made.ack(made.take(1, 10))
    made.block("old", "full")
    for at in range(1, 4):  # every rescan blocks it again
        made.ack(made.take(at * RESCAN_NS, 10))
        made.block("old", "full")
    later = 3 * RESCAN_NS + RESERVE_AFTER_NS - 1
    made.put("young", 0, 2, "other")
    assert made.take(later, 1) == ["old", "young"]


def test_a_job_to_which_something_happened_since_it_was_taken_is_not_forgotten() -> None:
    made = queue(("a", 0, 1))
    made.take(1, 10)
    made.put("a", 0, 1, "sig", triggered=True)  # a new version, while the old one ended
    made.ack(["a"])
    made.drop("a")
    assert made.take(1, 10) == ["a"]
    made.ack(["a"])
    made.drop("a")
    assert len(made) == 0


def test_position_and_reason_tell_who_waits() -> None:
    made = queue(("a", 0, 1), ("b", 0, 2), ("c", 7, 3))
    assert [made.position(job_id) for job_id in ("c", "a", "b", "x")] == [1, 2, 3, 0]
    made.take(1, 1)
    assert (made.position("c"), made.reason("c"), made.position("a")) == (0, "", 1)


def test_another_signature_or_priority_moves_the_job() -> None:
    made = queue(("a", 0, 1), ("b", 0, 2))
    made.put("b", 5, 2, "other")
    assert made.take(1, 10) == ["b", "a"]
    assert len(made) == 2


class AgainstANaiveList(RuleBasedStateMachine):
    """The queue against a list that is searched from end to end."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = Queue()
        self.now = 1
        self.jobs: dict[str, tuple[tuple[int, int, str], str]] = {}
        self.triggered: set[str] = set()
        self.waiting: set[str] = set()
        self.flying: list[str] = []
        self.again: set[str] = set()
        self.closed: set[str] = set()

    @rule(at=st.integers(0, 7), triggered=st.booleans())
    def put(self, at: int, triggered: bool) -> None:
        job_id, priority, signature = f"j-{at}", at % 2, f"s-{at % 3}"
        self.jobs[job_id] = ((-priority, at, job_id), signature)
        self.queue.put(job_id, priority, at, signature, triggered=triggered)
        if job_id in self.flying:
            self.again.add(job_id)
        elif triggered:
            self.triggered.add(job_id)
        elif job_id not in self.triggered:
            self.waiting.add(job_id)

    @precondition(lambda self: not self.flying)
    @rule(limit=st.integers(1, 4))
    def take(self, limit: int) -> None:
        eligible = self.triggered | {
            job_id for job_id in self.waiting if self.jobs[job_id][1] not in self.closed
        }
        order = sorted(eligible, key=lambda job_id: self.jobs[job_id][0])
        taken = self.queue.take(self.now, limit)
        # A window may hold back jobs of a lane, never change the order or take what must wait.
        assert taken == [job_id for job_id in order if job_id in taken]
        assert len(taken) == len(set(taken)) <= limit
        assert bool(taken) == bool(order)
        assert not order or taken[0] == order[0]
        self.flying = taken
        self.triggered.difference_update(taken)
        self.waiting.difference_update(taken)

    @precondition(lambda self: self.flying)
    @rule(blocked=st.booleans())
    def done(self, blocked: bool) -> None:
        self.queue.ack(self.flying)
        for job_id in self.flying:
            if job_id in self.again:
                self.triggered.add(job_id)
        if blocked:
            for job_id in self.flying:
                self.queue.block(job_id, "full")
                self.closed.add(self.jobs[job_id][1])
                if job_id not in self.triggered:
                    self.waiting.add(job_id)
        self.again.clear()
        self.flying = []

    @precondition(lambda self: self.flying)
    @rule()
    def undone(self) -> None:
        self.queue.nack(self.flying)
        self.triggered.update(self.flying)
        self.again.clear()
        self.flying = []

    @precondition(lambda self: not self.flying)
    @rule()
    def open(self) -> None:
        self.queue.open()
        self.closed.clear()

    @precondition(lambda self: self.jobs and not self.flying)
    @rule(data=st.data())
    def drop(self, data: st.DataObject) -> None:
        job_id = data.draw(st.sampled_from(sorted(self.jobs)))
        self.queue.drop(job_id)
        if job_id in self.triggered:
            return
        signature = self.jobs.pop(job_id)[1]
        self.triggered.discard(job_id)
        self.waiting.discard(job_id)
        if not any(self.jobs[other][1] == signature for other in self.waiting):
            self.closed.discard(signature)  # an empty lane is forgotten

    @invariant()
    def positions(self) -> None:
        order = sorted(self.waiting, key=lambda job_id: self.jobs[job_id][0])
        for at, job_id in enumerate(order, start=1):
            assert self.queue.position(job_id) == at


AgainstANaiveList.TestCase.settings = settings(
    max_examples=100, stateful_step_count=40, deadline=None
)
TestAgainstANaiveList = AgainstANaiveList.TestCase


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9)), max_size=20))
def test_the_order_is_that_of_a_sorted_list(jobs: list[tuple[int, int]]) -> None:
    made = Queue()
    for at, (priority, create_time) in enumerate(jobs):
        made.put(f"j-{at:02}", priority, create_time, f"s-{at % 2}")
    order = sorted((-p, c, f"j-{at:02}") for at, (p, c) in enumerate(jobs))
    assert made.take(1, 100) == [job_id for _, _, job_id in order]


def test_a_job_that_waits_and_is_triggered_is_taken_once() -> None:
    made = queue(("a", 0, 1), ("b", 0, 2))
    made.put("a", 0, 1, "sig", triggered=True)
    assert made.take(1, 10) == ["a", "b"]

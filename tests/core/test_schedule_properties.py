"""What holds for every plan, whatever the cluster looks like."""

from collections import Counter

import msgspec
import pytest
from crowd import crowd
from hypothesis import HealthCheck, given, settings
from snapshots_strategy import snapshots

from bacalhau.core.schedule import schedule
from bacalhau.core.schedule.feasible import Room, demand, room, unfit, unready
from bacalhau.model.base import evolve
from bacalhau.model.execution import Desired
from bacalhau.model.job import JobState
from bacalhau.model.plan import Change, Snapshot
from bacalhau.testing.oracle import NaivePlaces
from bacalhau.testing.snapshots import apply

generated = settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
NOTHING = Change()


@generated
@given(snapshots())
def test_moves_are_legal_and_a_second_look_finds_nothing_to_do(snapshot: Snapshot) -> None:
    plan = schedule(snapshot)
    after = apply(snapshot, plan)  # raises on an illegal move
    assert schedule(after).change == NOTHING
    assert schedule(evolve(after, seed=snapshot.seed + 1)).change == NOTHING


@generated
@given(snapshots())
def test_a_partition_never_has_two_live_executions(snapshot: Snapshot) -> None:
    after = apply(snapshot, schedule(snapshot))
    for view in after.jobs:
        held = Counter(e.partition for e in (*view.live, *view.others) if e.is_live)
        if view.job.state is not JobState.HELD:
            assert all(number == 1 for number in held.values()), held
            assert not any(e.is_live for e in view.others)
        if not view.job.state.is_terminal and view.job.spec.type.is_finite:
            assert not held.keys() & view.done


@generated
@given(snapshots())
def test_nothing_is_placed_where_it_cannot_run_or_finds_no_room(snapshot: Snapshot) -> None:
    specs = {view.job.id: view.job.spec for view in snapshot.jobs}
    nodes = {view.node.id: view.node for view in snapshot.nodes}
    used = {view.node.id: (view.used, view.placed) for view in snapshot.nodes}
    for row in schedule(snapshot).change.executions:
        if row.revision > 1:
            continue
        node, wanted = nodes[row.node_id], demand(specs[row.job_id])
        assert row.resources == wanted.resources
        assert not unready(node)
        assert not unfit(wanted, node.info)
        amount, placed = used[row.node_id]
        there = room(wanted.resources, node.info.capacity, amount, placed, node.lookahead)
        assert there is not Room.FULL
        used[row.node_id] = (amount + wanted.resources, placed + 1)


@generated
@given(snapshots())
def test_a_job_that_has_ended_only_gets_stops(snapshot: Snapshot) -> None:
    plan = schedule(snapshot)
    after = {view.job.id: view.job for view in apply(snapshot, plan).jobs}
    for row in plan.change.executions:
        if after[row.job_id].state.is_terminal:
            assert row.revision > 1
            assert row.desired is Desired.STOP or row.is_settled
    ended_before = {v.job.id for v in snapshot.jobs if v.job.state.is_terminal}
    assert not ended_before & {job.id for job in plan.change.jobs}
    for view in apply(snapshot, plan).jobs:
        if view.job.state.is_terminal:
            assert not any(execution.is_live for execution in view.live)
            assert not view.job.wake_time or view.job.id in ended_before


@generated
@given(snapshots())
def test_what_is_not_placed_has_a_reason_or_a_time(snapshot: Snapshot) -> None:
    plan = schedule(snapshot)
    for view in apply(snapshot, plan).jobs:
        job = view.job
        if job.state.is_terminal or job.state is JobState.HELD:
            continue
        explained = plan.blocked.get(job.id) or job.wake_time > snapshot.now
        live = {e.partition for e in view.live if e.is_live}
        if job.spec.type.is_counted:
            done = view.done if job.spec.type.is_finite else frozenset()
            missing = set(range(job.spec.count or 1)) - live - done
            assert not missing or explained
        else:
            assert live or explained
        assert bool(plan.blocked.get(job.id)) == bool(job.queued_time)
        assert bool(job.message) >= bool(job.queued_time)


@generated
@given(snapshots())
def test_the_same_snapshot_gives_the_same_plan_and_stays_as_it_is(snapshot: Snapshot) -> None:
    before = msgspec.msgpack.encode(snapshot)
    plan = schedule(snapshot)
    assert schedule(snapshot) == plan
    assert msgspec.msgpack.encode(snapshot) == before


@generated
@given(snapshots())
def test_the_naive_way_places_the_same(snapshot: Snapshot) -> None:
    assert schedule(snapshot, NaivePlaces) == schedule(snapshot)


@generated
@given(snapshots())
def test_there_is_one_event_for_each_execution_that_changes(snapshot: Snapshot) -> None:
    change = schedule(snapshot).change
    events = Counter(event.execution_id for event in change.events if event.execution_id)
    assert all(number == 1 for number in events.values())
    rows = {row.id for row in change.executions}
    assert events.keys() <= rows
    for row in change.executions:
        if row.revision == 1:
            assert row.id in events


@pytest.mark.parametrize("seed", range(20))
def test_a_crowded_cluster_is_filled_the_same_way_by_the_oracle(seed: int) -> None:
    snapshot = crowd(seed)
    plan = schedule(snapshot)
    assert plan == schedule(snapshot, NaivePlaces)
    assert schedule(apply(snapshot, plan)).change == NOTHING

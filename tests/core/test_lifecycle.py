"""Which moves are legal, and what a word or a wish makes of a row."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bacalhau.core import lifecycle
from bacalhau.core.lifecycle import (
    DESIRED_MOVES,
    JOB_MOVES,
    OBSERVED_MOVES,
    fault_of_execution,
    fault_of_job,
    filled,
    intend,
    observe,
)
from bacalhau.model.base import evolve
from bacalhau.model.execution import (
    Desired,
    Execution,
    Fault,
    FaultKind,
    Observed,
    RunOutput,
)
from bacalhau.model.job import Job, JobSpec, JobState, JobType, SpecConfig
from bacalhau.model.plan import JobView

STORED = Execution(
    id="e-1", job_id="j-1", job_version=1, namespace="default", node_id="n-1", revision=3
)
USER_FAULT = Fault(kind=FaultKind.USER, code="ExitCode", message="exit code 1")
LOST = Fault(kind=FaultKind.NODE, code="NodeLost", message="node n-1 was lost")


def word(observed: Observed, **fields: object) -> Execution:
    return evolve(STORED, observed=observed, **fields)


def test_the_tables_know_every_state() -> None:
    assert set(JOB_MOVES) == set(JobState)
    assert set(DESIRED_MOVES) == set(Desired)
    assert set(OBSERVED_MOVES) == set(Observed)


def test_nothing_follows_a_terminal_word() -> None:
    for observed, moves in OBSERVED_MOVES.items():
        assert bool(moves) != observed.is_terminal


def test_a_new_word_makes_a_new_revision_with_what_was_seen() -> None:
    output = RunOutput(stdout="hi")
    row = observe(
        STORED,
        word(Observed.COMPLETED, output=output, result=SpecConfig(type="s3"), end_time=5),
        now=9,
    )
    assert row is not None
    assert (row.observed, row.revision, row.modify_time) == (Observed.COMPLETED, 4, 9)
    assert (row.output, row.result.type, row.end_time) == (output, "s3", 5)


@pytest.mark.parametrize("late", [Observed.NEW, Observed.PREPARING, Observed.RUNNING])
def test_a_late_or_repeated_word_changes_nothing(late: Observed) -> None:
    stored = evolve(STORED, observed=Observed.RUNNING)
    assert observe(stored, word(late), now=9) is None


def test_a_word_after_the_last_one_changes_nothing() -> None:
    stored = evolve(STORED, observed=Observed.FAILED, fault=USER_FAULT)
    assert observe(stored, word(Observed.COMPLETED), now=9) is None


def test_a_word_on_another_execution_or_of_another_node_changes_nothing() -> None:
    assert observe(STORED, word(Observed.RUNNING, id="e-2"), now=9) is None
    assert observe(STORED, word(Observed.RUNNING, node_id="n-2"), now=9) is None


def test_a_bare_word_does_not_wipe_what_is_known() -> None:
    stored = evolve(STORED, observed=Observed.RUNNING, start_time=4, output=RunOutput(stdout="a"))
    row = observe(stored, word(Observed.CANCELLED, start_time=0), now=9)
    assert row is not None
    assert (row.start_time, row.output, row.end_time) == (4, RunOutput(stdout="a"), 9)


def test_the_same_state_with_a_newer_message_is_news() -> None:
    stored = evolve(STORED, observed=Observed.PREPARING, event_time=5)
    newer = word(Observed.PREPARING, observed_message="pulled", event_time=6)
    assert observe(stored, newer, now=9) is not None
    assert observe(stored, evolve(newer, event_time=5), now=9) is None


def test_a_service_that_completes_has_failed() -> None:
    row = observe(STORED, word(Observed.COMPLETED), now=9, finite=False)
    assert row is not None
    assert row.observed is Observed.FAILED
    assert row.fault == lifecycle.ENDED_UNEXPECTEDLY


def test_a_service_that_ends_when_told_is_cancelled() -> None:
    stored = evolve(STORED, desired=Desired.STOP)
    row = observe(stored, word(Observed.COMPLETED), now=9, finite=False)
    assert row is not None
    assert row.observed is Observed.CANCELLED


def test_a_completion_that_nobody_needs_is_cancelled() -> None:
    row = observe(STORED, word(Observed.COMPLETED), now=9, filled=True)
    assert row is not None
    assert row.observed is Observed.CANCELLED
    assert row.fault is None


def test_a_late_completion_of_a_lost_execution_counts() -> None:
    stored = evolve(STORED, desired=Desired.STOP, lost=True, fault=LOST)
    row = observe(stored, word(Observed.COMPLETED), now=9)
    assert row is not None
    assert (row.observed, row.lost, row.fault) == (Observed.COMPLETED, False, None)


def test_a_lost_execution_that_is_cancelled_remains_a_failed_try() -> None:
    stored = evolve(STORED, desired=Desired.STOP, lost=True, fault=LOST)
    row = observe(stored, word(Observed.CANCELLED), now=9)
    assert row is not None
    assert row.fault == LOST


def test_the_nodes_own_fault_is_better_than_our_guess() -> None:
    stored = evolve(STORED, desired=Desired.STOP, lost=True, fault=LOST)
    row = observe(stored, word(Observed.FAILED, fault=USER_FAULT), now=9)
    assert row is not None
    assert row.fault == USER_FAULT


def test_a_failure_that_crosses_our_stop_is_nobodys_fault() -> None:
    stored = evolve(STORED, desired=Desired.STOP)
    row = observe(stored, word(Observed.FAILED, fault=USER_FAULT), now=9)
    assert row is not None
    assert (row.observed, row.fault) == (Observed.CANCELLED, None)


@pytest.mark.parametrize("observed", [Observed.FAILED, Observed.DECLINED])
def test_a_failure_without_a_reason_gets_one(observed: Observed) -> None:
    row = observe(STORED, word(observed), now=9)
    assert row is not None
    assert row.fault is not None


def test_a_node_takes_a_newer_wish_only() -> None:
    wish = evolve(STORED, desired=Desired.STOP, desired_message="enough", revision=4)
    taken = intend(STORED, wish)
    assert taken is not None
    assert (taken.desired, taken.desired_message, taken.revision) == (Desired.STOP, "enough", 4)
    assert intend(STORED, evolve(wish, revision=3)) is None
    newer = intend(taken, evolve(STORED, revision=9))
    assert newer is not None
    assert newer.desired is Desired.STOP  # never back
    assert intend(evolve(STORED, observed=Observed.FAILED), wish) is None


def test_results_of_completed_partitions_and_replaced_versions_are_not_needed() -> None:
    job = Job(id="j-1", spec=JobSpec(type=JobType.BATCH))
    assert not filled(JobView(job=job), STORED)
    assert filled(JobView(job=job, done=frozenset({0})), STORED)
    assert filled(JobView(job=job), STORED, now_completed={0})
    assert filled(JobView(job=evolve(job, version=2)), STORED)


@given(st.sampled_from(Observed), st.sampled_from(Observed), st.sampled_from(Desired),
       st.booleans(), st.booleans())  # fmt: skip
def test_whatever_a_node_says_the_row_moves_legally(
    before: Observed, said: Observed, desired: Desired, finite: bool, is_filled: bool
) -> None:
    stored = evolve(STORED, observed=before, desired=desired)
    row = observe(stored, word(said, fault=USER_FAULT), now=9, finite=finite, filled=is_filled)
    if row is not None:
        assert not fault_of_execution(stored, row)
        assert not row.is_settled or row.end_time
        assert observe(row, word(said), now=10, finite=finite, filled=is_filled) is None


@pytest.mark.parametrize(
    ("change", "illegal"),
    [
        ({"revision": 5}, "revision"),
        ({"partition": 1}, "partition"),
        ({"node_id": "n-2"}, "node_id"),
        ({"desired": Desired.BID}, "desired"),
        ({"observed": Observed.NEW}, "observed"),
        ({"lost": True}, "lost"),
    ],
)
def test_an_illegal_write_of_an_execution_is_named(change: dict[str, object], illegal: str) -> None:
    before = evolve(STORED, observed=Observed.RUNNING)
    assert illegal in fault_of_execution(before, evolve(before, **{"revision": 4, **change}))


def test_a_new_execution_begins_at_the_beginning() -> None:
    assert not fault_of_execution(None, evolve(STORED, revision=1))
    assert fault_of_execution(None, STORED)
    assert fault_of_execution(None, evolve(STORED, revision=1, observed=Observed.RUNNING))


def test_an_ended_job_lives_again_only_in_a_new_version() -> None:
    ended = Job(id="j", spec=JobSpec(type=JobType.BATCH), state=JobState.FAILED)
    again = evolve(ended, state=JobState.PENDING, revision=2)
    assert "without a new version" in fault_of_job(ended, again)
    assert not fault_of_job(ended, evolve(again, version=2))
    assert "revision" in fault_of_job(ended, evolve(again, revision=4, version=2))
    assert fault_of_job(ended, evolve(ended, state=JobState.COMPLETED, revision=2))
    assert not fault_of_job(None, evolve(ended, state=JobState.PENDING))
    assert fault_of_job(None, ended)


def test_what_a_gone_node_would_have_said() -> None:
    failed = lifecycle.settle(evolve(STORED, observed=Observed.RUNNING), LOST, 9)
    assert (failed.observed, failed.fault, failed.end_time) == (Observed.FAILED, LOST, 9)
    stopping = evolve(STORED, desired=Desired.STOP)
    cancelled = lifecycle.settle(stopping, LOST, 9)
    assert (cancelled.observed, cancelled.fault) == (Observed.CANCELLED, None)

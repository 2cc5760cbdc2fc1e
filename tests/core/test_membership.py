"""Who is a member, who is connected, what a node has forgotten."""

from bacalhau.core import membership
from bacalhau.model.base import evolve
from bacalhau.model.execution import Desired, Execution, FaultKind, Observed
from bacalhau.model.message import Heartbeat, Hello
from bacalhau.model.node import Connection, Membership, Node, NodeInfo

S = 1_000_000_000
INFO = NodeInfo(id="n-1")
HELLO = Hello(info=INFO, boot_id="b-1")
KNOWN = membership.hello(None, HELLO, 5, manual_approval=False)


def execution(id_: str, observed: Observed, desired: Desired = Desired.RUN) -> Execution:
    return Execution(
        id=id_, job_id="j", job_version=1, namespace="default", node_id="n-1",
        observed=observed, desired=desired,
    )  # fmt: skip


def test_a_new_node_is_approved_unless_the_operator_wants_to_look() -> None:
    assert KNOWN.is_ready
    pending = membership.hello(None, HELLO, 5, manual_approval=True)
    assert pending.membership is Membership.PENDING
    assert pending.connection is Connection.CONNECTED
    assert not pending.is_ready


def test_the_same_hello_again_writes_nothing() -> None:
    assert membership.hello(KNOWN, HELLO, 9, manual_approval=False) is KNOWN


def test_new_facts_a_new_boot_and_a_new_connection_are_written() -> None:
    facts = membership.hello(
        KNOWN, Hello(info=evolve(INFO, engines=("noop",)), boot_id="b-1"), 9, manual_approval=True
    )
    assert (facts.info.engines, facts.revision, facts.connected_time) == (("noop",), 2, 5)
    assert facts.membership is Membership.APPROVED
    boot = membership.hello(KNOWN, Hello(info=INFO, boot_id="b-2"), 9, manual_approval=False)
    assert (boot.boot_id, boot.connected_time) == ("b-2", 9)
    back = membership.hello(membership.goodbye(KNOWN, 7), HELLO, 9, manual_approval=False)
    assert (back.is_ready, back.connected_time, back.message) == (True, 9, "node reconnected")


def test_a_rejected_node_stays_out() -> None:
    rejected = membership.decide(KNOWN, "reject", "", 6)
    assert isinstance(rejected, Node)
    assert rejected.connection is Connection.DISCONNECTED
    assert membership.hello(rejected, HELLO, 9, manual_approval=False) is rejected


def test_a_heartbeat_of_a_stranger_or_of_another_boot_asks_for_a_hello() -> None:
    beat = Heartbeat(boot_id="b-1")
    assert membership.heartbeat(None, beat, 9) is None
    assert membership.heartbeat(membership.goodbye(KNOWN, 7), beat, 9) is None
    assert membership.heartbeat(KNOWN, Heartbeat(boot_id="b-2"), 9) is None


def test_a_heartbeat_writes_only_another_lookahead() -> None:
    assert membership.heartbeat(KNOWN, Heartbeat(boot_id="b-1"), 9) is KNOWN
    row = membership.heartbeat(KNOWN, Heartbeat(boot_id="b-1", lookahead=9), 9)
    assert row is not None
    assert (row.lookahead, row.revision) == (9, 2)


def test_silence_is_judged_only_where_somebody_listened() -> None:
    other = evolve(KNOWN, id="n-2")
    gone = membership.goodbye(evolve(KNOWN, id="n-3"), 6)
    seen = {"n-1": 0, "n-3": 0}
    (silent,) = membership.silent([KNOWN, other, gone], seen, 11 * S, 10)
    assert (silent.id, silent.connection, silent.message, silent.disconnected_time) == (
        "n-1", Connection.DISCONNECTED, "heartbeat timeout", 11 * S,
    )  # fmt: skip
    assert membership.silent([KNOWN], seen, 10 * S, 10) == ()


def test_goodbye_twice_writes_once() -> None:
    gone = membership.goodbye(KNOWN, 9)
    assert (gone.connection, gone.revision) == (Connection.DISCONNECTED, 2)
    assert membership.goodbye(gone, 10) is gone


def test_operators_approve_and_reject_once() -> None:
    pending = membership.hello(None, HELLO, 5, manual_approval=True)
    approved = membership.decide(pending, "approve", "welcome", 9)
    assert isinstance(approved, Node)
    assert approved.is_ready
    assert "approved already" in str(membership.decide(approved, "approve", "", 9))
    rejected = membership.decide(approved, "reject", "", 10)
    assert isinstance(rejected, Node)
    assert "rejected already" in str(membership.decide(rejected, "reject", "", 11))
    assert "unknown node action" in str(membership.decide(approved, "dance", "", 9))


def test_what_a_new_boot_does_not_hold_has_failed_by_the_nodes_fault() -> None:
    rows = [
        execution("e-new", Observed.NEW),
        execution("e-held", Observed.RUNNING),
        execution("e-gone", Observed.RUNNING),
        execution("e-stopping", Observed.RUNNING, Desired.STOP),
    ]
    failed, cancelled = membership.missing(["e-held"], True, rows, 9)
    assert (failed.id, failed.observed, failed.revision) == ("e-gone", Observed.FAILED, 2)
    assert failed.fault is not None
    assert failed.fault.kind is FaultKind.NODE
    assert (cancelled.id, cancelled.observed) == ("e-stopping", Observed.CANCELLED)


def test_a_hello_of_the_same_boot_forgets_nothing() -> None:
    assert membership.missing([], False, [execution("e-1", Observed.RUNNING)], 9) == ()


def test_what_a_node_holds_and_nobody_knows_is_unwanted() -> None:
    rows = [execution("e-1", Observed.RUNNING)]
    assert membership.unwanted(["e-3", "e-1", "e-2"], rows) == ("e-2", "e-3")


def test_words_of_an_earlier_process_do_not_count() -> None:
    assert membership.is_current(KNOWN, "b-1")
    assert membership.is_current(KNOWN, "")
    assert not membership.is_current(KNOWN, "b-0")
    assert not membership.is_current(None, "b-1")

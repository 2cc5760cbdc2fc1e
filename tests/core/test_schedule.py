"""The parts of the scheduler: who can take it, who is best, again or give up."""

from collections.abc import Sequence

import pytest

from bacalhau.core.schedule import schedule
from bacalhau.core.schedule.feasible import (
    NODE_EXECUTIONS_MAX,
    Room,
    demand,
    grouped,
    room,
    signature,
    unfit,
    unready,
)
from bacalhau.core.schedule.history import short
from bacalhau.core.schedule.retry import STEADY_NS, again
from bacalhau.model.base import evolve
from bacalhau.model.execution import Desired, Execution, Fault, FaultKind, Observed
from bacalhau.model.job import (
    InputSource,
    Job,
    JobSpec,
    JobType,
    Network,
    NetworkType,
    Requirement,
    Retry,
    SpecConfig,
    Task,
)
from bacalhau.model.node import Connection, Membership, Node, NodeInfo, NodeRole
from bacalhau.model.plan import Try
from bacalhau.model.resources import Resources, ResourcesConfig
from bacalhau.testing.snapshots import snapshot_of

S = 1_000_000_000
INFO = NodeInfo(
    id="n-1",
    labels={"region": "eu"},
    engines=("process", "wasm"),
    sources=("inline", "local", "urldownload"),
    publishers=("managed",),
    capacity=Resources(cpu=4000, memory=10**9),
)


def spec(kind: JobType = JobType.BATCH, count: int | None = None, **task: object) -> JobSpec:
    fields = {"engine": SpecConfig(type="Process", params={"command": "python3"}), **task}
    return JobSpec(type=kind, count=count, tasks=(evolve(Task(), **fields),))


def source(kind: str, **params: object) -> InputSource:
    return InputSource(source=SpecConfig(type=kind, params=params), target="/in")


def with_(given: JobSpec, *constraints: Requirement) -> JobSpec:
    return evolve(given, constraints=constraints)


EU = Requirement(key="region", operator="=", values=("eu",))
US = Requirement(key="region", operator="=", values=("us",))
WISH = Requirement(key="favour_region", operator="=", values=("us",))


@pytest.mark.parametrize(
    ("asked", "offered", "reason"),
    [
        (spec(), INFO, ""),
        (with_(spec(), EU, WISH), INFO, ""),
        (with_(spec(), US), INFO, "label region: us wanted, eu found"),
        (spec(engine=SpecConfig(type="docker")), INFO, "engine docker is not offered"),
        (spec(input_sources=(source("urlDownload"),)), INFO, ""),
        (spec(input_sources=(source("s3"),)), INFO, "input source s3 is not offered"),
        (spec(publisher=SpecConfig(type="Managed")), INFO, ""),
        (spec(publisher=SpecConfig(type="noop")), INFO, ""),
        (spec(publisher=SpecConfig(type="s3")), INFO, "publisher s3 is not offered"),
        (
            spec(resources=ResourcesConfig(cpu="5")),
            INFO,
            "more than the node has: CPU: 5000m wanted, 4000m there",
        ),
        (
            spec(resources=ResourcesConfig(cpu="2")),
            evolve(INFO, max_job=Resources(cpu=1000, memory=10**9)),
            "more than one job may use there: CPU: 2000m wanted, 1000m there",
        ),
        (spec(network=Network(type=NetworkType.FULL)), INFO, ""),
        (
            spec(network=Network(type=NetworkType.FULL)),
            evolve(INFO, reject_networked=True),
            "the owner refuses jobs with network (type Full)",
        ),
        (spec(network=Network(type=NetworkType.NONE)), evolve(INFO, reject_networked=True), ""),
        (spec(), evolve(INFO, reject_networked=True), ""),
        (spec(), evolve(INFO, reject_stateless=True), "the owner refuses jobs without inputs"),
        (spec(input_sources=(source("inline"),)), evolve(INFO, reject_stateless=True), ""),
        (spec(input_sources=(source("inline"),)), evolve(INFO, local_only=True), ""),
        (spec(), evolve(INFO, local_only=True), ""),
        (
            spec(input_sources=(source("urldownload"),)),
            evolve(INFO, local_only=True),
            "the owner takes local inputs only, not urldownload",
        ),
        (spec(env={"A": "env:AWS_KEY"}), evolve(INFO, allowed_env=("AWS_*",)), ""),
        (spec(env={"A": "plain:AWS_KEY"}), INFO, ""),
        (
            spec(env={"A": "env:MY_AWS_KEY"}),
            evolve(INFO, allowed_env=("AWS_*",)),
            "the owner does not give out the environment variable MY_AWS_KEY",
        ),
        (spec(), evolve(INFO, allowed_commands=("python*",)), ""),
        (
            spec(engine=SpecConfig(type="process", params={"Name": "/usr/bin/python3"})),
            evolve(INFO, allowed_commands=("python3",)),
            "",
        ),
        (
            spec(),
            evolve(INFO, allowed_commands=("/opt/tool",)),
            "the owner does not allow the command python3",
        ),
        (spec(engine=SpecConfig(type="wasm")), evolve(INFO, allowed_commands=("/opt/x",)), ""),
    ],
)
def test_a_node_can_take_it_or_says_why_not(asked: JobSpec, offered: NodeInfo, reason: str) -> None:
    assert unfit(demand(asked), offered) == reason


@pytest.mark.parametrize(
    ("entry", "path", "write", "shared"),
    [
        ("/data", "/data", False, True),
        ("/data", "/data/", False, True),
        ("/data", "/data/a", False, False),
        ("/data/**", "/data", False, True),
        ("/data/**", "/data/a/b", False, True),
        ("/data/**", "/database", False, False),
        ("/data/**:ro", "/data/a", True, False),
        ("/data/**:rw", "/data/a", True, True),
        ("/data/{a,b}/**", "/data/b/c", False, True),
        ("/data/{a,b}/**", "/data/c/c", False, False),
        ("/**", "/", False, True),
        ("/data/[0-9", "/data/[0-9", False, True),
    ],
)
def test_local_paths_are_looked_up_in_the_owners_list(
    entry: str, path: str, write: bool, shared: bool
) -> None:
    asked = spec(input_sources=(source("local", sourcepath=path, readwrite=write),))
    reason = unfit(demand(asked), evolve(INFO, allowed_paths=(entry,)))
    assert (reason == "") == shared
    assert unfit(demand(asked), INFO)  # an empty list shares nothing


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, ""),
        ({"connection": Connection.DISCONNECTED}, "not connected"),
        ({"membership": Membership.PENDING}, "not approved yet"),
        ({"membership": Membership.REJECTED}, "rejected"),
        ({"info": evolve(INFO, role=NodeRole.ORCHESTRATOR)}, "not a compute node"),
    ],
)
def test_who_takes_no_work_now(change: dict[str, object], reason: str) -> None:
    assert unready(evolve(node("n-1"), **change)) == reason


def test_a_node_has_room_a_few_may_wait_then_it_is_full() -> None:
    wanted, capacity = Resources(cpu=1000), Resources(cpu=2000)

    def there(used: int, placed: int = 0, lookahead: int = 2) -> Room:
        return room(wanted, capacity, Resources(cpu=used), placed, lookahead)

    assert [there(used) for used in (0, 1000, 1001, 2000, 3000, 3001)] == [
        Room.FREE, Room.FREE, Room.AHEAD, Room.AHEAD, Room.AHEAD, Room.FULL,
    ]  # fmt: skip
    assert there(1001, lookahead=0) is Room.FULL
    assert there(0, placed=NODE_EXECUTIONS_MAX) is Room.FULL


def test_work_that_asks_for_nothing_has_a_bound_too() -> None:
    nothing, full = Resources(), Resources(cpu=9000)
    assert room(nothing, Resources(cpu=1), full, NODE_EXECUTIONS_MAX - 1, 1) is Room.AHEAD
    assert room(nothing, Resources(cpu=1), full, NODE_EXECUTIONS_MAX, 1) is Room.FULL


def test_reasons_are_grouped_the_most_frequent_first() -> None:
    reasons = [("b", 1), ("a", 3), ("c", 1), ("d", 1), ("e", 1), ("f", 2), ("g", 1)]
    assert grouped(reasons) == [
        "3 nodes: a", "2 nodes: f", "1 node: b", "1 node: c", "1 node: d", "2 nodes: other reasons",
    ]  # fmt: skip


def test_jobs_that_ask_the_same_have_the_same_signature() -> None:
    one, same = Job(id="j-1", spec=spec()), Job(id="j-2", spec=spec(count=7))
    other = Job(id="j-3", spec=spec(resources=ResourcesConfig(cpu="2")))
    daemon = Job(id="j-4", spec=spec(JobType.DAEMON))
    assert signature(one) == signature(same) != signature(other)
    assert signature(daemon) == "j-4"


# --- again, when, or give up


def tries(*kinds: FaultKind, every: int = S) -> list[Try]:
    return [
        Try(
            partition=0,
            node_id="n",
            fault=Fault(kind=kind, code="Some", message="it failed"),
            time=at * every,
        )
        for at, kind in enumerate(kinds, start=1)
    ]


USER, NODE, BUSY = FaultKind.USER, FaultKind.NODE, FaultKind.BUSY
POLICY = Retry(attempts=3, delay=1, factor=2, max_delay=5)


def test_the_first_try_is_at_once() -> None:
    assert again(POLICY, []) == 0


def test_waits_grow_to_their_maximum() -> None:
    endless = evolve(POLICY, attempts=0)
    waits = [again(endless, tries(*[USER] * n)) for n in range(1, 7)]
    assert waits == [2 * S, 4 * S, 7 * S, 9 * S, 10 * S, 11 * S]


def test_a_huge_factor_does_not_overflow() -> None:
    huge = Retry(attempts=0, delay=1e300, factor=1e300, max_delay=60)
    assert again(huge, tries(*[USER] * 500)) == 560 * S


def test_the_last_attempt_that_fails_ends_it() -> None:
    fault = again(POLICY, tries(USER, NODE, FaultKind.TRANSIENT, BUSY, USER))
    assert isinstance(fault, Fault)
    assert fault.message == "failed 3 times, at last: it failed"


def test_a_permanent_fault_ends_it_whatever_the_policy() -> None:
    assert isinstance(again(Retry(attempts=0), tries(FaultKind.PERMANENT)), Fault)
    assert again(Retry(), tries(FaultKind.PERMANENT), endless=True) == 301 * S


def test_losses_and_declines_are_not_counted() -> None:
    assert again(Retry(attempts=1), tries(NODE)) == S
    assert again(Retry(attempts=1), tries(*[NODE] * 20)) == 80 * S
    assert again(Retry(attempts=1), tries(*[BUSY] * 20)) == 35 * S


def test_a_service_forgets_failures_before_a_long_steady_time() -> None:
    failures = tries(*[USER] * 9, every=STEADY_NS * 2)
    assert isinstance(again(POLICY, failures), Fault)
    assert again(POLICY, failures, forgets=True) == failures[-1].time + S


# --- who is best


def node(id_: str, cpu: int = 4000, lookahead: int = 0, **labels: str) -> Node:
    info = evolve(INFO, id=id_, labels=labels, capacity=Resources(cpu=cpu, memory=10**9))
    return Node(id=id_, info=info, connection=Connection.CONNECTED, lookahead=lookahead)


def placed(nodes: list[Node], jobs: list[Job], executions: Sequence[Execution] = ()) -> list[str]:
    snapshot = snapshot_of(nodes, jobs, executions, now=100 * S, seed=3)
    return [row.node_id for row in schedule(snapshot).change.executions if row.revision == 1]


def job(given: JobSpec, id_: str = "j-1") -> Job:
    return Job(id=id_, spec=given, create_time=1, modify_time=1)


def execution(node_id: str, job_id: str = "j-0", **fields: object) -> Execution:
    made = Execution(
        id=f"e-{job_id}-{node_id}", job_id=job_id, job_version=1, namespace="default",
        node_id=node_id, resources=Resources(cpu=3000),
    )  # fmt: skip
    return evolve(made, **fields)


ONE = ResourcesConfig(cpu="1")


def test_the_emptier_node_is_taken() -> None:
    nodes = [node("n-a"), node("n-b"), node("n-c")]
    busy = [execution("n-a"), execution("n-c")]
    assert placed(nodes, [job(spec(resources=ONE))], busy) == ["n-b"]


def test_a_wish_beats_free_capacity_but_not_need() -> None:
    nodes = [node("n-a"), node("n-b", region="us")]
    wishing = job(with_(spec(resources=ONE), WISH))
    assert placed(nodes, [wishing], [execution("n-b")]) == ["n-b"]
    full = execution("n-b", resources=Resources(cpu=4000))
    assert placed(nodes, [wishing], [full]) == ["n-a"]


def test_partitions_of_a_job_spread() -> None:
    nodes = [node("n-a", 8000), node("n-b", 8000), node("n-c", 8000)]
    where = placed(nodes, [job(spec(count=6, resources=ONE))])
    assert sorted(where) == ["n-a", "n-a", "n-b", "n-b", "n-c", "n-c"]


def test_free_nodes_come_before_waiting_on_a_full_one() -> None:
    nodes = [node("n-a", 1000, lookahead=2, region="us"), node("n-b", 1000)]
    wishing = job(with_(spec(count=4, resources=ONE), WISH))
    assert placed(nodes, [wishing]) == ["n-a", "n-b", "n-a", "n-a"]


def test_a_partition_avoids_nodes_where_it_failed_while_others_have_room() -> None:
    nodes = [node("n-a"), node("n-b", 1000)]
    failed = execution(
        "n-a", "j-1", observed=Observed.FAILED, fault=Fault(kind=USER, code="X", message="x"),
        modify_time=S,
    )  # fmt: skip
    assert placed(nodes, [job(spec(resources=ONE))], [failed]) == ["n-b"]
    full = execution("n-b", resources=Resources(cpu=1000))
    assert placed(nodes, [job(spec(resources=ONE))], [failed, full]) == ["n-a"]


def test_the_seed_decides_between_equals() -> None:
    nodes = [node(f"n-{at}") for at in range(8)]
    chosen = set()
    for seed in range(40):
        snapshot = snapshot_of(nodes, [job(spec())], [], now=S, seed=seed)
        chosen.add(schedule(snapshot).change.executions[0].node_id)
    assert len(chosen) > 4


def test_a_job_that_ends_gives_back_what_it_was_about_to_take() -> None:
    waits = job(spec(count=2, resources=ResourcesConfig(cpu="3")))
    timeouts = evolve(waits.spec.task.timeouts, queue_timeout=5)
    task = evolve(waits.spec.task, timeouts=timeouts)
    late = evolve(waits, spec=evolve(waits.spec, priority=9, tasks=(task,)), queued_time=S)
    other = job(spec(resources=ResourcesConfig(cpu="4")), "j-2")
    assert placed([node("n-a")], [late, other]) == ["n-a"]


def test_a_bid_that_is_accepted_may_run() -> None:
    bidding = execution("n-a", "j-1", desired=Desired.BID, observed=Observed.BID)
    snapshot = snapshot_of([node("n-a")], [job(spec())], [bidding], now=S)
    (row,) = schedule(snapshot).change.executions
    assert (row.id, row.desired, row.revision) == (bidding.id, Desired.RUN, 2)


def test_a_short_id_is_its_prefix_and_eight_digits() -> None:
    assert short("n-5a1b0c9d-1111-4222-8333-444455556666") == "n-5a1b0c9d"
    assert short("5a1b0c9d-1111-4222-8333-444455556666") == "5a1b0c9d"
    assert short("my-node") == "my-node"

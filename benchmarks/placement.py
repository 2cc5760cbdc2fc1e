"""P10: placing on 10,000 simulated nodes, against the naive loop that serves as the oracle."""

import random
import time

from harness import Result, Yardstick, compare
from yardsticks import Peers

from bacalhau.core.schedule import schedule
from bacalhau.core.schedule.rank import Places
from bacalhau.model.job import Job, JobSpec, JobType, Requirement, SpecConfig, Task
from bacalhau.model.node import Connection, Node, NodeInfo
from bacalhau.model.plan import JobView, NodeView, Plan, Snapshot
from bacalhau.model.resources import Resources, ResourcesConfig
from bacalhau.orchestrator.scheduler import BATCH
from bacalhau.testing.oracle import NaivePlaces


def p10(peers: Peers, quick: bool) -> list[Result]:
    """One decision over as many jobs as the scheduler takes at once; both plans are equal."""
    nodes = 1_000 if quick else 10_000
    view = snapshot(nodes, BATCH)
    plans: dict[type[Places], Plan] = {}

    def seconds_per_placement(places: type[Places]) -> float:
        begin = time.perf_counter()
        plans[places] = schedule(view, places)
        return (time.perf_counter() - begin) / BATCH

    results = compare(
        "P10",
        f"one placement on {nodes:,} nodes, {BATCH} jobs per decision",
        lambda: seconds_per_placement(Places),
        [Yardstick("naive loop", lambda: seconds_per_placement(NaivePlaces), 1 / 20)],
        unit="s",
        better="low",
        trials=1 if quick else 3,
    )
    if plans[Places] != plans[NaivePlaces]:
        raise AssertionError("the plans of schedule() and of its oracle differ")
    if len(plans[Places].change.executions) != BATCH:
        raise AssertionError("not all jobs were placed")
    return results


def snapshot(nodes: int, jobs: int, seed: int = 1) -> Snapshot:
    """A cluster of many kinds of nodes and a batch of jobs with a few kinds of wishes."""
    chance = random.Random(seed)
    members = []
    for number in range(nodes):
        capacity = Resources(
            cpu=chance.choice((2000, 4000, 8000, 16000)),
            memory=chance.choice((4, 8, 16, 32)) * 10**9,
            disk=10**11,
        )
        info = NodeInfo(
            id=f"n-{number:06}",
            labels={"region": chance.choice(("eu", "us", "ap")), "zone": str(number % 10)},
            engines=("noop", "process", "wasm"),
            sources=("inline",),
            publishers=("managed", "noop"),
            capacity=capacity,
            max_job=capacity,
        )
        node = Node(id=info.id, info=info, connection=Connection.CONNECTED)
        members.append(NodeView(node=node))
    views = []
    for number in range(jobs):
        spec = JobSpec(
            name=f"job-{number}",
            namespace="default",
            type=JobType.BATCH,
            count=1,
            constraints=(
                Requirement(key="region", operator="=", values=(("eu", "us")[number % 2],)),
            ),
            tasks=(
                Task(
                    engine=SpecConfig(type="noop"),
                    publisher=SpecConfig(type="noop"),
                    resources=ResourcesConfig(cpu="100m", memory="64mb"),
                ),
            ),
        )
        views.append(JobView(job=Job(id=f"j-{number:06}", spec=spec, queued_time=1)))
    return Snapshot(now=10**18, seed=seed, jobs=tuple(views), nodes=tuple(members))

"""P10: placing on 10,000 simulated nodes, against the naive loop that serves as the oracle."""

import random
import time

from bacalhau.core.schedule import schedule
from bacalhau.model.job import Job, JobSpec, JobType, Requirement, SpecConfig, Task
from bacalhau.model.node import Connection, Node, NodeInfo
from bacalhau.model.plan import JobView, NodeView, Snapshot
from bacalhau.model.resources import Resources, ResourcesConfig


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
        members.append(
            NodeView(node=Node(id=info.id, info=info, connection=Connection.CONNECTED))
        )
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


def seconds_per_placement(decide: object, nodes: int, jobs: int) -> float:
    """Seconds for one placement, when that many jobs are placed in one decision."""
    view = snapshot(nodes, jobs)
    begin = time.perf_counter()
    plan = decide(view)  # type: ignore[operator]  # schedule or its oracle
    took = time.perf_counter() - begin
    if len(plan.change.executions) != jobs:
        raise AssertionError(f"{len(plan.change.executions)} of {jobs} placed")
    return took / jobs


def ours(nodes: int = 10_000, jobs: int = 1_000) -> float:
    return seconds_per_placement(schedule, nodes, jobs)

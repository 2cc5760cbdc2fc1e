"""A larger cluster with more work than room, from a seed."""

import random

from bacalhau.model.execution import Execution, Fault, FaultKind, Observed
from bacalhau.model.job import Job, JobSpec, JobType, Requirement, Retry, SpecConfig, Task
from bacalhau.model.node import Connection, Node, NodeInfo
from bacalhau.model.plan import Snapshot
from bacalhau.model.resources import Resources, ResourcesConfig
from bacalhau.testing.snapshots import snapshot_of

S = 1_000_000_000


def crowd(seed: int, nodes: int = 30, jobs: int = 40) -> Snapshot:
    """Nodes of several sizes, jobs with several demands and partitions, some tried before."""
    draw = random.Random(seed)
    cluster = [_node(at, draw) for at in range(nodes)]
    work = [_job(at, draw) for at in range(jobs)]
    rows = [
        Execution(
            id=f"e-{at}",
            job_id=job.id,
            job_version=1,
            namespace="default",
            node_id=draw.choice(cluster).id,
            partition=draw.randrange(job.spec.count or 1),
            observed=draw.choice([Observed.FAILED, Observed.DECLINED]),
            fault=Fault(kind=draw.choice([FaultKind.NODE, FaultKind.USER]), code="X", message="x"),
            modify_time=draw.randrange(1, 50) * S,
        )
        for at, job in enumerate(draw.choices(work, k=jobs))
    ]
    return snapshot_of(cluster, work, rows, now=60 * S, seed=seed)


def _node(at: int, draw: random.Random) -> Node:
    return Node(
        id=f"n-{at:03}",
        info=NodeInfo(
            id=f"n-{at:03}",
            labels={"region": draw.choice(["eu", "us", "ap"]), "disk": draw.choice(["ssd", "hdd"])},
            engines=("noop",),
            capacity=Resources(cpu=draw.choice([1000, 2000, 8000]), memory=2 * 10**9),
        ),
        connection=Connection.CONNECTED,
        lookahead=draw.randrange(3),
    )


def _job(at: int, draw: random.Random) -> Job:
    constraints = [Requirement(key="region", operator="!=", values=("ap",))] * draw.randrange(2)
    wishes = [Requirement(key="favour_disk", operator="=", values=("ssd",))] * draw.randrange(2)
    resources = ResourcesConfig(
        cpu=draw.choice(["0.1", "0.5", "1", "4"]), memory=draw.choice(["10mb", "300mb", ""])
    )
    return Job(
        id=f"j-{at:03}",
        spec=JobSpec(
            type=JobType.BATCH,
            count=draw.choice([1, 1, 1, 4, 30]),
            priority=draw.randrange(2),
            constraints=(*constraints, *wishes),
            tasks=(Task(engine=SpecConfig(type="noop"), resources=resources),),
            retry=Retry(attempts=0, delay=0.5),
        ),
        create_time=draw.randrange(1, 50) * S,
        modify_time=50 * S,
    )

"""Generated snapshots: any cluster the scheduler may find itself in."""

from typing import Any

from hypothesis import strategies as st

from bacalhau.model.execution import Desired, Execution, Fault, FaultKind, Observed
from bacalhau.model.job import (
    Job,
    JobSpec,
    JobState,
    JobType,
    Requirement,
    Retry,
    SpecConfig,
    Task,
    Timeouts,
)
from bacalhau.model.node import Connection, Membership, Node, NodeInfo
from bacalhau.model.plan import Snapshot
from bacalhau.model.resources import Resources, ResourcesConfig
from bacalhau.testing.snapshots import snapshot_of

S = 1_000_000_000
NOW = 1_000 * S
NODE_IDS = ["n-a", "n-b", "n-c", "n-d", "n-e"]
CPUS = {"500m": 500, "1": 1000, "3": 3000}

times = st.integers(1, 1_000).map(lambda seconds: seconds * S)
rarely = st.sampled_from([False, False, False, False, True])


@st.composite
def nodes(draw: Any, node_id: str) -> Node:
    return Node(
        id=node_id,
        info=NodeInfo(
            id=node_id,
            labels={"region": draw(st.sampled_from(["eu", "us"]))},
            engines=("noop",) if not draw(rarely) else (),
            publishers=("managed",),
            capacity=Resources(cpu=draw(st.sampled_from([0, 1000, 2000, 4000])), memory=10**9),
            max_job=Resources(cpu=2000, memory=10**9) if draw(rarely) else Resources(),
            reject_stateless=draw(rarely),
        ),
        membership=draw(st.sampled_from([*[Membership.APPROVED] * 5, *Membership])),
        connection=draw(st.sampled_from([Connection.CONNECTED] * 3 + [Connection.DISCONNECTED])),
        lookahead=draw(st.integers(0, 3)),
        message=draw(st.sampled_from(["", "heartbeat timeout"])),
    )


@st.composite
def jobs(draw: Any, at: int) -> Job:
    kind = draw(st.sampled_from(JobType))
    limits = st.sampled_from([0, 0, 1, 100, 2000])
    constraints = []
    if draw(rarely):
        constraints.append(Requirement(key="region", operator="=", values=("eu",)))
    if draw(rarely):
        constraints.append(Requirement(key="favour_region", operator="=", values=("us",)))
    created = draw(times)
    state = draw(st.sampled_from([*[JobState.PENDING, JobState.RUNNING] * 3, *JobState]))
    return Job(
        id=f"j-{at}",
        spec=JobSpec(
            type=kind,
            namespace="default",
            priority=draw(st.integers(0, 1)),
            count=draw(st.sampled_from([None, 0, 1, 2, 3, 5])) if kind.is_counted else None,
            constraints=tuple(constraints),
            tasks=(
                Task(
                    engine=SpecConfig(type="noop"),
                    publisher=SpecConfig(type="managed"),
                    resources=ResourcesConfig(cpu=draw(st.sampled_from(list(CPUS)))),
                    timeouts=Timeouts(
                        execution_timeout=draw(limits),
                        queue_timeout=draw(limits),
                        total_timeout=draw(limits),
                    ),
                ),
            ),
            retry=Retry(attempts=draw(st.integers(0, 3)), delay=draw(st.sampled_from([0, 1, 60]))),
        ),
        state=state,
        message=draw(st.sampled_from(["", "no free capacity: all 2 nodes that fit are full"])),
        version=draw(st.integers(1, 2)),
        revision=draw(st.integers(1, 9)),
        create_time=created,
        modify_time=draw(times),
        version_time=draw(times),
        queued_time=draw(st.sampled_from([0, 0, 900 * S])),
        wake_time=draw(st.sampled_from([0, 0, 500 * S, NOW + 5 * S])),
    )


faults = st.builds(
    Fault, kind=st.sampled_from(FaultKind), code=st.just("Some"), message=st.just("some fault")
)


@st.composite
def executions(draw: Any, job: Job, at: int) -> Execution:
    node_id = draw(st.sampled_from([*NODE_IDS, "n-gone"]))
    if job.spec.type.is_counted:
        partition = draw(st.integers(0, max(0, (job.spec.count or 1) - 1)))
    else:
        partition = [*NODE_IDS, "n-gone"].index(node_id)
    observed = draw(st.sampled_from(Observed))
    if not job.spec.type.is_finite and observed is Observed.COMPLETED:
        observed = Observed.FAILED
    desired = draw(st.sampled_from([Desired.RUN, Desired.RUN, *Desired]))
    lost = desired is Desired.STOP and not observed.is_terminal and draw(st.booleans())
    failed = observed in (Observed.FAILED, Observed.DECLINED) or lost
    modified = draw(times)
    return Execution(
        id=f"e-{job.id}-{at}",
        job_id=job.id,
        job_version=job.version if job.version == 1 or not draw(rarely) else 1,
        namespace="default",
        node_id=node_id,
        partition=partition,
        desired=desired,
        observed=observed,
        lost=lost,
        fault=draw(faults) if failed else None,
        resources=Resources(cpu=CPUS[job.spec.task.resources.cpu]),
        revision=draw(st.integers(1, 5)),
        create_time=modified,
        modify_time=modified,
        start_time=modified if observed is Observed.RUNNING else 0,
        end_time=modified if failed else 0,
    )


@st.composite
def snapshots(draw: Any) -> Snapshot:
    cluster = [draw(nodes(node_id)) for node_id in NODE_IDS[: draw(st.integers(0, 5))]]
    work = [draw(jobs(at)) for at in range(draw(st.integers(1, 4)))]
    rows = [draw(executions(job, at)) for job in work for at in range(draw(st.integers(0, 5)))]
    return snapshot_of(cluster, work, rows, now=NOW, seed=draw(st.integers(0, 2**32)))

"""Records for tests of stores and journals, and what a store must show of them."""

from collections.abc import Iterable, Sequence

from bacalhau.model.base import evolve
from bacalhau.model.event import Event, Topic
from bacalhau.model.execution import Execution, Fault, FaultKind, Observed, RunOutput
from bacalhau.model.job import Job, JobSpec, JobState, JobType, SpecConfig, Task
from bacalhau.model.node import Connection, Node, NodeInfo
from bacalhau.model.plan import JobView, NodeView, Try
from bacalhau.model.resources import Resources
from bacalhau.ports.store import Store

BROKEN = Fault(kind=FaultKind.USER, code="ExitCode", message="it ended with exit code 1")


def job(number: int, *, time: int = 0, namespace: str = "default", **labels: str) -> Job:
    """A fresh job `j-<number>` named `job-<number>`, made at that time."""
    spec = JobSpec(
        name=f"job-{number}",
        namespace=namespace,
        type=JobType.BATCH,
        count=2,
        labels=labels,
        tasks=(Task(engine=SpecConfig(type="noop", params={"Big": 10**30, "Text": "é\0"})),),
    )
    when = time or number + 1
    return Job(
        id=f"j-{number:05}", spec=spec, create_time=when, modify_time=when, version_time=when
    )


def execution(of: Job, number: int, *, node: str = "n-1", partition: int = 0) -> Execution:
    """A fresh execution `e-<number>` of that job."""
    return Execution(
        id=f"e-{number:05}",
        job_id=of.id,
        job_version=of.version,
        namespace=of.spec.namespace,
        node_id=node,
        partition=partition,
        resources=Resources(cpu=100, memory=2**20),
        create_time=number + 1,
        modify_time=number + 1,
    )


def node(node_id: str) -> Node:
    """A fresh node."""
    return Node(id=node_id, info=NodeInfo(id=node_id), connection=Connection.CONNECTED)


def event(of: Job, message: str, execution_id: str = "") -> Event:
    """A fact about that job's current version."""
    return Event(
        job_id=of.id,
        job_version=of.version,
        topic=Topic.EXECUTION if execution_id else Topic.STATE,
        message=message,
        time=1,
        execution_id=execution_id,
    )


def ended(
    row: Execution, observed: Observed, *, fault: Fault | None = None, time: int = 0
) -> Execution:
    """The next row of that execution: its node's last word."""
    return evolve(
        row,
        observed=observed,
        fault=fault,
        output=RunOutput(stdout="out", exit_code=0),
        revision=row.revision + 1,
        modify_time=time or row.modify_time + 1,
    )


def stopped(row: Job, state: JobState = JobState.STOPPED, time: int = 0) -> Job:
    """The next row of that job: it is over."""
    return evolve(
        row, state=state, revision=row.revision + 1, modify_time=time or row.modify_time + 1
    )


def renewed(row: Job) -> Job:
    """The next row of that job: a new version of it."""
    return evolve(
        row,
        state=JobState.PENDING,
        version=row.version + 1,
        revision=row.revision + 1,
        modify_time=row.modify_time + 1,
    )


async def expected_view(store: Store, job_id: str) -> JobView | None:
    """What `views` must show of this job, computed from what the store has on record."""
    found = await store.job(job_id)
    if found is None:
        return None
    rows = await store.executions(job_id)
    unsettled = [row for row in rows if not row.is_settled]
    if found.state.is_terminal and not unsettled:
        return None
    current = [row for row in rows if row.job_version == found.version]
    tries: dict[int, list[Try]] = {}
    nodes: dict[str, int] = {}
    for row in sorted(current, key=lambda row: row.modify_time):
        nodes[row.node_id] = max(row.partition, nodes.get(row.node_id, 0))
        if row.is_settled and row.fault and row.observed is not Observed.COMPLETED:
            tries.setdefault(row.partition, []).append(
                Try(
                    partition=row.partition,
                    node_id=row.node_id,
                    fault=row.fault,
                    time=row.modify_time,
                )
            )
    return JobView(
        job=found,
        live=_by_id(row for row in unsettled if row.job_version == found.version),
        done=frozenset(r.partition for r in current if r.observed is Observed.COMPLETED),
        tries={partition: tuple(found) for partition, found in tries.items()},
        nodes=nodes,
        others=_by_id(row for row in unsettled if row.job_version != found.version),
    )


def plain(view: JobView) -> JobView:
    """The view with its executions in order of id, to compare it."""
    return JobView(
        job=view.job,
        live=_by_id(view.live),
        done=view.done,
        tries=dict(view.tries),
        nodes=dict(view.nodes),
        others=_by_id(view.others),
    )


def expected_nodes(nodes: Sequence[Node], executions: Sequence[Execution]) -> tuple[NodeView, ...]:
    """What `nodes` must show, given all rows there are."""
    views = []
    for row in sorted(nodes, key=lambda row: row.id):
        there = [e for e in executions if e.node_id == row.id and not (e.is_settled or e.lost)]
        used = sum((e.resources for e in there), Resources())
        views.append(NodeView(node=row, used=used, placed=len(there)))
    return tuple(views)


def _by_id(rows: Iterable[Execution]) -> tuple[Execution, ...]:
    return tuple(sorted(rows, key=lambda row: row.id))

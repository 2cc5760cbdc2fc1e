"""Plain ways to make snapshots and to carry out plans, without a store."""

from collections.abc import Iterable, Mapping, Sequence

from bacalhau.core import lifecycle
from bacalhau.model.base import evolve
from bacalhau.model.execution import Execution, Observed
from bacalhau.model.job import Job
from bacalhau.model.node import Node
from bacalhau.model.plan import JobView, NodeView, Plan, Snapshot, Try
from bacalhau.model.resources import Resources


def occupies(execution: Execution) -> bool:
    """True while it uses its node: a stopping one does, until the node answers."""
    return not (execution.is_settled or execution.lost)


def job_view(job: Job, executions: Iterable[Execution]) -> JobView:
    """What a decision sees of a job that has these executions, oldest first."""
    live: list[Execution] = []
    others: list[Execution] = []
    done: set[int] = set()
    tries: dict[int, tuple[Try, ...]] = {}
    nodes: dict[str, int] = {}
    for execution in executions:
        current = execution.job_version == job.version
        if not execution.is_settled:
            (live if current else others).append(execution)
        if not current:
            continue
        nodes[execution.node_id] = execution.partition
        if execution.observed is Observed.COMPLETED:
            done.add(execution.partition)
        elif execution.is_settled and execution.fault is not None:
            failed = Try(
                partition=execution.partition,
                node_id=execution.node_id,
                fault=execution.fault,
                time=execution.modify_time,
            )
            tries[execution.partition] = (*tries.get(execution.partition, ()), failed)
    return JobView(
        job=job,
        live=tuple(live),
        done=frozenset(done),
        tries=tries,
        nodes=nodes,
        others=tuple(others),
    )


def node_views(nodes: Iterable[Node], executions: Iterable[Execution]) -> tuple[NodeView, ...]:
    """What a decision sees of these nodes while these executions exist."""
    used: dict[str, Resources] = {}
    placed: dict[str, int] = {}
    for execution in filter(occupies, executions):
        node_id = execution.node_id
        used[node_id] = used.get(node_id, Resources()) + execution.resources
        placed[node_id] = placed.get(node_id, 0) + 1
    return tuple(
        NodeView(node=node, used=used.get(node.id, Resources()), placed=placed.get(node.id, 0))
        for node in sorted(nodes, key=lambda node: node.id)
    )


def snapshot_of(
    nodes: Sequence[Node],
    jobs: Sequence[Job],
    executions: Sequence[Execution],
    *,
    now: int,
    seed: int = 0,
) -> Snapshot:
    """The snapshot of a cluster with these rows."""
    by_job: dict[str, list[Execution]] = {}
    for execution in executions:
        by_job.setdefault(execution.job_id, []).append(execution)
    return Snapshot(
        now=now,
        seed=seed,
        jobs=tuple(job_view(job, by_job.get(job.id, ())) for job in jobs),
        nodes=node_views(nodes, executions),
    )


def apply(snapshot: Snapshot, plan: Plan) -> Snapshot:
    """The snapshot after the plan's change is written. Raises ValueError on an illegal move."""
    change = plan.change
    jobs = {job.id: job for job in change.jobs}
    rows: dict[str, dict[str, Execution]] = {}
    for execution in change.executions:
        rows.setdefault(execution.job_id, {})[execution.id] = execution
    views: list[JobView] = []
    before: dict[str, Execution] = {}
    for view in snapshot.jobs:
        before.update((execution.id, execution) for execution in (*view.live, *view.others))
        job = jobs.get(view.job.id, view.job)
        illegal = lifecycle.fault_of_job(view.job, job) if job is not view.job else ""
        if illegal:
            raise ValueError(f"{job.id}: {illegal}")
        views.append(_apply_job(view, job, rows.get(view.job.id, {})))
    return Snapshot(
        now=snapshot.now,
        seed=snapshot.seed,
        jobs=tuple(views),
        nodes=tuple(_apply_nodes(snapshot.nodes, before, change.executions)),
    )


def _apply_job(view: JobView, job: Job, rows: Mapping[str, Execution]) -> JobView:
    live = {execution.id: execution for execution in view.live}
    others = {execution.id: execution for execution in view.others}
    done, tries, nodes = set(view.done), dict(view.tries), dict(view.nodes)
    for row in rows.values():
        side = live if row.job_version == job.version else others
        illegal = lifecycle.fault_of_execution(side.get(row.id), row)
        if illegal:
            raise ValueError(f"{row.id}: {illegal}")
        if row.is_settled:
            del side[row.id]
        else:
            side[row.id] = row
        if side is others:
            continue
        nodes[row.node_id] = row.partition
        if row.is_settled and row.fault is not None:
            failed = Try(
                partition=row.partition, node_id=row.node_id, fault=row.fault, time=row.modify_time
            )
            tries[row.partition] = (*tries.get(row.partition, ()), failed)
    return JobView(
        job=job,
        live=tuple(live.values()),
        done=frozenset(done),
        tries=tries,
        nodes=nodes,
        others=tuple(others.values()),
    )


def _apply_nodes(
    views: Iterable[NodeView], before: Mapping[str, Execution], rows: Iterable[Execution]
) -> Iterable[NodeView]:
    changes: dict[str, list[tuple[Resources, int]]] = {}
    for row in rows:
        old = before.get(row.id)
        delta = occupies(row) - (old is not None and occupies(old))
        if delta:
            changes.setdefault(row.node_id, []).append((row.resources, delta))
    for view in views:
        used, placed = view.used, view.placed
        for resources, delta in changes.get(view.node.id, ()):
            used = used + resources if delta > 0 else used - resources
            placed += delta
        yield evolve(view, used=used, placed=placed)

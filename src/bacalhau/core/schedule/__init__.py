"""Decides for a batch of jobs what runs where: a pure function from Snapshot to Plan.

reconcile   what is there against what should be     (reconcile.py)
retry       again, when, or give up                  (retry.py)
feasible    which nodes can take it, why not         (feasible.py)
rank        which of them is best                    (rank.py)
place       one partition after the other            (place.py)
settle      state, reason, events, next look         (settle.py)

Nothing is freed within a plan: what is told to stop uses its node until the node answers.
"""

import random

from bacalhau.core.schedule.place import place
from bacalhau.core.schedule.rank import Places
from bacalhau.core.schedule.reconcile import Case, reconcile
from bacalhau.core.schedule.settle import settle
from bacalhau.model.event import Event
from bacalhau.model.execution import Execution
from bacalhau.model.job import Job, JobState
from bacalhau.model.plan import Change, Plan, Snapshot


def schedule(snapshot: Snapshot, places: type[Places] = Places) -> Plan:
    """The plan for the snapshot's jobs, by priority, then age.

    The same snapshot (with its seed) gives the same plan. `places` is how candidates are
    ranked and taken; tests give the naive way of bacalhau.testing.oracle.
    """
    nodes = {view.node.id: view.node for view in snapshot.nodes}
    free = places(snapshot.nodes, snapshot.seed)
    ids = random.Random(snapshot.seed)
    jobs: list[Job] = []
    executions: list[Execution] = []
    events: list[Event] = []
    read: list[tuple[str, str, int]] = []
    blocked: dict[str, str] = {}
    explain: list[str] = []
    for view in sorted(snapshot.jobs, key=lambda view: _order(view.job)):
        case = reconcile(view, nodes, snapshot.now)
        if case.ending is None and not _rests(case):
            place(case, free, nodes, ids)
        row = settle(case)
        free.give_back(case.taken_back)
        if row is not None:
            jobs.append(row)
        elif case.placed:
            read.append(("job", view.job.id, view.job.revision))
        executions += case.rows.values()
        executions += case.placed
        events += case.events
        if case.blocked:
            blocked[view.job.id] = case.blocked
        explain += _explain(case, row)
    return Plan(
        change=Change(
            jobs=tuple(jobs),
            executions=tuple(executions),
            events=tuple(events),
            read=tuple(read),
        ),
        blocked=blocked,
        explain=tuple(explain),
    )


def _order(job: Job) -> tuple[int, int, str]:
    return (-job.spec.priority, job.create_time, job.id)


def _rests(case: Case) -> bool:
    """True for jobs for which nothing is placed."""
    return case.job.state.is_terminal or case.job.state is JobState.HELD


def _explain(case: Case, row: Job | None) -> list[str]:
    """One line on the job if anything was decided for it."""
    if not (row or case.rows or case.placed or case.blocked):
        return []
    parts = [f"{case.job.id} v{case.job.version}: {(row or case.job).state}"]
    if case.placed:
        parts.append(f"{len(case.placed)} placed")
    if case.rows:
        parts.append(f"{len(case.rows)} told otherwise")
    if case.retries:
        parts.append(f"{len(case.retries)} tried again later")
    if case.blocked:
        parts.append(f"waits: {case.blocked}")
    return [", ".join(parts)]

"""Takes jobs that need a look, decides for all of them at once, commits, and goes on."""

import logging

from bacalhau.core.schedule import schedule
from bacalhau.model.errors import Conflict, Unavailable
from bacalhau.model.plan import Snapshot
from bacalhau.orchestrator.state import State

log = logging.getLogger(__name__)

BATCH = 256
"""Jobs decided in one snapshot: enough to share its cost, few enough to stay prompt."""
CROWD = 64
LINGER_S = 0.003
"""With more jobs than CROWD under way, decisions wait this long for company: a commit costs
the same for one job as for a hundred. An idle cluster decides at once."""
UNAVAILABLE_S = 1.0
CONFLICTS_MAX = 8
"""After so many lost races in a row the scheduler yields for a moment."""


async def schedule_for_ever(state: State) -> None:
    """Evaluate jobs as they come due, until cancelled."""
    conflicts = 0
    while True:
        if len(state.queue) > CROWD:
            await state.clock.sleep(LINGER_S)
        now = state.clock.now()
        taken = state.queue.take(now, BATCH)
        if not taken:
            await state.to_schedule.wait(_pause_s(state.queue.next_wake(), now))
            continue
        try:
            await step(state, taken)
        except Conflict as lost:
            conflicts += 1
            state.queue.nack(taken)
            log.debug("lost a race, deciding again: %s", lost)
            if conflicts % CONFLICTS_MAX == 0:
                await state.clock.sleep(0.01)
        except Unavailable as error:
            state.queue.nack(taken)
            log.warning("cannot write decisions now: %s", error)
            await state.clock.sleep(UNAVAILABLE_S)
        else:
            conflicts = 0


async def step(state: State, job_ids: list[str]) -> None:
    """One decision over these jobs. Raises Conflict, Unavailable: then nothing has happened."""
    snapshot = Snapshot(
        now=state.clock.now(),
        seed=state.ids.seed(),
        jobs=state.store.views(job_ids),
        nodes=state.store.nodes(),
    )
    plan = schedule(snapshot)
    change = plan.change
    if change.jobs or change.executions or change.events:
        await state.commit(change)
    for line in plan.explain:
        log.debug("%s", line)
    state.queue.ack(job_ids)
    after = {view.job.id: view.job for view in snapshot.jobs}
    after.update((job.id, job) for job in change.jobs)
    for job_id in job_ids:
        job = after.get(job_id)
        if job is None or job.state.is_terminal:
            state.queue.drop(job_id)
            continue
        if job.wake_time:
            state.queue.wake_at(job_id, job.wake_time)
        if job_id in plan.blocked:
            state.queue.block(job_id, plan.blocked[job_id])


def _pause_s(wake: int | None, now: int) -> float | None:
    return None if wake is None else max(0.001, (wake - now) / 1e9)


def load(state: State) -> None:
    """At start: every job that is not settled is looked at once."""
    for job in state.store.live_jobs():
        state.evaluate(job)

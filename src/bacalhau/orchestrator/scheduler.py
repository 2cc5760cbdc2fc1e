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
LEFT_ALONE_S = 60
"""How long a job waits about which a decision failed in an unforeseen way."""
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
        except Exception:
            # A job about which nothing can be decided must not stop all others.
            log.exception("no decision about %s", ", ".join(taken))
            await _one_by_one(state, taken)
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
            newer = state.store.live_job(job_id)  # it may have been run again meanwhile
            if newer is None or newer.state.is_terminal:
                state.queue.drop(job_id)
            continue
        if job.wake_time:
            state.queue.wake_at(job_id, job.wake_time)
        if job_id in plan.blocked:
            state.queue.block(job_id, plan.blocked[job_id])


async def _one_by_one(state: State, job_ids: list[str]) -> None:
    """Decide for each alone; those for which that fails are looked at again later."""
    state.queue.nack(job_ids)
    taken = state.queue.take(state.clock.now(), len(job_ids))
    for job_id in taken:
        try:
            await step(state, [job_id])
        except (Conflict, Unavailable):
            state.queue.nack([job_id])
        except Exception:
            log.error("job %s is left alone for %d s", job_id, LEFT_ALONE_S)
            state.queue.ack([job_id])
            state.queue.wake_at(job_id, state.clock.now() + LEFT_ALONE_S * 1_000_000_000)


def _pause_s(wake: int | None, now: int) -> float | None:
    return None if wake is None else max(0.001, (wake - now) / 1e9)


def load(state: State) -> None:
    """At start: every job that is not settled is looked at once."""
    for job in state.store.live_jobs():
        state.evaluate(job)

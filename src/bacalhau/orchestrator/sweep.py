"""Retention: old jobs, and results whose time is over, go."""

import logging

from bacalhau.model.errors import Error, Rejected
from bacalhau.orchestrator.state import State

log = logging.getLogger(__name__)

SWEEP_S = 60.0
SWEEP_JOBS = 500
"""Jobs deleted in one go: small enough not to hold up other writes."""


async def sweep(state: State) -> None:
    """Look every minute; delete in small bites."""
    while True:
        try:
            await sweep_once(state)
        except (Error, OSError) as error:
            log.warning("retention waits: %s", error)
        await state.clock.sleep(SWEEP_S)


async def sweep_once(state: State) -> None:
    """Delete jobs past Retention.Jobs with all they left, and objects past Retention.Results."""
    now = state.clock.now()
    keep_s = state.config.retention.jobs
    if keep_s:
        while True:
            gone = await state.store.sweep(now - int(keep_s * 1e9), SWEEP_JOBS)
            for job_id in gone:
                await state.objects.delete(f"{job_id}/")
            if len(gone) < SWEEP_JOBS:
                break
    keep_s = state.config.retention.results
    if keep_s:
        for info in await state.objects.list(""):
            if info.modified < now - int(keep_s * 1e9):
                try:
                    await state.objects.delete(info.key)
                except Rejected:
                    log.debug("not an object of ours: %s", info.key)

"""A run in this process's memory, and whether it takes more than it may."""

import asyncio
from dataclasses import dataclass, field

from bacalhau.executors.process import disk, limits, status
from bacalhau.executors.process.outcome import too_many_forks, too_much_output
from bacalhau.model.execution import Fault
from bacalhau.ports.executor import Outcome, Work

FILES_MAX = 1_000_000
"""Files and directories that a run's outputs may hold: each costs an inode and a transfer."""
FORKS_REFUSED_MAX = 1_000
"""A program that is refused this many forks does not cope; it is ended."""


@dataclass
class Run:
    """An execution that this engine has started or found again."""

    work: Work
    limits: limits.Limits
    cgroups: tuple[str, ...]
    outcome: asyncio.Future[Outcome]
    pid: int = 0  # of our own child, until it is reaped; 0 when another process started it
    pidfd: int = -1
    was_stopped: bool = False
    fault: Fault | None = None  # why we ended it
    tasks: set[asyncio.Task[None]] = field(default_factory=set)


async def trespass(run: Run) -> Fault | None:
    """What a run does that it may not, and that the kernel alone does not stop."""
    if limits.events(run.cgroups).forks_refused > FORKS_REFUSED_MAX:
        return too_many_forks(run.limits)
    pids = limits.members(run.cgroups)
    if not run.cgroups:
        pids = status.descendants(status.read(run.work.directory).init or run.pid)
        if len(pids) >= run.limits.processes > 0:
            return too_many_forks(run.limits)
    if not run.work.outputs:
        return too_much_output(disk.streams(run.work), run.limits, FILES_MAX)
    taken = await asyncio.to_thread(disk.measure, run.work, pids)
    return too_much_output(taken, run.limits, FILES_MAX)

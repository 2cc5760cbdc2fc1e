"""Ways to end what runs, and to know that it has ended."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Sequence

from bacalhau.executors.process import limits, status

_REMOVE_S = 1.0  # by then a cgroup that cannot be removed is left for the next start's sweep


def ask_program(found: status.Status, asked: set[int]) -> set[int]:
    """Sends SIGTERM to the program in a sandbox, unless asked before; whom it was sent to."""
    init = status.open_init(found)
    if init is None:
        return set()
    try:  # while we hold the namespace's first process, its children are no other's
        new = set(status.children(found.init)) - asked
        for pid in new:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        return new
    finally:
        os.close(init)


def survivor(found: status.Status) -> int | None:
    """A pidfd of the sandbox's first process, if there may be others left in it.

    One that has reaped all its children only waits for the kernel to take its namespaces
    apart, which takes some milliseconds that nobody needs to wait for.
    """
    init = status.open_init(found)
    if init is not None and found.exit_code is not None and not status.children(found.init):
        os.close(init)
        return None
    return init


def end_all(found: status.Status) -> bool:
    """Kills the first process of a sandbox, and so all of it; False when it is gone."""
    init = status.open_init(found)
    if init is None:
        return False
    try:
        signal.pidfd_send_signal(init, signal.SIGKILL)
    except ProcessLookupError:
        return False
    finally:
        os.close(init)
    return True


async def clear(found: status.Status, directory: str) -> None:
    """Ends what is left of a run whose outcome nobody will know, and its cgroups."""
    end_all(found)
    if found.boot != status.boot_id():
        return
    for pid in limits.members(found.cgroups) | set(status.holders(directory)):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
    await remove_cgroups(found.cgroups)


async def remove_cgroups(cgroups: Sequence[str]) -> None:
    """Removes cgroups as soon as the kernel has cleared up what was in them."""
    pause_s = _REMOVE_S / 1000
    while not limits.remove(cgroups) and pause_s < _REMOVE_S:
        await asyncio.sleep(pause_s)
        pause_s *= 2


async def ended(pidfd: int) -> None:
    """Returns when the process has ended; closes the descriptor."""
    loop = asyncio.get_running_loop()
    signalled = asyncio.Event()
    loop.add_reader(pidfd, signalled.set)
    try:
        await signalled.wait()
    finally:
        loop.remove_reader(pidfd)
        os.close(pidfd)

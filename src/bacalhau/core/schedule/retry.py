"""Again, and when, or give up: what follows from the failed tries of one partition."""

from collections.abc import Sequence

from bacalhau.model.base import evolve
from bacalhau.model.execution import Fault, FaultKind
from bacalhau.model.job import Retry
from bacalhau.model.plan import Try

BUSY = Retry(delay=0.25, factor=2.0, max_delay=15.0)
"""How often a node that declined is asked again."""
LOST = Retry(delay=1.0, factor=2.0, max_delay=60.0)
"""Waits after the second and further losses in a row: what kills nodes must not race on."""

STEADY_NS = 600_000_000_000
"""Who held out for so long between two failures has begun anew: the older ones are forgotten
for services, and for losses of nodes."""

_COUNTED = frozenset({FaultKind.USER, FaultKind.TRANSIENT})
_NS = 1_000_000_000


def again(
    policy: Retry, tries: Sequence[Try], *, endless: bool = False, forgets: bool = False
) -> int | Fault:
    """When to try again (ns; may be past: at once), or the fault for which to give up.

    `tries` oldest first. `endless`: never give up (daemon), only wait. `forgets`: failures
    before a long steady time do not count (service).
    """
    if not tries:
        return 0
    last = tries[-1]
    if forgets:
        tries = _recent(tries, policy.max_delay)
    if not endless:
        ended = _end(policy, tries)
        if ended is not None:
            return ended
    match last.fault.kind:
        case FaultKind.NODE:
            row = _in_a_row(_recent(tries, LOST.max_delay))
            wait = 0.0 if row == 1 else _wait(LOST, row - 1)
        case FaultKind.BUSY:
            wait = _wait(BUSY, _in_a_row(tries))
        case FaultKind.PERMANENT:
            wait = policy.max_delay
        case _:
            wait = _wait(policy, sum(one.fault.kind in _COUNTED for one in tries))
    return last.time + int(wait * _NS)


def _recent(tries: Sequence[Try], longest_wait_s: float) -> Sequence[Try]:
    """The last tries without a steady time between them."""
    gap = STEADY_NS + int(longest_wait_s * _NS)
    at = len(tries) - 1
    while at > 0 and tries[at].time - tries[at - 1].time <= gap:
        at -= 1
    return tries[at:]


def _end(policy: Retry, tries: Sequence[Try]) -> Fault | None:
    """The fault that ends it: a permanent one, or the last of too many."""
    counted = 0
    last_counted: Fault | None = None
    for one in tries:
        if one.fault.kind is FaultKind.PERMANENT:
            return one.fault
        if one.fault.kind in _COUNTED:
            counted += 1
            last_counted = one.fault
    if last_counted is None or not policy.attempts or counted < policy.attempts:
        return None
    if counted == 1:
        return last_counted
    return evolve(last_counted, message=f"failed {counted} times, at last: {last_counted.message}")


def _in_a_row(tries: Sequence[Try]) -> int:
    """How many of the last tries had the kind of fault of the very last."""
    kind = tries[-1].fault.kind
    row = 0
    for one in reversed(tries):
        if one.fault.kind is not kind:
            break
        row += 1
    return row


def _wait(policy: Retry, failures: int) -> float:
    """Seconds to wait after so many failures: grows by `factor` up to `max_delay`."""
    wait = policy.delay
    for _ in range(min(failures - 1, 64)):
        if wait >= policy.max_delay or policy.factor <= 1:
            break
        wait *= policy.factor
    return min(wait, policy.max_delay)

"""A node's answer to an assignment, from its own facts; and how much work it wants ahead."""

from collections.abc import Sequence

from bacalhau.core.schedule.feasible import demand, unfit
from bacalhau.model.execution import Execution, Fault, FaultKind
from bacalhau.model.job import Job
from bacalhau.model.node import NodeInfo

LOOKAHEAD_S = 0.1
"""Work to have waiting on the node: more than a round trip, too little to matter elsewhere."""
LOOKAHEAD_MAX = 256
LOOKAHEAD_UNKNOWN = 4


def decide(job: Job, execution: Execution, info: NodeInfo) -> Fault | None:
    """None: the node takes it. Else why not; the orchestrator then tries elsewhere.

    The same rule placed it here, so a decline means that the node's facts have changed.
    """
    if execution.node_id != info.id:
        return _declined(f"assigned to node {execution.node_id}, this is {info.id}")
    reason = unfit(demand(job.spec), info)
    return _declined(reason) if reason else None


def _declined(reason: str) -> Fault:
    return Fault(kind=FaultKind.BUSY, code="Declined", message=reason)


def lookahead(slots: int, recent_s: Sequence[float]) -> int:
    """How many executions to have waiting beyond `slots`, by the durations of recent ones."""
    if not recent_s:
        return LOOKAHEAD_UNKNOWN
    mean_s = max(sum(recent_s) / len(recent_s), 1e-6)
    return max(0, min(LOOKAHEAD_MAX, int(LOOKAHEAD_S * max(1, slots) / mean_s)))

"""One try of one partition on one node, and how it went.

Two writers, two fields: the orchestrator writes `desired`, the node's word is `observed`.
"""

from enum import StrEnum

from bacalhau.model.base import Record
from bacalhau.model.job import SpecConfig
from bacalhau.model.resources import Resources


class Desired(StrEnum):
    """The orchestrator's wish; it only moves forwards."""

    BID = "bid"
    RUN = "run"
    STOP = "stop"


class Observed(StrEnum):
    """The node's word; it only moves forwards, and ends in one of the last four."""

    NEW = "new"
    BID = "bid"
    PREPARING = "preparing"
    RUNNING = "running"
    PUBLISHING = "publishing"
    HELD = "held"
    DECLINED = "declined"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_terminal(self) -> bool:
        return self in _TERMINAL


_TERMINAL = frozenset({Observed.DECLINED, Observed.COMPLETED, Observed.FAILED, Observed.CANCELLED})


class FaultKind(StrEnum):
    """Whose fault a failure was; it decides whether and where to try again.

    USER: the program said no (exit status, time-out, limit): counted, tried again.
    PERMANENT: the spec can never work (module missing, bad params): not tried again.
    TRANSIENT: may work elsewhere or later (input fetch, publish): counted, tried again.
    NODE: the infrastructure failed (lost, restarted, engine died): tried again, not counted.
    BUSY: a node declined for now: tried again later, not counted.
    """

    USER = "user"
    PERMANENT = "permanent"
    TRANSIENT = "transient"
    NODE = "node"
    BUSY = "busy"


class Fault(Record, kw_only=True):
    """Why an execution did not complete. `code` is stable, see docs/reference/errors.md."""

    kind: FaultKind
    code: str
    message: str
    hint: str = ""


class RunOutput(Record, kw_only=True):
    """What a run left behind; stdout and stderr are cut at the documented limit."""

    stdout: str = ""
    stdout_truncated: bool = False
    stderr: str = ""
    stderr_truncated: bool = False
    exit_code: int = 0


class Execution(Record, kw_only=True):
    """One try of one partition of one job version on one node.

    `revision` grows with each write of the orchestrator; messages carry it and a node
    ignores older ones. `lost` is the orchestrator's guess about a silent node: the slot
    is free again, yet the node is told to stop until it answers.
    `attempt` counts the tries of this partition, from 1. `event_time` is when the newest
    of its node's events happened that we have: older ones in a report are repetitions.
    """

    id: str
    job_id: str
    job_version: int
    namespace: str
    node_id: str
    partition: int = 0
    attempt: int = 1
    desired: Desired = Desired.RUN
    desired_message: str = ""
    observed: Observed = Observed.NEW
    observed_message: str = ""
    lost: bool = False
    fault: Fault | None = None
    output: RunOutput | None = None
    result: SpecConfig = SpecConfig()
    resources: Resources = Resources()
    revision: int = 1
    create_time: int = 0
    modify_time: int = 0
    start_time: int = 0
    end_time: int = 0
    event_time: int = 0

    @property
    def is_live(self) -> bool:
        """True while it holds its partition: not ended, not lost, not told to stop."""
        return not (self.observed.is_terminal or self.lost or self.desired is Desired.STOP)

    @property
    def is_settled(self) -> bool:
        """True when the node has said its last word."""
        return self.observed.is_terminal

"""The wire between orchestrator and nodes. Every message may be lost or come twice.

Message
├── node to orchestrator:   Hello, Heartbeat, Reports, LogChunk, UploadRequest, Goodbye
└── orchestrator to node:   Welcome, Assign, Stop, Ack, LogRequest, LogCancel, UploadGrant
"""

from bacalhau.model.base import Record
from bacalhau.model.event import Event
from bacalhau.model.execution import Execution
from bacalhau.model.job import Job
from bacalhau.model.node import NodeInfo


class Hello(Record, kw_only=True, tag=True):
    """A node introduces itself: at start, on reconnection, and when its facts change.

    `holds` are the ids of all executions in its journal: what the orchestrator believes
    to run there and is not in it was lost with the node's disk.
    """

    info: NodeInfo
    boot_id: str
    holds: tuple[str, ...] = ()
    protocol: int = 1


class Welcome(Record, kw_only=True, tag=True):
    """The answer to Hello: the node is known (or refused, with the reason).

    `boot_id` is that of the hello: an answer to an earlier process is not for this one.
    """

    accepted: bool
    reason: str = ""
    boot_id: str = ""


class Heartbeat(Record, kw_only=True, tag=True):
    """I am alive. `lookahead` as in Node; counts are for display."""

    boot_id: str
    lookahead: int = 4
    running: int = 0
    waiting: int = 0


class Goodbye(Record, kw_only=True, tag=True):
    """An orderly shutdown: count me as disconnected at once."""

    boot_id: str


class Assign(Record, kw_only=True, tag=True):
    """Run (or bid for) these executions of this job."""

    job: Job
    executions: tuple[Execution, ...]


class Stop(Record, kw_only=True, tag=True):
    """Stop these executions: (id, revision, reason). Unknown ones are answered as cancelled."""

    executions: tuple[tuple[str, int, str], ...]


class Report(Record, kw_only=True):
    """What a node saw of one execution. `number` grows with each report on it.

    `revision` is the newest that the node has taken in. `execution` carries the observed
    fields; `events` all that happened and was not yet acknowledged.
    """

    number: int
    execution: Execution
    events: tuple[Event, ...] = ()


class Reports(Record, kw_only=True, tag=True):
    """News of executions, repeated until acknowledged.

    `boot_id` is the process that says it: what a dead one said does not count any more.
    """

    reports: tuple[Report, ...]
    boot_id: str = ""


class Ack(Record, kw_only=True, tag=True):
    """These reports are durable here: (execution id, report number)."""

    reports: tuple[tuple[str, int], ...]


LOG_PORTION = 32
"""Chunks of output that one LogRequest is good for: a slow reader fills no memory."""


class LogRequest(Record, kw_only=True, tag=True):
    """Send me the output of an execution, from these byte offsets on (-1: from its end).

    It is answered with some LOG_PORTION chunks at most; the reader then asks for more.
    """

    stream_id: str
    execution_id: str
    stdout_offset: int = 0
    stderr_offset: int = 0
    follow: bool = False


class LogCancel(Record, kw_only=True, tag=True):
    """Nobody listens any more."""

    stream_id: str


class LogChunk(Record, kw_only=True, tag=True):
    """Output: `source` 1 stdout, 2 stderr, at byte `offset`. `end` closes the stream."""

    stream_id: str
    source: int = 0
    offset: int = 0
    data: bytes = b""
    end: bool = False
    error: str = ""


class UploadRequest(Record, kw_only=True, tag=True):
    """May I have a URL to which the results (or logs) of this execution go?"""

    request_id: str
    execution_id: str
    name: str


class UploadGrant(Record, kw_only=True, tag=True):
    """A signed, time-limited URL for one upload; `error` when there is none."""

    request_id: str
    url: str = ""
    key: str = ""
    error: str = ""


Message = (
    Hello
    | Welcome
    | Heartbeat
    | Goodbye
    | Assign
    | Stop
    | Reports
    | Ack
    | LogRequest
    | LogCancel
    | LogChunk
    | UploadRequest
    | UploadGrant
)

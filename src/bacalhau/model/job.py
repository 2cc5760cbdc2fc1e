"""What a user asks for (JobSpec) and what we keep of it (Job).

JobSpec
├── Requirement         a constraint on node labels; keys starting `favour_` are wishes
├── Retry               how often and how fast a failed partition is tried again
└── Task
    ├── SpecConfig      engine, publisher, source: a type and its params
    ├── InputSource     data, and where it appears in the sandbox
    ├── ResultPath      a directory of the sandbox that is kept
    ├── ResourcesConfig
    ├── Network, Port
    └── Timeouts
Job                     a JobSpec with identity, version, state, times
"""

from enum import StrEnum
from typing import Any

from bacalhau.model.base import Record
from bacalhau.model.resources import ResourcesConfig

DEFAULT_NAMESPACE = "default"
RESERVED_META = "bacalhau.org/"
FAVOUR = "favour_"


class JobType(StrEnum):
    """batch and service have a count; ops and daemon target every fitting node."""

    BATCH = "batch"
    SERVICE = "service"
    DAEMON = "daemon"
    OPS = "ops"

    @property
    def is_counted(self) -> bool:
        """True when the spec's Count says how many executions there are."""
        return self in (JobType.BATCH, JobType.SERVICE)

    @property
    def is_finite(self) -> bool:
        """True when such a job completes by itself."""
        return self in (JobType.BATCH, JobType.OPS)


class SpecConfig(Record, kw_only=True):
    """A plug-in's name and its parameters. Keys of `params` are matched in any case."""

    type: str = ""
    params: dict[str, Any] = {}

    def param(self, key: str, default: Any = None) -> Any:
        """The parameter of that name, whatever its case; `default` when absent or null."""
        if key in self.params:
            value = self.params[key]
        else:
            wanted = key.lower()
            value = next((v for k, v in self.params.items() if k.lower() == wanted), None)
        return default if value is None else value


class Requirement(Record, kw_only=True):
    """A condition on a node label. Operators: = == in != notin exists ! gt lt."""

    key: str
    operator: str
    values: tuple[str, ...] = ()


class InputSource(Record, kw_only=True):
    """Data (`source`) and the absolute path (`target`) where the task finds it."""

    source: SpecConfig
    target: str = ""
    alias: str = ""


class ResultPath(Record, kw_only=True):
    """A directory (`path`, absolute) that is kept under `name` in the results."""

    name: str = ""
    path: str = ""


class Timeouts(Record, kw_only=True):
    """Seconds; 0 means no limit. Counted per job version; execution time on the node."""

    execution_timeout: int = 0
    queue_timeout: int = 0
    total_timeout: int = 0


class NetworkType(StrEnum):
    """What a task may reach. DEFAULT is the engine's choice, NONE for sandboxed engines."""

    DEFAULT = "Default"
    NONE = "None"
    HOST = "Host"
    FULL = "Full"
    HTTP = "HTTP"
    BRIDGE = "Bridge"


class Port(Record, kw_only=True):
    """A named port: `static` on the host (0: allocated), `target` inside."""

    name: str = ""
    static: int = 0
    target: int = 0
    host_network: str = ""


class Network(Record, kw_only=True):
    """The network a task asks for."""

    type: NetworkType = NetworkType.DEFAULT
    domains: tuple[str, ...] = ()
    ports: tuple[Port, ...] = ()


class Retry(Record, kw_only=True):
    """How a failed partition is tried again (our addition to the job spec).

    `attempts` is the number of tries that may fail in all (1: never again; 0: without
    limit). Waits grow from `delay` by `factor` to `max_delay` (seconds). Losses of the
    infrastructure (node lost, restarted) are not counted; permanent faults end at once.
    """

    attempts: int = 2
    delay: float = 1.0
    factor: float = 2.0
    max_delay: float = 300.0


class Task(Record, kw_only=True):
    """The unit of work that an execution carries out."""

    name: str = "main"
    engine: SpecConfig = SpecConfig()
    publisher: SpecConfig = SpecConfig()
    env: dict[str, str] = {}
    meta: dict[str, str] = {}
    input_sources: tuple[InputSource, ...] = ()
    result_paths: tuple[ResultPath, ...] = ()
    resources: ResourcesConfig = ResourcesConfig()
    network: Network = Network()
    timeouts: Timeouts = Timeouts()


class JobSpec(Record, kw_only=True):
    """The description that a user submits. `count` None means 1 (batch, service)."""

    name: str = ""
    namespace: str = ""
    type: JobType
    priority: int = 0
    count: int | None = None
    constraints: tuple[Requirement, ...] = ()
    meta: dict[str, str] = {}
    labels: dict[str, str] = {}
    tasks: tuple[Task, ...] = ()
    retry: Retry = Retry()

    @property
    def task(self) -> Task:
        """The one task that runs."""
        return self.tasks[0]


class JobState(StrEnum):
    """held -> pending -> running -> completed | failed | stopped.

    "Queued" is how the API shows pending (or running again) with unplaced partitions.
    """

    HELD = "held"
    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    STOPPED = "stopped"

    @property
    def is_terminal(self) -> bool:
        return self in (JobState.COMPLETED, JobState.FAILED, JobState.STOPPED)


class Job(Record, kw_only=True):
    """A spec under management. Times are nanoseconds since the epoch.

    `version` grows with each update or rerun, `revision` with each write.
    `version_time` is when this version was asked for: total time-out counts from it.
    `queued_time` is when the current queueing episode began (0: nothing waits).
    `wake_time` is when the job must be looked at again without any trigger (0: never).
    A job that is not terminal is its own pending evaluation (docs/adr/0003).
    """

    id: str
    spec: JobSpec
    state: JobState = JobState.PENDING
    message: str = ""
    version: int = 1
    revision: int = 1
    create_time: int = 0
    modify_time: int = 0
    version_time: int = 0
    queued_time: int = 0
    wake_time: int = 0

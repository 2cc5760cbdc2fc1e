"""The door for engines: what runs the work of an execution."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from bacalhau.model.base import Record
from bacalhau.model.execution import Fault
from bacalhau.model.job import Network, SpecConfig
from bacalhau.model.resources import Resources


class Mount(Record, kw_only=True):
    """A file or directory of the host (`source`) that appears at `target` inside."""

    source: str
    target: str
    read_only: bool = True


class Work(Record, kw_only=True):
    """All that an engine needs to carry out one execution.

    `directory` survives a crash of the node and is where the engine keeps what it needs to
    find the run again; `inputs`, `results`, `stdout`, `stderr` in it are not its. An engine
    that needs it makes it: for the shortest runs that would be most of the cost. stdout and
    stderr are appended to the files of those names, so that readers can follow them.
    `outputs` are existing empty directories of the host. `timeout_s` 0 means no limit; the
    engine need not enforce it, the caller stops the work. `output_limit` is how many bytes
    stdout, stderr (each) and the outputs (together) may take; 0 means no limit.
    """

    execution_id: str
    engine: SpecConfig
    env: dict[str, str] = {}
    inputs: tuple[Mount, ...] = ()
    outputs: tuple[Mount, ...] = ()
    resources: Resources = Resources()
    network: Network = Network()
    directory: str
    stdout: str
    stderr: str
    output_limit: int = 0


class Outcome(Record, kw_only=True):
    """How a run ended. A non-zero `exit_code` with no fault is the program's own verdict.

    `fault` says why the engine ended it or could not run it: out of memory, a limit, a
    missing module. `usage` holds figures such as `cpu_s`, `memory_bytes_max`; `oom_kills` and
    `forks_refused` count limits that a program met and survived.
    """

    exit_code: int = 0
    fault: Fault | None = None
    usage: dict[str, float] = {}


class Executor(Protocol):
    """Runs work under an execution id. `name` is the engine type in specs, lower-case.

    Contract (bacalhau.testing.contracts.executor): start is idempotent per execution id;
    an absent engine probes as None; exit codes are outcomes; what the engine cannot do is
    EngineFailed with a Fault; nothing is left behind after release.
    """

    name: str

    async def probe(self) -> Mapping[str, str] | None:
        """Facts of this engine for the node's info, or None when it cannot work now."""
        ...

    def check(self, engine: SpecConfig) -> Sequence[str]:
        """What is wrong with these params, in the user's words; empty when nothing is."""
        ...

    async def start(self, work: Work) -> None:
        """Start the work, unless this execution was started before.

        Raises EngineFailed when it cannot be started.
        """
        ...

    async def attach(self, work: Work) -> bool:
        """After a restart of the node: find the run again.

        True: it runs or has ended, and wait() will tell. False: nothing of it runs and its
        outcome is unknown.
        """
        ...

    async def wait(self, execution_id: str) -> Outcome:
        """The outcome, as soon as there is one; also long after the end, until release()."""
        ...

    async def stop(self, execution_id: str, grace_s: float) -> None:
        """End it: politely first, by force after `grace_s`. wait() then returns. Idempotent."""
        ...

    async def release(self, execution_id: str) -> None:
        """Forget an ended execution and remove what the engine made for it. Idempotent."""
        ...

    async def close(self) -> None:
        """The node goes down: free what this process holds; runs that can go on, go on."""
        ...

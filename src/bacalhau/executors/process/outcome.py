"""From what is known of an ended run to its Outcome. Pure."""

import re
import signal
from dataclasses import dataclass, field

from bacalhau.executors.process.limits import Events, Limits
from bacalhau.executors.process.status import Status
from bacalhau.model.execution import Fault, FaultKind
from bacalhau.ports.executor import Outcome

KILLED = 128 + signal.SIGKILL
_OVER_CPU_TIME = 128 + signal.SIGXCPU
_OVER_FILE_SIZE = 128 + signal.SIGXFSZ
_NO_MEMORY = re.compile(r"MemoryError|(?i:cannot allocate memory|out of memory)|bad_alloc")
_NO_PROCESS = re.compile(r"BlockingIOError|(?i:cannot fork|resource temporarily unavailable)")
_NEAR = 0.9  # a process this close to its memory limit that failed, failed for want of memory


@dataclass(frozen=True)
class Taken:
    """Bytes that a run has put on the disk; `files` counts the entries of its outputs.

    `largest` is the size of the largest file among the outputs.
    """

    stdout: int = 0
    stderr: int = 0
    outputs: int = 0
    largest: int = 0
    files: int = 0
    too_deep: bool = False


@dataclass(frozen=True)
class Ended:
    """All that is known of an ended run.

    `complaint` is the launcher's last line, `last_words` the end of stderr; `usage` is empty
    when another process started the run.
    """

    status: Status
    limits: Limits
    has_cgroups: bool = True
    events: Events = field(default_factory=Events)
    taken: Taken = field(default_factory=Taken)
    was_stopped: bool = False
    complaint: str = ""
    last_words: str = ""
    usage: dict[str, float] = field(default_factory=dict)


def judge(ended: Ended) -> Outcome:
    """The exit code, and the fault if the engine or a limit ended the run."""
    code = ended.status.exit_code
    fault = ended.status.fault or _limit_reached(ended)
    if fault is None and code is None and not ended.was_stopped:
        fault = _never_ran(ended.complaint)
    usage = dict(ended.usage)
    if ended.events.memory_bytes_max:
        usage["memory_bytes_max"] = float(ended.events.memory_bytes_max)
    if ended.events.oom_kills:
        usage["oom_kills"] = float(ended.events.oom_kills)
    if ended.events.forks_refused:
        usage["forks_refused"] = float(ended.events.forks_refused)
    return Outcome(exit_code=KILLED if code is None else code, fault=fault, usage=usage)


def too_much_output(taken: Taken, limits: Limits, files_max: int) -> Fault | None:
    """The fault of a run that has written more than it may; None when it has not."""
    if taken.too_deep:
        return _user("OutputLimit", "the outputs hold directories nested too deeply to be read")
    if taken.files > files_max:
        return _user("OutputLimit", f"the outputs hold more than {files_max} files")
    if not limits.output_bytes:
        return None
    for what, size in (
        ("stdout", taken.stdout),
        ("stderr", taken.stderr),
        ("the outputs", taken.outputs),
    ):
        if size > limits.output_bytes:
            return _user(
                "OutputLimit",
                f"{what} took {size} bytes; {limits.output_bytes} are allowed",
                hint="Write less, or ask for more with Resources.Disk.",
            )
    return None


def too_many_forks(limits: Limits) -> Fault:
    return _user(
        "ProcessLimit",
        f"it tried to have more than {limits.processes} processes and threads",
        hint="Start fewer, or run it on a node that allows more.",
    )


def _limit_reached(ended: Ended) -> Fault | None:
    """Why the kernel ended it. A program that coped with a limit and exited 0 is left alone."""
    code, limits = ended.status.exit_code, ended.limits
    if fault := too_much_output(ended.taken, limits, files_max=ended.taken.files):
        return fault
    if code == 0 or (code is None and ended.was_stopped):
        return None
    if ended.events.oom_kills:
        return _out_of_memory(limits)
    if ended.events.forks_refused and code is not None:
        return too_many_forks(limits)
    if code == _OVER_FILE_SIZE or (code is not None and _is_full(ended.taken, limits)):
        return _user(
            "OutputLimit",
            f"a file grew to the {limits.file_bytes} bytes that one may have",
            hint="Write less, or ask for more with Resources.Disk.",
        )
    spent = 0 < limits.cpu_time_s <= ended.usage.get("cpu_s", 0.0)
    if code == _OVER_CPU_TIME or (code == KILLED and spent):
        return _user("CpuLimit", f"it used the {limits.cpu_time_s} s of CPU time it may use")
    return None if ended.has_cgroups else _guess(ended)


def _guess(ended: Ended) -> Fault | None:
    """rlimits refuse without counting: what a failed program said last must tell."""
    memory = ended.usage.get("memory_bytes_max", 0.0)
    most = ended.limits.memory_bytes
    if most and (memory >= most * _NEAR or _NO_MEMORY.search(ended.last_words)):
        return _out_of_memory(ended.limits)
    if ended.limits.processes and _NO_PROCESS.search(ended.last_words):
        return too_many_forks(ended.limits)
    return None


def _is_full(taken: Taken, limits: Limits) -> bool:
    """A file that stands exactly at its bound was cut off there."""
    sizes = (taken.stdout, taken.stderr, taken.largest)
    return bool(limits.file_bytes) and limits.file_bytes in sizes


def _out_of_memory(limits: Limits) -> Fault:
    return _user(
        "MemoryLimit",
        f"it needed more than the {limits.memory_bytes} bytes of memory it may use",
        hint="Ask for more with Resources.Memory; /tmp and the home count as memory, too.",
    )


def _never_ran(complaint: str) -> Fault:
    """Why bubblewrap ended without running the program, from what it wrote to stderr."""
    if "execvp" in complaint:
        return Fault(
            kind=FaultKind.TRANSIENT,
            code="CommandNotFound",
            message=f"the program could not be executed: {complaint}",
            hint="Is it there in the sandbox, is it executable, and is its interpreter there?",
        )
    if "chdir" in complaint:
        return Fault(
            kind=FaultKind.PERMANENT,
            code="WorkingDirectoryMissing",
            message=f"the working directory is not there in the sandbox: {complaint}",
            hint="Give a directory below an input, an output, /tmp or the home.",
        )
    if complaint:
        return Fault(
            kind=FaultKind.NODE,
            code="SandboxFailed",
            message=f"the sandbox could not be set up: {complaint}",
        )
    return Fault(
        kind=FaultKind.NODE,
        code="Interrupted",
        message="the run was killed from outside; its outcome is unknown",
    )


def _user(code: str, message: str, hint: str = "") -> Fault:
    return Fault(kind=FaultKind.USER, code=code, message=message, hint=hint)

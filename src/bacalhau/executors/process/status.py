"""The file `status` in work.directory: how a run is found again, and how it ended.

It holds one JSON object a line. The node writes the first (boot id, cgroups); bubblewrap
appends its own (the process id of the sandbox's init and its namespaces; at the end the
exit code), even when the node is dead by then. Whoever still runs the work holds a lock
(flock) on it. The lock is the only sign of life that is trusted: process ids are reused.
"""

import fcntl
import json
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from bacalhau.model.execution import Fault

NAME = "status"
_MAX_BYTES = 64 * 1024
"""More than this is not ours: a status is some hundred bytes long."""


@dataclass(frozen=True)
class Status:
    """What the file says. `init` is the first process of the sandbox, by its host's id."""

    boot: str = ""
    cgroups: tuple[str, ...] = ()
    init: int = 0
    namespace: int = 0
    exit_code: int | None = None
    fault: Fault | None = None

    @property
    def is_empty(self) -> bool:
        return not self.boot


class _Line(msgspec.Struct, frozen=True, rename="kebab"):
    """What any line may say, in bubblewrap's spelling."""

    boot: str | None = None
    cgroups: tuple[str, ...] | None = None
    child_pid: int | None = None
    pid_namespace: int | None = None
    exit_code: int | None = None
    fault: Fault | None = None


def parse(text: str) -> Status:
    """The status in a file's text. Lines that make no sense (cut by a crash) are left out."""
    found: dict[str, Any] = {}
    for line in text.splitlines():
        try:
            item = msgspec.json.decode(line, type=_Line)
        except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
            continue
        fields = msgspec.structs.asdict(item)
        found |= {name: value for name, value in fields.items() if value is not None}
    return Status(
        boot=found.get("boot", ""),
        cgroups=found.get("cgroups", ()),
        init=found.get("child_pid", 0),
        namespace=found.get("pid_namespace", 0),
        exit_code=found.get("exit_code"),
        fault=found.get("fault"),
    )


def path_in(directory: str) -> str:
    return os.path.join(directory, NAME)


def read(directory: str) -> Status:
    """The status of a run; an empty one when there is no file."""
    try:
        with open(path_in(directory), "rb") as file:
            return parse(file.read(_MAX_BYTES).decode(errors="replace"))
    except FileNotFoundError:
        return Status()


def append(directory: str, item: dict[str, Any]) -> None:
    """Adds a line, in one write."""
    fd = os.open(path_in(directory), os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
    try:
        os.write(fd, json.dumps(item).encode() + b"\n")
    finally:
        os.close(fd)


def fault_line(fault: Fault) -> dict[str, Any]:
    """The line that records why the node ended the run."""
    return {"fault": msgspec.to_builtins(fault)}


def lock(directory: str, *, create: bool = False) -> int | None:
    """An open, locked descriptor of the status file; None while somebody runs the work.

    Raises FileNotFoundError when there is no file and `create` is not given.
    """
    flags = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
    fd = os.open(path_in(directory), flags | (os.O_CREAT if create else 0), 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    except BaseException:
        os.close(fd)
        raise
    return fd


def write_first(fd: int, cgroups: tuple[str, ...]) -> None:
    """Writes the node's line to a new, locked file."""
    os.write(fd, json.dumps({"boot": boot_id(), "cgroups": cgroups}).encode() + b"\n")


@cache
def boot_id() -> str:
    """Changes with each start of the machine."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def open_init(status: Status) -> int | None:
    """A pidfd of the sandbox's first process; None when that is gone.

    The namespace's number tells it from a later process of the same id, the boot id from
    one after a restart of the machine; the pidfd, opened first, cannot change hands.
    """
    if not status.init or status.boot != boot_id():
        return None
    try:
        pidfd = os.pidfd_open(status.init)
    except OSError:
        return None
    try:
        if os.stat(f"/proc/{status.init}/ns/pid").st_ino == status.namespace:
            return pidfd
    except OSError:
        pass
    os.close(pidfd)
    return None


def children(pid: int) -> tuple[int, ...]:
    """The direct children of a process."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            return tuple(map(int, file.read().split()))
    except OSError:
        return ()


def descendants(pid: int) -> set[int]:
    """A process and all below it, as far as they can be seen."""
    found, ahead = set(), {pid} if pid else set()
    while ahead:
        found |= ahead
        ahead = {child for parent in ahead for child in children(parent)} - found
    return found


def holders(directory: str) -> tuple[int, ...]:
    """Ids of the processes that have the status file open: those that hold its lock."""
    try:
        wanted = os.stat(path_in(directory))
    except FileNotFoundError:
        return ()
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        try:
            with os.scandir(f"/proc/{name}/fd") as entries:
                if any(_is_same(entry, wanted) for entry in entries):
                    found.append(int(name))
        except OSError:  # it ended, or belongs to somebody else
            continue
    return tuple(found)


def _is_same(entry: "os.DirEntry[str]", wanted: os.stat_result) -> bool:
    try:
        return os.path.samestat(entry.stat(), wanted)
    except OSError:
        return False

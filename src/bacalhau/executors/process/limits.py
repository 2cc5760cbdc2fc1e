"""What a run may use, and which of the kernel's means hold it to that.

cgroup v2 or v1 where this process may make cgroups below its own, rlimits otherwise.
rlimits bound each process, not the run as a whole, and cannot bound CPU share.
"""

import contextlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_CPU_PERIOD_US = 100_000
_CPU_QUOTA_MIN_US = 1_000  # the kernel's own minimum
_NODE_LEAF = "bacalhau-node"
_SWEEP_S = 3600
_BLOCK = 512  # POSIX: `ulimit -f` counts blocks of this size


@dataclass(frozen=True)
class Limits:
    """Bounds of one run; 0 means none. `cpu` in millicores."""

    memory_bytes: int = 0
    cpu: int = 0
    processes: int = 0
    file_bytes: int = 0
    output_bytes: int = 0
    open_files: int = 0
    cpu_time_s: int = 0


@dataclass(frozen=True)
class Events:
    """What the cgroups of a run have counted."""

    oom_kills: int = 0
    forks_refused: int = 0
    memory_bytes_max: int = 0


@dataclass(frozen=True)
class Cgroups:
    """Where cgroups can be made: `kind`, and a parent directory per controller."""

    kind: str
    parents: Mapping[str, str]

    def make(self, name: str, limits: Limits) -> tuple[str, ...]:
        """Makes the cgroups of a run, limits set; their directories. Raises OSError."""
        knobs = v2_knobs(limits) if self.kind == "cgroup v2" else v1_knobs(limits)
        made: list[str] = []
        try:
            for controller, values in knobs.items():
                directory = os.path.join(self.parents[controller], name)
                with contextlib.suppress(FileExistsError):  # left by a try that never started
                    os.mkdir(directory)
                made.append(directory)
                for knob, value in values.items():
                    _set(os.path.join(directory, knob), value)
        except OSError:
            remove(made)
            raise
        return tuple(made)


def v1_knobs(limits: Limits) -> dict[str, dict[str, str]]:
    """Controller -> file -> value, for separate hierarchies (v1)."""
    knobs: dict[str, dict[str, str]] = {}
    if limits.memory_bytes:
        memory = str(limits.memory_bytes)
        knobs["memory"] = {"memory.limit_in_bytes": memory, "memory.memsw.limit_in_bytes?": memory}
    if limits.processes:
        knobs["pids"] = {"pids.max": str(limits.processes)}
    if limits.cpu:
        knobs["cpu"] = {
            "cpu.cfs_period_us": str(_CPU_PERIOD_US),
            "cpu.cfs_quota_us": str(_quota_us(limits.cpu)),
        }
    return knobs


def v2_knobs(limits: Limits) -> dict[str, dict[str, str]]:
    """Controller -> file -> value, for the one hierarchy (v2)."""
    values: dict[str, str] = {}
    if limits.memory_bytes:
        values |= {"memory.max": str(limits.memory_bytes), "memory.swap.max?": "0"}
    if limits.processes:
        values["pids.max"] = str(limits.processes)
    if limits.cpu:
        values["cpu.max?"] = f"{_quota_us(limits.cpu)} {_CPU_PERIOD_US}"
    return {"": values} if values else {}


def ulimits(limits: Limits, processes_now: int | None = None) -> str:
    """The `ulimit` lines of a POSIX shell that set hard limits for what it then runs.

    `processes_now`: how many processes the user has already; given where no cgroup counts
    them. The kernel's limit is per user, so it lies above those, with as much again for
    other work; at the run's own limit the engine's watch steps in.
    """
    lines = ["ulimit -c 0"]
    if limits.open_files:
        lines.append(f"ulimit -n {limits.open_files}")
    if limits.file_bytes:
        lines.append(f"ulimit -f {-(-limits.file_bytes // _BLOCK)}")
    if limits.cpu_time_s:
        # at the soft limit SIGXCPU says why; who ignores it is killed a second later
        lines.append(f"ulimit -S -t {limits.cpu_time_s}")
        lines.append(f"ulimit -H -t {limits.cpu_time_s + 1}")
    if processes_now is not None:
        if limits.memory_bytes:
            lines.append(f"ulimit -d {max(1, limits.memory_bytes // 1024)}")
        if limits.processes:
            most = processes_now + 2 * limits.processes
            # bash calls it -u, dash -p; bash's -p is something else and cannot be set
            lines.append(f"{{ ulimit -u {most} || ulimit -p {most}; }} 2>/dev/null")
    return " && ".join(lines)


def find(mountinfo: str, own: str) -> Cgroups | None:
    """Where this process may make cgroups, from /proc/self/{mountinfo,cgroup}; or None."""
    return _find_v1(mountinfo, own) or _find_v2(mountinfo, own)


def _find_v1(mountinfo: str, own: str) -> Cgroups | None:
    paths = {
        controller: path
        for _, controllers, path in _memberships(own)
        for controller in controllers.split(",")
    }
    parents = {}
    for mount, root, kind, options in _mounts(mountinfo):
        if kind == "cgroup":
            for controller in {"memory", "pids", "cpu"} & options & set(paths):
                parents[controller] = _below(mount, root, paths[controller])
    whole = set(parents) == {"memory", "pids", "cpu"}
    if whole and all(os.access(parent, os.W_OK) for parent in parents.values()):
        return Cgroups("cgroup v1", parents)
    return None


def _find_v2(mountinfo: str, own: str) -> Cgroups | None:
    path = next((path for number, names, path in _memberships(own) if number == "0"), None)
    mount = next((found for found in _mounts(mountinfo) if found[2] == "cgroup2"), None)
    if path is None or mount is None:
        return None
    parent = Path(_below(mount[0], mount[1], path.removesuffix("/" + _NODE_LEAF)))
    try:
        there = (parent / "cgroup.controllers").read_text().split()
    except OSError:
        return None
    if not {"memory", "pids"} <= set(there) or not os.access(parent, os.W_OK):
        return None
    return Cgroups("cgroup v2", {"": str(parent)}) if _delegate(parent, there) else None


def _delegate(parent: Path, there: Sequence[str]) -> bool:
    """Passes the controllers on to cgroups below `parent`.

    v2 allows that only for a cgroup without processes of its own, so this process moves to
    a leaf below; where others live in `parent` too, it cannot be done.
    """
    wanted = [name for name in ("memory", "pids", "cpu") if name in there]
    try:
        if set(wanted) <= set((parent / "cgroup.subtree_control").read_text().split()):
            return True
        leaf = parent / _NODE_LEAF
        leaf.mkdir(exist_ok=True)
        (leaf / "cgroup.procs").write_text(str(os.getpid()))
        (parent / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in wanted))
    except OSError:
        return False
    return True


def events(cgroups: Sequence[str]) -> Events:
    """The counters of a run's cgroups, of either version; zeros for what is not there."""
    oom_kills = forks_refused = memory = 0
    for directory in cgroups:
        for file in ("memory.oom_control", "memory.events"):
            oom_kills += _counter(os.path.join(directory, file), "oom_kill")
        forks_refused += _counter(os.path.join(directory, "pids.events"), "max")
        for file in ("memory.max_usage_in_bytes", "memory.peak"):
            memory = max(memory, int(_get(os.path.join(directory, file)).strip() or 0))
    return Events(oom_kills, forks_refused, memory)


def members(cgroups: Sequence[str]) -> set[int]:
    """Ids of the processes in a run's cgroups."""
    return {
        int(line)
        for directory in cgroups
        for line in _get(os.path.join(directory, "cgroup.procs")).split()
    }


def remove(cgroups: Sequence[str]) -> bool:
    """Removes empty cgroups; False when one is still in use."""
    gone = True
    for directory in cgroups:
        try:
            os.rmdir(directory)
        except FileNotFoundError:
            continue
        except OSError:
            gone = False
    return gone


def sweep(cgroups: "Cgroups", now_s: float) -> None:
    """Removes the empty cgroups of runs that nobody has released for an hour."""
    for parent in set(cgroups.parents.values()):
        for directory in Path(parent).glob("bacalhau-*"):
            with contextlib.suppress(OSError):  # in use, or gone
                if now_s - directory.stat().st_mtime > _SWEEP_S and directory.name != _NODE_LEAF:
                    directory.rmdir()


def _quota_us(millicores: int) -> int:
    return max(_CPU_QUOTA_MIN_US, millicores * _CPU_PERIOD_US // 1000)


def _set(path: str, value: str) -> None:
    """Writes a knob; one marked `?` may be missing (no swap accounting, no cpu controller)."""
    optional = path.endswith("?")
    try:
        with open(path.removesuffix("?"), "w") as file:
            file.write(value)
    except OSError:
        if not optional:
            raise


def _get(path: str) -> str:
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""


def _counter(path: str, name: str) -> int:
    for line in _get(path).splitlines():
        key, _, value = line.partition(" ")
        if key == name:
            return int(value)
    return 0


def _memberships(own: str) -> list[tuple[str, str, str]]:
    """(hierarchy number, controllers, path) of each line of /proc/self/cgroup."""
    fields = [line.split(":", 2) for line in own.splitlines()]
    return [(f[0], f[1], f[2]) for f in fields if len(f) == 3]


def _mounts(mountinfo: str) -> list[tuple[str, str, str, set[str]]]:
    """(mount point, its root, file system, options) of each line of /proc/self/mountinfo."""
    found = []
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        before, after = left.split(), right.split()
        if len(before) > 4 and len(after) > 2:
            found.append((before[4], before[3], after[0], set(after[2].split(","))))
    return found


def _below(mount: str, root: str, path: str) -> str:
    """Where a cgroup is found; a mount may show only what lies below its root."""
    if root != "/":
        path = path.removeprefix(root)
    return os.path.join(mount, path.lstrip("/")).rstrip("/")

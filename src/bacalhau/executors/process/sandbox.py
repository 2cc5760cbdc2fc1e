"""From work to the arguments of bubblewrap. Pure: it looks at nothing but its arguments.

Inside there is the system (read-only), a private /tmp, home, /dev and /proc, the inputs and
the outputs at their targets, and nothing else. The program is `task`, uid 1000, without
capabilities, in its own user, process, network, IPC, host name and cgroup namespaces, in a
session of its own, and cannot make further user namespaces.
"""

import posixpath
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bacalhau.model.job import NetworkType
from bacalhau.ports.executor import Mount, Work

HOME = "/home/task"
UID = 1000
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_TAKEN = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/usr", "/etc", "/proc", "/dev")
_TAKEN_THEMSELVES = ("/", "/tmp", "/home", HOME, "/sys")
_SHARED_MEMORY_BYTES = 64 * 1024 * 1024  # what Docker gives, too


@dataclass(frozen=True)
class System:
    """What every sandbox of this node shows. Each mount costs time, so there are few.

    `trees`: directories that are mounted, those of /etc that hold no secrets included.
    `network_trees`: those that only programs with a network need.
    `links`: (path, target) of symbolic links. `files`: (file on the host, path) of copies.
    `read_only`: what the owner added.
    """

    trees: tuple[str, ...]
    network_trees: tuple[str, ...]
    links: tuple[tuple[str, str], ...]
    files: tuple[tuple[str, str], ...]
    read_only: tuple[str, ...] = ()


def wrong_mounts(work: Work, shown: Sequence[str]) -> tuple[str, ...]:
    """Targets that cannot be: the system's own, the program's own, the same twice."""
    reasons = []
    seen: set[str] = set()
    for mount in (*work.inputs, *work.outputs):
        target = posixpath.normpath(mount.target)
        if not mount.target.startswith("/"):
            reasons.append(f"target '{mount.target}' is not an absolute path")
        elif target in seen:
            reasons.append(f"target '{target}' is given twice")
        elif target in _TAKEN_THEMSELVES or _overlap(target, _TAKEN, upwards=False):
            reasons.append(f"target '{target}' belongs to the system")
        elif _overlap(target, shown, upwards=True):
            reasons.append(f"target '{target}' would hide the program that runs")
        seen.add(target)
    return tuple(reasons)


def network_shared(work: Work) -> bool | None:
    """True: the host's network; False: none; None: a kind that this engine has not."""
    match work.network.type:
        case NetworkType.DEFAULT | NetworkType.NONE:
            return False
        case NetworkType.HOST | NetworkType.FULL:
            return True
    return None


def environment(work: Work, given: Mapping[str, str], program: str) -> dict[str, str]:
    """The variables inside: ours, then the engine's param, then the task's and the node's."""
    beside = posixpath.dirname(program)
    path = PATH if beside in PATH.split(":") else f"{beside}:{PATH}"
    return {
        "PATH": path,
        "HOME": HOME,
        "USER": "task",
        "LOGNAME": "task",
        "TMPDIR": "/tmp",
        "LANG": "C.UTF-8",
        **given,
        **work.env,
    }


def arguments(
    work: Work,
    system: System,
    *,
    shown: Sequence[str],
    env: Mapping[str, str],
    directory: str,
    scratch_bytes: int,
    status_fd: int,
    seccomp_fd: int | None,
    first_file_fd: int,
    reach: Callable[[str], str],
) -> list[str]:
    """The options of bubblewrap.

    `scratch_bytes` bounds /tmp and the home, each. The system's files are read from the
    descriptors `first_file_fd`, + 1, ... `reach` says where bubblewrap finds a path of the
    host that is not part of the system.
    """
    shared = network_shared(work) is True
    args = [
        "--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup",
        "--disable-userns", "--uid", str(UID), "--gid", str(UID), "--cap-drop", "ALL",
        "--hostname", "sandbox", "--new-session", "--json-status-fd", str(status_fd),
    ]  # fmt: skip
    if not shared:
        args.append("--unshare-net")
    if seccomp_fd is not None:
        args += ["--seccomp", str(seccomp_fd)]
    args += ["--perms", "0755", "--dir", "/etc"]
    for tree in system.trees:
        args += ["--ro-bind", tree, tree]
    for path, target in system.links:
        args += ["--symlink", target, path]
    for fd, (_, path) in enumerate(system.files, start=first_file_fd):
        args += ["--perms", "0444", "--file", str(fd), path]
    if shared:
        for path in (*system.network_trees, "/etc/resolv.conf"):
            args += ["--ro-bind-try", path, path]
    scratch, shared_memory = str(scratch_bytes), str(min(scratch_bytes, _SHARED_MEMORY_BYTES))
    args += ["--proc", "/proc", "--dev", "/dev"]
    args += ["--perms", "1777", "--size", shared_memory, "--tmpfs", "/dev/shm"]
    args += ["--perms", "1777", "--size", scratch, "--tmpfs", "/tmp"]
    args += ["--perms", "0700", "--size", scratch, "--tmpfs", HOME]
    for path in sorted({*system.read_only, *shown}, key=_depth):
        args += ["--ro-bind", reach(path), path]
    for mount in sorted((*work.inputs, *work.outputs), key=lambda mount: _depth(mount.target)):
        bind = "--ro-bind" if mount.read_only else "--bind"
        args += [bind, reach(mount.source), posixpath.normpath(mount.target)]
    # what bubblewrap itself made (/, /dev) has no size limit: nobody may write there
    args += ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", directory, "--clearenv"]
    for name, value in env.items():
        args += ["--setenv", name, value]
    return args


def host_path(path: str, mounts: Sequence[Mount]) -> str | None:
    """Where a path inside lies on the host, when an input or output holds it."""
    path = posixpath.normpath(path)
    best: Mount | None = None
    for mount in mounts:
        target = posixpath.normpath(mount.target)
        if (path == target or path.startswith(target + "/")) and (
            best is None or _depth(target) > _depth(best.target)
        ):
            best = mount
    if best is None:
        return None
    rest = path[len(posixpath.normpath(best.target)) :].lstrip("/")
    return posixpath.join(best.source, rest) if rest else best.source


def _overlap(path: str, others: Sequence[str], *, upwards: bool) -> bool:
    """Whether `path` lies in one of the others; with `upwards` also the other way round."""
    for other in others:
        if path == other or path.startswith(other + "/"):
            return True
        if upwards and other.startswith(path + "/"):
            return True
    return False


def _depth(path: str) -> tuple[int, str]:
    return posixpath.normpath(path).count("/"), path

"""Starts the program of a run: in its sandbox, or bare where the owner wants none."""

import contextlib
import os
import resource
from collections.abc import Callable, Sequence

from bacalhau.executors.process import host as means
from bacalhau.executors.process import params, sandbox
from bacalhau.executors.process.admit import Settings
from bacalhau.executors.process.command import Program
from bacalhau.executors.process.limits import Limits, ulimits
from bacalhau.executors.process.spawn import spawn
from bacalhau.executors.process.stage import Stage
from bacalhau.ports.executor import Work

_STATUS_FD, _ARGS_FD, _FILTER_FD, _FIRST_FILE_FD = 297, 298, 299, 300
_FIRST_GROUP_FD = 3  # a shell can only close descriptors of one digit


def in_sandbox(
    work: Work,
    wanted: params.Params,
    program: Program,
    *,
    settings: Settings,
    host: means.Host,
    stage: Stage | None,
    bounds: Limits,
    groups: Sequence[str],
    lock: int,
) -> int:
    """The process id of bubblewrap, which inherits the lock. Raises OSError."""
    reach = stage.show if stage else str
    args = sandbox.arguments(
        work,
        host.system,
        shown=program.shown,
        env=sandbox.environment(work, wanted.env or {}, program.path),
        directory=wanted.directory or sandbox.HOME,
        scratch_bytes=_scratch_bytes(work, settings, host),
        status_fd=_STATUS_FD,
        seccomp_fd=None if host.filter_fd is None else _FILTER_FD,
        first_file_fd=_FIRST_FILE_FD,
        reach=reach,
    )
    counted = None if host.cgroups else means.count_processes(host.user or os.geteuid())
    argv = [
        *_launcher(len(groups), bounds, counted),
        *(_reach_bwrap(host.bwrap, reach), "--args", str(_ARGS_FD), "--"),
        *(program.path, *wanted.arguments),
    ]
    with contextlib.ExitStack() as opened:

        def own(fd: int) -> int:
            opened.callback(os.close, fd)
            return fd

        # options go through memory: variables may be secret, and argv is there for all to see
        memory = own(os.memfd_create("bacalhau-args"))
        os.write(memory, os.fsencode("\0".join(args)) + b"\0")
        os.lseek(memory, 0, os.SEEK_SET)
        descriptors = {1: own(_append(work.stdout)), 2: own(_append(work.stderr))}
        descriptors |= {_STATUS_FD: lock, _ARGS_FD: memory}
        for number, group in enumerate(groups, start=_FIRST_GROUP_FD):
            descriptors[number] = own(os.open(f"{group}/cgroup.procs", os.O_WRONLY | os.O_CLOEXEC))
        if host.filter_fd is not None:
            path = f"/proc/self/fd/{host.filter_fd}"  # opened anew: it is read from its start
            descriptors[_FILTER_FD] = own(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
        for number, (path, _) in enumerate(host.system.files, start=_FIRST_FILE_FD):
            descriptors[number] = own(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
        if stage is None:
            return spawn(argv, env={}, descriptors=descriptors)
        for fd in (descriptors[1], descriptors[2]):
            os.fchown(fd, host.user, host.user)
        for mount in work.outputs:
            os.chown(mount.source, host.user, host.user, follow_symlinks=False)
        with stage.user():
            return spawn(argv, env={}, descriptors=descriptors)


def _launcher(groups: int, bounds: Limits, processes_now: int | None) -> list[str]:
    """A shell that takes the limits on, joins the cgroups, and becomes what follows.

    The limits must hold before the program's first instruction, so they are not left to
    this process. The cgroups come as descriptors, since the shell may have no rights.
    """
    numbers = range(_FIRST_GROUP_FD, _FIRST_GROUP_FD + groups)
    steps = ["cd /", ulimits(bounds, processes_now), *(f"echo 0 >&{fd}" for fd in numbers)]
    become = " ".join(['exec "$@"', *(f"{fd}>&-" for fd in numbers)])
    return ["/bin/sh", "-c", " && ".join([*steps, become]), "sh"]


def _append(path: str) -> int:
    """A descriptor that appends to a file, made if need be."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(path, flags, 0o600)


def _scratch_bytes(work: Work, settings: Settings, host: means.Host) -> int:
    """What /tmp and the home may hold. It is memory, which only cgroups count as the run's."""
    memory = 0 if host.cgroups else work.resources.memory
    return min(filter(None, (settings.scratch_bytes, work.resources.disk, memory)))


def _reach_bwrap(path: str, reach: Callable[[str], str]) -> str:
    """The bundled bubblewrap finds its library two directories up: that one must be reached."""
    above, *rest = path.rsplit("/", 3)
    return "/".join([reach(above), *rest]) if above else path


def bare(work: Work, wanted: params.Params, program: Program, bounds: Limits, lock: int) -> int:
    """The process id of the program, which inherits the lock. Raises OSError.

    Nothing appears at its target here, so arguments and variables that are paths of inputs
    or outputs are rewritten. The limits (rlimits) come a moment after the start: this is for
    programs that are trusted.
    """
    mounts = (*work.inputs, *work.outputs)

    def outside(text: str) -> str:
        return (sandbox.host_path(text, mounts) or text) if text.startswith("/") else text

    env = sandbox.environment(work, wanted.env or {}, program.path)
    env["HOME"] = (wanted.env or {}).get("HOME", os.path.expanduser("~"))
    argv = [outside(program.path), *map(outside, wanted.arguments)]
    if wanted.directory:
        shell = 'cd "$1" && shift && exec "$@"'
        argv = ["/bin/sh", "-c", shell, "sh", outside(wanted.directory), *argv]
    env = {name: outside(value) for name, value in env.items()}
    stdout, stderr = _append(work.stdout), _append(work.stderr)
    try:
        pid = spawn(argv, env=env, descriptors={1: stdout, 2: stderr, _STATUS_FD: lock})
    finally:
        os.close(stdout)
        os.close(stderr)
    most = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: bounds.open_files,
        resource.RLIMIT_FSIZE: bounds.file_bytes or resource.RLIM_INFINITY,
        resource.RLIMIT_DATA: bounds.memory_bytes or resource.RLIM_INFINITY,
    }
    for which, value in most.items():
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(pid, which, (value, value))
    return pid

"""Starts the program of a run: in its sandbox, or bare where the owner wants none."""

import contextlib
import os
import resource
from collections.abc import Callable, Sequence

from bacalhau.executors.process import host as means
from bacalhau.executors.process import params, sandbox
from bacalhau.executors.process.admit import Settings
from bacalhau.executors.process.command import Program
from bacalhau.executors.process.limits import Limits
from bacalhau.executors.process.spawn import Opening, spawn
from bacalhau.ports.executor import Work

_STATUS_FD, _ARGS_FD, _FILTER_FD = 297, 298, 299


def in_sandbox(
    work: Work,
    wanted: params.Params,
    program: Program,
    *,
    settings: Settings,
    host: means.Host,
    bounds: Limits,
    groups: Sequence[str],
    lock: int,
    reach: Callable[[str], str] = str,
) -> int:
    """The process id of bubblewrap, which inherits the lock. Raises OSError.

    `reach` says where bubblewrap finds a path (stage.Stage.show).
    """
    args = sandbox.arguments(
        work,
        host.system,
        shown=program.shown,
        env=sandbox.environment(work, wanted.env or {}, program.path),
        directory=wanted.directory or sandbox.HOME,
        scratch_bytes=_scratch_bytes(work, settings, host),
        status_fd=_STATUS_FD,
        seccomp_fd=None if host.filter_fd is None else _FILTER_FD,
        reach=reach,
    )
    if host.user:
        _hand_over(work, host.user)
    openings = []
    if host.filter_fd is not None:
        openings.append(Opening(_FILTER_FD, f"/proc/self/fd/{host.filter_fd}", os.O_RDONLY))
    counted = None if host.cgroups else means.count_processes(host.user or os.geteuid())
    # options go through memory: variables may be secret, and argv is there for all to see
    memory = os.memfd_create("bacalhau-args")
    try:
        os.write(memory, os.fsencode("\0".join(args)) + b"\0")
        os.lseek(memory, 0, os.SEEK_SET)
        return spawn(
            [
                *host.launcher(groups, bounds, counted),
                *(_reach_bwrap(host.bwrap, reach), "--args", str(_ARGS_FD), "--"),
                *(program.path, *wanted.arguments),
            ],
            env={},
            stdout=work.stdout,
            stderr=work.stderr,
            openings=openings,
            inherited={_STATUS_FD: lock, _ARGS_FD: memory},
        )
    finally:
        os.close(memory)


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
    pid = spawn(
        argv,
        env={name: outside(value) for name, value in env.items()},
        stdout=work.stdout,
        stderr=work.stderr,
        inherited={_STATUS_FD: lock},
    )
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


def _hand_over(work: Work, user: int) -> None:
    """Makes the run's user the owner of its outputs and of the files of its streams."""
    for mount in work.outputs:
        os.chown(mount.source, user, user, follow_symlinks=False)
    for path in (work.stdout, work.stderr):
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(path, flags, 0o600)
        try:
            os.fchown(fd, user, user)
        finally:
            os.close(fd)

"""What this engine, on this node, does not do; and which program a job means."""

import os
import posixpath
import stat
from dataclasses import dataclass

from bacalhau.executors.process import command, params, sandbox
from bacalhau.executors.process.host import Host, may
from bacalhau.executors.process.limits import Limits
from bacalhau.model.errors import EngineFailed
from bacalhau.model.execution import Fault, FaultKind
from bacalhau.ports.executor import Mount, Work

_FILE_BYTES_MIN = 64 * 1024  # bubblewrap's own status must fit, too


@dataclass(frozen=True)
class Settings:
    """What the owner of the node has set; see ProcessExecutor."""

    sandbox: bool
    allow: tuple[str, ...]
    read_only_paths: tuple[str, ...]
    max_processes: int
    open_files: int
    cpu_time_s: int
    scratch_bytes: int
    host_network: bool


def failed(kind: FaultKind, code: str, message: str, hint: str = "") -> EngineFailed:
    return EngineFailed(Fault(kind=kind, code=code, message=message, hint=hint))


def limits_of(work: Work, settings: Settings) -> Limits:
    """The bounds of a run: what the job asked for, and the node's own."""
    disk = [size for size in (work.output_limit, work.resources.disk) if size]
    return Limits(
        memory_bytes=work.resources.memory,
        cpu=work.resources.cpu,
        processes=settings.max_processes,
        file_bytes=max(_FILE_BYTES_MIN, min(disk)) if disk else 0,
        output_bytes=min(disk, default=0),
        open_files=settings.open_files,
        cpu_time_s=settings.cpu_time_s,
    )


def admit(work: Work, wanted: params.Params, settings: Settings, host: Host) -> command.Program:
    """The program to run. Raises EngineFailed, saying why it cannot be run here."""
    if reasons := params.check_env(work.env):
        raise failed(FaultKind.PERMANENT, "BadEnvironment", "; ".join(reasons))
    _check_network(work, settings)
    program = _program(work, wanted, settings, host)
    if not settings.sandbox:
        return program
    if not host.bwrap:
        raise failed(FaultKind.NODE, "SandboxAbsent", "this node has no bubblewrap")
    shown = (*program.shown, *settings.read_only_paths)
    if reasons := sandbox.wrong_mounts(work, shown):
        raise failed(FaultKind.PERMANENT, "BadTarget", "; ".join(reasons))
    for mount in work.inputs:
        _check_rights(mount, host.user)
    return program


def _check_network(work: Work, settings: Settings) -> None:
    shared = sandbox.network_shared(work)
    if shared is None:
        raise failed(
            FaultKind.PERMANENT,
            "NetworkUnsupported",
            f"the process engine has no network of type {work.network.type.value}",
            "Use None, or Host where the node's owner allows it.",
        )
    if shared and not settings.host_network:
        raise failed(
            FaultKind.TRANSIENT,
            "NetworkRefused",
            "this node gives jobs no network",
            "Its owner can allow it with Engines.Types.Process.HostNetwork.",
        )


def _program(work: Work, wanted: params.Params, settings: Settings, host: Host) -> command.Program:
    """The program a job means: one of the node, or one among its own inputs."""
    name, mounts = wanted.command, (*work.inputs, *work.outputs)
    if "/" in name:
        name = posixpath.normpath(posixpath.join(wanted.directory or sandbox.HOME, name))
    own = sandbox.host_path(name, mounts) if "/" in name else None
    program = command.Program(name, own) if own else command.look_up(host.node, name)
    if program is None or (own and not os.path.lexists(own)):
        raise failed(
            FaultKind.TRANSIENT,
            "CommandNotFound",
            f"this node has no program '{wanted.command}'",
            "Another node may have it; or bring it along as an input.",
        )
    if not settings.allow:
        return program
    # what a job brings along is never on the owner's list; what loads other code is not, either
    loader = next((name for name in _names(work, wanted) if command.loads_code(name)), None)
    if own or loader or not command.is_allowed(settings.allow, name, program):
        what = f"'{wanted.command}' with the variable {loader}" if loader else f"'{wanted.command}'"
        raise failed(
            FaultKind.TRANSIENT,
            "CommandRefused",
            f"the owner of this node does not let jobs run {what}",
            f"Allowed here: {', '.join(settings.allow)}",
        )
    return program


def _names(work: Work, wanted: params.Params) -> tuple[str, ...]:
    return (*work.env, *(wanted.env or {}))


def _check_rights(mount: Mount, user: int) -> None:
    """Raises EngineFailed when the input is not there, or closed to the run's user."""
    bits = 4 if mount.read_only else 6
    try:
        if stat.S_ISDIR(os.stat(mount.source).st_mode):
            bits |= 1
        if not user or may(mount.source, user, bits):
            return
    except OSError as error:
        raise failed(
            FaultKind.TRANSIENT, "InputMissing", f"input '{mount.target}': {error}"
        ) from error
    verb = "read" if mount.read_only else "changed"
    raise failed(
        FaultKind.TRANSIENT,
        "InputForbidden",
        f"input '{mount.target}' cannot be {verb} by uid {user}, as which this node runs jobs",
        f"Give that uid the right (chmod, chown or setfacl on {mount.source}), or run the node "
        "as the user who owns the data.",
    )

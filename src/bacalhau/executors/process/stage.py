"""How a node that is root starts programs that are not.

Programs of a node that is root run as a user of their own. (Root's own uid would do harm even
without capabilities: it owns /proc/sys and the devices.) So does bubblewrap, which then cannot
walk through directories that are closed to that user: the node's own, /root.

The spawning is therefore done by one thread. It lives in a mount namespace of its own, where
what lies behind a closed door is mounted a second time at an open place; nobody else sees
these mounts, and the kernel drops them with the thread, however it ends. And it changes its
user while it spawns, which costs nothing, where `setpriv` or `chroot --userspec` cost a
program start each (a sixth of a whole sandboxed run).
"""

import asyncio
import contextlib
import ctypes
import errno
import logging
import os
import platform
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from bacalhau.executors.process.host import may

PLACE = "/run/bacalhau"
"""An empty directory on the host; the thread's mounts are made over it."""
_SHOWN_MAX = 1024
"""Mounts kept for later runs; one is needed for each closed directory, not for each run."""
_CALLS = {
    "x86_64": {"setgroups": 116, "setresuid": 117, "setresgid": 119},
    "aarch64": {"setgroups": 159, "setresuid": 147, "setresgid": 149},
}
_CLONE_NEWNS = 0x00020000
_MS_BIND, _MS_REC, _MS_SLAVE, _MNT_DETACH = 0x1000, 0x4000, 0x80000, 2
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 2, 4, 8

_log = logging.getLogger(__name__)
Args = ParamSpec("Args")
Result = TypeVar("Result")


class Stage:
    """One thread, what it shows to the user `uid`, and how it becomes that user.

    Where the node may not have a mount namespace (root without CAP_SYS_ADMIN, as in many
    containers), closed doors stay closed.
    """

    def __init__(self, uid: int) -> None:
        self._uid = uid
        self._shown: OrderedDict[str, str] = OrderedDict()
        self._count = 0
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._thread = ThreadPoolExecutor(1, "bacalhau-stage")
        self._groups = os.getgroups()
        try:
            self.call(self._enter)
        except OSError as error:
            self._has_namespace = False
            _log.warning("what is closed to uid %s stays closed to sandboxes: %s", uid, error)
        else:
            self._has_namespace = True

    def call(
        self, function: Callable[Args, Result], *args: Args.args, **kwargs: Args.kwargs
    ) -> Result:
        """Runs a function in the thread and waits for it. Raises what it raises."""
        return self._thread.submit(function, *args, **kwargs).result()

    async def run(
        self, function: Callable[Args, Result], *args: Args.args, **kwargs: Args.kwargs
    ) -> Result:
        """Like call(), without holding up the event loop."""
        return await asyncio.wrap_future(self._thread.submit(function, *args, **kwargs))

    def show(self, path: str) -> str:
        """Where the user can reach `path`; for use in functions that run() runs."""
        path = os.path.realpath(path)
        door = self._behind_last_closed(path) if self._has_namespace else None
        if door is None:
            return path
        place = self._shown.get(door)
        if place is None or not os.path.samestat(os.stat(place), os.stat(door)):
            place = self._mount(door)
        self._shown.move_to_end(door)
        return place + path[len(door) :]

    @contextlib.contextmanager
    def user(self) -> Iterator[None]:
        """Within it, what run() runs acts, and spawns, as the user; raises OSError.

        The system calls are made directly: the C library's functions change all threads.
        The saved uid stays 0, for the way back; a child loses it when it executes a program,
        and all capabilities with it.
        """
        uid = self._uid
        try:
            self._become("setgroups", 0, None)
            self._become("setresgid", uid, uid, 0)
            self._become("setresuid", uid, uid, 0)
            yield
        finally:
            self._become("setresuid", 0, 0, 0)
            self._become("setresgid", 0, 0, 0)
            groups = (ctypes.c_uint32 * len(self._groups))(*self._groups)
            self._become("setgroups", len(self._groups), groups)

    def close(self) -> None:
        self._thread.shutdown()

    def _enter(self) -> None:
        os.makedirs(PLACE, 0o755, exist_ok=True)
        self._check(self._libc.unshare(_CLONE_NEWNS), "unshare")
        # slave: what the owner mounts later arrives here, what we mount does not get out
        self._call_mount("none", "/", None, _MS_REC | _MS_SLAVE)
        self._call_mount("tmpfs", PLACE, "tmpfs", _MS_NOSUID | _MS_NODEV, "mode=0711")

    def _behind_last_closed(self, path: str) -> str | None:
        """The path's ancestor (or itself) just below the last directory closed to the user."""
        door = None
        parts = path.split("/")
        for end in range(1, len(parts)):
            if not may("/".join(parts[:end]) or "/", self._uid, 1):
                door = "/".join(parts[: end + 1])
        return door

    def _mount(self, door: str) -> str:
        if old := self._shown.pop(door, None):
            self._unmount(old)
        while len(self._shown) >= _SHOWN_MAX:
            self._unmount(self._shown.popitem(last=False)[1])
        self._count += 1
        place = f"{PLACE}/{self._count}"
        if os.path.isdir(door):
            os.mkdir(place, 0o755)
        else:
            os.close(os.open(place, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o644))
        self._call_mount(door, place, None, _MS_BIND | _MS_REC)
        self._shown[door] = place
        return place

    def _unmount(self, place: str) -> None:
        self._libc.umount2(os.fsencode(place), _MNT_DETACH)

    def _call_mount(
        self, source: str, target: str, kind: str | None, flags: int, data: str = ""
    ) -> None:
        result = self._libc.mount(
            os.fsencode(source),
            os.fsencode(target),
            kind and kind.encode(),
            ctypes.c_ulong(flags),
            data.encode() or None,
        )
        self._check(result, f"mount {source} on {target}")

    def _become(self, call: str, *arguments: object) -> None:
        numbers = _CALLS.get(platform.machine())
        if numbers is None:
            raise OSError(errno.ENOSYS, f"{call}: its number on {platform.machine()} is not known")
        self._check(self._libc.syscall(ctypes.c_long(numbers[call]), *arguments), call)

    def _check(self, result: int, what: str) -> None:
        if result != 0:
            number = ctypes.get_errno()
            raise OSError(number, f"{what}: {os.strerror(number)}")

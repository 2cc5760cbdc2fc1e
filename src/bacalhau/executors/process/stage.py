"""Makes paths reachable for bubblewrap when the node is root and its programs are not.

Programs of a node that is root run as a user of their own, and so does bubblewrap, which
then cannot walk through directories that are closed to that user: the node's own, /root.
So the spawning is done by one thread that lives in a mount namespace of its own; there,
what lies behind a closed door is mounted a second time at an open place. Nobody else sees
these mounts, and the kernel drops them with the thread, however it ends.
"""

import ctypes
import os
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from bacalhau.executors.process.host import may

PLACE = "/run/bacalhau"
"""An empty directory on the host; the thread's mounts are made over it."""
_SHOWN_MAX = 1024
"""Mounts kept for later runs; one is needed for each closed directory, not for each run."""
_CLONE_NEWNS = 0x00020000
_MS_BIND, _MS_REC, _MS_SLAVE, _MNT_DETACH = 0x1000, 0x4000, 0x80000, 2
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 2, 4, 8

Args = ParamSpec("Args")
Result = TypeVar("Result")


class Stage:
    """One thread in a mount namespace of its own, and what it shows to the user `uid`.

    Raises OSError where this process may not have one (root without CAP_SYS_ADMIN).
    """

    def __init__(self, uid: int) -> None:
        self._uid = uid
        self._shown: OrderedDict[str, str] = OrderedDict()
        self._count = 0
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._thread = ThreadPoolExecutor(1, "bacalhau-stage")
        try:
            self.call(self._enter)
        except OSError:
            self.close()
            raise

    def call(
        self, function: Callable[Args, Result], *args: Args.args, **kwargs: Args.kwargs
    ) -> Result:
        """Runs a function in the thread and waits for it. Raises what it raises."""
        return self._thread.submit(function, *args, **kwargs).result()

    def show(self, path: str) -> str:
        """Where the user can reach `path`; for use in functions that call() runs."""
        path = os.path.realpath(path)
        door = self._behind_last_closed(path)
        if door is None:
            return path
        place = self._shown.get(door)
        if place is None or not os.path.samestat(os.stat(place), os.stat(door)):
            place = self._mount(door)
        self._shown.move_to_end(door)
        return place + path[len(door) :]

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

    def _check(self, result: int, what: str) -> None:
        if result != 0:
            number = ctypes.get_errno()
            raise OSError(number, f"{what}: {os.strerror(number)}")

"""What a run has put on the disk: its streams, its outputs, and what it hides there.

The tree belongs to the run, which may change it while it is read: nothing is followed,
every directory is opened relative to its parent.
"""

import os
import stat
from collections.abc import Iterable, Sequence

from bacalhau.executors.process.outcome import Taken
from bacalhau.ports.executor import Work

_DEPTH_MAX = 128
"""Directories nested deeper than this can be neither published nor deleted with ease."""
_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_LAST_BYTES = 2048
_COMPLAINERS = ("bwrap: ", "sh: ", "/bin/sh: ")


class _Count:
    def __init__(self) -> None:
        self.bytes = self.files = self.largest = 0
        self.too_deep = False


def streams(work: Work) -> Taken:
    """The sizes of stdout and stderr alone."""
    return Taken(stdout=_size(work.stdout), stderr=_size(work.stderr))


def measure(work: Work, pids: Iterable[int] = ()) -> Taken:
    """All that the run has written; with its processes also deleted files they hold open."""
    count = _Count()
    devices = set()
    for mount in work.outputs:
        try:
            fd = os.open(mount.source, _OPEN)
        except OSError:
            continue
        devices.add(os.fstat(fd).st_dev)
        _walk(fd, 1, count)
    if devices:
        count.bytes += _deleted(pids, devices)
    return Taken(
        stdout=_size(work.stdout),
        stderr=_size(work.stderr),
        outputs=count.bytes,
        largest=count.largest,
        files=count.files,
        too_deep=count.too_deep,
    )


def last_words(path: str) -> str:
    """The end of a stderr file."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _LAST_BYTES))
            return file.read().decode(errors="replace").strip()
    except OSError:
        return ""


def complaint(words: str) -> str:
    """The last line of a stderr, if the launcher or bubblewrap wrote it; else ''."""
    lines = words.splitlines()
    return lines[-1] if lines and lines[-1].startswith(_COMPLAINERS) else ""


def _walk(directory: int, depth: int, count: _Count) -> None:
    """Counts a directory; closes its descriptor."""
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                count.files += 1
                try:
                    found = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                if stat.S_ISREG(found.st_mode):
                    count.bytes += found.st_size
                    count.largest = max(count.largest, found.st_size)
                elif stat.S_ISDIR(found.st_mode) and depth >= _DEPTH_MAX:
                    count.too_deep = True
                elif stat.S_ISDIR(found.st_mode) and (below := _enter(entry.name, directory)):
                    _walk(below, depth + 1, count)
    finally:
        os.close(directory)


def _enter(name: str, parent: int) -> int:
    """A descriptor of a sub-directory, made readable if need be; 0 when it has gone."""
    try:
        return os.open(name, _OPEN, dir_fd=parent)
    except PermissionError:
        pass
    except OSError:
        return 0
    try:
        handle = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        try:
            if stat.S_ISDIR(os.fstat(handle).st_mode):
                os.chmod(f"/proc/self/fd/{handle}", 0o700)
            return os.open(name, _OPEN, dir_fd=parent)
        finally:
            os.close(handle)
    except OSError:
        return 0


def _deleted(pids: Iterable[int], devices: set[int]) -> int:
    """Bytes of files without a name that processes keep open on these devices."""
    sizes: dict[tuple[int, int], int] = {}
    for pid in pids:
        try:
            names: Sequence[str] = os.listdir(f"/proc/{pid}/fd")
        except OSError:
            continue
        for name in names:
            try:
                found = os.stat(f"/proc/{pid}/fd/{name}")
            except OSError:
                continue
            regular = stat.S_ISREG(found.st_mode) and found.st_nlink == 0
            if regular and found.st_dev in devices:
                sizes[found.st_dev, found.st_ino] = found.st_size
    return sum(sizes.values())


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0

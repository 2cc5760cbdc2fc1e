"""Packs a directory of results into a tar.gz stream, in bounded memory.

What an execution left behind is not trusted: links are packed as links and never followed,
files are opened below the directory component by component, and what cannot travel
(devices, pipes, sockets, links that lead out) is left out and named. The same tree gives
the same bytes.
"""

import os
import stat
import tarfile
import zlib
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from bacalhau.core.tarball import CHUNK_BYTES, BadArchive, clean, link
from bacalhau.model.errors import EngineFailed
from bacalhau.model.execution import Fault, FaultKind

MAX_ENTRIES = 1_000_000
"""As many as an unpacking client takes."""
LEVEL = 1
"""On rows of text this level took an eighth of the time of level 6, for a fifth more bytes."""


class Item(NamedTuple):
    """One entry of the archive to be: `size` of a file, `target` of a link."""

    name: str
    kind: Literal["file", "directory", "link"]
    size: int = 0
    mode: int = 0o644
    modified_s: int = 0
    target: str = ""


class Survey(NamedTuple):
    """What will be packed; `left_out` says what will not, and why."""

    items: tuple[Item, ...]
    size: int
    left_out: tuple[str, ...]


def survey(directory: Path, limit: int = 0) -> Survey:
    """What of the directory can be packed, in the order of names.

    Raises EngineFailed beyond `limit` bytes (0: none) or MAX_ENTRIES, and for what cannot
    be read.
    """
    items: list[Item] = []
    left_out: list[str] = []
    size = 0
    root = -1
    try:
        root = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        for item in _walk(root, ""):
            if isinstance(item, str):
                left_out.append(item)
                continue
            items.append(item)
            size += item.size
            if 0 < limit < size:
                raise _failed(
                    "ResultsTooLarge",
                    f"the results take more than {limit} bytes",
                    "Keep less in the result paths.",
                )
            if len(items) > MAX_ENTRIES:
                raise _failed(
                    "ResultsTooMany",
                    f"the results are more than {MAX_ENTRIES} files",
                    "Pack them into an archive within the task.",
                )
    except OSError as error:
        raise _failed("ResultsUnreadable", f"a result cannot be read: {error}") from error
    finally:
        if root >= 0:
            os.close(root)
    return Survey(tuple(items), size, tuple(left_out))


def _walk(parent: int, above: str) -> Iterator[Item | str]:
    for part in sorted(os.listdir(parent)):
        try:
            status = os.stat(part, dir_fd=parent, follow_symlinks=False)
            item = _item(parent, above + part, part, status)
        except FileNotFoundError:
            continue  # a process that outlived its execution still tidies up
        except BadArchive as error:
            item = str(error)
        yield item
        if isinstance(item, Item) and item.kind == "directory":
            child = os.open(part, _BELOW | os.O_DIRECTORY, dir_fd=parent)
            try:
                yield from _walk(child, f"{item.name}/")
            finally:
                os.close(child)


_BELOW = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def _item(parent: int, name: str, part: str, status: os.stat_result) -> Item | str:
    """The entry for that file, or the reason why there is none. Raises BadArchive too."""
    clean(name)
    modified_s = max(0, int(status.st_mtime))
    if stat.S_ISDIR(status.st_mode):
        return Item(name, "directory", mode=0o755, modified_s=modified_s)
    if stat.S_ISREG(status.st_mode):
        mode = 0o755 if status.st_mode & 0o100 else 0o644
        return Item(name, "file", status.st_size, mode, modified_s)
    if stat.S_ISLNK(status.st_mode):
        target = link(name, os.readlink(part, dir_fd=parent))
        return Item(name, "link", mode=0o777, modified_s=modified_s, target=target)
    return f"'{name}' is a device, a pipe or a socket"


def pack(directory: Path, items: tuple[Item, ...]) -> Generator[bytes, None, None]:
    """The archive as gzip chunks of about CHUNK_BYTES. Raises EngineFailed."""
    gzip = zlib.compressobj(LEVEL, wbits=31)
    ready = bytearray()
    root = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for plain in _tar(root, items):
            ready += gzip.compress(plain)
            if len(ready) >= CHUNK_BYTES:
                yield bytes(ready)
                ready.clear()
    finally:
        os.close(root)
    yield bytes(ready) + gzip.flush()


def _tar(root: int, items: tuple[Item, ...]) -> Iterator[bytes]:
    types = {"file": tarfile.REGTYPE, "directory": tarfile.DIRTYPE, "link": tarfile.SYMTYPE}
    for item in items:
        member = tarfile.TarInfo(item.name)
        member.type = types[item.kind]
        member.size, member.mode, member.mtime = item.size, item.mode, item.modified_s
        member.linkname = item.target
        yield member.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
        if item.kind == "file":
            yield from _content(root, item)
            yield bytes(-item.size % tarfile.BLOCKSIZE)
    yield bytes(2 * tarfile.BLOCKSIZE)


def _content(root: int, item: Item) -> Iterator[bytes]:
    """Exactly the surveyed bytes of the file."""
    try:
        with os.fdopen(_open_below(root, item.name), "rb", buffering=0) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise OSError("no longer a file")
            left = item.size
            while left:
                chunk = file.read(min(CHUNK_BYTES, left))
                if not chunk:
                    raise OSError("became shorter while it was packed")
                left -= len(chunk)
                yield chunk
    except OSError as error:
        raise _failed("ResultsUnreadable", f"result '{item.name}': {error}") from error


def _open_below(root: int, name: str) -> int:
    """Open a file below the directory; no component may be a link."""
    *parents, last = name.split("/")
    here = os.dup(root)
    try:
        for part in parents:
            here, above = os.open(part, _BELOW | os.O_DIRECTORY, dir_fd=here), here
            os.close(above)
        return os.open(last, _BELOW, dir_fd=here)
    finally:
        os.close(here)


def _failed(code: str, message: str, hint: str = "") -> EngineFailed:
    return EngineFailed(Fault(kind=FaultKind.USER, code=code, message=message, hint=hint))

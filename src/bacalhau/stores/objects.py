"""The managed object store on a disk.

<root>/<job id>/<execution id>/<name>   one file per object: its bytes, then their SHA-256
<root>/.part/                           what is being written

The digest is a footer of the same file, so that one rename makes body and digest appear
together, and a crash at any moment leaves the old object or the new one.
"""

import asyncio
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, ParamSpec, TypeVar

from bacalhau.model.errors import Limit, NotFound, Rejected, Unavailable
from bacalhau.ports.objects import ObjectInfo
from bacalhau.ports.transfer import CHUNK_BYTES, in_thread

_SEGMENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_MAX_SEGMENTS = 8
_MAGIC = b"sha-256\n"
_FOOTER_BYTES = 32 + len(_MAGIC)

P = ParamSpec("P")
T = TypeVar("T")


class DiskObjects:
    """Keeps objects below `root`, a directory of its own. One process at a time."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._part = root / ".part"
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        shutil.rmtree(self._part, ignore_errors=True)  # what a crash left half-written
        self._part.mkdir(mode=0o700)

    async def put(self, key: str, body: AsyncIterator[bytes], limit: int) -> ObjectInfo:
        """See ports.objects; raises Unavailable when the disk does not take it."""
        path = self._path(key)
        digest, size = hashlib.sha256(), 0
        descriptor, part = tempfile.mkstemp(dir=self._part)
        file = os.fdopen(descriptor, "wb")
        try:
            async for chunk in body:
                size += len(chunk)
                if 0 < limit < size:
                    raise Limit(
                        f"object {key} is larger than {limit} bytes",
                        hint="Keep less, or raise Publishers.Types.Managed.MaxSize.",
                    )
                digest.update(chunk)
                await _on_disk(file.write, chunk)
            modified = await _on_disk(_seal, file, digest.digest(), Path(part), path)
        finally:
            with suppress(OSError):  # a full disk, of which the write has told already
                file.close()
            with suppress(FileNotFoundError):
                os.unlink(part)
        return ObjectInfo(key=key, size=size, sha256=digest.hexdigest(), modified=modified)

    async def get(self, key: str, offset: int = 0) -> tuple[ObjectInfo, AsyncIterator[bytes]]:
        """See ports.objects. The body stays what it was, whatever is put or deleted since."""
        path = self._path(key)
        try:
            file = await asyncio.to_thread(path.open, "rb")
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            raise NotFound(f"there is no object {key}") from None
        try:
            info = _read_footer(key, file)
        except BaseException:
            file.close()
            raise
        return info, _read(file, max(offset, 0), info.size)

    async def list(self, prefix: str) -> tuple[ObjectInfo, ...]:
        """Every object whose key is the prefix or lies below it, by key; "" for all."""
        return await asyncio.to_thread(lambda: tuple(self._walk(prefix)))

    async def delete(self, prefix: str) -> int:
        """See ports.objects. The empty prefix is refused: it would delete everything."""
        return await in_thread(self._delete, prefix)

    def _path(self, key: str) -> Path:
        segments = key.split("/")
        if len(segments) > _MAX_SEGMENTS or not all(map(_SEGMENT.fullmatch, segments)):
            raise Rejected(f"'{key[:200]}' cannot be the key of an object")
        return self._root.joinpath(*segments)

    def _walk(self, prefix: str) -> Iterator[ObjectInfo]:
        prefix = prefix.rstrip("/")
        start = self._path(prefix) if prefix else self._root
        files = [start] if start.is_file() else sorted(start.rglob("*"))
        for path in files:
            key = path.relative_to(self._root).as_posix()
            if key.startswith(".part"):
                continue
            with suppress(FileNotFoundError, IsADirectoryError), path.open("rb") as file:
                try:
                    yield _read_footer(key, file)
                except Unavailable:  # listed all the same, so that it can be seen and deleted
                    status = os.fstat(file.fileno())
                    yield ObjectInfo(
                        key=key, size=status.st_size, sha256="", modified=status.st_mtime_ns
                    )

    def _delete(self, prefix: str) -> int:
        top = self._path(prefix.rstrip("/"))
        try:
            if top.is_file():
                top.unlink()
                gone = 1
            else:
                gone = sum(1 for path in top.rglob("*") if path.is_file())
                shutil.rmtree(top)
        except FileNotFoundError:
            return 0
        except OSError as error:
            raise Unavailable(f"objects below {prefix} cannot be deleted: {error}") from error
        for parent in top.parents:  # directories that are empty now
            if parent == self._root:
                break
            try:
                parent.rmdir()
            except OSError:
                break
        return gone


async def _on_disk(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    try:
        return await in_thread(work, *args, **kwargs)
    except OSError as error:
        raise Unavailable(f"the object cannot be stored: {error}") from error


def _seal(file: BinaryIO, digest: bytes, part: Path, path: Path) -> int:
    """Finish the file and give it its name, durably; its time of change in ns."""
    file.write(digest + _MAGIC)
    file.flush()
    os.fsync(file.fileno())
    modified = os.fstat(file.fileno()).st_mtime_ns
    while True:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            part.rename(path)
            break
        except FileNotFoundError:
            if not part.exists():
                raise
            continue  # a delete has just removed the empty directory
    for directory in path.parents:
        _sync(directory)
        if directory == part.parent.parent:  # the root of the store
            break
    return modified


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read_footer(key: str, file: BinaryIO) -> ObjectInfo:
    status = os.fstat(file.fileno())
    size = status.st_size - _FOOTER_BYTES
    footer = os.pread(file.fileno(), _FOOTER_BYTES, max(size, 0))
    if size < 0 or not footer.endswith(_MAGIC):
        raise Unavailable(
            f"object {key} is damaged: its footer is missing",
            hint="The file was changed by something else; restore it or delete the object.",
        )
    return ObjectInfo(key=key, size=size, sha256=footer[:32].hex(), modified=status.st_mtime_ns)


async def _read(file: BinaryIO, offset: int, size: int) -> AsyncIterator[bytes]:
    with file:
        file.seek(min(offset, size))
        left = size - min(offset, size)
        while left:
            chunk = await in_thread(file.read, min(CHUNK_BYTES, left))
            if not chunk:
                raise Unavailable("the object ended before its size; it was damaged meanwhile")
            left -= len(chunk)
            yield chunk

"""Data that travels in the job itself, as a `data:` URL (RFC 2397)."""

import asyncio
import base64
import io
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from bacalhau.core.tarball import BadArchive, Bounds, read
from bacalhau.model.errors import EngineFailed
from bacalhau.model.execution import Fault, FaultKind
from bacalhau.model.job import SpecConfig
from bacalhau.ports.source import Fetched, Progress
from bacalhau.ports.transfer import in_thread

MAX_SIZE = 1024**3
"""Bytes that an archive in a spec may unpack to; the spec itself is bounded by the API."""
MAX_ENTRIES = 100_000
_ARCHIVES = frozenset({"application/gzip", "application/x-gzip"})


class Payload(NamedTuple):
    """What a data: URL holds; `media_type` is lower-case, without parameters."""

    media_type: str
    data: bytes


class InlineSource:
    """A plain payload becomes one file at the target, `application/gzip` (a gzipped tar) a
    directory with what the archive holds.
    """

    name = "inline"
    in_place = False

    def __init__(self, *, max_size: int = MAX_SIZE, max_entries: int = MAX_ENTRIES) -> None:
        self._bounds = Bounds(max_size, max_entries)

    async def probe(self) -> bool:
        return True

    def check(self, source: SpecConfig) -> Sequence[str]:
        try:
            decode(source.param("URL"))
        except ValueError as error:
            return (f"URL: {error}",)
        return ()

    async def size(self, source: SpecConfig) -> int:
        return await asyncio.to_thread(self._size, source)

    async def fetch(self, source: SpecConfig, directory: Path, progress: Progress) -> Fetched:
        """See ports.source."""
        path = await in_thread(self._write, source, directory)
        return Fetched(path=str(path))

    def _size(self, source: SpecConfig) -> int:
        payload = _payload(source)
        if payload.media_type not in _ARCHIVES:
            return len(payload.data)
        try:
            entries = read(io.BytesIO(payload.data), self._bounds)
            return sum(len(chunk) for entry in entries for chunk in entry.chunks)
        except BadArchive as error:
            raise _bad(str(error)) from error

    def _write(self, source: SpecConfig, directory: Path) -> Path:
        payload = _payload(source)
        target = directory / ("content" if payload.media_type in _ARCHIVES else "data")
        try:
            if payload.media_type in _ARCHIVES:
                _unpack(payload.data, target, self._bounds)
            else:
                target.write_bytes(payload.data)
        except (BadArchive, OSError) as error:
            shutil.rmtree(target, ignore_errors=True)
            target.unlink(missing_ok=True)
            if isinstance(error, BadArchive):
                raise _bad(str(error)) from error
            raise _failed(FaultKind.NODE, "DiskFailed", f"cannot be written: {error}") from error
        return target


def _unpack(data: bytes, root: Path, bounds: Bounds) -> None:
    root.mkdir()
    for entry in read(io.BytesIO(data), bounds):
        path = root / entry.name
        if entry.kind == "directory":
            path.mkdir()
        elif entry.kind == "link":
            path.symlink_to(entry.target)
        else:
            with path.open("xb") as file:
                file.writelines(entry.chunks)
            path.chmod(0o755 if entry.executable else 0o644)


def decode(url: object) -> Payload:
    """What a data: URL holds. Raises ValueError saying what is wrong with it."""
    if not isinstance(url, str) or url[:5].lower() != "data:":
        raise ValueError("must be a data: URL, such as data:;base64,aGk=")
    head, comma, body = url[5:].partition(",")
    if not comma:
        raise ValueError("the data: URL has no ',' before its data")
    media_type, *parameters = (part.strip().lower() for part in head.split(";"))
    data = unquote_to_bytes(body)
    if "base64" in parameters:
        data = data.rstrip(b"=")
        try:
            data = base64.b64decode(data + b"=" * (-len(data) % 4), validate=True)
        except ValueError as error:
            raise ValueError(f"the data: URL is not valid base64 ({error})") from None
    return Payload(media_type or "text/plain", data)


def _payload(source: SpecConfig) -> Payload:
    try:
        return decode(source.param("URL"))
    except ValueError as error:
        raise _bad(str(error)) from error


def _bad(message: str) -> EngineFailed:
    return _failed(FaultKind.PERMANENT, "InputInvalid", message)


def _failed(kind: FaultKind, code: str, message: str) -> EngineFailed:
    return EngineFailed(Fault(kind=kind, code=code, message=f"inline input: {message}"))

"""What of a tar archive may become files, and under which names? Pure over a given stream.

Whoever unpacks an archive that somebody else made reads its entries here and only creates
what comes out: every name stays below the directory, nothing comes twice, links stay inside
and come last (so that nothing is ever written through one), and the sizes are bounded, those
of headers included.
"""

import gzip
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import BinaryIO, Literal, NamedTuple

CHUNK_BYTES = 256 * 1024
MAX_NAME_BYTES = 2048
"""Leaves room below a directory within the 4096 bytes that Linux allows for a path."""
MAX_PART_BYTES = 255
MAX_DEPTH = 128
"""Directories within directories; each takes an open descriptor while a tree is walked."""
HEADER_BYTES = 1024 * 1024
"""What may stand between the data of two entries; real headers take a few KiB."""

Kind = Literal["file", "directory", "link"]


class BadArchive(ValueError):
    """The archive is damaged, too big, or holds something that may not be unpacked."""


class Bounds(NamedTuple):
    """How much an archive may unpack to: bytes of data, and entries."""

    size: int
    entries: int = 1_000_000


class Entry(NamedTuple):
    """One thing to create at `name`, relative and safe; its directory came before.

    `chunks` must be read before the next entry is asked for. `target` is a link's.
    """

    name: str
    kind: Kind
    executable: bool = False
    chunks: Iterator[bytes] = iter(())
    target: str = ""


def read(stream: BinaryIO, bounds: Bounds) -> Iterator[Entry]:
    """The entries of a gzipped tar, in order, links last.

    Raises BadArchive at the first fault; what came before it is not to be kept.
    """
    with _faults_of_archives():
        yield from _read(_Metered(gzip.GzipFile(fileobj=stream, mode="rb")), bounds)


@contextmanager
def _faults_of_archives() -> Iterator[None]:
    try:
        yield
    except tarfile.TarError as error:
        raise BadArchive(f"not a readable tar.gz archive ({error})") from error
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise BadArchive(f"the archive is cut short or damaged ({error})") from error
    except BadArchive:
        raise
    except (ValueError, OverflowError, RecursionError) as error:  # as tarfile meets odd headers
        raise BadArchive(f"the archive has a header that makes no sense ({error})") from error


def _read(source: "_Metered", bounds: Bounds) -> Iterator[Entry]:
    kinds: dict[str, Kind] = {}
    links: list[Entry] = []
    left = bounds.size
    source.allow(HEADER_BYTES)
    with tarfile.open(fileobj=source, mode="r|", bufsize=CHUNK_BYTES // 4) as archive:  # type: ignore[call-overload]  # a read() is all that a stream needs
        while (member := archive.next()) is not None:
            archive.members = []  # it would keep them all
            name = clean(member.name)
            kind = _kind(member)
            if name == "." and kind == "directory":
                source.allow(HEADER_BYTES)
                continue
            fresh = _claim(kinds, name, kind)
            if len(kinds) > bounds.entries:
                raise BadArchive(f"the archive has more than {bounds.entries} entries")
            yield from (Entry(directory, "directory") for directory in fresh)
            if kind == "link":
                links.append(Entry(name, kind, target=link(name, member.linkname)))
            elif kind == "file":
                left -= member.size
                if left < 0:
                    raise BadArchive(f"the archive unpacks to more than {bounds.size} bytes")
                source.allow(member.size + HEADER_BYTES)
                yield Entry(name, kind, bool(member.mode & 0o100), _chunks(archive, member))
            source.allow(HEADER_BYTES)
        while source.read(CHUNK_BYTES):  # to the checksum at the end of the gzip stream
            pass
    yield from links


def _chunks(archive: tarfile.TarFile, member: tarfile.TarInfo) -> Iterator[bytes]:
    file = archive.extractfile(member)
    left = member.size
    while file and left:
        with _faults_of_archives():
            chunk = file.read(min(CHUNK_BYTES, left))
        if not chunk:
            raise BadArchive(f"the archive is cut short within '{member.name[:200]}'")
        left -= len(chunk)
        yield chunk


def clean(name: str) -> str:
    """The entry's name without `./` and trailing slashes; `.` for the root itself.

    Raises BadArchive for a name that leaves the directory or cannot be a file's.
    """
    if name.startswith("/"):
        raise BadArchive(f"entry '{name[:200]}' has an absolute name")
    parts = PurePosixPath(name).parts
    if ".." in parts:
        raise BadArchive(f"entry '{name[:200]}' leads out of the archive")
    sizes = [len(part.encode(errors="surrogateescape")) for part in parts]
    if len(parts) > MAX_DEPTH:
        raise BadArchive(f"entry '{name[:200]}' lies more than {MAX_DEPTH} directories deep")
    if "\0" in name or max(sizes, default=0) > MAX_PART_BYTES or sum(sizes) > MAX_NAME_BYTES:
        raise BadArchive(f"entry '{name[:200]}' has a longer name than files can have")
    return "/".join(parts) or "."


def link(name: str, target: str) -> str:
    """The target of the symbolic link at `name`, if it stays inside whatever is on its way.

    `..` may only lead: behind a component that is itself a link it would count from there.
    Raises BadArchive.
    """
    parts = PurePosixPath(target).parts
    ups = next((at for at, part in enumerate(parts) if part != ".."), len(parts))
    inside = ups <= name.count("/") and ".." not in parts[ups:]
    if target.startswith("/") or not target or "\0" in target or not inside:
        raise BadArchive(f"link '{name[:200]}' leads out of the archive, to '{target[:200]}'")
    return target


def _kind(member: tarfile.TarInfo) -> Kind:
    if member.size < 0:
        raise BadArchive(f"entry '{member.name[:200]}' has a negative size")
    if member.isreg():
        return "file"
    if member.isdir():
        return "directory"
    if member.issym():
        return "link"
    if member.islnk():
        raise BadArchive(
            f"entry '{member.name[:200]}' is a hard link; pack with tar --hard-dereference"
        )
    raise BadArchive(f"entry '{member.name[:200]}' is a device or a pipe")


def _claim(kinds: dict[str, Kind], name: str, kind: Kind) -> list[str]:
    """Take the name and its parents; the directories that are new, the outermost first.

    Raises BadArchive when one of them is something else already.
    """
    parts = name.split("/")
    fresh = []
    if name == ".":
        raise BadArchive(f"the root of the archive is a {kind}")
    for depth in range(1, len(parts) + 1):
        here = "/".join(parts[:depth])
        wanted: Kind = kind if here == name else "directory"
        known = kinds.get(here)
        if known is None:
            kinds[here] = wanted
            if wanted == "directory":
                fresh.append(here)
        elif here != name and known != "directory":
            raise BadArchive(f"entry '{name[:200]}' lies below '{here[:200]}', a {known}")
        elif not known == wanted == "directory":
            raise BadArchive(f"entry '{name[:200]}' comes twice")
    return fresh


class _Metered:
    """Reads on, but only as much as was allowed: tarfile keeps whole headers in memory."""

    def __init__(self, stream: BinaryIO | gzip.GzipFile) -> None:
        self._stream = stream
        self._left = 0

    def allow(self, size: int) -> None:
        self._left = size

    def read(self, size: int) -> bytes:
        data = self._stream.read(size)
        self._left -= len(data)
        if self._left < 0:
            raise BadArchive(f"the archive has headers of more than {HEADER_BYTES} bytes")
        return data

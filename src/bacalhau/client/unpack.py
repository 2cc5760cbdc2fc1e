"""From downloaded archives to a directory of results.

<target>/raw/<execution>/   one archive each, as it came
<target>/stdout ...         all of them together, unless only `raw` is wanted
"""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

from bacalhau.core.tarball import CHUNK_BYTES, BadArchive, Bounds, read
from bacalhau.model.errors import Conflict, Rejected, Unavailable

RAW = "raw"
MAX_SIZE = 100 * 10**9
"""Bytes that one archive may unpack to; Bacalhau's bound, there per file."""
JOINED = ("stdout", "stderr", "exitCode")
"""Of these every execution has one; merged they follow each other."""
_NAMED = 5


def unpack(archive: BinaryIO, directory: Path, bounds: Bounds | None = None) -> None:
    """Unpack a result archive (tar.gz, read as a stream) into a new directory.

    Blocks. Raises Rejected for a bad archive and Conflict when the directory exists; then
    nothing of it is left. Raises Unavailable when the stream or the disk fails.
    """
    try:
        directory.mkdir(parents=True)
    except FileExistsError:
        raise Conflict(
            f"{directory} exists", hint="Remove it, or choose another --output-dir."
        ) from None
    try:
        _unpack(archive, directory, bounds or Bounds(MAX_SIZE))
    except BadArchive as error:
        raise Rejected(
            f"the results cannot be unpacked: {error}",
            hint="Fetch them again; if it comes back, look at the archive by its URL.",
        ) from error
    except OSError as error:
        raise Unavailable(f"unpacking into {directory} failed: {error}") from error


def _unpack(archive: BinaryIO, directory: Path, bounds: Bounds) -> None:
    try:
        for entry in read(archive, bounds):
            path = directory / entry.name
            if entry.kind == "directory":
                path.mkdir()
            elif entry.kind == "link":
                path.symlink_to(entry.target)
            else:
                with path.open("xb") as file:
                    file.writelines(entry.chunks)
                path.chmod(0o755 if entry.executable else 0o644)
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise


class Found(NamedTuple):
    """One thing among an execution's results, by its name below their directory."""

    path: Path
    name: str
    is_directory: bool


def merge(parts: Sequence[Path], target: Path) -> None:
    """Bring the unpacked results of executions together in `target`, in the given order.

    Directories are united; stdout, stderr and exitCode of several executions follow each
    other; files are moved, so the parts are left as empty trees. Blocks. Raises Conflict,
    before anything was touched, when two executions or the target have a file of one name.
    """
    everything = [found for part in parts for found in _walk(part, "")]
    kept = {part.relative_to(target).parts[0] for part in parts if part.is_relative_to(target)}
    clashes = [found.name for found in everything if found.name in kept]
    clashes += _clashes(everything, target)
    if clashes:
        named = ", ".join(f"'{name}'" for name in clashes[:_NAMED])
        more = f" and {len(clashes) - _NAMED} more" if len(clashes) > _NAMED else ""
        raise Conflict(
            f"the results cannot be merged, these names come more than once: {named}{more}",
            hint="Use --raw to keep the results of each execution in a directory of its own.",
        )
    for found in everything:
        if found.is_directory:
            (target / found.name).mkdir(exist_ok=True)
    for name in JOINED:
        _join([found.path for found in everything if found.name == name], target / name)
    for found in everything:
        if not found.is_directory and found.name not in JOINED:
            found.path.rename(target / found.name)


def _walk(directory: Path, above: str) -> Iterator[Found]:
    """All below the directory, each directory before what it holds."""
    for path in sorted(directory.iterdir()):
        found = Found(path, above + path.name, path.is_dir() and not path.is_symlink())
        yield found
        if found.is_directory:
            yield from _walk(path, f"{found.name}/")


def _clashes(everything: Sequence[Found], target: Path) -> list[str]:
    """Names that can be given only once and are wanted, or taken, more than once."""
    given: dict[str, Found] = {}
    clashes: dict[str, None] = {}
    for found in everything:
        before = given.setdefault(found.name, found)
        alone = before is found
        united = before.is_directory and found.is_directory
        joined = found.name in JOINED and not (before.is_directory or found.is_directory)
        if not (alone or united or joined) or _is_taken(target / found.name, found.is_directory):
            clashes[found.name] = None
    return list(clashes)


def _is_taken(place: Path, by_directory: bool) -> bool:
    """Is something there already, other than a directory for a directory?"""
    if place.is_symlink():
        return True
    return place.exists() and not (by_directory and place.is_dir())


def _join(sources: Sequence[Path], target: Path) -> None:
    """One file moves; several are written one after the other, exit codes a line each."""
    if len(sources) == 1:
        sources[0].rename(target)
    elif sources:
        with target.open("xb") as out:
            for source in sources:
                with source.open("rb") as file:
                    shutil.copyfileobj(file, out, CHUNK_BYTES)
                if target.name == "exitCode":
                    out.write(b"\n")
                source.unlink()

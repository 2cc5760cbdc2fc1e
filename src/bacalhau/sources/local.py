"""Data that lies on the node, used in place. Its owner lists what jobs may have.

Paths are resolved first and the result is matched, so neither `..` nor a link leads out of
the list. fetch() decides anew and gives the resolved path: nothing decided earlier, at bid
time, is relied on.
"""

import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from bacalhau.core import paths
from bacalhau.model.errors import EngineFailed, Rejected
from bacalhau.model.execution import Fault, FaultKind
from bacalhau.model.job import SpecConfig
from bacalhau.ports.source import Fetched, Progress
from bacalhau.ports.transfer import in_thread

_CREATE_AS = ("nocreate", "dir", "file")


class LocalSource:
    """Serves the paths of `allow`, entries `glob[:ro|:rw]` (see core.paths).

    Params: `SourcePath`, `ReadWrite` (bool or "true"), `CreateAs` (noCreate, dir, file; with
    ReadWrite only). Raises Rejected for an entry that is no pattern.
    """

    name = "local"
    in_place = True

    def __init__(self, allow: Sequence[str] = ()) -> None:
        faults = [reason for entry in allow if (reason := paths.fault(entry))]
        if faults:
            raise Rejected(
                *(f"Compute.AllowListedLocalPaths: {reason}" for reason in faults),
                hint="An entry looks like /data/** or /data/**:rw.",
            )
        self._allow = tuple(paths.allowed(entry) for entry in allow)

    async def probe(self) -> bool:
        return bool(self._allow)

    def check(self, source: SpecConfig) -> Sequence[str]:
        reasons = []
        path, create = source.param("SourcePath"), source.param("CreateAs", "noCreate")
        if not isinstance(path, str) or not path.startswith("/") or "\0" in path:
            reasons.append("SourcePath: must be an absolute path on the node")
        if not isinstance(source.param("ReadWrite", False), bool | str):
            reasons.append("ReadWrite: must be true or false")
        if not isinstance(create, str) or create.lower() not in _CREATE_AS:
            reasons.append("CreateAs: must be dir, file or noCreate")
        elif create.lower() != "nocreate" and not _writes(source):
            reasons.append(f"CreateAs: {create} needs ReadWrite: true")
        return reasons

    async def size(self, source: SpecConfig) -> int:
        """Nothing is brought anywhere: 0. Raises EngineFailed as fetch does."""
        await in_thread(self._resolve, source)
        return 0

    async def fetch(self, source: SpecConfig, directory: Path, progress: Progress) -> Fetched:
        """The resolved path on this host; creates it if asked to. See ports.source."""
        path = await in_thread(self._provide, source)
        return Fetched(path=path, read_only=not _writes(source))

    def _provide(self, source: SpecConfig) -> str:
        create = str(source.param("CreateAs", "noCreate")).lower()
        path = self._resolve(source)
        if create != "nocreate":
            try:
                _create(path, as_directory=create == "dir")
            except OSError as error:
                raise _failed("PathNotFound", f"{path} cannot be created: {error}") from error
            path = self._resolve(source)
        return path

    def _resolve(self, source: SpecConfig) -> str:
        """The real path, if the owner shares it. Raises EngineFailed."""
        reasons = self.check(source)
        if reasons:
            raise _failed("InputInvalid", "; ".join(reasons), kind=FaultKind.PERMANENT)
        asked, writes = str(source.param("SourcePath")), _writes(source)
        real = os.path.realpath(asked)
        # Refused before it is looked at: the answer must not tell what else exists here.
        if not any(self._covers(entry, real, writes) for entry in self._allow):
            how = "to write to" if writes else "to read"
            leads = f" (it leads to {real})" if real != os.path.normpath(asked) else ""
            raise _failed(
                "PathNotAllowed",
                f"this node does not allow jobs {how} {asked}{leads if self._shows(asked) else ''}",
                hint="Its owner can allow it with Compute.AllowListedLocalPaths.",
            )
        try:
            mode = os.stat(real, follow_symlinks=False).st_mode
        except OSError as error:
            if writes and str(source.param("CreateAs", "noCreate")).lower() != "nocreate":
                return real
            raise _failed("PathNotFound", f"{asked}: {error.strerror} on this node") from error
        if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
            raise _failed("PathNotAllowed", f"{asked} is neither a file nor a directory")
        return real

    def _covers(self, entry: paths.Allowed, real: str, writes: bool) -> bool:
        if writes and not entry.writable:
            return False
        base, rest = paths.literal_base(entry.glob)
        # The owner may share a path that is itself a link: that link is trusted.
        glob = "/".join((paths.escaped(os.path.realpath(base)).rstrip("/"), rest))
        return paths.matches(glob, real)

    def _shows(self, asked: str) -> bool:
        """May a message tell where the path leads? Only where it looks like a shared one."""
        return any(paths.matches(entry.glob, os.path.normpath(asked)) for entry in self._allow)


class LocalDirectorySource(LocalSource):
    """The older name of the same source."""

    name = "localdirectory"


def _writes(source: SpecConfig) -> bool:
    value = source.param("ReadWrite", False)
    return value is True or (isinstance(value, str) and value.strip().lower() == "true")


def _create(path: str, *, as_directory: bool) -> None:
    """Make the directory or empty file and its parents, where missing; follows no link."""
    *parents, last = path.strip("/").split("/")
    here = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    try:
        for part in [*parents, last] if as_directory else parents:
            with suppress(FileExistsError):  # opening it will tell what it is
                os.mkdir(part, 0o755, dir_fd=here)
            below = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=here)
            os.close(here)
            here = below
        if not as_directory:
            flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
            os.close(os.open(last, flags, 0o644, dir_fd=here))
    finally:
        os.close(here)


def _failed(
    code: str, message: str, hint: str = "", kind: FaultKind = FaultKind.TRANSIENT
) -> EngineFailed:
    return EngineFailed(Fault(kind=kind, code=code, message=message, hint=hint))

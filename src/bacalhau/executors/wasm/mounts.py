"""Where the modules lie, and which directories a program sees.

WASI pre-opens directories only, and a program's C library picks the longest one that
leads to a path. So a directory input is pre-opened at its target, nested ones as well; file
inputs are put, as hard links, into a private directory that is pre-opened at their parent.
"""

import os
import posixpath
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from bacalhau.model.errors import EngineFailed
from bacalhau.model.execution import Fault, FaultKind
from bacalhau.ports.executor import Mount, Work

COPY_BYTES_MAX = 1 << 30
"""A file input that cannot be hard-linked is copied, up to this size for each file."""

MERGED_ENTRIES_MAX = 10_000
"""How many entries of a directory input may stand beside a file input put into it."""


class Preopen(NamedTuple):
    """The host directory `source` appears at `target`; `writable`: in every way."""

    source: str
    target: str
    writable: bool


def guest_path(path: str) -> str:
    """The absolute, normal form of a path inside: `main.wasm` -> `/main.wasm`."""
    return posixpath.normpath("/" + path.lstrip("/"))


def find_module(path: str, inputs: Sequence[Mount]) -> tuple[str, Mount]:
    """The host file of the module named `path`, and the input that brings it.

    Raises EngineFailed (ModuleNotFound).
    """
    wanted = guest_path(path)
    holders = [m for m in inputs if _covers(guest_path(m.target), wanted)]
    if not holders:
        targets = ", ".join(sorted(guest_path(m.target) for m in inputs)) or "there are none"
        raise _no_module(path, f"no input has this target (inputs: {targets})")
    mount = max(holders, key=lambda m: len(guest_path(m.target)))
    if wanted == guest_path(mount.target) and os.path.isfile(mount.source):
        return mount.source, mount
    root = os.path.realpath(mount.source)
    found = os.path.realpath(
        os.path.join(root, posixpath.relpath(wanted, guest_path(mount.target)))
    )
    if found != root and not found.startswith(root.rstrip("/") + "/"):
        raise _no_module(path, "it is a link that leads out of its input")
    if os.path.isdir(found):
        names = sorted(name for name in os.listdir(found) if name.endswith(".wasm"))
        if len(names) != 1:
            there = ", ".join(names[:5]) or "none"
            raise _no_module(path, f"a directory must hold exactly one .wasm file, has: {there}")
        found = os.path.join(found, names[0])
    if not os.path.isfile(found):
        raise _no_module(path, "there is no such file in the input")
    return found, mount


def preopens(work: Work, hidden: Iterable[Mount]) -> list[Preopen]:
    """The directories a program sees; inputs first, so that an output wins at equal paths.

    `hidden` are file inputs that bring modules: code, which is not shown to the program.
    Makes private directories below `work.directory`. Raises EngineFailed, OSError.
    """
    code = {mount.target for mount in hidden}
    directories: list[Mount] = []
    files: dict[str, list[Mount]] = {}
    for mount in work.inputs:
        if os.path.isdir(mount.source):
            directories.append(mount)
        elif mount.target not in code:
            parent = posixpath.dirname(guest_path(mount.target))
            files.setdefault(parent, []).append(mount)
    result = [Preopen(m.source, guest_path(m.target), not m.read_only) for m in directories]
    for parent, mounts in files.items():
        result += _private(work, parent, mounts, directories)
    result += [Preopen(m.source, guest_path(m.target), True) for m in work.outputs]
    return result


def private_root(directory: str) -> str:
    """Where the private directories of an execution are, if it needs any."""
    return os.path.join(directory, "files")


def written_bytes(directories: Iterable[str]) -> int:
    """The size of all files below these directories; links are not followed."""
    total = 0
    pending = list(directories)
    while pending:
        try:
            with os.scandir(pending.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
                    else:
                        total += entry.stat(follow_symlinks=False).st_size
        except FileNotFoundError:
            continue  # the program removed it meanwhile
    return total


def _private(
    work: Work, parent: str, files: Sequence[Mount], directories: Sequence[Mount]
) -> list[Preopen]:
    """A private directory with these files, and with what a directory input has there."""
    root = Path(private_root(work.directory))
    root.mkdir(parents=True, exist_ok=True)
    place = root / str(len(os.listdir(root)))
    place.mkdir()
    writable = any(not mount.read_only for mount in files)
    for mount in files:
        _put(mount, place / posixpath.basename(guest_path(mount.target)), writable)
    result = [Preopen(str(place), parent, writable)]
    below = [m for m in directories if _covers(guest_path(m.target), parent)]
    if below:
        mount = max(below, key=lambda m: len(guest_path(m.target)))
        result += _merge(mount, parent, place, {guest_path(m.target) for m in directories})
    return result


def _merge(mount: Mount, parent: str, place: Path, taken: set[str]) -> list[Preopen]:
    """Show what the directory input `mount` has at `parent` beside the files in `place`."""
    below = posixpath.relpath(parent, guest_path(mount.target))
    source = os.path.normpath(os.path.join(os.path.realpath(mount.source), below))
    if not os.path.isdir(source) or os.path.realpath(source) != source:
        return []  # nothing there, or a link that may lead out of the input
    if not mount.read_only:
        raise EngineFailed(
            Fault(
                kind=FaultKind.PERMANENT,
                code="InputOverlap",
                message=f"a file input lies inside the writable input {mount.target}",
                hint="Give one of them another Target.",
            )
        )
    result = []
    with os.scandir(source) as entries:
        for number, entry in enumerate(entries):
            if number >= MERGED_ENTRIES_MAX:
                raise EngineFailed(
                    Fault(
                        kind=FaultKind.PERMANENT,
                        code="InputOverlap",
                        message=f"a file input lies inside {mount.target}, which has more than "
                        f"{MERGED_ENTRIES_MAX} entries",
                        hint="Give one of them another Target.",
                    )
                )
            target = posixpath.join(parent, entry.name)
            if entry.is_dir(follow_symlinks=False) and target not in taken:
                result.append(Preopen(entry.path, target, False))
            elif entry.is_file(follow_symlinks=False) and not (place / entry.name).exists():
                _put(Mount(source=entry.path, target=target), place / entry.name, False)
    return result


def _put(mount: Mount, place: Path, writable: bool) -> None:
    """Hard-link the file; copy it where a link is impossible or would let it be changed."""
    source = os.path.realpath(mount.source)
    if not (writable and mount.read_only):
        try:
            os.link(source, place)
            return
        except FileNotFoundError:
            raise
        except OSError:  # another file system, or another owner's file
            pass
    size = os.path.getsize(source)
    if size > COPY_BYTES_MAX or not mount.read_only:
        raise EngineFailed(
            Fault(
                kind=FaultKind.PERMANENT,
                code="InputNotShareable",
                message=f"the file input {mount.target} ({size} bytes) can be neither linked "
                "nor copied for the program",
                hint="Give the directory that holds it as the input instead.",
            )
        )
    shutil.copyfile(source, place)


def _covers(target: str, path: str) -> bool:
    return path == target or target == "/" or path.startswith(target + "/")


def _no_module(path: str, why: str) -> EngineFailed:
    return EngineFailed(
        Fault(
            kind=FaultKind.PERMANENT,
            code="ModuleNotFound",
            message=f"module '{path}': {why}",
            hint="EntryModule and ImportModules name the Target of an input source.",
        )
    )

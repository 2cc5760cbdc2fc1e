"""Which program of this node a job means, and what else of the node it needs to see.

A bare name is looked up on the node's PATH. Programs outside the system's directories (a
Python of pyenv, uv, conda or a venv, say below somebody's home) need files around them:
the prefix they are installed in, and that of each symbolic link and `#!` line on the way.
Those prefixes become visible, read-only; nothing else of a home does.
"""

import fnmatch
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

_LINKS_MAX = 40  # what the kernel follows, too
_SHEBANG_BYTES = 256  # Linux reads no more of a `#!` line
_SHIM_TIMEOUT_S = 10
_KNOWN_MAX = 1000
_LOADER_PREFIXES = ("LD_", "PYTHON", "PERL5", "RUBY", "NODE_", "BASH_FUNC_", "GIT_", "GCONV_")
_LOADERS = frozenset({"BASH_ENV", "ENV", "SHELLOPTS", "PATH", "JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS"})


@dataclass(frozen=True)
class Program:
    """`path` as it is to be executed; `real` without links; `shown`: paths it needs."""

    path: str
    real: str
    shown: tuple[str, ...] = ()


@dataclass(frozen=True)
class Node:
    """Where programs lie on this node: the search path, what every sandbox shows, the home."""

    search: tuple[str, ...]
    system: tuple[str, ...]
    home: str
    shims: dict[tuple[str, int], str] = field(default_factory=dict)
    known: dict[tuple[str, int, int], "Program"] = field(default_factory=dict)


def look_up(node: Node, command: str) -> Program | None:
    """The program for a bare name or an absolute path; None when the node has no such."""
    path = command if os.path.isabs(command) else _search(node, command)
    if path is None or not _is_program(path):
        return None
    found = os.stat(path)
    key = (path, found.st_ino, found.st_mtime_ns)
    if key not in node.known or os.path.basename(os.path.dirname(path)) == "shims":
        if len(node.known) >= _KNOWN_MAX:
            node.known.clear()
        real = _behind_shim(node, os.path.normpath(path))
        shown: dict[str, None] = {}
        _need(node, real, shown, hops=_LINKS_MAX)
        node.known[key] = Program(real, os.path.realpath(real), tuple(shown))
    return node.known[key]


def is_allowed(allow: Sequence[str], command: str, program: Program) -> bool:
    """Whether the owner's list lets this program run.

    A pattern with a slash is held against the file itself, links resolved; one without
    against the name under which a job asked for a program of the search path. So a link to
    a forbidden program does not help, nor does a file of one's own called like a good one.
    """
    for pattern in allow:
        given = program.real if "/" in pattern else command
        if fnmatch.fnmatchcase(given, pattern):
            return True
    return False


def lies_in(path: str, directories: Sequence[str]) -> bool:
    """Whether a path is one of the directories or below one."""
    return any(path == top or path.startswith(top.rstrip("/") + "/") for top in directories)


def _search(node: Node, name: str) -> str | None:
    for directory in node.search:
        path = os.path.join(directory, name)
        if os.path.isabs(path) and _is_program(path):
            return path
    return None


def _is_program(path: str) -> bool:
    return os.path.isfile(path) and os.access(path, os.X_OK)


def _behind_shim(node: Node, path: str) -> str:
    """What a shim of pyenv, rbenv, nodenv and the like runs; the path itself if it is none.

    A shim is a script that asks its manager each time; the manager does not belong into the
    sandbox, so it is asked here, once per state of its global version.
    """
    directory, name = os.path.split(path)
    root = os.path.dirname(directory)
    if os.path.basename(directory) != "shims":
        return path
    key = (path, _changed(os.path.join(root, "version")))
    if key not in node.shims:
        managers = sorted(Path(root).glob("bin/*env")) + sorted(Path(root).glob("libexec/*env"))
        node.shims[key] = _ask(str(managers[0]), name) if managers else ""
    found = node.shims[key]
    return found if found and _is_program(found) else path


def _ask(manager: str, name: str) -> str:
    try:
        answer = subprocess.run(
            [manager, "which", name],
            capture_output=True,
            text=True,
            timeout=_SHIM_TIMEOUT_S,
            cwd="/",
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout.strip() if answer.returncode == 0 else ""


def _changed(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0


def _need(node: Node, path: str, shown: dict[str, None], hops: int) -> None:
    """Adds to `shown` what must be visible for `path` to run: it, its links, its `#!`."""
    while hops > 0:
        hops -= 1
        for spelling in (path, os.path.realpath(path)):
            if not lies_in(os.path.realpath(spelling), node.system) or not lies_in(
                spelling, node.system
            ):
                shown[_prefix(node, spelling)] = None
        if not os.path.islink(path):
            break
        path = os.path.normpath(os.path.join(os.path.dirname(path), os.readlink(path)))
    interpreter = _interpreter(path)
    if interpreter and hops > 0:
        _need(node, interpreter, shown, hops)


def _prefix(node: Node, path: str) -> str:
    """The installation a program belongs to; the file alone when it is none.

    Only what is clearly one: a venv, a Python, a conda environment, a Node.js. `~/.local`
    has a `bin`, too, and keys and mail beside it.
    """
    directory = os.path.dirname(path)
    prefix = os.path.dirname(directory)
    home = node.home.rstrip("/")
    if os.path.basename(directory) != "bin" or prefix == "/" or lies_in(home, [prefix]):
        return path
    top = Path(prefix)
    is_one = (
        (top / "pyvenv.cfg").is_file()
        or (top / "conda-meta").is_dir()
        or (top / "include/node/node.h").is_file()
        or any(top.glob("lib/python3*/os.py"))
    )
    return prefix if is_one else path


def _interpreter(path: str) -> str:
    """The absolute interpreter of a script's `#!` line; '' when there is none."""
    try:
        with open(path, "rb") as file:
            start = file.read(_SHEBANG_BYTES)
    except OSError:
        return ""
    if not start.startswith(b"#!"):
        return ""
    words = start[2:].split(b"\n", 1)[0].split()
    interpreter = os.fsdecode(words[0]) if words else ""
    return interpreter if os.path.isabs(interpreter) and os.path.isfile(interpreter) else ""


def loads_code(variable: str) -> bool:
    """Whether an environment variable makes common programs run code of its owner's choice."""
    return variable in _LOADERS or variable.startswith(_LOADER_PREFIXES)

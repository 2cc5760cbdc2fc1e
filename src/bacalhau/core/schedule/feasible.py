"""Can this node take it? The scheduler and the node ask the same `unfit`.

Three answers: `unready` (the node takes nothing now), `unfit` (never, as node and job are),
`room` (not now: what it holds leaves no space).
"""

import re
from collections.abc import Callable, Iterable
from enum import IntEnum
from functools import lru_cache
from hashlib import blake2b

import msgspec

from bacalhau.core import selector
from bacalhau.model.base import Record, evolve
from bacalhau.model.job import FAVOUR, Job, JobSpec, NetworkType, Requirement, SpecConfig
from bacalhau.model.node import Connection, Membership, Node, NodeInfo, NodeRole
from bacalhau.model.resources import Resources, ResourcesConfig, parse

NODE_EXECUTIONS_MAX = 4096
"""Live executions on one node, so that work that asks for nothing has a bound too."""

REMEMBERED_MAX = 20_000
"""Answers kept per demand, some 3 MB; beyond that many nodes they are asked anew."""

_LOCAL_SOURCES = frozenset({"local", "localdirectory"})
_IN_PLACE = frozenset({"", "inline"}) | _LOCAL_SOURCES
_HOST_VARIABLE = "env:"


class Demand(Record, kw_only=True):
    """All that placement looks at in a spec. Equal demands share one search for nodes."""

    constraints: tuple[Requirement, ...] = ()
    wishes: tuple[Requirement, ...] = ()
    engine: str = ""
    command: str = ""
    sources: tuple[str, ...] = ()
    paths: tuple[tuple[str, bool], ...] = ()
    publisher: str = ""
    network: NetworkType = NetworkType.DEFAULT
    variables: tuple[str, ...] = ()
    resources: Resources = Resources()


def demand(spec: JobSpec) -> Demand:
    """What this spec asks of a node."""
    task = spec.task
    engine = task.engine.type.lower()
    sources = [source.source for source in task.input_sources]
    return Demand(
        constraints=tuple(r for r in spec.constraints if not r.key.startswith(FAVOUR)),
        wishes=tuple(
            evolve(r, key=r.key.removeprefix(FAVOUR))
            for r in spec.constraints
            if r.key.startswith(FAVOUR)
        ),
        engine=engine,
        command=_command(task.engine) if engine == "process" else "",
        sources=tuple(sorted({source.type.lower() for source in sources})),
        paths=tuple(
            (str(source.param("SourcePath", "")), source.param("ReadWrite") in (True, "true"))
            for source in sources
            if source.type.lower() in _LOCAL_SOURCES
        ),
        publisher=task.publisher.type.lower(),
        network=task.network.type,
        variables=tuple(
            sorted(
                {v.removeprefix(_HOST_VARIABLE) for v in task.env.values() if _is_host_variable(v)}
            )
        ),
        resources=_amounts(task.resources),
    )


def signature(job: Job) -> str:
    """Jobs of one signature wait for the same thing: what one cannot get, none can.

    ops and daemon jobs wait for particular nodes, so each has a signature of its own.
    """
    if not job.spec.type.is_counted:
        return job.id
    encoded = msgspec.msgpack.encode(demand(job.spec))
    return blake2b(encoded, digest_size=12).hexdigest()


def unready(node: Node) -> str:
    """Why this node takes no work at all now; '' when it does."""
    if node.info.role is not NodeRole.COMPUTE:
        return "not a compute node"
    if node.membership is not Membership.APPROVED:
        return "rejected" if node.membership is Membership.REJECTED else "not approved yet"
    return "" if node.connection is Connection.CONNECTED else "not connected"


def unfit(wanted: Demand, info: NodeInfo) -> str:
    """Why this node can never take it, as node and job are; '' when it can."""
    if wanted.constraints:
        reason = selector.matches(wanted.constraints, info.labels)
        if reason:
            return reason
    if wanted.engine not in info.engines:
        return f"engine {wanted.engine} is not offered"
    for source in wanted.sources:
        if source and source not in info.sources:
            return f"input source {source} is not offered"
    if wanted.publisher not in ("", "noop") and wanted.publisher not in info.publishers:
        return f"publisher {wanted.publisher} is not offered"
    if not info.capacity.fits(wanted.resources):
        return f"more than the node has: {info.capacity.lacks(wanted.resources)}"
    most = info.max_job
    if not most.fits(wanted.resources) and most != _NOTHING:
        return f"more than one job may use there: {most.lacks(wanted.resources)}"
    return _refused(wanted, info)


@lru_cache(maxsize=16)
def judge(wanted: Demand) -> Callable[[NodeInfo], str]:
    """`unfit` for this demand, which remembers its answers.

    A record never changes, so its answer holds as long as the very same record is asked
    about; it is kept, so that its identity is not given to another.
    """
    known: dict[int, tuple[NodeInfo, str]] = {}

    def answer(info: NodeInfo) -> str:
        found = known.get(id(info))
        if found is None:
            if len(known) >= REMEMBERED_MAX:
                known.clear()
            found = known[id(info)] = (info, unfit(wanted, info))
        return found[1]

    return answer


def _refused(wanted: Demand, info: NodeInfo) -> str:
    """What the node's owner does not want to run."""
    if info.reject_networked and wanted.network not in (NetworkType.DEFAULT, NetworkType.NONE):
        return f"the owner refuses jobs with network (type {wanted.network})"
    if info.reject_stateless and not wanted.sources:
        return "the owner refuses jobs without inputs"
    if info.local_only:
        for source in wanted.sources:
            if source not in _IN_PLACE:
                return f"the owner takes local inputs only, not {source}"
    if info.allowed_commands and wanted.command:
        command, name = wanted.command, wanted.command.rpartition("/")[2]
        allowed = info.allowed_commands
        if not any(_matches(glob, command) or _matches(glob, name) for glob in allowed):
            return f"the owner does not allow the command {wanted.command}"
    for name in wanted.variables:
        if not any(_matches(glob, name) for glob in info.allowed_env):
            return f"the owner does not give out the environment variable {name}"
    for path, writes in wanted.paths:
        if not any(_covers(entry, path, writes) for entry in info.allowed_paths):
            return f"the owner does not share the path {path}{' for writing' if writes else ''}"
    return ""


class Room(IntEnum):
    """Where an execution would find itself on a node now; less is better."""

    FREE = 0
    AHEAD = 1
    FULL = 2


def room(
    wanted: Resources, capacity: Resources, used: Resources, placed: int, lookahead: int
) -> Room:
    """Is there free capacity, or may it wait on the node ahead of its turn, or neither?

    Ahead of its turn, a node is given at most `lookahead` times the wanted amount beyond its
    capacity, so that many such executions.
    """
    if placed >= NODE_EXECUTIONS_MAX:
        return Room.FULL
    if (
        used.cpu + wanted.cpu <= capacity.cpu
        and used.memory + wanted.memory <= capacity.memory
        and used.disk + wanted.disk <= capacity.disk
        and used.gpu + wanted.gpu <= capacity.gpu
    ):
        return Room.FREE
    ahead = lookahead - 1
    if (
        ahead >= 0
        and _within(wanted.cpu, capacity.cpu, used.cpu, ahead)
        and _within(wanted.memory, capacity.memory, used.memory, ahead)
        and _within(wanted.disk, capacity.disk, used.disk, ahead)
        and _within(wanted.gpu, capacity.gpu, used.gpu, ahead)
    ):
        return Room.AHEAD
    return Room.FULL


def _within(wanted: int, capacity: int, used: int, ahead: int) -> bool:
    return not wanted or used <= capacity + ahead * wanted


def grouped(reasons: Iterable[tuple[str, int]], limit: int = 5) -> list[str]:
    """`2 nodes: reason`, the most frequent first; what is over the limit as one more line."""
    ordered = sorted(reasons, key=lambda pair: (-pair[1], pair[0]))
    lines = [f"{_nodes(count)}: {reason}" for reason, count in ordered[:limit]]
    rest = sum(count for _, count in ordered[limit:])
    if rest:
        lines.append(f"{_nodes(rest)}: other reasons")
    return lines


def _nodes(count: int) -> str:
    return "1 node" if count == 1 else f"{count} nodes"


_NOTHING = Resources()


@lru_cache(maxsize=4096)
def _amounts(config: ResourcesConfig) -> Resources:
    return parse(config)


def _command(engine: SpecConfig) -> str:
    given = engine.param("Command") or engine.param("Name") or ""
    return given if isinstance(given, str) else ""


def _is_host_variable(value: str) -> bool:
    return value.startswith(_HOST_VARIABLE)


@lru_cache(maxsize=4096)
def _glob(pattern: str) -> re.Pattern[str]:
    """An anchored glob: `*` and `?` stand for anything, `[...]` and `{a,b}` for a choice."""
    parts: list[str] = []
    for token in re.findall(r"\*+|\?|\[[^\]]+\]|\{[^}]*\}|.", pattern, re.DOTALL):
        if token.startswith("*"):
            parts.append(".*")
        elif token == "?":
            parts.append(".")
        elif token[0] == "[" and len(token) > 2:
            inner = token[1:-1].replace("\\", r"\\")
            parts.append(f"[{'^' + inner[1:] if inner[0] in '!^' and inner[1:] else inner}]")
        elif token[0] == "{" and len(token) > 1:
            parts.append(f"(?:{'|'.join(re.escape(part) for part in token[1:-1].split(','))})")
        else:
            parts.append(re.escape(token))
    try:
        return re.compile("".join(parts), re.DOTALL)
    except re.error:
        return re.compile(re.escape(pattern))


def _matches(pattern: str, text: str) -> bool:
    return _glob(pattern).fullmatch(text) is not None


def _covers(entry: str, path: str, writes: bool) -> bool:
    """Does an allow-list entry `glob[:ro|:rw]` look as if it shared this path?

    A first look at the text only: the node itself resolves links and decides.
    """
    glob, _, mode = entry.rpartition(":")
    if mode not in ("ro", "rw"):
        glob, mode = entry, "ro"
    if writes and mode != "rw":
        return False
    cleaned = path.rstrip("/") or "/"
    whole = glob.removesuffix("/**")
    return _matches(glob, cleaned) or (whole != glob and _matches(whole or "/", cleaned))

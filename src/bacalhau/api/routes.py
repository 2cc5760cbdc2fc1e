"""What a route is, and how a path finds its own."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any
from urllib.parse import unquote_to_bytes

import msgspec

from bacalhau.api.errors import BadRequest, NoRoute, WrongMethod
from bacalhau.api.query import Param
from bacalhau.api.reply import Listing, Reply, Stream
from bacalhau.api.request import Request
from bacalhau.model.policy import Action, Resource
from bacalhau.ports.cluster import Cluster

Handler = Callable[[Cluster, Request], Awaitable[Reply | Listing | Stream]]
Access = tuple[Action, Resource] | None

BASE = "/api/v1"
HANDLER_TIME_S = 30.0
MAX_PATH_BYTES = 8192


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """One operation: how to call it, who may, what comes in and out.

    `path` may hold `{name}` segments; the last one may be `{name:path}`, which takes the
    rest. `access` None is open: to everybody, or to whoever holds a signed URL.
    `takes` and `gives` name schemas of the OpenAPI document. `time_s` 0: no time limit.
    """

    method: str
    path: str
    handler: Handler
    access: Access
    name: str
    summary: str
    params: tuple[Param, ...] = ()
    takes: str = ""
    gives: str = ""
    time_s: float = HANDLER_TIME_S


class _Branch:
    """A node of the path tree."""

    __slots__ = ("literal", "methods", "rest", "variable")

    def __init__(self) -> None:
        self.literal: dict[str, _Branch] = {}
        self.variable: _Branch | None = None
        self.rest = False
        self.methods: dict[str, tuple[Route, tuple[str, ...]]] = {}


class Router:
    """Finds the route of a method and path. HEAD is answered as GET."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._root = _Branch()
        for route in routes:
            self._add(route)

    def find(self, method: str, raw_path: bytes) -> tuple[Route, Mapping[str, str]]:
        """The route and the values of its variables.

        Raises NoRoute, WrongMethod (details: Allow), BadRequest.
        """
        branch, found = self._walk(raw_path)
        if branch is None or not branch.methods:
            raise NoRoute(
                f"nothing is served at {raw_path[:200].decode('latin-1')!r}",
                hint="the server may be older or newer than the client; see /api/v1/openapi.json",
                details={"cli_usage": "compare 'bacalhau version' of client and server"},
            )
        entry = branch.methods.get("GET" if method == "HEAD" else method)
        if entry is None:
            allowed = ", ".join(sorted(branch.methods))
            raise WrongMethod(
                f"{method[:20]} is not possible here", hint=f"use {allowed}"
            ) from None
        route, names = entry
        return route, dict(zip(names, found, strict=True))

    def methods(self, raw_path: bytes) -> tuple[str, ...]:
        """Which methods this path has; none when nothing is served there."""
        branch, _ = self._walk(raw_path)
        return tuple(sorted(branch.methods)) if branch else ()

    def _add(self, route: Route) -> None:
        branch, names = self._root, []
        for segment in route.path.split("/")[1:]:
            if not segment.startswith("{"):
                branch = branch.literal.setdefault(segment, _Branch())
                continue
            name, _, kind = segment[1:-1].partition(":")
            names.append(name)
            branch.variable = branch.variable or _Branch()
            branch = branch.variable
            branch.rest = kind == "path"
        branch.methods[route.method] = (route, tuple(names))

    def _walk(self, raw_path: bytes) -> tuple[_Branch | None, list[str]]:
        if len(raw_path) > MAX_PATH_BYTES:
            raise BadRequest(f"the path is longer than {MAX_PATH_BYTES} bytes")
        branch: _Branch = self._root
        found: list[str] = []
        for segment in _segments(raw_path):
            if branch.rest:
                found[-1] += "/" + segment
            elif segment in branch.literal:
                branch = branch.literal[segment]
            elif branch.variable is not None and segment:
                branch = branch.variable
                found.append(segment)
            else:
                return None, found
        return branch, found


def _segments(raw_path: bytes) -> list[str]:
    """The path's parts, each decoded on its own: `a%2Fb` is one part."""
    parts = raw_path.split(b"/")[1:]
    if len(parts) > 1 and not parts[-1]:
        parts.pop()
    try:
        if b"%" in raw_path:
            parts = [unquote_to_bytes(part) for part in parts]
        decoded = [part.decode() for part in parts]
    except UnicodeDecodeError:
        raise BadRequest("the path is not UTF-8") from None
    if any("\0" in part for part in decoded):
        raise BadRequest("the path contains a NUL character")
    return decoded


def field(body: Any, name: str) -> Any:
    """The value of a key in any case; None when absent. The last duplicate wins."""
    if not isinstance(body, dict):
        return None
    wanted, value = name.lower(), None
    for key, item in body.items():
        if key == name or (isinstance(key, str) and key.lower() == wanted):
            value = item
    return value

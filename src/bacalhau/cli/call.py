"""One run of a command: its arguments and flags, and what it needs of the world."""

import os

from bacalhau.cli.command import Command, Line, Problem

TYPE_CHECKING = False  # typing is slow to import, see command.py
if TYPE_CHECKING:
    from typing import Any

    from bacalhau.cli.server import Server
    from bacalhau.config import Config, Loaded

ALIVE_S = 30.0
"""How long a server may take to answer one request."""


class Call:
    """What a handler gets. Configuration and connection are made when they are asked for."""

    def __init__(self, command: Command, line: Line) -> None:
        self.command = command
        self.arguments = line.arguments
        self.flags: dict[str, Any] = line.flags
        self.given = line.given
        self._loaded: Loaded | None = None
        self._server: Server | None = None

    @property
    def loaded(self) -> "Loaded":
        """The configuration with its origins. Raises Rejected."""
        if self._loaded is None:
            from bacalhau.cli.tree import GLOBAL
            from bacalhau.config import read_here

            flags = {
                flag.config: _as_text(self.flags[flag.name])
                for flag in (*self.command.flags, *GLOBAL)
                if flag.config and flag.name in self.given
            }
            self._loaded = read_here(self.flags["config"], flags)
        return self._loaded

    @property
    def config(self) -> "Config":
        return self.loaded.config

    @property
    def server(self) -> "Server":
        """The server that the configuration names; nothing is sent yet."""
        if self._server is None:
            from bacalhau.cli.server import Server

            self._server = Server(self.url, self.credentials, self.config.api.tls, ALIVE_S)
        return self._server

    @property
    def url(self) -> str:
        """The server's base URL: API.Host may be a host name or a URL with or without port."""
        api = self.config.api
        host, scheme, port = api.host.strip(), "https" if api.tls.use_tls else "http", api.port
        if "://" in host:
            scheme, _, host = host.partition("://")
            scheme, host = scheme.lower(), host.split("/")[0]
            if scheme not in ("http", "https"):
                raise Problem(
                    f"API.Host is {api.host}, but servers are reached by http or https",
                    "write http://host:port, or just the host",
                )
        name, has_port, given = host.rpartition(":")
        if has_port and given.isdigit() and not name.endswith(":"):
            host, port = name, int(given)
        host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "127.0.0.1"}.get(host, host)
        host = _LOCAL.get(host, host)
        if ":" in host and not host.startswith("["):
            host = f"[{host}]"
        return f"{scheme}://{host}:{port}"

    @property
    def credentials(self) -> str:
        """The Authorization header: from the environment, else the token of this data dir."""
        key, name, password = (
            os.environ.get(f"BACALHAU_API_{word}", "") for word in ("KEY", "USERNAME", "PASSWORD")
        )
        if key and (name or password):
            raise Problem(
                "BACALHAU_API_KEY and BACALHAU_API_USERNAME/PASSWORD are both set",
                "keep one of them",
            )
        if bool(name) != bool(password):
            raise Problem("BACALHAU_API_USERNAME and BACALHAU_API_PASSWORD belong together")
        if key:
            return f"Bearer {key}"
        if name:
            import base64

            return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()
        return self._local_token() if self.url.split("/")[2].startswith(_LOOPBACK) else ""

    def _local_token(self) -> str:
        """The administrator's token of a server on this machine that shares our data dir."""
        try:
            with open(os.path.join(self.config.data_dir, "admin.token")) as file:
                return f"Bearer {file.read().strip()}"
        except OSError:
            return ""

    @property
    def program(self) -> str:
        """How hints call us."""
        return "bacalhau"


_LOCAL = {"loopback": "127.0.0.1", "local": "127.0.0.1", "any": "127.0.0.1"}
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


def _as_text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)

"""One run of a command: its arguments and flags, and what it needs of the world."""

import os
from collections.abc import Mapping

from bacalhau.cli.command import Command, Line, Problem

TYPE_CHECKING = False  # typing is slow to import, see command.py
if TYPE_CHECKING:
    from typing import Any

    from bacalhau.client import Client
    from bacalhau.config import Config, Loaded

_HERE = dict.fromkeys(("loopback", "local", "localhost", "any"), "127.0.0.1")
"""Words for listening addresses that mean this machine to a client."""


class Call:
    """What a handler gets. Configuration and connection are made when they are asked for."""

    def __init__(self, command: Command, line: Line) -> None:
        self.command = command
        self.arguments = line.arguments
        self.flags: dict[str, Any] = line.flags
        self.given = line.given
        self._loaded: Loaded | None = None
        self._client: Client | None = None

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
    def client(self) -> "Client":
        """The server that the configuration names; nothing is sent yet. Raises Problem."""
        if self._client is None:
            self._client = self.connect(self.flags.get("namespace", ""))
        return self._client

    def connect(self, namespace: str = "") -> "Client":
        """A client for the configured server, with names looked up in that namespace."""
        from bacalhau.client.endpoint import resolve
        from bacalhau.client.sync import Client

        api = self.config.api
        try:
            endpoint = resolve(
                _HERE.get(api.host.strip(), api.host.strip()),
                api.port,
                tls=api.tls.use_tls,
                ca_file=api.tls.ca_file,
                insecure=api.tls.insecure,
                env=os.environ,
                read=self._read_state,
            )
        except ValueError as error:
            raise Problem(str(error), "see --api-host, --api-port and BACALHAU_API_KEY") from None
        return Client(endpoint, namespace=namespace)

    def get(self, path: str, query: "Mapping[str, Any] | None" = None) -> "Any":
        """The JSON below /api/v1 at that path."""
        return self.client.raw("GET", path, query)

    def _read_state(self, name: str) -> str | None:
        """A small file of the data directory: where its server listens, and its token."""
        try:
            with open(os.path.join(self.config.data_dir, name), encoding="utf-8") as file:
                return file.read(4096)
        except (OSError, UnicodeDecodeError):
            return None


def segment(text: str) -> str:
    """A name or an id as one part of a path. Raises Problem when it is empty."""
    from urllib.parse import quote

    if not text.strip():
        raise Problem("the name or id is empty")
    return quote(text, safe="")


def _as_text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)

"""Requests to the API over a plain socket: one JSON document there, one back.

`http.client` and everything above it take longer to import than a whole `job list` may last.
Streams (logs, downloads, waiting) go through bacalhau.client.
"""

import json
import socket
from collections.abc import Mapping

from bacalhau.cli.command import Problem

TYPE_CHECKING = False  # typing is slow to import, see command.py
if TYPE_CHECKING:
    from typing import Any

    from bacalhau.config.keys import ApiTls

MAX_REPLY = 1 << 30
"""Bytes of one answer: more is a mistake, not a list."""


class Unreachable(Problem):
    """Nobody answered at the server's address."""


class Refused(Problem):
    """The server's answer was an error; `status` and `code` as it said."""

    def __init__(self, message: str, hint: str, status: int, code: str) -> None:
        super().__init__(message, hint)
        self.status = status
        self.code = code


class Server:
    """The API at one base URL."""

    def __init__(self, url: str, credentials: str, tls: "ApiTls", timeout_s: float) -> None:
        self.url = url
        self.timeout_s = timeout_s
        self._tls = tls
        self._credentials = credentials
        self._scheme, _, self._authority = url.partition("://")
        host, _, port = self._authority.rpartition(":")
        self._address = (host.strip("[]"), int(port))

    def get(self, path: str, query: "Mapping[str, object] | None" = None) -> "Any":
        """GET below /api/v1; empty values of the query are left out."""
        asked = "&".join(
            f"{key}={_quote(_word(value))}" for key, value in (query or {}).items() if value
        )
        return self.ask("GET", f"{path}?{asked}" if asked else path)

    def ask(self, method: str, path: str, body: object = None) -> "Any":
        """One request. Raises Unreachable, or Refused with what the server says."""
        payload = b"" if body is None else json.dumps(body).encode()
        lines = [
            f"{method} /api/v1{path} HTTP/1.1",
            f"Host: {self._authority}",
            "Accept: application/json",
            "Connection: close",
        ]
        if self._credentials:
            lines.append(f"Authorization: {self._credentials}")
        if body is not None:
            lines += ["Content-Type: application/json", f"Content-Length: {len(payload)}"]
        reply = self._exchange("\r\n".join([*lines, "", ""]).encode("latin-1") + payload)
        status, content = _read_reply(reply)
        return _judge(status, content, self.url)

    def _exchange(self, request: bytes) -> bytes:
        try:
            with self._connect() as connection:
                connection.sendall(request)
                parts, size = [], 0
                while part := connection.recv(1 << 16):
                    parts.append(part)
                    size += len(part)
                    if size > MAX_REPLY:
                        raise Problem(f"the answer of {self.url} is longer than 1 GiB")
                return b"".join(parts)
        except TimeoutError:
            raise Unreachable(
                f"no answer from {self.url} within {self.timeout_s:g} s", "try again later"
            ) from None
        except OSError as error:
            raise Unreachable(
                f"cannot reach the server at {self.url}: {error.strerror or error}",
                "start one with `bacalhau serve --orchestrator --compute`, or say where it is "
                "with --api-host and --api-port",
            ) from None

    def _connect(self) -> socket.socket:
        plain = socket.create_connection(self._address, self.timeout_s)
        if self._scheme != "https":
            return plain
        import ssl

        context = ssl.create_default_context(cafile=self._tls.ca_file or None)
        if self._tls.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context.wrap_socket(plain, server_hostname=self._address[0])


def _read_reply(reply: bytes) -> tuple[int, bytes]:
    """Status and content of a whole HTTP/1.1 answer."""
    head, separator, content = reply.partition(b"\r\n\r\n")
    first, *headers = head.split(b"\r\n")
    words = first.split(None, 2)
    if (
        not separator
        or len(words) < 2
        or not first.startswith(b"HTTP/1.")
        or not words[1].isdigit()
    ):
        raise Problem("what answered does not speak HTTP", "check --api-host and --api-port")
    fields = {
        name.strip().lower(): value.strip()
        for name, _, value in (header.partition(b":") for header in headers)
    }
    if fields.get(b"transfer-encoding", b"").lower() == b"chunked":
        content = _unchunk(content)
    elif len(content) < int(fields.get(b"content-length", b"0")):
        raise Problem("the answer broke off", "try again")
    return int(words[1]), content


def _unchunk(content: bytes) -> bytes:
    parts: list[bytes] = []
    at = 0
    while True:
        end = content.find(b"\r\n", at)
        if end < 0:
            raise Problem("the answer broke off", "try again")
        size = int(content[at:end].split(b";")[0], 16)
        if size == 0:
            return b"".join(parts)
        parts.append(content[end + 2 : end + 2 + size])
        at = end + 2 + size + 2


def _judge(status: int, content: bytes, url: str) -> "Any":
    try:
        data = json.loads(content) if content.strip() else None
    except ValueError:
        raise Problem(
            f"{url} answered with status {status}, but not with JSON",
            "check --api-host and --api-port: is that a bacalhau server?",
        ) from None
    if status < 400:
        return data
    said = data if isinstance(data, dict) else {}
    message = str(said.get("Message") or f"{url} answered with status {status}")
    hint = str(said.get("Hint") or "")
    if status == 401 and not hint:
        hint = "set BACALHAU_API_KEY, or BACALHAU_API_USERNAME and BACALHAU_API_PASSWORD"
    raise Refused(message, hint, status, str(said.get("Code") or ""))


def _word(value: object) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~")


def _quote(text: str) -> str:
    """Percent-encoding, without importing urllib."""
    return "".join(
        chr(byte) if byte in _PLAIN else f"%{byte:02X}" for byte in text.encode("utf-8", "replace")
    )


def segment(text: str) -> str:
    """A name or id as one segment of a path. Raises Problem for what no path can hold."""
    if text in ("", ".", "..") or "/" in text:
        raise Problem(f"'{text}' is not a name or an id")
    return _quote(text)

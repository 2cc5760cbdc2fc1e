"""HTTP/1.1 and WebSocket frames as generators, without any input or output.

A generator yields what it needs next and is sent the bytes; the socket client and the
asyncio client drive the same ones:

    ("line", limit)     a line, with its end
    ("exactly", size)   so many bytes
    ("some", limit)     at least one byte, or none at the end
    ("send", data)      nothing back; these bytes must go out
"""

from collections.abc import Generator, Mapping

TYPE_CHECKING = False  # not from typing, which takes long to import
if TYPE_CHECKING:
    from typing import Any, TypeVar

    T = TypeVar("T")
    Steps = Generator[tuple[str, Any], bytes, T]

MAX_LINE_BYTES = 65_536
MAX_HEADERS = 256
MAX_FRAME_BYTES = 16 * 1024 * 1024
CHUNK_BYTES = 256 * 1024

TEXT, CLOSE, PING, PONG = 0x1, 0x8, 0x9, 0xA


class Broken(Exception):
    """The other side does not speak HTTP, or the connection ended too early."""


class Head:
    """Status and headers of a response; names are lower-case."""

    __slots__ = ("headers", "status")

    def __init__(self, status: int, headers: Mapping[str, str]) -> None:
        self.status = status
        self.headers = headers


def request(
    method: str, target: str, headers: Mapping[str, str], body: bytes | None = None
) -> bytes:
    """The bytes of a request. Header values must not hold line ends."""
    lines = [f"{method} {target} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in headers.items() if value]
    if body is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")


def read_head() -> "Steps[Head]":
    """The head of the response; interim ones (100 to 103) are skipped. Raises Broken."""
    while True:
        line = yield "line", MAX_LINE_BYTES
        if not line.endswith(b"\n"):
            raise Broken("the server closed the connection without an answer")
        parts = line.split(None, 2)
        if len(parts) < 2 or not parts[0].startswith(b"HTTP/1.") or not parts[1].isdigit():
            raise Broken("the server does not speak HTTP")
        headers: dict[str, str] = {}
        for _ in range(MAX_HEADERS):
            line = yield "line", MAX_LINE_BYTES
            if not line.endswith(b"\n"):
                raise Broken("the answer was cut short")
            if line in (b"\r\n", b"\n"):
                break
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.strip().lower()] = value.strip()
        else:
            raise Broken("the answer has too many headers")
        status = int(parts[1])
        if status == 101 or status >= 200:
            return Head(status, headers)


class Body:
    """The body of a response: `chunk()` until it gives nothing."""

    __slots__ = ("_chunked", "_left", "is_reusable")

    def __init__(self, head: Head, method: str) -> None:
        length = head.headers.get("content-length", "")
        empty = method == "HEAD" or head.status in (204, 304)
        self._chunked = not empty and "chunked" in head.headers.get("transfer-encoding", "").lower()
        if empty:
            self._left = 0
        elif self._chunked:
            self._left = -1
        else:
            self._left = int(length) if length.isdigit() else -1
        known = self._chunked or self._left >= 0
        closes = "close" in head.headers.get("connection", "").lower()
        self.is_reusable = known and not closes

    def chunk(self) -> "Steps[bytes]":
        """The next piece; b'' at the end. Raises Broken when it is cut short."""
        if self._chunked:
            return (yield from self._next_chunk())
        if self._left == 0:
            return b""
        wanted = CHUNK_BYTES if self._left < 0 else min(CHUNK_BYTES, self._left)
        data = yield "some", wanted
        if self._left > 0:
            if not data:
                raise Broken("the answer was cut short")
            self._left -= len(data)
        return data

    def whole(self) -> "Steps[bytes]":
        """All of it."""
        parts = []
        while data := (yield from self.chunk()):
            parts.append(data)
        return b"".join(parts)

    def _next_chunk(self) -> "Steps[bytes]":
        line = yield "line", MAX_LINE_BYTES
        try:
            size = int(line.split(b";")[0], 16)
        except ValueError:
            raise Broken("the answer was cut short") from None
        if size == 0:
            while line not in (b"\r\n", b"\n", b""):
                line = yield "line", MAX_LINE_BYTES
            self._chunked, self._left = False, 0
            return b""
        data = yield "exactly", size
        yield "exactly", 2
        return data


def upgrade(key: str) -> dict[str, str]:
    """The headers that ask for a WebSocket; `key` is base64 of 16 random bytes."""
    return {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": key,
    }


def frame(opcode: int, payload: bytes, mask: bytes) -> bytes:
    """A client's control frame (at most 125 bytes); `mask` is four random bytes."""
    masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
    return bytes((0x80 | opcode, 0x80 | len(payload))) + mask + masked


def read_message(mask: bytes) -> "Steps[bytes | None]":
    """The next text or binary message; None when the server closed. Answers pings."""
    message = b""
    while True:
        head = yield "exactly", 2
        size = head[1] & 0x7F
        if size > 125:
            size = int.from_bytes((yield "exactly", 2 if size == 126 else 8))
        if head[1] & 0x80 or size + len(message) > MAX_FRAME_BYTES:
            raise Broken("the server sent a frame that is not acceptable")
        payload = (yield "exactly", size) if size else b""
        opcode = head[0] & 0x0F
        if opcode == PING:
            yield "send", frame(PONG, payload[:125], mask)
        elif opcode == CLOSE:
            yield "send", frame(CLOSE, payload[:2], mask)
            return None
        elif opcode != PONG:
            message += payload
            if head[0] & 0x80:
                return message

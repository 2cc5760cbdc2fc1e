"""A load generator that costs as little as it can: plain sockets, requests made beforehand.

    python load.py URL CONNECTIONS COUNT < body

Puts the body as a job COUNT times, one request at a time on each connection; prints the
seconds until all are answered, and fails unless every answer is 200.
"""

import selectors
import socket
import sys
import time
from urllib.parse import urlsplit


def main() -> None:
    address = urlsplit(sys.argv[1])
    connections, count = int(sys.argv[2]), int(sys.argv[3])
    body = sys.stdin.buffer.read()
    request = (
        b"PUT /api/v1/orchestrator/jobs HTTP/1.1\r\n"
        b"Host: %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        % (address.netloc.encode(), len(body))
    ) + body
    print(run(address.hostname or "", address.port or 80, connections, count, request))


def run(host: str, port: int, connections: int, count: int, request: bytes) -> float:
    """Seconds for `count` requests over so many connections."""
    selector = selectors.EpollSelector()
    for _ in range(connections):
        connection = socket.create_connection((host, port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        selector.register(connection, selectors.EVENT_READ)
    unread = {key.fd: b"" for key in selector.get_map().values()}
    begin = time.perf_counter()
    sent = answered = 0
    for key in selector.get_map().values():
        if sent < count:
            key.fileobj.sendall(request)
            sent += 1
    while answered < count:
        for key, _ in selector.select():
            data = unread[key.fd] + key.fileobj.recv(65536)
            if not is_whole(data):
                unread[key.fd] = data
                continue
            if not data.startswith(b"HTTP/1.1 200"):
                raise SystemExit(data.decode(errors="replace"))
            unread[key.fd] = b""
            answered += 1
            if sent < count:
                key.fileobj.sendall(request)
                sent += 1
    return time.perf_counter() - begin


def is_whole(data: bytes) -> bool:
    """Is this a complete response?"""
    head, found, body = data.partition(b"\r\n\r\n")
    if not found:
        return False
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return len(body) >= int(value)
    return body.endswith(b"0\r\n\r\n")


if __name__ == "__main__":
    main()

"""A real web server on the loopback that can misbehave, for tests of what moves data.

with Web() as web:
    web.pages["/file"] = Page(b"content", cuts=[3])
    url = web.url + "/file"
"""

import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

_RANGE = re.compile(r"bytes=(\d+)-")


@dataclass
class Page:
    """What is served at a path, and how badly. Lists are used up, one item per request.

    `statuses` are answered first, without content; `cuts` is after how many bytes of the body
    the connection is dropped (None: not); `length` is a wrong Content-Length; `chunked` sends
    none; `drip_s` waits that long after every byte; `location` makes it a redirect;
    `swap` replaces the content before the second request.
    """

    data: bytes = b""
    etag: str = ""
    modified: str = ""
    ranges: bool = True
    statuses: list[int] = field(default_factory=list)
    cuts: list[int | None] = field(default_factory=list)
    length: int | None = None
    chunked: bool = False
    drip_s: float = 0.0
    location: str = ""
    disposition: str = ""
    swap: "Page | None" = None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Seen:
    """A request that came. Header names are lower-case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes = b""


class Web:
    """Serves `pages` by path; a PUT to any path in `uploads` is taken, and answered as the
    managed store answers. `refusals` are statuses for the next PUTs; `lie` is a wrong SHA-256.
    """

    def __init__(self, address: str = "127.0.0.1") -> None:
        self.pages: dict[str, Page] = {}
        self.uploads: dict[str, bytes] = {}
        self.seen: list[Seen] = []
        self.refusals: list[int] = []
        self.upload_cuts: list[int | None] = []
        self.lie = ""
        self.stop = threading.Event()
        self._server = ThreadingHTTPServer((address, 0), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    @property
    def url(self) -> str:
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _handler(web: Web) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            _serve(web, self)

        def do_HEAD(self) -> None:
            _serve(web, self)

        def do_PUT(self) -> None:
            _take(web, self)

        def log_message(self, format: str, *args: Any) -> None:
            """Tests look at `seen` instead."""

    return Handler


def _saw(web: Web, handler: BaseHTTPRequestHandler, body: bytes = b"") -> None:
    headers = {name.lower(): value for name, value in handler.headers.items()}
    web.seen.append(Seen(handler.command, handler.path, headers, body))


def _serve(web: Web, handler: BaseHTTPRequestHandler) -> None:
    _saw(web, handler)
    path = handler.path.partition("?")[0]
    page = web.pages.get(path)
    handler.close_connection = True
    if page is None or page.statuses:
        handler.send_response(page.statuses.pop(0) if page else 404)
        for name, value in (page.headers if page else {}).items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", "0")
        handler.end_headers()
        return
    if page.location:
        handler.send_response(302)
        handler.send_header("Location", page.location)
        handler.end_headers()
        return
    if page.swap is not None:
        web.pages[path] = page.swap
    _send(web, handler, page)


def _send(web: Web, handler: BaseHTTPRequestHandler, page: Page) -> None:
    wanted = _RANGE.fullmatch(handler.headers.get("Range", ""))
    same = handler.headers.get("If-Range", "") in ("", page.etag, page.modified)
    start = int(wanted[1]) if wanted and page.ranges and same else None
    if start is not None and start >= len(page.data):
        handler.send_error(416)
        return
    body = page.data[start or 0 :]
    handler.send_response(200 if start is None else 206)
    lines = {
        "ETag": page.etag,
        "Last-Modified": page.modified,
        "Content-Disposition": page.disposition,
        "Transfer-Encoding": "chunked" if page.chunked else "",
        "Content-Length": "" if page.chunked else str(page.length or len(body)),
        "Content-Range": ""
        if start is None
        else f"bytes {start}-{len(page.data) - 1}/{len(page.data)}",
        **page.headers,
    }
    for name, value in lines.items():
        if value:
            handler.send_header(name, value)
    handler.end_headers()
    if handler.command == "HEAD":
        return
    cut = page.cuts.pop(0) if page.cuts else None
    kept = body if cut is None else body[:cut]
    try:
        if page.chunked:
            for at in range(0, len(kept), 1000):
                piece = kept[at : at + 1000]
                handler.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            if cut is None:
                handler.wfile.write(b"0\r\n\r\n")
        elif page.drip_s:
            for at in range(len(kept)):
                handler.wfile.write(kept[at : at + 1])
                if web.stop.wait(page.drip_s):
                    return
        else:
            handler.wfile.write(kept)
    except ConnectionError:
        return  # the client had enough


def _take(web: Web, handler: BaseHTTPRequestHandler) -> None:
    handler.close_connection = True
    cut = web.upload_cuts.pop(0) if web.upload_cuts else None
    if cut is not None:
        handler.rfile.read(cut)
        _saw(web, handler)
        handler.connection.close()
        return
    body = b"".join(_pieces(handler))
    _saw(web, handler, body)
    if web.refusals:
        status, answer = web.refusals.pop(0), b'{"Message":"refused"}'
    else:
        status = 200
        web.uploads[handler.path.partition("?")[0]] = body
        digest = web.lie or hashlib.sha256(body).hexdigest()
        answer = json.dumps({"Key": handler.path, "Size": len(body), "SHA256": digest}).encode()
    handler.send_response(status)
    handler.send_header("Content-Length", str(len(answer)))
    handler.end_headers()
    handler.wfile.write(answer)


def _pieces(handler: BaseHTTPRequestHandler) -> list[bytes]:
    length = handler.headers.get("Content-Length")
    if length is not None:
        return [handler.rfile.read(int(length))]
    pieces = []
    while size := int(handler.rfile.readline() or b"0", 16):
        pieces.append(handler.rfile.read(size))
        handler.rfile.readline()
    handler.rfile.readline()
    return pieces

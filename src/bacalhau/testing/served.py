"""A real server on a real port, in a thread of its own, for tests that are plain code."""

import asyncio
import http.client
import json
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from bacalhau.app import Running
from bacalhau.testing.stack import stack

START_S = 30.0
SETTINGS = {"Store.Type": "memory", "Publishers.Disabled": ["local"]}
"""Nothing durable, and no port besides the API's."""
NOOP = {"Name": "main", "Engine": {"Type": "noop"}}


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Served:
    """A running stack and how to talk to it, byte by byte if need be."""

    def __init__(self, here: Running, directory: Path) -> None:
        self.here = here
        self.url = here.url
        self.port = here.port
        self.token = (directory / "admin.token").read_text().strip()

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request; `body` is bytes as they are, or anything that JSON can say."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        sent = {"Content-Type": "application/json"} if data is not None else {}
        try:
            connection.request(method, path, data, {**sent, **(headers or {})})
            reply = connection.getresponse()
            content = reply.read()
            return Answer(reply.status, {k.lower(): v for k, v in reply.getheaders()}, content)
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", "/api/v1" + path, headers=headers)

    def raw(self, data: bytes, *, finish: bool = True) -> bytes:
        """Send these bytes; all that comes back until the server closes."""
        answer = b""
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as connection:
            # A server that has seen enough closes before it has read everything.
            with suppress(ConnectionError, OSError):
                connection.sendall(data)
                if finish:
                    connection.shutdown(socket.SHUT_WR)
            with suppress(ConnectionError):
                while part := connection.recv(65536):
                    answer += part
        return answer

    def submit(self, **job: Any) -> str:
        """The id of a fresh job; a no-op unless told otherwise."""
        spec = {"Type": "batch", "Tasks": [NOOP], **job}
        answer = self.ask("PUT", "/api/v1/orchestrator/jobs", {"Job": spec})
        assert answer.status == 200, answer.body
        return str(answer.json["JobID"])

    def finish(self, job_id: str) -> Any:
        """The job once it has ended."""
        revision = 0
        for _ in range(20):
            path = f"/orchestrator/jobs/{job_id}/wait?revision={revision}&timeout=10"
            job = self.get(path).json["Job"]
            if job["State"]["StateType"] in ("Completed", "Failed", "Stopped"):
                return job
            revision = job["Revision"]
        raise AssertionError(f"job {job_id} does not end: {job['State']}")


@contextmanager
def served(directory: Path, settings: Mapping[str, object] | None = None) -> Iterator[Served]:
    """Serve a one-process cluster while the block runs."""
    started: threading.Event = threading.Event()
    told: dict[str, Any] = {}

    async def serve() -> None:
        told["stop"], told["loop"] = asyncio.Event(), asyncio.get_running_loop()
        async with stack(directory, {**SETTINGS, **(settings or {})}) as here:
            told["here"] = here
            started.set()
            await told["stop"].wait()

    def run() -> None:
        try:
            asyncio.run(serve())
        except BaseException as error:
            told["error"] = error
        finally:
            started.set()

    thread = threading.Thread(target=run, name="served")
    thread.start()
    assert started.wait(START_S)
    try:
        if "here" in told:
            yield Served(told["here"], directory)
    finally:
        if "here" in told:
            told["loop"].call_soon_threadsafe(told["stop"].set)
        thread.join(START_S)
    if "error" in told:
        raise told["error"]

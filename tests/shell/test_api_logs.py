"""Log streams: frames, characters cut in two, readers that leave."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Self

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from bacalhau import AsyncClient
from bacalhau.api.app import Api
from bacalhau.api.server import Server, listen
from bacalhau.auth.guard import Guard
from bacalhau.model.errors import Conflict, Forbidden, NotFound, Rejected, Unavailable
from bacalhau.model.job import Job, JobSpec, JobType
from bacalhau.ports.cluster import LogLine
from bacalhau.stores.memory import MemoryStore

JOB = Job(id="j-1", spec=JobSpec(name="one", namespace="default", type=JobType.BATCH))

Lines = Callable[[], AsyncIterator[LogLine]]


class Speaking:
    """As much of a cluster as log streams need: one job, whose output the test decides."""

    def __init__(self, store: MemoryStore, lines: Lines) -> None:
        self.store = store
        self._lines = lines
        self.asked: dict[str, Any] = {}

    def logs(self, job_id: str, **asked: Any) -> AsyncIterator[LogLine]:
        self.asked = asked
        return self._lines()


class Listening:
    """That cluster behind a real socket."""

    def __init__(self, lines: Lines) -> None:
        from bacalhau.model.plan import Change

        self._change = Change(jobs=(JOB,))
        self._store = MemoryStore()
        self.cluster = Speaking(self._store, lines)

    async def __aenter__(self) -> Self:
        await self._store.commit(self._change)
        sockets = listen("127.0.0.1", 0)
        self.port = sockets[0].getsockname()[1]
        api = Api(self.cluster, Guard(admin=""))  # type: ignore[arg-type]  # see Speaking
        self._server = Server(api, sockets)
        self._task = asyncio.create_task(self._server.serve())
        await self._server.started()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def url(self, path: str = "/jobs/j-1/logs", query: str = "") -> str:
        return f"ws://127.0.0.1:{self.port}/api/v1/orchestrator{path}?{query}"

    @property
    def client(self) -> AsyncClient:
        return AsyncClient(f"127.0.0.1:{self.port}")


async def spoken(*pieces: tuple[int, bytes]) -> AsyncIterator[LogLine]:
    for source, data in pieces:
        yield LogLine(source=source, data=data)


async def test_frames_are_text_and_the_stream_ends_with_1000() -> None:
    async with Listening(lambda: spoken((1, b"Hello <World>\n"), (2, b"oops"))) as here:
        async with connect(here.url(query="follow=True&tail=false&execution_id=e-1")) as socket:
            frames = [str(frame) async for frame in socket]
        assert frames == [
            '{"value":{"Type":1,"Line":"Hello \\u003cWorld\\u003e\\n"}}\n',
            '{"value":{"Type":2,"Line":"oops"}}\n',
        ]
        assert (socket.close_code, socket.close_reason) == (1000, "")
        assert here.cluster.asked == {
            "execution_id": "e-1", "version": 0, "follow": True, "tail": False,
        }  # fmt: skip


async def test_a_stream_outlives_the_patience_with_silent_connections(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bacalhau.api.server.HEAD_S", 0.1)

    async def slow() -> AsyncIterator[LogLine]:
        yield LogLine(source=1, data=b"first")
        # What is measured is the time itself: the stream is silent for longer than HEAD_S.
        await asyncio.sleep(0.3)
        yield LogLine(source=1, data=b"last")

    async with Listening(slow) as here, here.client as client:
        assert [line.text async for line in client.logs("j-1")] == ["first", "last"]


async def test_characters_cut_in_two_are_put_together_per_stream() -> None:
    a, b = "ä".encode()[:1], "ä".encode()[1:]
    async with (
        Listening(lambda: spoken((1, a), (2, a), (1, b), (2, b"x"), (1, a))) as here,
        here.client as client,
    ):
        lines = [(line.source, line.text) async for line in client.logs("j-1")]
    assert lines == [(1, "ä"), (2, "\ufffdx"), (1, "\ufffd")]


@pytest.mark.parametrize(
    ("error", "kind"),
    [(NotFound("no execution yet"), NotFound), (Unavailable("node n-1 is silent"), Unavailable)],
)
async def test_errors_come_as_a_frame(error: Exception, kind: type[Exception]) -> None:
    async def failing() -> AsyncIterator[LogLine]:
        yield LogLine(source=1, data=b"before")
        raise error

    async with Listening(failing) as here:
        async with connect(here.url()) as socket:
            frames = [json.loads(frame) async for frame in socket]
        assert next(iter(frames[1])) == "error"
        assert frames[1]["value"] == {"Type": 0, "Line": ""}
        async with here.client as client:
            with pytest.raises(kind, match=str(error)):
                _ = [line async for line in client.logs("j-1")]


async def test_a_fault_of_ours_is_told_without_our_insides(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def failing() -> AsyncIterator[LogLine]:
        raise KeyError("secret")
        yield

    async with Listening(failing) as here, connect(here.url()) as socket:
        frame = json.loads(await socket.recv())
    assert frame["error"] == "Internal server error"
    assert "secret" in caplog.text


async def test_an_unknown_job_is_told_in_band() -> None:
    async with Listening(spoken) as here, connect(here.url("/jobs/x/logs")) as socket:
        assert json.loads(await socket.recv())["error"] == "job not found: x"


async def test_when_the_reader_leaves_the_source_is_closed() -> None:
    closed = asyncio.Event()

    async def endless() -> AsyncIterator[LogLine]:
        try:
            yield LogLine(source=1, data=b"first")
            await asyncio.Event().wait()
        finally:
            closed.set()

    async with Listening(endless) as here, here.client as client:
        lines = client.logs("j-1", follow=True)
        assert (await anext(lines)).text == "first"
        await lines.aclose()  # type: ignore[attr-defined]  # it is a generator
        async with asyncio.timeout(10):
            await closed.wait()


async def test_other_paths_and_foreign_pages_get_no_socket() -> None:
    async with Listening(spoken) as here:
        with pytest.raises(InvalidStatus) as refused:
            await connect(here.url("/jobs"))
        assert refused.value.response.status_code == 400
        with pytest.raises(InvalidStatus) as refused:
            await connect(here.url(), origin="http://evil.example")  # type: ignore[arg-type]  # text
        assert refused.value.response.status_code == 401
        assert json.loads(refused.value.response.body)["Code"] == "Unauthorized"
        with pytest.raises(InvalidStatus) as refused:
            await connect(here.url(query="follow=perhaps"))
        assert refused.value.response.status_code == 400


async def test_what_a_reader_says_means_nothing_but_too_much_ends_it() -> None:
    go_on = asyncio.Event()

    async def late() -> AsyncIterator[LogLine]:
        yield LogLine(source=1, data=b"early")
        await go_on.wait()
        yield LogLine(source=1, data=b"late")

    async with Listening(late) as here:
        async with connect(here.url()) as socket:
            await socket.recv()
            await socket.send("hello?")
            go_on.set()
            assert "late" in str(await socket.recv())
        go_on.clear()
        async with connect(here.url()) as socket:
            await socket.recv()
            await socket.send("x" * 200_000)
            with pytest.raises(ConnectionClosed):
                await socket.recv()


async def test_a_server_that_ends_lets_streams_go() -> None:
    async def endless() -> AsyncIterator[LogLine]:
        yield LogLine(source=1, data=b"first")
        await asyncio.Event().wait()

    async with asyncio.timeout(20):
        async with Listening(endless) as here:
            socket = await connect(here.url())
            await socket.recv()
        with pytest.raises(ConnectionClosed):
            await socket.recv()


def test_addresses_that_cannot_be_listened_on_are_named() -> None:
    with pytest.raises(Rejected, match="not an address"):
        listen("no.such.host.invalid", 0)
    with pytest.raises((Rejected, Conflict)):
        listen("192.0.2.1", 0)
    (taken,) = listen("loopback", 0)
    with taken, pytest.raises(Conflict, match="cannot listen"):
        listen("127.0.0.1", taken.getsockname()[1])


def test_forbidden_is_not_confused_with_unknown(tmp_path: Path) -> None:
    from bacalhau.client.errors import error_of

    assert isinstance(error_of({"Status": 403, "Code": "Forbidden", "Message": "x"}), Forbidden)
    assert isinstance(error_of({"Status": 403, "Message": "x"}), Forbidden)
    assert isinstance(error_of({"Status": 409, "Code": "NewWord"}), Conflict)

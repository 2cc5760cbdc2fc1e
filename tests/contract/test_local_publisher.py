"""The local publisher: its server gives the archives and nothing else."""

import asyncio
import os
from contextlib import suppress
from pathlib import Path

import pytest

from bacalhau.model.base import evolve
from bacalhau.model.errors import EngineFailed
from bacalhau.model.job import SpecConfig
from bacalhau.ports.publisher import Publisher
from bacalhau.publishers.local import CONNECTIONS, LocalPublisher
from bacalhau.sources.url import UrlSource
from bacalhau.testing.contracts.publisher import EXECUTION, FILES, PublisherContract, contents


class TestLocalPublisher(PublisherContract):
    @pytest.fixture(autouse=True)
    def _place(self, tmp_path: Path) -> None:
        self.place = tmp_path / "node"

    async def make(self) -> LocalPublisher:
        return LocalPublisher(self.place, port=0)

    async def release(self, publisher: Publisher) -> None:
        assert isinstance(publisher, LocalPublisher)
        await publisher.close()

    def spec(self) -> SpecConfig:
        return SpecConfig(type="local")

    async def archive(self, result: SpecConfig) -> bytes:
        assert result.type == "urlDownload"
        url = result.param("URL")
        assert url.startswith("http://127.0.0.1:")
        assert url.endswith("/e-1.tar.gz")
        directory = self.place / "download"
        directory.mkdir(parents=True)
        await UrlSource(allow_private=True).fetch(result, directory, lambda *_: None)
        return (directory / "e-1.tar.gz").read_bytes()


@pytest.fixture
def archived(tmp_path: Path) -> bytes:
    directory = tmp_path / "local-publisher"
    directory.mkdir()
    (directory / "e-1.tar.gz").write_bytes(b"0123456789")
    (directory / ".e-2.tar.gz.part").write_bytes(b"half")
    (tmp_path / "secret.tar.gz").write_bytes(b"secret")
    return b"0123456789"


async def ask(publisher: LocalPublisher, text: str) -> tuple[str, str]:
    """Status line and body of the answer to a raw request."""
    assert await publisher.probe()
    reader, writer = await asyncio.open_connection("127.0.0.1", publisher.port)
    writer.write(text.encode())
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    head, _, body = answer.decode().partition("\r\n\r\n")
    return head.partition("\r\n")[0], body


async def test_archives_are_served_whole_and_from_an_offset(
    tmp_path: Path, archived: bytes
) -> None:
    publisher = LocalPublisher(tmp_path, port=0)
    request = "{} /e-1.tar.gz HTTP/1.1\r\nHost: x\r\n{}\r\n"
    assert await ask(publisher, request.format("GET", "")) == ("HTTP/1.1 200 ", archived.decode())
    assert await ask(publisher, request.format("HEAD", "")) == ("HTTP/1.1 200 ", "")
    ranged = await ask(publisher, request.format("GET", "Range: bytes=4-\r\n"))
    assert ranged == ("HTTP/1.1 206 ", "456789")
    assert (await ask(publisher, request.format("GET", "Range: bytes=10-\r\n")))[0].split()[
        1
    ] == "416"
    assert (await ask(publisher, request.format("PUT", "")))[0].split()[1] == "405"
    await publisher.close()


@pytest.mark.parametrize(
    "path",
    ["/", "/e-9.tar.gz", "/../secret.tar.gz", "/%2e%2e/secret.tar.gz", "/.e-2.tar.gz.part",
     "/e-1.tar.gz/", "/e-1", "//e-1.tar.gz", "http://x/e-1.tar.gz", "/e-1.tar.gz%00"],
)  # fmt: skip
async def test_nothing_else_is_served(tmp_path: Path, archived: bytes, path: str) -> None:
    publisher = LocalPublisher(tmp_path, port=0)
    status, body = await ask(publisher, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (status.split()[1], body) == ("404", "")
    await publisher.close()


async def test_what_is_not_http_ends_the_connection(tmp_path: Path, archived: bytes) -> None:
    publisher = LocalPublisher(tmp_path, port=0)
    assert await ask(publisher, "garbage\r\n\r\n") == ("", "")
    assert await ask(publisher, "GET / HTTP/1.1\r\nx: " + "y" * 20_000) == ("", "")
    await publisher.close()


async def test_more_connections_than_allowed_are_turned_away(
    tmp_path: Path, archived: bytes
) -> None:
    publisher = LocalPublisher(tmp_path, port=0)
    assert await publisher.probe()
    held = [await asyncio.open_connection("127.0.0.1", publisher.port) for _ in range(CONNECTIONS)]
    for _, writer in held:
        writer.write(b"GET ")
    reader, extra = await asyncio.open_connection("127.0.0.1", publisher.port)
    with suppress(ConnectionError):
        assert await reader.read() == b""
    await publisher.close()
    for writer in (extra, *(writer for _, writer in held)):
        writer.transport.abort()


async def test_a_taken_port_is_no_offer(tmp_path: Path) -> None:
    first = LocalPublisher(tmp_path / "a", port=0)
    assert await first.probe()
    second = LocalPublisher(tmp_path / "b", port=first.port)
    assert not await second.probe()
    with pytest.raises(EngineFailed, match="cannot be kept"):
        await second.publish(EXECUTION, SpecConfig(type="local"), tmp_path)
    await first.close()
    assert await second.probe()
    await second.close()


async def test_archives_go_when_their_time_is_over(tmp_path: Path, archived: bytes) -> None:
    directory = tmp_path / "local-publisher"
    day = 86_400 * 10**9
    os.utime(directory / "e-1.tar.gz", ns=(10 * day, 10 * day))
    os.utime(directory / ".e-2.tar.gz.part", ns=(5 * day, 5 * day))
    publisher = LocalPublisher(tmp_path, retention_s=86_400, now=lambda: 11 * day)
    assert await publisher.sweep() == 1
    assert [path.name for path in directory.iterdir()] == ["e-1.tar.gz"]
    assert await LocalPublisher(tmp_path, retention_s=0, now=lambda: 99 * day).sweep() == 0
    assert await LocalPublisher(tmp_path, retention_s=86_400, now=lambda: 99 * day).sweep() == 1


async def test_an_execution_id_that_is_no_name_is_refused(tmp_path: Path) -> None:
    publisher = LocalPublisher(tmp_path, port=0)
    for execution_id in ("../e", "", ".e", "a/b", "e" * 200):
        with pytest.raises(EngineFailed, match="cannot be the name"):
            await publisher.publish(
                evolve(EXECUTION, id=execution_id), SpecConfig(type="local"), tmp_path
            )


async def test_what_was_published_survives_a_new_start(tmp_path: Path) -> None:
    results = tmp_path / "results"
    results.mkdir()
    (results / "stdout").write_bytes(FILES["stdout"])
    first = LocalPublisher(tmp_path, port=0)
    await first.publish(EXECUTION, SpecConfig(type="local"), results)
    await first.close()
    data = (tmp_path / "local-publisher" / "e-1.tar.gz").read_bytes()
    assert contents(data) == {"stdout": FILES["stdout"]}

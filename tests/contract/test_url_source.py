"""URL inputs: complete and right, or not there; from servers that are slow, wrong or hostile."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import cast

import pytest

from bacalhau.model.errors import EngineFailed
from bacalhau.model.execution import Fault, FaultKind
from bacalhau.model.job import SpecConfig
from bacalhau.sources.url import UrlSource
from bacalhau.testing.contracts.source import SourceContract, tree
from bacalhau.testing.web import Page, Web

DATA = bytes(range(251)) * 2000  # half a megabyte in which no two blocks are alike
SHA256 = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def web() -> Iterator[Web]:
    with Web() as server:
        yield server


def source(**settings: object) -> UrlSource:
    quick = {"allow_private": True, "backoff_s": 0.001, "read_timeout_s": 20.0, **settings}
    return UrlSource(**quick)  # type: ignore[arg-type]  # settings of mixed types


def spec(url: str, **params: str) -> SpecConfig:
    return SpecConfig(type="urlDownload", params={"URL": url, **params})


async def fetch(made: UrlSource, wanted: SpecConfig, directory: Path) -> dict[str, bytes]:
    fetched = await made.fetch(wanted, directory, lambda *_: None)
    return tree(fetched.path)


async def refused(made: UrlSource, wanted: SpecConfig, directory: Path) -> Fault:
    with pytest.raises(EngineFailed) as caught:
        await fetch(made, wanted, directory)
    assert list(directory.iterdir()) == []
    return caught.value.fault


@asynccontextmanager
async def speaking(answer: bytes | None) -> AsyncIterator[str]:
    """The URL of a server that answers so, or says nothing at all."""
    over = asyncio.Event()
    talks: set[asyncio.Task[None]] = set()

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talks.add(cast("asyncio.Task[None]", asyncio.current_task()))
        with suppress(OSError):
            await reader.readuntil(b"\r\n\r\n")
            if answer is None:
                await over.wait()
            writer.write(answer or b"")
            await writer.drain()
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()

    async with await asyncio.start_server(speak, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/f"
        over.set()
        await asyncio.gather(*talks)


class TestUrlSource(SourceContract):
    @pytest.fixture(autouse=True)
    def _serve(self, web: Web) -> None:
        self.web = web
        web.pages["/dir/data.bin"] = Page(DATA)

    async def make(self) -> UrlSource:
        return source()

    def good(self) -> SpecConfig:
        return spec(self.web.url + "/dir/data.bin")

    def content(self) -> dict[str, bytes]:
        return {"data.bin": DATA}

    def missing(self) -> SpecConfig:
        return spec(self.web.url + "/nothing")

    def invalid(self) -> SpecConfig:
        return spec("ftp://host/file")


# Transfers that break


@pytest.mark.parametrize(
    "page",
    [Page(DATA, etag='"1"'), Page(DATA, modified="Wed, 21 Oct 2015 07:28:00 GMT")],
    ids=["ETag", "Last-Modified"],
)
async def test_a_cut_transfer_goes_on_where_it_ended(web: Web, tmp_path: Path, page: Page) -> None:
    page.cuts = [200_000, 100_000]
    web.pages["/f"] = page
    assert await fetch(source(), spec(web.url + "/f"), tmp_path) == {"f": DATA}
    assert [seen.headers.get("range") for seen in web.seen] == [
        None,
        "bytes=200000-",
        "bytes=300000-",
    ]


async def test_content_that_changed_meanwhile_is_fetched_anew(web: Web, tmp_path: Path) -> None:
    other = bytes(reversed(DATA))
    web.pages["/f"] = Page(DATA, etag='"1"', cuts=[200_000], swap=Page(other, etag='"2"'))
    assert await fetch(source(), spec(web.url + "/f"), tmp_path) == {"f": other}


@pytest.mark.parametrize("etag", ["", 'W/"weak"'])
async def test_without_a_validator_nothing_is_resumed(web: Web, tmp_path: Path, etag: str) -> None:
    web.pages["/f"] = Page(DATA, etag=etag, cuts=[200_000])
    assert await fetch(source(), spec(web.url + "/f"), tmp_path) == {"f": DATA}
    assert all("range" not in seen.headers for seen in web.seen)


async def test_a_server_without_ranges_is_asked_anew(web: Web, tmp_path: Path) -> None:
    web.pages["/f"] = Page(DATA, etag='"1"', ranges=False, cuts=[200_000])
    assert await fetch(source(), spec(web.url + "/f"), tmp_path) == {"f": DATA}


async def test_a_cut_within_chunks_is_noticed(web: Web, tmp_path: Path) -> None:
    web.pages["/f"] = Page(DATA, chunked=True, etag='"1"', cuts=[200_000])
    assert await fetch(source(), spec(web.url + "/f"), tmp_path) == {"f": DATA}


async def test_a_transfer_that_lacks_its_end_alone_is_fetched_anew(
    web: Web, tmp_path: Path
) -> None:
    web.pages["/f"] = Page(DATA, chunked=True, etag='"1"', cuts=[len(DATA)])
    assert await fetch(source(), spec(web.url + "/f"), tmp_path) == {"f": DATA}
    assert len(web.seen) == 3


async def test_a_length_that_never_comes_ends_after_so_many_tries(web: Web, tmp_path: Path) -> None:
    web.pages["/f"] = Page(b"short", length=100)
    fault = await refused(source(attempts=3), spec(web.url + "/f"), tmp_path)
    assert (fault.kind, fault.code, len(web.seen)) == (FaultKind.TRANSIENT, "FetchFailed", 3)
    assert "tried 3 times" in fault.message


async def test_progress_earns_new_tries(web: Web, tmp_path: Path) -> None:
    web.pages["/f"] = Page(DATA, etag='"1"', cuts=[70_000] * 7)
    assert await fetch(source(attempts=2), spec(web.url + "/f"), tmp_path) == {"f": DATA}


async def test_starting_over_and_over_is_no_progress(web: Web, tmp_path: Path) -> None:
    web.pages["/f"] = Page(DATA, etag='"1"', ranges=False, cuts=[100_000] * 50)
    await refused(source(attempts=3), spec(web.url + "/f"), tmp_path)
    assert len(web.seen) == 3


async def test_a_busy_server_is_asked_again(web: Web, tmp_path: Path) -> None:
    web.pages["/f"] = Page(DATA, statuses=[503, 429])
    assert await fetch(source(), spec(web.url + "/f"), tmp_path) == {"f": DATA}


async def test_retry_after_is_waited_for(web: Web, tmp_path: Path) -> None:
    web.pages["/f"] = Page(DATA, statuses=[503], headers={"Retry-After": "1"})
    clock = asyncio.get_running_loop().time
    begun = clock()
    await fetch(source(), spec(web.url + "/f"), tmp_path)
    assert clock() - begun >= 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
async def test_a_refusal_is_final(web: Web, tmp_path: Path, status: int) -> None:
    web.pages["/f"] = Page(DATA, statuses=[status])
    fault = await refused(source(), spec(web.url + "/f"), tmp_path)
    assert (fault.kind, fault.code) == (FaultKind.PERMANENT, "FetchRefused")
    assert str(status) in fault.message
    assert len(web.seen) == 1


async def test_nobody_there_is_transient(web: Web, tmp_path: Path) -> None:
    with Web() as gone:
        address = gone.url
    fault = await refused(source(), spec(address + "/f"), tmp_path)
    assert (fault.kind, fault.code) == (FaultKind.TRANSIENT, "FetchFailed")


async def test_a_name_that_does_not_resolve_is_transient(tmp_path: Path) -> None:
    fault = await refused(source(attempts=1), spec("http://nowhere.invalid/f"), tmp_path)
    assert (fault.kind, fault.code) == (FaultKind.TRANSIENT, "FetchFailed")
    assert "nowhere.invalid" in fault.message


async def test_a_drip_counts_as_silence(web: Web, tmp_path: Path) -> None:
    web.pages["/f"] = Page(DATA, drip_s=0.01)
    made = source(attempts=1, read_timeout_s=0.2)
    fault = await refused(made, spec(web.url + "/f"), tmp_path)
    assert "bytes came in" in fault.message


async def test_a_server_that_says_nothing_is_given_up(tmp_path: Path) -> None:
    async with speaking(None) as url:
        fault = await refused(source(attempts=1, read_timeout_s=0.1), spec(url), tmp_path)
    assert "nothing came" in fault.message


@pytest.mark.parametrize(
    "answer",
    [
        b"garbage\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"x: " + b"y" * 200_000,
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 206 Partial Content\r\nContent-Length: 1\r\nContent-Range: bytes 7-7/9\r\n\r\nx",
        b"",
    ],
    ids=["no HTTP", "endless head", "negative length", "bad chunk", "other range", "nothing"],
)
async def test_an_answer_that_makes_no_sense_is_transient(answer: bytes, tmp_path: Path) -> None:
    async with speaking(answer) as url:
        fault = await refused(source(), spec(url), tmp_path)
    assert (fault.kind, fault.code) == (FaultKind.TRANSIENT, "FetchFailed")


async def test_a_cancelled_fetch_leaves_nothing(web: Web, tmp_path: Path) -> None:
    web.pages["/f"] = Page(DATA, drip_s=0.01)
    moving = asyncio.Event()
    task = asyncio.create_task(
        source().fetch(spec(web.url + "/f"), tmp_path, lambda *_: moving.set())
    )
    await moving.wait()
    assert [path.name for path in tmp_path.iterdir()] == [".part"]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert list(tmp_path.iterdir()) == []


# Limits and checks


async def test_a_size_beyond_the_limit_is_refused_before_it_comes(web: Web, tmp_path: Path) -> None:
    web.pages["/f"] = Page(DATA, drip_s=5)
    fault = await refused(source(max_size=1000), spec(web.url + "/f"), tmp_path)
    assert (fault.kind, fault.code) == (FaultKind.TRANSIENT, "InputTooLarge")
    assert "MaxSize" in fault.hint


async def test_a_size_that_was_not_told_is_limited_too(web: Web, tmp_path: Path) -> None:
    web.pages["/f"] = Page(DATA, chunked=True)
    fault = await refused(source(max_size=len(DATA) - 1), spec(web.url + "/f"), tmp_path)
    assert fault.code == "InputTooLarge"
    assert await fetch(source(max_size=len(DATA)), spec(web.url + "/f"), tmp_path) == {"f": DATA}


@pytest.mark.parametrize("params", [{"SHA256": SHA256}, {"Checksum": f"sha256:{SHA256.upper()}"}])
async def test_the_right_checksum_passes(web: Web, tmp_path: Path, params: dict[str, str]) -> None:
    web.pages["/f"] = Page(DATA, etag='"1"', cuts=[123_456])
    assert await fetch(source(), spec(web.url + "/f", **params), tmp_path) == {"f": DATA}


async def test_a_wrong_checksum_is_final(web: Web, tmp_path: Path) -> None:
    web.pages["/f"] = Page(DATA + b"!")
    fault = await refused(source(), spec(web.url + "/f", SHA256=SHA256), tmp_path)
    assert (fault.kind, fault.code) == (FaultKind.PERMANENT, "ChecksumMismatch")


@pytest.mark.parametrize(
    "params",
    [
        {"URL": "http://"}, {"URL": "http://host:port/"}, {"URL": "http://[::1/"}, {"URL": 7},
        {"URL": "http://user:secret@host/x"}, {"URL": "file:///etc/passwd"}, {"URL": "http://\ud800/"},
        {"URL": "http://host/", "SHA256": "00"}, {"URL": "http://host/", "Checksum": "md5:00"},
        {"URL": "http://host/", "SHA256": "0" * 64, "Checksum": "sha256:" + "1" * 64},
    ],
    ids=str,
)  # fmt: skip
def test_each_bad_param_is_named(params: dict[str, object]) -> None:
    reasons = source().check(SpecConfig(type="urlDownload", params=params))
    assert len(reasons) == 1
    assert "secret" not in reasons[0]


async def test_the_size_is_asked_for_and_never_fails(web: Web) -> None:
    web.pages["/f"] = Page(DATA)
    web.pages["/closed"] = Page(DATA, statuses=[405])
    made = source(read_timeout_s=0.2)
    assert await made.size(spec(web.url + "/f")) == len(DATA)
    assert await made.size(spec(web.url + "/closed")) == 0
    assert await made.size(spec(web.url + "/nothing")) == 0
    assert await made.size(spec("http://nowhere.invalid/")) == 0


# Redirects, addresses, names


async def test_redirects_are_followed_to_an_end(web: Web, tmp_path: Path) -> None:
    web.pages["/a"] = Page(location="b/c?x=1")
    web.pages["/b/c"] = Page(location=web.url + "/end.txt")
    web.pages["/end.txt"] = Page(b"there")
    assert await fetch(source(), spec(web.url + "/a"), tmp_path) == {"end.txt": b"there"}


async def test_redirects_in_a_circle_end(web: Web, tmp_path: Path) -> None:
    web.pages["/a"] = Page(location="/a")
    fault = await refused(source(), spec(web.url + "/a"), tmp_path)
    assert (fault.kind, fault.code, len(web.seen)) == (FaultKind.PERMANENT, "FetchRefused", 11)


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://host/x", "gopher://host/x"])
async def test_a_redirect_to_another_scheme_is_refused(
    web: Web, tmp_path: Path, target: str
) -> None:
    web.pages["/a"] = Page(location=target)
    assert (await refused(source(), spec(web.url + "/a"), tmp_path)).code == "FetchRefused"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "169.254.169.254", "0.0.0.0"])
async def test_addresses_of_the_node_are_refused(web: Web, tmp_path: Path, host: str) -> None:
    port = web.url.rpartition(":")[2]
    web.pages["/f"] = Page(DATA)
    made = source(allow_private=False)
    fault = await refused(made, spec(f"http://{host}:{port}/f"), tmp_path)
    assert (fault.kind, fault.code) == (FaultKind.TRANSIENT, "AddressRefused")
    assert web.seen == []


async def test_a_redirect_to_a_refused_address_is_not_followed(
    web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """127.0.0.2 stands for the internet here, 127.0.0.1 for the node."""
    from bacalhau.core import reach

    real = reach.refusal

    def refusal(address: str, allow_private: bool) -> str:
        return "" if address == "127.0.0.2" else real(address, allow_private)

    monkeypatch.setattr(reach, "refusal", refusal)
    port = web.url.rpartition(":")[2]
    with Web("127.0.0.2") as outside:
        outside.pages["/a"] = Page(location=f"http://127.0.0.1:{port}/secret")
        web.pages["/secret"] = Page(b"secret")
        fault = await refused(source(allow_private=False), spec(outside.url + "/a"), tmp_path)
        assert len(outside.seen) == 1
    assert fault.code == "AddressRefused"
    assert web.seen == []


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        ('attachment; filename="../../evil.txt"', "evil.txt"),
        ("attachment; filename=..", "end"),
        ('attachment; filename="/etc/passwd"', "passwd"),
        ("attachment; filename*=UTF-8''caf%C3%A9%2F..%2Fx.csv", "x.csv"),
        ("attachment; filename*=nonsense''%FF", "end"),
        ("inline", "end"),
    ],
)
async def test_a_name_from_the_server_stays_in_the_directory(
    web: Web, tmp_path: Path, disposition: str, name: str
) -> None:
    web.pages["/a"] = Page(location="/end")
    web.pages["/end"] = Page(b"x", disposition=disposition)
    directory = tmp_path / "in"
    directory.mkdir()
    found = await fetch(source(), spec(web.url + "/a"), directory)
    assert list(found.values()) == [b"x"]
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
    if "nonsense" not in disposition:
        assert list(found) == [name]


@pytest.mark.parametrize(
    ("path", "name"),
    [("/%2e%2e%2fup", "up"), ("/dir/", "data"), ("/", "data"), ("/a%20b", "a b"), ("/%00x", "x"),
     ("/..%5C..%5Cw", "w"), ("/" + "n" * 300, "n" * 200), ("/.part", ".part")],
)  # fmt: skip
async def test_a_name_from_the_url_stays_in_the_directory(
    web: Web, tmp_path: Path, path: str, name: str
) -> None:
    web.pages[path] = Page(b"x")
    assert await fetch(source(), spec(web.url + path), tmp_path) == {name: b"x"}

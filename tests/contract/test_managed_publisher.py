"""The managed publisher: results arrive whole and checked, or the fault says why not."""

import asyncio
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from bacalhau.model.errors import EngineFailed
from bacalhau.model.execution import Fault, FaultKind
from bacalhau.model.job import SpecConfig
from bacalhau.ports.publisher import Publisher
from bacalhau.publishers.managed import ATTEMPTS, ManagedPublisher, upload
from bacalhau.testing.contracts.publisher import EXECUTION, FILES, PublisherContract, contents
from bacalhau.testing.web import Web

DATA = bytes(range(251)) * 4000


@pytest.fixture
def web() -> Iterator[Web]:
    with Web() as server:
        yield server


async def refused(work: "asyncio.Future[object]") -> Fault:
    with pytest.raises(EngineFailed) as caught:
        await work
    return caught.value.fault


class TestManagedPublisher(PublisherContract):
    @pytest.fixture(autouse=True)
    def _serve(self, web: Web) -> None:
        self.web = web
        self.asked = 0

    async def make(self) -> ManagedPublisher:
        return ManagedPublisher(self._grant, backoff_s=0.001)

    async def _grant(self, execution_id: str, name: str) -> tuple[str, str]:
        self.asked += 1
        key = f"j-1/{execution_id}/{name}"
        return f"{self.web.url}/api/v1/objects/{key}?signature={self.asked}", key

    def spec(self) -> SpecConfig:
        return SpecConfig(type="managed")

    async def archive(self, result: SpecConfig) -> bytes:
        assert result.type == "managed"
        data = self.web.uploads[f"/api/v1/objects/{result.param('Key')}"]
        assert result.param("Size") == len(data)
        assert result.param("SHA256") == hashlib.sha256(data).hexdigest()
        return data

    async def test_each_try_has_a_fresh_url(self, publisher: Publisher, results: Path) -> None:
        self.web.refusals = [503, 500]
        self.web.upload_cuts = [1000]
        result = await publisher.publish(EXECUTION, self.spec(), results)
        assert contents(await self.archive(result)) == FILES
        assert [seen.path.partition("=")[2] for seen in self.web.seen] == ["1", "2", "3", "4"]

    async def test_the_tries_end(self, publisher: Publisher, results: Path) -> None:
        self.web.refusals = [503] * 50
        with pytest.raises(EngineFailed) as caught:
            await publisher.publish(EXECUTION, self.spec(), results)
        assert (caught.value.fault.kind, caught.value.fault.code) == (
            FaultKind.TRANSIENT,
            "UploadFailed",
        )
        assert self.asked == ATTEMPTS

    @pytest.mark.parametrize(
        ("status", "code", "kind"),
        [(403, "UploadRefused", FaultKind.TRANSIENT), (413, "ResultsTooLarge", FaultKind.USER),
         (429, "ResultsTooLarge", FaultKind.USER)],
    )  # fmt: skip
    async def test_a_refusal_is_not_asked_again(
        self, publisher: Publisher, results: Path, status: int, code: str, kind: FaultKind
    ) -> None:
        self.web.refusals = [status]
        with pytest.raises(EngineFailed, match="refused") as caught:
            await publisher.publish(EXECUTION, self.spec(), results)
        assert (caught.value.fault.code, caught.value.fault.kind) == (code, kind)
        assert self.asked == 1

    async def test_other_bytes_than_were_sent_are_not_accepted(
        self, publisher: Publisher, results: Path
    ) -> None:
        self.web.lie = "0" * 64
        with pytest.raises(EngineFailed, match="keeps other bytes"):
            await publisher.publish(EXECUTION, self.spec(), results)

    async def test_what_cannot_travel_is_named(self, publisher: Publisher, results: Path) -> None:
        (results / "out" / "passwd").symlink_to("/etc/passwd")
        result = await publisher.publish(EXECUTION, self.spec(), results)
        left_out = result.param("LeftOut")
        assert len(left_out) == 1
        assert "out/passwd" in left_out[0]

    async def test_no_url_is_the_fault_of_whoever_gives_none(self, results: Path) -> None:
        fault = Fault(kind=FaultKind.TRANSIENT, code="OrchestratorSilent", message="no answer")

        async def silent(execution_id: str, name: str) -> tuple[str, str]:
            raise EngineFailed(fault)

        with pytest.raises(EngineFailed) as caught:
            await ManagedPublisher(silent).publish(EXECUTION, self.spec(), results)
        assert caught.value.fault == fault

    async def test_a_cancelled_upload_ends_at_once(self, results: Path) -> None:
        begun, over = asyncio.Event(), asyncio.Event()

        async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            begun.set()
            await over.wait()
            writer.transport.abort()

        async with await asyncio.start_server(hold, "127.0.0.1", 0) as server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/x"

            async def grant(execution_id: str, name: str) -> tuple[str, str]:
                return url, "key"

            task = asyncio.create_task(
                ManagedPublisher(grant).publish(EXECUTION, self.spec(), results)
            )
            await begun.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            over.set()


# Single files


async def test_a_file_is_uploaded_as_it_is(web: Web, tmp_path: Path) -> None:
    path = tmp_path / "stdout"
    path.write_bytes(DATA)
    sent = await upload(web.url + "/log", path)
    assert web.uploads["/log"] == DATA
    assert sent == (len(DATA), hashlib.sha256(DATA).hexdigest())
    assert web.seen[0].headers["content-length"] == str(len(DATA))


async def test_an_empty_file_is_uploaded_too(web: Web, tmp_path: Path) -> None:
    (tmp_path / "stderr").touch()
    assert (await upload(web.url + "/log", tmp_path / "stderr")).size == 0
    assert web.uploads["/log"] == b""


async def test_a_cut_upload_is_tried_again(web: Web, tmp_path: Path) -> None:
    path = tmp_path / "stdout"
    path.write_bytes(DATA)
    web.upload_cuts = [0, 300_000]
    await upload(web.url + "/log", path, backoff_s=0.001)
    assert web.uploads["/log"] == DATA


async def test_a_file_that_is_gone_is_a_fault(web: Web, tmp_path: Path) -> None:
    fault = await refused(asyncio.ensure_future(upload(web.url + "/log", tmp_path / "gone")))
    assert fault.code == "ResultsUnreadable"


@pytest.mark.parametrize("url", ["", "ftp://x/", "http://"])
async def test_a_url_that_leads_nowhere_is_a_fault(url: str, tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    fault = await refused(asyncio.ensure_future(upload(url, tmp_path / "x")))
    assert fault.code == "UploadRefused"


async def test_an_orchestrator_that_is_gone_is_transient(tmp_path: Path) -> None:
    with Web() as gone:
        url = gone.url + "/log"
    (tmp_path / "x").touch()
    work = asyncio.ensure_future(upload(url, tmp_path / "x", backoff_s=0.001))
    fault = await refused(work)
    assert (fault.kind, fault.code) == (FaultKind.TRANSIENT, "UploadFailed")
    assert "reachable" in fault.hint

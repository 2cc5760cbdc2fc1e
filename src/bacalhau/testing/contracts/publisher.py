"""What every publisher must do. Subclass PublisherContract in a test module of the plug-in.

The suite needs pytest and pytest-asyncio (mode auto).
"""

import io
import os
import tarfile
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bacalhau.model.errors import EngineFailed
from bacalhau.model.execution import Execution
from bacalhau.model.job import SpecConfig
from bacalhau.ports.publisher import Publisher

EXECUTION = Execution(id="e-1", job_id="j-1", job_version=1, namespace="default", node_id="n-1")
FILES = {
    "stdout": b"hello\n",
    "stderr": b"",
    "exitCode": b"0",
    "out/table.csv": b"a,b\n1,2\n",
    "out/deep/er/large.bin": bytes(range(256)) * 8192,
    "out/caf\u00e9 \U0001f41f": b"names are text",
}


class PublisherContract(ABC):
    """`archive` gets back what a result refers to, as tar.gz; None when nothing is kept."""

    keeps = True
    """False for a publisher that keeps nothing, and so need not look at the directory."""

    @abstractmethod
    async def make(self) -> Publisher: ...

    @abstractmethod
    def spec(self) -> SpecConfig: ...

    @abstractmethod
    async def archive(self, result: SpecConfig) -> bytes | None: ...

    async def release(self, publisher: Publisher) -> None:
        """Free what `make` took."""
        return

    @pytest.fixture
    async def publisher(self) -> AsyncIterator[Publisher]:
        made = await self.make()
        yield made
        await self.release(made)

    @pytest.fixture
    def results(self, tmp_path: Path) -> Path:
        directory = tmp_path / "results"
        for name, data in FILES.items():
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        (directory / "empty").mkdir()
        return directory

    async def test_the_name_is_lower_case_and_it_works_here(self, publisher: Publisher) -> None:
        assert publisher.name == publisher.name.lower() != ""
        assert await publisher.probe()
        assert not publisher.check(self.spec())

    async def test_what_is_published_is_what_was_there(
        self, publisher: Publisher, results: Path
    ) -> None:
        result = await publisher.publish(EXECUTION, self.spec(), results)
        data = await self.archive(result)
        if data is not None:
            assert contents(data) == FILES
            assert "empty" in names(data)

    async def test_publishing_twice_is_harmless(self, publisher: Publisher, results: Path) -> None:
        first = await publisher.publish(EXECUTION, self.spec(), results)
        again = await publisher.publish(EXECUTION, self.spec(), results)
        assert first == again
        data = await self.archive(again)
        assert data is None or contents(data) == FILES

    async def test_links_are_never_followed(
        self, publisher: Publisher, results: Path, tmp_path: Path
    ) -> None:
        secret = tmp_path / "secret"
        secret.write_bytes(b"not yours")
        (results / "out" / "stolen").symlink_to(secret)
        (results / "all").symlink_to(tmp_path)
        (results / "out" / "latest").symlink_to("table.csv")
        os.mkfifo(results / "out" / "pipe")
        data = await self.archive(await publisher.publish(EXECUTION, self.spec(), results))
        if data is not None:
            assert contents(data) == FILES
            assert not {"out/stolen", "all", "out/pipe"} & names(data)
            assert "out/latest" in names(data)

    async def test_a_directory_that_is_gone_is_a_fault(
        self, publisher: Publisher, tmp_path: Path
    ) -> None:
        if not self.keeps:
            return
        with pytest.raises(EngineFailed) as caught:
            await publisher.publish(EXECUTION, self.spec(), tmp_path / "nowhere")
        assert caught.value.fault.code


def contents(archive: bytes) -> dict[str, bytes]:
    """The regular files of a tar.gz."""
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
        files = (member for member in tar.getmembers() if member.isreg())
        return {file.name: _data(tar, file) for file in files}


def names(archive: bytes) -> set[str]:
    """All entries of a tar.gz."""
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
        return set(tar.getnames())


def _data(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    assert file is not None
    return file.read()

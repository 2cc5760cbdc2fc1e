"""What every object store must do. Subclass ObjectsContract in a test module of the plug-in.

The suite needs pytest and pytest-asyncio (mode auto).
"""

import asyncio
import hashlib
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bacalhau.model.errors import Limit, NotFound, Rejected
from bacalhau.ports.objects import Objects

KEY = "j-1/e-1/results.tar.gz"
BAD_KEYS = (
    "", "/", "..", "../x", "a/../../x", "/etc/passwd", "a//b", "a/./b", ".part/x", "a/b\n", "a\0b",
    "a\\b", "a/.hidden", "x" * 300, "/".join("abcdefghijkl"),
)  # fmt: skip


async def chunks(*pieces: bytes) -> AsyncIterator[bytes]:
    """A body."""
    for piece in pieces:
        yield piece


async def broken(*pieces: bytes) -> AsyncIterator[bytes]:
    """A body that fails half-way."""
    for piece in pieces:
        yield piece
    raise ConnectionResetError("cut")


async def read(objects: Objects, key: str, offset: int = 0) -> bytes:
    _, body = await objects.get(key, offset)
    return b"".join([chunk async for chunk in body])


class ObjectsContract(ABC):
    """`make` twice with the same place opens the same store again."""

    @abstractmethod
    async def make(self, place: Path) -> Objects: ...

    @pytest.fixture
    async def objects(self, tmp_path: Path) -> Objects:
        return await self.make(tmp_path / "store")

    async def test_what_was_put_can_be_got(self, objects: Objects) -> None:
        put = await objects.put(KEY, chunks(b"hello ", b"", b"world"), 0)
        assert (put.key, put.size) == (KEY, 11)
        assert put.sha256 == hashlib.sha256(b"hello world").hexdigest()
        info, body = await objects.get(KEY)
        assert info == put
        assert b"".join([chunk async for chunk in body]) == b"hello world"

    async def test_an_empty_object_is_an_object(self, objects: Objects) -> None:
        assert (await objects.put(KEY, chunks(), 1)).size == 0
        assert await read(objects, KEY) == b""

    async def test_it_survives_a_new_start(self, objects: Objects, tmp_path: Path) -> None:
        put = await objects.put(KEY, chunks(b"kept"), 0)
        again = await self.make(tmp_path / "store")
        assert await again.list("") == (put,)
        assert await read(again, KEY) == b"kept"

    @pytest.mark.parametrize("offset", [0, 1, 299_999, 300_000, 400_000])
    async def test_an_offset_leaves_out_that_many_bytes(
        self, objects: Objects, offset: int
    ) -> None:
        data = bytes(range(250)) * 1200
        await objects.put(KEY, chunks(data), 0)
        assert await read(objects, KEY, offset) == data[offset:]

    async def test_a_body_beyond_the_limit_is_refused(self, objects: Objects) -> None:
        with pytest.raises(Limit):
            await objects.put(KEY, chunks(b"12345", b"6"), 5)
        assert await objects.list("") == ()
        assert (await objects.put(KEY, chunks(b"12345"), 5)).size == 5

    async def test_a_body_that_fails_leaves_the_old_state(self, objects: Objects) -> None:
        for old in (None, b"old"):
            if old is not None:
                await objects.put(KEY, chunks(old), 0)
            with pytest.raises(Exception, match="cut"):
                await objects.put(KEY, broken(b"half"), 0)
            if old is None:
                with pytest.raises(NotFound):
                    await objects.get(KEY)
            else:
                assert await read(objects, KEY) == old

    async def test_a_cancelled_put_leaves_the_old_state(self, objects: Objects) -> None:
        await objects.put(KEY, chunks(b"old"), 0)
        begun = asyncio.Event()

        async def endless() -> AsyncIterator[bytes]:
            yield b"new"
            begun.set()
            await asyncio.Event().wait()

        task = asyncio.create_task(objects.put(KEY, endless(), 0))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await read(objects, KEY) == b"old"
        assert len(await objects.list("")) == 1

    async def test_a_put_replaces_and_readers_keep_what_they_opened(self, objects: Objects) -> None:
        await objects.put(KEY, chunks(b"old"), 0)
        _, body = await objects.get(KEY)
        await objects.put(KEY, chunks(b"newer"), 0)
        assert b"".join([chunk async for chunk in body]) == b"old"
        assert await read(objects, KEY) == b"newer"

    async def test_of_concurrent_puts_one_wins_whole(self, objects: Objects) -> None:
        bodies = [bytes([number]) * 100_000 for number in range(8)]
        await asyncio.gather(*(objects.put(KEY, chunks(body), 0) for body in bodies))
        assert await read(objects, KEY) in bodies
        assert len(await objects.list("")) == 1

    async def test_what_is_not_there_is_not_found(self, objects: Objects) -> None:
        await objects.put(KEY, chunks(b""), 0)
        for key in ("j-1/e-1/stdout", "j-1/e-1", "j-1", "j-2/e/x", KEY + "/below"):
            with pytest.raises(NotFound):
                await objects.get(key)

    @pytest.mark.parametrize("key", BAD_KEYS, ids=repr)
    async def test_no_key_leaves_the_store(self, objects: Objects, key: str) -> None:
        with pytest.raises(Rejected):
            await objects.put(key, chunks(b"x"), 0)
        with pytest.raises(Rejected):
            await objects.get(key)
        with pytest.raises(Rejected):
            await objects.delete(key)

    async def test_lists_and_deletes_go_by_whole_components(self, objects: Objects) -> None:
        keys = ["j-1/e-1/stderr", "j-1/e-1/stdout", "j-1/e-2/stdout", "j-10/e-1/stdout"]
        for key in keys:
            await objects.put(key, chunks(key.encode()), 0)
        assert [info.key for info in await objects.list("")] == keys
        assert [info.key for info in await objects.list("j-1")] == keys[:3]
        assert [info.key for info in await objects.list("j-1/e-1/")] == keys[:2]
        assert [info.key for info in await objects.list(keys[0])] == keys[:1]
        assert await objects.list("j-3") == ()
        assert await objects.delete("j-1/e-1") == 2
        assert await objects.delete("j-1/e-1") == 0
        assert await objects.delete("j-1") == 1
        assert [info.key for info in await objects.list("")] == keys[3:]

    async def test_deleting_while_putting_ends_in_one_of_the_two(self, objects: Objects) -> None:
        async def churn(number: int) -> None:
            for _ in range(10):
                await objects.put(f"j-1/e-{number}/x", chunks(b"x"), 0)
                await objects.delete(f"j-1/e-{number}")

        await asyncio.gather(*(churn(number) for number in range(4)))
        assert await objects.list("") == ()

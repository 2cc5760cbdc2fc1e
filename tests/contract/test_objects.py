"""The object store on a disk keeps the contract, and shows no half of anything."""

from pathlib import Path

import pytest

from bacalhau.model.errors import Unavailable
from bacalhau.stores.objects import DiskObjects
from bacalhau.testing.contracts.objects import KEY, ObjectsContract, chunks, read


class TestDiskObjects(ObjectsContract):
    async def make(self, place: Path) -> DiskObjects:
        return DiskObjects(place)

    async def test_nothing_is_left_of_what_a_crash_interrupted(self, tmp_path: Path) -> None:
        root = tmp_path / "store"
        objects = DiskObjects(root)
        await objects.put(KEY, chunks(b"kept"), 0)
        (root / ".part" / "half").write_bytes(b"ha")
        again = DiskObjects(root)
        assert list((root / ".part").iterdir()) == []
        assert await read(again, KEY) == b"kept"

    async def test_a_delete_takes_the_empty_directories_along(self, tmp_path: Path) -> None:
        root = tmp_path / "store"
        objects = DiskObjects(root)
        await objects.put(KEY, chunks(b"x"), 0)
        await objects.delete(KEY)
        assert [path.name for path in root.iterdir()] == [".part"]

    async def test_a_damaged_file_is_told_from_an_object_and_can_be_deleted(
        self, tmp_path: Path
    ) -> None:
        root = tmp_path / "store"
        objects = DiskObjects(root)
        await objects.put(KEY, chunks(b"x" * 100), 0)
        with (root / KEY).open("r+b") as file:
            file.truncate(70)
        with pytest.raises(Unavailable, match="damaged"):
            await objects.get(KEY)
        assert [(info.key, info.sha256) for info in await objects.list("j-1")] == [(KEY, "")]
        assert await objects.delete("j-1") == 1

    async def test_a_disk_that_fails_is_unavailable(self, tmp_path: Path) -> None:
        root = tmp_path / "store"
        objects = DiskObjects(root)
        (root / "j-1").write_bytes(b"a file where a directory belongs")
        with pytest.raises(Unavailable, match="cannot be stored"):
            await objects.put(KEY, chunks(b"x"), 0)

    async def test_others_on_the_machine_cannot_look_inside(self, tmp_path: Path) -> None:
        root = tmp_path / "store"
        await DiskObjects(root).put(KEY, chunks(b"x"), 0)
        assert root.stat().st_mode & 0o077 == 0
        assert (root / KEY).stat().st_mode & 0o077 == 0

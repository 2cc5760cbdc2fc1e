"""Local inputs: what the owner shares, by real paths, and nothing else."""

import os
import socket
from pathlib import Path

import pytest

from bacalhau.model.errors import EngineFailed, Rejected
from bacalhau.model.execution import Fault, FaultKind
from bacalhau.model.job import SpecConfig
from bacalhau.ports.source import Fetched
from bacalhau.sources.local import LocalDirectorySource, LocalSource
from bacalhau.testing.contracts.source import SourceContract


def spec(path: object, **params: object) -> SpecConfig:
    return SpecConfig(type="local", params={"SourcePath": str(path), **params})


async def fetch(source: LocalSource, wanted: SpecConfig) -> Fetched:
    return await source.fetch(wanted, Path("/nonexistent"), lambda *_: None)


async def refused(source: LocalSource, wanted: SpecConfig) -> Fault:
    with pytest.raises(EngineFailed) as caught:
        await fetch(source, wanted)
    with pytest.raises(EngineFailed):
        await source.size(wanted)
    return caught.value.fault


class TestLocalSource(SourceContract):
    in_place = True
    missing_kind = FaultKind.TRANSIENT

    @pytest.fixture(autouse=True)
    def _share(self, tmp_path: Path) -> None:
        self.shared = tmp_path / "shared"
        (self.shared / "deep").mkdir(parents=True)
        (self.shared / "a.txt").write_bytes(b"a")
        (self.shared / "deep" / "b").write_bytes(b"b")

    async def make(self) -> LocalSource:
        return LocalSource(allow=(f"{self.shared}/**",))

    def good(self) -> SpecConfig:
        return spec(self.shared)

    def content(self) -> dict[str, bytes]:
        return {"a.txt": b"a", "deep/b": b"b"}

    def missing(self) -> SpecConfig:
        return spec(self.shared / "nothing")

    def invalid(self) -> SpecConfig:
        return spec("relative/path")


async def test_an_empty_list_offers_nothing(tmp_path: Path) -> None:
    assert not await LocalSource().probe()
    assert await LocalSource(("/data",)).probe()
    assert (await refused(LocalSource(), spec(tmp_path))).code == "PathNotAllowed"


def test_the_older_name_is_the_same_source() -> None:
    assert LocalDirectorySource(("/data",)).name == "localdirectory"


@pytest.mark.parametrize("entry", ["data", "/a/../b", "/a/[", "/{a", "", ":rw", "/" + "x" * 5000])
def test_an_entry_that_is_no_pattern_stops_the_node(entry: str) -> None:
    with pytest.raises(Rejected, match="AllowListedLocalPaths"):
        LocalSource((entry,))


# Ways out


async def test_neither_dots_nor_links_lead_out(tmp_path: Path) -> None:
    shared, secret = tmp_path / "shared", tmp_path / "secret"
    shared.mkdir()
    secret.mkdir()
    (secret / "key").write_bytes(b"x")
    (shared / "to-file").symlink_to(secret / "key")
    (shared / "to-dir").symlink_to(secret)
    (shared / "to-root").symlink_to("/")
    source = LocalSource((f"{shared}/**:rw",))
    for path in ("../secret", "to-file", "to-dir", "to-dir/key", "to-root/etc", "./../secret/key"):
        fault = await refused(source, spec(f"{shared}/{path}"))
        assert (fault.kind, fault.code) == (FaultKind.TRANSIENT, "PathNotAllowed")
        assert "AllowListedLocalPaths" in fault.hint


async def test_what_is_not_shared_looks_the_same_whether_it_is_there(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("/etc")
    source = LocalSource(("/shared/**",))
    for name in ("there", "not-there", "link"):
        fault = await refused(source, spec(tmp_path / name))
        assert fault.code == "PathNotAllowed"
        assert fault.message.endswith(str(tmp_path / name))


async def test_a_link_within_what_is_shared_is_given_as_its_real_path(tmp_path: Path) -> None:
    (tmp_path / "v2").mkdir()
    (tmp_path / "latest").symlink_to("v2")
    fetched = await fetch(LocalSource((f"{tmp_path}/**",)), spec(tmp_path / "latest"))
    assert fetched.path == os.path.realpath(tmp_path / "v2")


async def test_the_owner_may_share_a_link_itself(tmp_path: Path) -> None:
    disk = tmp_path / "disk [1]"
    (disk / "data").mkdir(parents=True)
    (tmp_path / "mnt").symlink_to(disk)
    source = LocalSource((f"{tmp_path}/mnt/**",))
    assert (await fetch(source, spec(tmp_path / "mnt/data"))).path == str(disk.resolve() / "data")
    assert (await fetch(source, spec(tmp_path / "mnt"))).path == str(disk.resolve())


async def test_a_path_that_became_a_link_since_is_refused(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "x").mkdir()
    source = LocalSource((f"{shared}/**",))
    assert await source.size(spec(shared / "x")) == 0
    (shared / "x").rmdir()
    (shared / "x").symlink_to("/etc")
    assert (await refused(source, spec(shared / "x"))).code == "PathNotAllowed"


async def test_sockets_and_devices_are_refused(tmp_path: Path) -> None:
    source = LocalSource(("/**:rw",))
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        here = os.open(tmp_path, os.O_RDONLY)
        server.bind(f"/proc/self/fd/{here}/engine.sock")
        os.close(here)
        for path in (tmp_path / "pipe", tmp_path / "engine.sock", "/dev/null"):
            assert "neither a file nor" in (await refused(source, spec(path))).message


# Reading and writing


async def test_read_only_is_the_default_and_writing_needs_an_entry(tmp_path: Path) -> None:
    (tmp_path / "ro").mkdir()
    (tmp_path / "rw").mkdir()
    source = LocalSource((f"{tmp_path}/ro", f"{tmp_path}/rw:rw"))
    assert (await fetch(source, spec(tmp_path / "ro"))).read_only
    assert (await fetch(source, spec(tmp_path / "rw"))).read_only
    assert not (await fetch(source, spec(tmp_path / "rw", ReadWrite=True))).read_only
    assert not (await fetch(source, spec(tmp_path / "rw", ReadWrite="true"))).read_only
    fault = await refused(source, spec(tmp_path / "ro", ReadWrite=True))
    assert (fault.code, "write" in fault.message) == ("PathNotAllowed", True)


@pytest.mark.parametrize("kind", ["dir", "file", "DIR"])
async def test_create_as_makes_what_is_missing(tmp_path: Path, kind: str) -> None:
    source = LocalSource((f"{tmp_path}/**:rw",))
    wanted = spec(tmp_path / "new" / "er", ReadWrite=True, CreateAs=kind)
    for _ in range(2):  # what is there already is left alone
        fetched = await fetch(source, wanted)
        assert Path(fetched.path).is_file() == (kind == "file")
    assert not fetched.read_only


async def test_create_as_needs_permission_to_write(tmp_path: Path) -> None:
    source = LocalSource((f"{tmp_path}/**",))
    assert source.check(spec(tmp_path / "x", CreateAs="dir"))
    wanted = spec(tmp_path / "x", CreateAs="dir", ReadWrite=True)
    assert (await refused(source, wanted)).code == "PathNotAllowed"
    assert not (tmp_path / "x").exists()


async def test_nothing_is_created_behind_a_link_that_leads_out(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "shared" / "link").symlink_to(tmp_path / "other")
    (tmp_path / "shared" / "dangling").symlink_to(tmp_path / "other" / "new")
    source = LocalSource((f"{tmp_path}/shared/**:rw",))
    for name in ("link/new", "dangling", "dangling/new"):
        wanted = spec(tmp_path / "shared" / name, ReadWrite=True, CreateAs="dir")
        assert (await refused(source, wanted)).code == "PathNotAllowed"
    assert list((tmp_path / "other").iterdir()) == []


async def test_what_cannot_be_created_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    source = LocalSource((f"{tmp_path}/**:rw",))
    wanted = spec(tmp_path / "file" / "below", ReadWrite=True, CreateAs="dir")
    with pytest.raises(EngineFailed, match="cannot be created"):
        await fetch(source, wanted)


@pytest.mark.parametrize(
    "params",
    [{}, {"SourcePath": 5}, {"SourcePath": "/a\0b"}, {"SourcePath": "/a", "ReadWrite": 1},
     {"SourcePath": "/a", "CreateAs": "link"}, {"SourcePath": "/a", "CreateAs": 3},
     {"SourcePath": "/a", "CreateAs": "dir"}],
    ids=str,
)  # fmt: skip
def test_each_bad_param_is_named(params: dict[str, object]) -> None:
    assert len(LocalSource(("/a",)).check(SpecConfig(type="local", params=params))) == 1

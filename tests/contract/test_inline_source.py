"""Inline inputs: data: URLs become files and directories, and never anything outside."""

import base64
import gzip
import io
import tarfile
from pathlib import Path
from urllib.parse import quote_from_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bacalhau.model.errors import EngineFailed
from bacalhau.model.job import SpecConfig
from bacalhau.sources.inline import InlineSource, decode
from bacalhau.testing.contracts.source import SourceContract, tree


def packed(files: dict[str, bytes], links: dict[str, str] | None = None) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            member.mode = 0o755 if name.endswith(".sh") else 0o644
            tar.addfile(member, io.BytesIO(data))
        for name, target in (links or {}).items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            tar.addfile(member)
    return buffer.getvalue()


def url(data: bytes, media_type: str = "") -> SpecConfig:
    text = f"data:{media_type};base64,{base64.b64encode(data).decode()}"
    return SpecConfig(type="inline", params={"URL": text})


def archive(data: bytes) -> SpecConfig:
    return url(data, "application/gzip")


class TestPlain(SourceContract):
    async def make(self) -> InlineSource:
        return InlineSource()

    def good(self) -> SpecConfig:
        return url(b"hello\0world")

    def content(self) -> dict[str, bytes]:
        return {"": b"hello\0world"}

    def missing(self) -> SpecConfig:
        return url(b"not a gzip", "application/gzip")

    def invalid(self) -> SpecConfig:
        return SpecConfig(type="inline", params={"URL": "data:;base64,%%%"})


class TestArchive(TestPlain):
    FILES = {"a.txt": b"a", "deep/b.bin": bytes(100_000), "run.sh": b"#!/bin/sh\n"}

    def good(self) -> SpecConfig:
        return archive(packed(self.FILES))

    def content(self) -> dict[str, bytes]:
        return self.FILES

    async def test_links_that_stay_inside_stay_links(self, directory: Path) -> None:
        source = archive(packed(self.FILES, {"deep/link": "../a.txt", "gone": "nowhere"}))
        fetched = await (await self.make()).fetch(source, directory, lambda *_: None)
        assert (Path(fetched.path) / "deep/link").read_bytes() == b"a"
        assert (Path(fetched.path) / "gone").readlink() == Path("nowhere")

    async def test_programs_stay_programs(self, directory: Path) -> None:
        fetched = await (await self.make()).fetch(self.good(), directory, lambda *_: None)
        assert (Path(fetched.path) / "run.sh").stat().st_mode & 0o777 == 0o755
        assert (Path(fetched.path) / "a.txt").stat().st_mode & 0o777 == 0o644


BAD = {
    "leads out": packed({"../evil": b""}),
    "absolute": packed({"/etc/evil": b""}),
    "leads out of the archive, to": packed({}, {"link": "/etc"}),
    "comes twice": packed({"a": b"1", "./a": b"2"}),
    "lies below": packed({"a": b"1", "a/b": b"2"}),
    "unpacks to more than": packed({"big": bytes(2_000_000)}),
    "more than 100 entries": packed({f"f{n}": b"" for n in range(101)}),
    "cut short": packed({"a": bytes(100_000)})[:-20],
    "damaged": packed({"a": b"data"})[:-8] + b"\1" * 8,
    "not a readable": gzip.compress(b"a"),
}  # fmt: skip


@pytest.mark.parametrize("reason", BAD)
async def test_a_bad_archive_is_refused_whole(reason: str, tmp_path: Path) -> None:
    source = InlineSource(max_size=1_000_000, max_entries=100)
    with pytest.raises(EngineFailed, match=reason) as caught:
        await source.fetch(archive(BAD[reason]), tmp_path, lambda *_: None)
    assert caught.value.fault.code == "InputInvalid"
    assert list(tmp_path.iterdir()) == []


@given(st.binary(max_size=2000))
async def test_random_bytes_never_give_more_than_a_fault(data: bytes) -> None:
    with pytest.raises(EngineFailed):
        await InlineSource().size(archive(data))
    with pytest.raises(EngineFailed):
        await InlineSource().size(archive(b"\x1f\x8b\x08" + data))


@given(st.binary(max_size=500), st.sampled_from(["", "text/plain", "a/b;charset=utf-8"]))
def test_what_was_encoded_is_decoded(data: bytes, media_type: str) -> None:
    encoded = base64.b64encode(data).decode()
    spellings = (f";base64,{encoded}", f";base64,{quote_from_bytes(encoded.encode(), safe='')}",
                 f";base64,{encoded.rstrip('=')}", f",{quote_from_bytes(data)}")  # fmt: skip
    for spelling in spellings:
        assert decode(f"data:{media_type}{spelling}").data == data


@given(st.text(max_size=200))
def test_any_text_is_decoded_or_refused_with_a_reason(text: str) -> None:
    for given_url in (text, f"data:{text}", f"data:;base64,{text}"):
        reasons = InlineSource().check(SpecConfig(type="inline", params={"URL": given_url}))
        assert not reasons or len(reasons[0]) > 10


async def test_a_full_disk_is_the_nodes_fault(tmp_path: Path) -> None:
    with pytest.raises(EngineFailed) as caught:
        await InlineSource().fetch(url(b"x"), tmp_path / "gone", lambda *_: None)
    assert caught.value.fault.code == "DiskFailed"


def test_the_tree_of_a_file_is_its_content(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"1")
    assert tree(tmp_path / "x") == {"": b"1"}

"""What -i, -o, -p, -l and modules mean."""

import base64
import gzip
import io
import re
import tarfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bacalhau.cli.pack import PACK_LIMIT, pack, pack_module
from bacalhau.cli.values import (
    parse_input,
    parse_label,
    parse_output,
    parse_publisher,
    split_storage,
)
from bacalhau.model.job import InputSource, ResultPath, SpecConfig


def no_pack(path: str) -> SpecConfig:
    return SpecConfig(type="packed", params={"path": path})


@pytest.mark.parametrize(
    ("text", "kind", "params", "target"),
    [
        ("ipfs://QmX", "ipfs", {"CID": "QmX"}, "/inputs"),
        ("ipfs://QmX:/data", "ipfs", {"CID": "QmX"}, "/data"),
        ("https://h/x.csv", "urlDownload", {"URL": "https://h/x.csv"}, "/inputs"),
        ("https://h/x.csv:/in", "urlDownload", {"URL": "https://h/x.csv"}, "/in"),
        ("http://h:8080/x", "urlDownload", {"URL": "http://h:8080/x"}, "/inputs"),
        ("http://h:8080/x:/in", "urlDownload", {"URL": "http://h:8080/x"}, "/in"),
        ("https://h/x?a=b:/in", "urlDownload", {"URL": "https://h/x?a=b"}, "/in"),
        ("src=https://h:1/x?a=b,dst=/in", "urlDownload", {"URL": "https://h:1/x?a=b"}, "/in"),
        ('"src=https://h/x?a=1,2",target=/in', "urlDownload", {"URL": "https://h/x?a=1,2"}, "/in"),
        ("s3://b/k/*", "s3", {"Bucket": "b", "Key": "k/*"}, "/inputs"),
        ("s3://b", "s3", {"Bucket": "b", "Key": ""}, "/inputs"),
        ("src=s3://b/k,dst=/in,opt=region=eu,opt=version-id=3", "s3",
         {"Bucket": "b", "Key": "k", "Region": "eu", "VersionID": "3"}, "/in"),
        ("s3://b/k:/in,option=endpoint=http://h:9000,opt=filter=a=b", "s3",
         {"Bucket": "b", "Key": "k", "Endpoint": "http://h:9000", "Filter": "a=b"}, "/in"),
        ("s3://b/k,opt=Checksum_256=x", "s3",
         {"Bucket": "b", "Key": "k", "ChecksumSHA256": "x"}, "/inputs"),
        ("file:///data:/in", "local", {"SourcePath": "/data"}, "/in"),
        ("file:///data,opt=rw=true", "local", {"SourcePath": "/data", "ReadWrite": True},
         "/inputs"),
        ("SRC=file:///data,Destination=/in,opt=read_write=F", "local",
         {"SourcePath": "/data", "ReadWrite": False}, "/in"),
        ("./data:/in", "packed", {"path": "./data"}, "/in"),
        ("/data", "packed", {"path": "/data"}, "/inputs"),
    ],
)  # fmt: skip
def test_an_input_is_read(text: str, kind: str, params: dict[str, Any], target: str) -> None:
    found = parse_input(text, no_pack)
    assert found.source == SpecConfig(type=kind, params=params)
    assert found.target == target
    assert found.alias == split_storage(text).uri


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("git://h/x", "git:// is not a kind of input"),
        ("s3:///k", "names no bucket"),
        ("s3://b/k,opt=colour=red", "s3:// has no option colour; it has endpoint"),
        ("https://h/x,opt=a=b", "https:// has no option a"),
        ("s3://b/k,opt=region", "must look like opt=key=value"),
        ("s3://b/k,region=eu", "region=eu is not one of src=, dst=, opt="),
        ("dst=/in", "has no source"),
        ("", "has no source"),
        ("file://data:/in", "not absolute"),
        ("file:///d,opt=rw=often", "rw=often must be true or false"),
        ('s3://b/"k"', "a double quote inside"),
    ],
)
def test_what_is_wrong_with_an_input_is_said(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        parse_input(text, no_pack)


@given(st.text(max_size=60))
def test_any_text_is_an_input_or_a_reason(text: str) -> None:
    try:
        found: InputSource | str = parse_input(text, no_pack)
    except ValueError as error:
        found = str(error)
    assert found


@pytest.mark.parametrize(
    ("text", "kind", "params"),
    [
        ("managed", "managed", {}),
        ("IPFS", "ipfs", {}),
        ("local", "local", {}),
        ("local://", "local", {}),
        ("s3managed", "s3managed", {}),
        ("s3://b/k/{jobID}", "s3", {"bucket": "b", "key": "k/{jobID}"}),
        ("s3://b/k,opt=region=eu,opt=endpoint=http://h", "s3",
         {"bucket": "b", "key": "k", "region": "eu", "endpoint": "http://h"}),
        ("dst=s3://b/k,option=region=eu", "s3", {"bucket": "b", "key": "k", "region": "eu"}),
    ],
)  # fmt: skip
def test_a_publisher_is_read(text: str, kind: str, params: dict[str, str]) -> None:
    assert parse_publisher(text) == SpecConfig(type=kind, params=params)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("ftp://h", "'ftp://h' is not a publisher; there are managed"),
        ("http", "is not a publisher"),
        ("s3://b", "must look like s3://bucket/key"),
        ("local,opt=a=b", "publisher local takes no options"),
        ("local,a=b", "a=b is not one of dst=, opt=key=value"),
    ],
)
def test_what_is_wrong_with_a_publisher_is_said(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        parse_publisher(text)


def test_outputs_and_labels_are_read() -> None:
    assert parse_output("out:/outputs") == ResultPath(name="out", path="/outputs")
    assert parse_label("a=b=c") == ("a", "b=c")
    assert parse_label("a") == ("a", "")


@pytest.mark.parametrize("text", ["", "out", "out:", ":/o", "a:b:/c"])
def test_outputs_need_a_name_and_a_path(text: str) -> None:
    with pytest.raises(ValueError, match="must look like name:/path"):
        parse_output(text)


# Local files


def content(source: SpecConfig, media_type: str) -> bytes:
    head, _, body = source.params["URL"].partition(",")
    assert (source.type, head) == ("inline", f"data:{media_type};base64")
    return base64.b64decode(body)


def names_in(archive: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(archive))) as found:
        return sorted(found.getnames())


def test_a_small_file_travels_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"hello\n")
    packed = pack(str(tmp_path / "a.txt"))
    assert content(packed, "application/octet-stream") == b"hello\n"


def test_a_small_directory_travels_as_an_archive_that_is_always_the_same(tmp_path: Path) -> None:
    (tmp_path / "d" / "sub").mkdir(parents=True)
    (tmp_path / "d" / "sub" / "x").write_bytes(b"1")
    (tmp_path / "d" / "y").write_bytes(b"2")
    packed = pack(str(tmp_path / "d"))
    assert names_in(content(packed, "application/gzip")) == ["sub", "sub/x", "y"]
    assert pack(str(tmp_path / "d")) == packed


def test_large_or_missing_data_is_refused_with_the_way_for_data_on_the_node(
    tmp_path: Path,
) -> None:
    (tmp_path / "big").write_bytes(bytes(PACK_LIMIT + 1))
    with pytest.raises(ValueError, match=r"1048577 bytes.*file:///absolute/path:/target"):
        pack(str(tmp_path / "big"))
    with pytest.raises(ValueError, match=r"1048577 bytes"):
        pack(str(tmp_path))
    with pytest.raises(ValueError, match="does not exist on this machine"):
        pack(str(tmp_path / "gone"))


def test_modules_up_to_512_bytes_travel_plain_and_larger_ones_compressed(tmp_path: Path) -> None:
    small, large = tmp_path / "s.wasm", tmp_path / "l.wasm"
    small.write_bytes(bytes(512))
    large.write_bytes(bytes(2_000_000))
    assert content(pack_module(str(small)), "application/octet-stream") == bytes(512)
    assert names_in(content(pack_module(str(large)), "application/gzip")) == ["l.wasm"]

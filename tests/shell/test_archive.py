"""Packing results: all that can travel, nothing from elsewhere, the same bytes each time."""

import os
import socket
from pathlib import Path

import pytest

from bacalhau.core.tarball import MAX_DEPTH
from bacalhau.model.errors import EngineFailed
from bacalhau.publishers import archive
from bacalhau.publishers.archive import pack, survey
from bacalhau.testing.contracts.publisher import contents, names


def packed(directory: Path) -> bytes:
    return b"".join(pack(directory, survey(directory).items))


def test_the_same_tree_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("b", "a", "c"):
        (tmp_path / name).write_bytes(name.encode())
    first = packed(tmp_path)
    assert first == packed(tmp_path)
    assert list(contents(first)) == ["a", "b", "c"]


def test_an_empty_directory_is_an_archive_without_entries(tmp_path: Path) -> None:
    assert names(packed(tmp_path)) == set()


def test_names_of_any_bytes_and_any_length_travel(tmp_path: Path) -> None:
    odd = [b"caf\xc3\xa9", b"\xff\xfe raw", b"new\nline", b" ", b"-rf", b"x" * 255]
    for name in odd:
        (Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))).write_bytes(name)
    found = {os.fsencode(name): data for name, data in contents(packed(tmp_path)).items()}
    assert found == {name: name for name in odd}


def test_what_cannot_travel_is_left_out_and_named(tmp_path: Path) -> None:
    (tmp_path / "kept").write_bytes(b"x")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "absolute").symlink_to("/etc/passwd")
    (tmp_path / "up").symlink_to("../..")
    (tmp_path / "sly").symlink_to("kept/../../x")
    (tmp_path / "loop").symlink_to("loop")
    with socket.socket(socket.AF_UNIX) as server:
        here = os.open(tmp_path, os.O_RDONLY)
        server.bind(f"/proc/self/fd/{here}/socket")
        os.close(here)
        found = survey(tmp_path)
    assert [item.name for item in found.items] == ["kept", "loop"]
    assert len(found.left_out) == 5
    for name in ("pipe", "socket", "absolute", "up", "sly"):
        assert any(f"'{name}'" in reason for reason in found.left_out)


def test_a_directory_deeper_than_any_client_takes_is_left_out(tmp_path: Path) -> None:
    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(MAX_DEPTH + 100):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    found = survey(tmp_path)
    assert len(found.items) == MAX_DEPTH
    assert len(found.left_out) == 1
    assert len(packed(tmp_path)) > 0


def test_hard_links_and_holes_are_plain_files(tmp_path: Path) -> None:
    with (tmp_path / "hole").open("wb") as file:
        file.truncate(3_000_000)
    os.link(tmp_path / "hole", tmp_path / "twin")
    data = packed(tmp_path)
    assert len(data) < 100_000
    assert contents(data) == {"hole": bytes(3_000_000), "twin": bytes(3_000_000)}


def test_programs_stay_programs_and_nothing_more(tmp_path: Path) -> None:
    (tmp_path / "run").write_bytes(b"")
    (tmp_path / "run").chmod(0o4777)
    (tmp_path / "data").write_bytes(b"")
    (tmp_path / "data").chmod(0o666)
    assert [(item.name, item.mode) for item in survey(tmp_path).items] == [
        ("data", 0o644),
        ("run", 0o755),
    ]


def test_more_than_the_limits_is_refused_before_packing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).write_bytes(bytes(100))
    assert survey(tmp_path, limit=300).size == 300
    with pytest.raises(EngineFailed, match="more than 299 bytes"):
        survey(tmp_path, limit=299)
    monkeypatch.setattr(archive, "MAX_ENTRIES", 2)
    with pytest.raises(EngineFailed, match="more than 2 files"):
        survey(tmp_path)


def test_a_file_that_became_a_link_since_is_not_followed(tmp_path: Path) -> None:
    results, secret = tmp_path / "results", tmp_path / "secret"
    (results / "dir").mkdir(parents=True)
    secret.mkdir()
    for place in (results / "dir", secret):
        (place / "file").write_bytes(b"x" * 10)
    items = survey(results).items
    (results / "dir" / "file").unlink()
    (results / "dir" / "file").symlink_to(secret / "file")
    with pytest.raises(EngineFailed, match="dir/file"):
        list(pack(results, items))
    (results / "dir" / "file").unlink()
    (results / "dir").rmdir()
    (results / "dir").symlink_to(secret)
    with pytest.raises(EngineFailed, match="dir/file"):
        list(pack(results, items))


def test_a_file_that_shrank_is_a_fault_and_one_that_grew_is_cut(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"12345")
    items = survey(tmp_path).items
    (tmp_path / "f").write_bytes(b"123456789")
    assert contents(b"".join(pack(tmp_path, items))) == {"f": b"12345"}
    (tmp_path / "f").write_bytes(b"123")
    with pytest.raises(EngineFailed, match="became shorter"):
        list(pack(tmp_path, items))


def test_packing_half_way_leaves_no_descriptor_open(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(os.urandom(3_000_000))
    items = survey(tmp_path).items
    before = len(os.listdir("/proc/self/fd"))
    chunks = pack(tmp_path, items)
    next(chunks)
    assert len(os.listdir("/proc/self/fd")) > before
    chunks.close()
    assert len(os.listdir("/proc/self/fd")) == before

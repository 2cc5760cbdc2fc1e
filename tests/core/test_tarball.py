"""Reading archives that somebody else made: safe names, bounded sizes, or a reason."""

import gzip
import io
import posixpath
import tarfile
from collections.abc import Callable
from typing import TypeVar

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bacalhau.core.tarball import HEADER_BYTES, BadArchive, Bounds, Entry, clean, link, read

BOUNDS = Bounds(10_000, 50)
T = TypeVar("T")


def tar(*members: tuple[str, bytes, bytes | str]) -> bytes:
    """A plain tar of (name, type, content or link target)."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, kind, content in members:
            member = tarfile.TarInfo(name)
            member.type = kind
            if isinstance(content, str):
                member.linkname = content
            else:
                member.size = len(content)
            archive.addfile(member, io.BytesIO(content) if isinstance(content, bytes) else None)
    return buffer.getvalue()


def entries(plain: bytes, bounds: Bounds = BOUNDS) -> list[tuple[str, str, bytes]]:
    """All that comes out: name, kind, content or target."""
    stream = io.BytesIO(gzip.compress(plain, 1))
    return [_seen(entry) for entry in read(stream, bounds)]


def _seen(entry: Entry) -> tuple[str, str, bytes]:
    return entry.name, entry.kind, b"".join(entry.chunks) or entry.target.encode()


FILE, DIRECTORY, LINK = tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE


def test_directories_come_first_and_links_last() -> None:
    found = entries(tar((".", DIRECTORY, b""), ("l", LINK, "a/b"), ("./a/b", FILE, b"x")))
    assert found == [("a", "directory", b""), ("a/b", "file", b"x"), ("l", "link", b"a/b")]


def test_a_directory_may_be_named_again() -> None:
    found = entries(tar(("a/b", FILE, b""), ("a/", DIRECTORY, b""), ("a", DIRECTORY, b"")))
    assert [name for name, _, _ in found] == ["a", "a/b"]


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ([("/etc/passwd", FILE, b"")], "absolute"),
        ([("../up", FILE, b"")], "leads out"),
        ([("a/../../up", FILE, b"")], "leads out"),
        ([("a/..", DIRECTORY, b"")], "leads out"),
        ([(".", FILE, b"")], "root of the archive"),
        ([("./", LINK, "x")], "root of the archive"),
        ([("x" * 256, FILE, b"")], "longer name"),
        ([("/".join(["x" * 200] * 11), FILE, b"")], "longer name"),
        ([("/".join("x" * 129), FILE, b"")], "deep"),
        ([("a", FILE, b"1"), ("a", FILE, b"2")], "twice"),
        ([("a", FILE, b"1"), ("a", DIRECTORY, b"")], "twice"),
        ([("a", LINK, "b"), ("a", FILE, b"")], "twice"),
        ([("a", FILE, b"1"), ("a/b", FILE, b"2")], "lies below"),
        ([("a", LINK, "."), ("a/b", FILE, b"2")], "lies below"),
        ([("a/b", FILE, b"1"), ("a", LINK, "/")], "twice"),
        ([("a", LINK, "/etc")], "link 'a' leads out"),
        ([("a", LINK, "..")], "link 'a' leads out"),
        ([("d/a", LINK, "../../x")], "link 'd/a' leads out"),
        ([("a", LINK, "b/../..")], "link 'a' leads out"),
        ([("a", tarfile.LNKTYPE, "b")], "hard link"),
        ([("a", tarfile.CHRTYPE, b"")], "device"),
        ([("a", tarfile.FIFOTYPE, b"")], "device or a pipe"),
        ([("a", FILE, bytes(6000)), ("b", FILE, bytes(6000))], "more than 10000 bytes"),
        ([(f"{n}", FILE, b"") for n in range(51)], "more than 50 entries"),
        ([("a/b/c/d/e/f/g/" * 8 + "x", FILE, b"")], "more than 50 entries"),
    ],
)
def test_what_may_not_be_unpacked_has_a_reason(
    members: list[tuple[str, bytes, bytes | str]], reason: str
) -> None:
    with pytest.raises(BadArchive, match=reason):
        entries(tar(*members))


def test_an_endless_header_is_refused_before_it_fills_the_memory() -> None:
    name = tarfile.TarInfo("././@LongLink")
    name.type, name.size = tarfile.GNUTYPE_LONGNAME, 10**12
    plain = name.tobuf(tarfile.GNU_FORMAT) + bytes(HEADER_BYTES + 1_000_000)
    with pytest.raises(BadArchive, match="headers of more"):
        entries(plain)


def test_headers_that_only_announce_headers_are_refused() -> None:
    name = tarfile.TarInfo("x")
    name.type, name.size = tarfile.GNUTYPE_LONGNAME, 2
    with pytest.raises(BadArchive, match="makes no sense"):
        entries((name.tobuf() + b"n" + bytes(511)) * 1000)


def test_a_negative_size_is_refused() -> None:
    plain = bytearray(tar(("a", FILE, b"")))
    plain[124:136] = b"\xff" * 12
    member = tarfile.TarInfo.frombuf(_with_checksum(plain)[:512], "utf-8", "strict")
    assert member.size < 0
    with pytest.raises(BadArchive):
        entries(_with_checksum(plain))


def _with_checksum(plain: bytearray) -> bytes:
    plain[148:156] = b"%06o\0 " % tarfile.calc_chksums(bytes(plain[:512]))[0]
    return bytes(plain)


def test_a_bomb_is_refused_by_its_size() -> None:
    with pytest.raises(BadArchive, match="more than 10000 bytes"):
        entries(tar(("zeros", FILE, bytes(50_000_000))))


@pytest.mark.parametrize("keep", [0, 5, 100, 511, 513, 1100])
def test_a_short_archive_is_told_from_a_whole_one(keep: int) -> None:
    whole = gzip.compress(tar(("a", FILE, bytes(range(256)) * 4)))
    with pytest.raises(BadArchive):
        list(map(_seen, read(io.BytesIO(whole[: min(keep, len(whole) - 1)]), BOUNDS)))
    with pytest.raises(BadArchive):
        list(map(_seen, read(io.BytesIO(whole[:-1]), BOUNDS)))
    if keep > 0:
        with pytest.raises(BadArchive):
            entries(tar(("a", FILE, bytes(range(256)) * 4))[:keep])


_BASE = tar(
    ("dir", DIRECTORY, b""), ("dir/" + "n" * 150, FILE, b"data"), ("l", LINK, "dir"),
    ("caf\u00e9" * 30, FILE, b"pax"),
)  # fmt: skip


@settings(max_examples=300)
@given(st.lists(st.tuples(st.integers(0, len(_BASE) - 1), st.integers(0, 255)), max_size=6),
       st.booleans())  # fmt: skip
@example([], False)
def test_whatever_is_in_the_headers_names_stay_inside(
    changes: list[tuple[int, int]], repaired: bool
) -> None:
    plain = bytearray(_BASE)
    for at, value in changes:
        plain[at] = value
    if repaired:
        for at in range(0, len(plain) - 511, 512):
            block = bytes(plain[at : at + 512])
            if block[257:262] == b"ustar":
                plain[at + 148 : at + 156] = b"%06o\0 " % tarfile.calc_chksums(block)[0]
    found = _taken(lambda: entries(bytes(plain))) or []
    assert all(_is_inside(name) for name, _, _ in found)
    assert len({name for name, _, _ in found}) == len(found)


def _is_inside(name: str) -> bool:
    return not name.startswith("/") and ".." not in name.split("/") and name not in ("", ".")


@given(st.binary(max_size=600))
def test_random_bytes_give_nothing(data: bytes) -> None:
    for stream in (data, gzip.compress(data)):
        assert not _taken(lambda stream=stream: list(map(_seen, read(io.BytesIO(stream), BOUNDS))))


_TEXT = st.text(st.sampled_from("a/.\\\0 "), max_size=12)


@given(_TEXT, _TEXT)
def test_a_link_that_is_taken_stays_inside_whatever_it_passes(name: str, target: str) -> None:
    for accept in (lambda: clean(name), lambda: link(clean(name), target)):
        taken = _taken(accept)
        if taken is None:
            return
    lexical = posixpath.normpath(posixpath.join(posixpath.dirname(clean(name)), target))
    assert lexical != ".."
    assert not lexical.startswith(("/", "../"))


def _taken(accept: Callable[[], T]) -> T | None:
    """What comes out, or None when it is refused with a reason."""
    try:
        return accept()
    except BadArchive as error:
        return None if str(error) else pytest.fail("no reason")

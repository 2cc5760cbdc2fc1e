"""Results on the user's disk: unpacked inside their directory, merged without loss."""

import io
import tarfile
from pathlib import Path

import pytest

from bacalhau.client.unpack import RAW, merge, unpack
from bacalhau.core.tarball import Bounds
from bacalhau.model.errors import Conflict, Rejected
from bacalhau.publishers.archive import pack, survey
from bacalhau.testing.contracts.source import tree


def make(directory: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return directory


def parts(target: Path, *executions: dict[str, str]) -> list[Path]:
    return [make(target / RAW / f"e-{n}", files) for n, files in enumerate(executions)]


ONE = {"stdout": "one\n", "stderr": "", "exitCode": "0", "out/a.csv": "1"}
TWO = {"stdout": "two\n", "stderr": "!", "exitCode": "0", "out/b.csv": "2", "out/deep/c": "3"}


def test_what_a_node_packs_is_what_the_user_gets(tmp_path: Path) -> None:
    packed = make(tmp_path / "results", ONE)
    (packed / "empty").mkdir()
    (packed / "out" / "latest").symlink_to("a.csv")
    (packed / "out" / "a.csv").chmod(0o755)
    data = b"".join(pack(packed, survey(packed).items))
    unpack(io.BytesIO(data), tmp_path / "target" / RAW / "e-1")
    got = tmp_path / "target" / RAW / "e-1"
    assert tree(got) == tree(packed)
    assert (got / "empty").is_dir()
    assert (got / "out" / "latest").readlink() == Path("a.csv")
    assert (got / "out" / "a.csv").stat().st_mode & 0o777 == 0o755


def test_a_bad_archive_leaves_nothing(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        archive.addfile(tarfile.TarInfo("good"))
        archive.addfile(tarfile.TarInfo("../evil"))
    with pytest.raises(Rejected, match="leads out") as caught:
        unpack(io.BytesIO(buffer.getvalue()), tmp_path / "x")
    assert caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_more_than_the_bound_is_refused(tmp_path: Path) -> None:
    packed = make(tmp_path / "results", {"stdout": "x" * 1000})
    data = b"".join(pack(packed, survey(packed).items))
    with pytest.raises(Rejected, match="more than 999 bytes"):
        unpack(io.BytesIO(data), tmp_path / "x", Bounds(999))
    assert not (tmp_path / "x").exists()


def test_an_existing_directory_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    with pytest.raises(Conflict, match="exists"):
        unpack(io.BytesIO(b""), tmp_path / "x")
    assert (tmp_path / "x").is_dir()


# Merging


def test_one_execution_is_merged_as_it_is(tmp_path: Path) -> None:
    merge(parts(tmp_path, ONE), tmp_path)
    assert _top(tmp_path) == {name: text.encode() for name, text in ONE.items()}


def test_several_executions_follow_each_other(tmp_path: Path) -> None:
    given = parts(tmp_path, ONE, TWO)
    (given[1] / "empty" / "inner").mkdir(parents=True)
    merge(given, tmp_path)
    assert _top(tmp_path) == {
        "stdout": b"one\ntwo\n",
        "stderr": b"!",
        "exitCode": b"0\n0\n",
        "out/a.csv": b"1",
        "out/b.csv": b"2",
        "out/deep/c": b"3",
    }
    assert (tmp_path / "empty" / "inner").is_dir()
    assert tree(tmp_path / RAW) == {}


@pytest.mark.parametrize(
    ("first", "second", "name"),
    [
        ({"out/a": "1"}, {"out/a": "2"}, "out/a"),
        ({"out/a": "1"}, {"out": "2"}, "out"),
        ({"out": "1"}, {"out/a": "2"}, "out"),
        ({"stdout/a": "1"}, {"stdout": "2"}, "stdout"),
        ({"deep/stdout": "1"}, {"deep/stdout": "2"}, "deep/stdout"),
    ],
)
def test_names_that_collide_are_told_before_anything_is_touched(
    tmp_path: Path, first: dict[str, str], second: dict[str, str], name: str
) -> None:
    given = parts(tmp_path, first, second)
    before = tree(tmp_path)
    with pytest.raises(Conflict, match=f"'{name}'") as caught:
        merge(given, tmp_path)
    assert "--raw" in caught.value.hint
    assert tree(tmp_path) == before


def test_links_of_the_same_name_collide_too(tmp_path: Path) -> None:
    given = parts(tmp_path, {"stdout": "1"}, {"stdout": "2"})
    for part in given:
        (part / "latest").symlink_to("stdout")
    with pytest.raises(Conflict, match="'latest'"):
        merge(given, tmp_path)


def test_what_is_in_the_target_already_is_never_overwritten(tmp_path: Path) -> None:
    make(tmp_path, {"stdout": "mine", "out/mine": "mine"})
    with pytest.raises(Conflict, match="'stdout'"):
        merge(parts(tmp_path, ONE), tmp_path)
    (tmp_path / "stdout").unlink()
    (tmp_path / "stderr").symlink_to("/nowhere")
    with pytest.raises(Conflict, match="'stderr'"):
        merge([tmp_path / RAW / "e-0"], tmp_path)
    (tmp_path / "stderr").unlink()
    merge([tmp_path / RAW / "e-0"], tmp_path)
    assert (tmp_path / "out" / "mine").read_text() == "mine"


def test_nothing_is_written_through_a_link_in_the_target(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "target" / "out").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Conflict, match="'out'"):
        merge(parts(tmp_path / "target", ONE), tmp_path / "target")
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_result_named_like_the_raw_directory_is_not_mixed_into_it(tmp_path: Path) -> None:
    with pytest.raises(Conflict, match=f"'{RAW}'"):
        merge(parts(tmp_path, {"raw/x": "1"}), tmp_path)


def _top(target: Path) -> dict[str, bytes]:
    return {name: data for name, data in tree(target).items() if not name.startswith(f"{RAW}/")}

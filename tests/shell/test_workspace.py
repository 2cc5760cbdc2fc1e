"""Work directories go, whatever a job left in them."""

import os
from pathlib import Path

from bacalhau.compute.workspace import cut, remove


def test_a_tree_deeper_than_python_can_follow_is_removed(tmp_path: Path) -> None:
    place = tmp_path / "e-1"
    place.mkdir()
    here = os.getcwd()
    try:
        os.chdir(place)
        for _ in range(3000):
            os.mkdir("d")
            os.chdir("d")
    finally:
        os.chdir(here)
    remove(place)
    assert not place.exists()


def test_closed_directories_pipes_and_dangling_links_are_removed(tmp_path: Path) -> None:
    place = tmp_path / "e-1"
    (place / "results" / "out" / "closed").mkdir(parents=True)
    (place / "results" / "out" / "closed" / "file").write_text("x")
    os.mkfifo(place / "results" / "out" / "pipe")
    (place / "results" / "out" / "link").symlink_to("nowhere")
    (place / "results" / "out" / "closed").chmod(0)
    (place / "results" / "out").chmod(0o500)
    remove(place)
    assert not place.exists()


def test_removing_what_is_not_there_is_fine(tmp_path: Path) -> None:
    remove(tmp_path / "nothing")


def test_a_link_in_a_work_directory_is_removed_and_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("x")
    place = tmp_path / "e-1"
    place.mkdir()
    (place / "link").symlink_to(outside)
    remove(place)
    assert not place.exists()
    assert (outside / "precious").exists()


def test_output_is_cut_at_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "stdout"
    path.write_bytes(b"x" * 10)
    assert cut(str(path), 10) == ("x" * 10, False)
    assert cut(str(path), 9) == ("x" * 9, True)
    assert cut(str(tmp_path / "absent"), 9) == ("", False)

"""Plays the scenarios of this directory. UPDATE_GOLDEN=1 writes what was decided."""

import os
from pathlib import Path

import pytest
from script import play

SCRIPTS = sorted(Path(__file__).parent.glob("*.txt"))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_the_core_decides_as_written(path: Path) -> None:
    text = path.read_text()
    played = play(text)
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(played)
    assert played == text

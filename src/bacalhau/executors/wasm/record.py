"""What an execution keeps in its own directory: its outcome, and private directories.

A run shorter than RECORD_AFTER_S is not recorded: writing costs as much as many a run, and
to do it again after a crash of the node in just that moment costs next to nothing.
"""

import os
import shutil
from pathlib import Path
from typing import Final

import msgspec

from bacalhau.executors.wasm.mounts import private_root
from bacalhau.executors.wasm.wire import decode_outcome, encode
from bacalhau.ports.executor import Outcome

RECORD_AFTER_S: Final = 0.1
NAME: Final = "outcome"


def write(directory: str, outcome: Outcome) -> bool:
    """Keep the outcome, whole or not at all; False when the disk does not let us."""
    place = Path(directory) / NAME
    partial = place.with_suffix(".partial")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(encode(outcome))
        partial.replace(place)
    except OSError:
        return False
    return True


def read(directory: str) -> Outcome | None:
    """The outcome that was kept, if any."""
    try:
        return decode_outcome((Path(directory) / NAME).read_bytes())
    except (OSError, msgspec.DecodeError):
        return None


def remove(directory: str) -> None:
    """Remove all that the engine may have put into the execution's directory."""
    place = Path(directory) / NAME
    place.unlink(missing_ok=True)
    place.with_suffix(".partial").unlink(missing_ok=True)
    remove_private(directory)


def remove_private(directory: str) -> None:
    """Remove the private directories; the files in them are links or copies."""
    root = private_root(directory)
    if os.path.lexists(root):
        shutil.rmtree(root, ignore_errors=True)

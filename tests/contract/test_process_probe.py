"""A probe that is cut off leaves nothing running."""

import asyncio
import os
import tempfile
from pathlib import Path

import pytest

from bacalhau.executors.process import ProcessExecutor


def holders(place: Path) -> set[int]:
    """Processes with an open file below that directory."""
    found = set()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            links = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
        except OSError:
            continue
        if int(pid) != os.getpid() and any(link.startswith(str(place)) for link in links):
            found.add(int(pid))
    return found


@pytest.mark.sandbox
@pytest.mark.parametrize("delay_ms", [0, 1, 3, 6, 10, 15, 25])
async def test_a_probe_that_is_cut_off_leaves_nothing_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, delay_ms: int
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    executor = ProcessExecutor()
    probe = asyncio.create_task(executor.probe())
    await asyncio.sleep(delay_ms / 1000)
    probe.cancel()
    await asyncio.gather(probe, return_exceptions=True)
    await executor.close()
    assert holders(tmp_path) == set()
    assert list(tmp_path.iterdir()) == []

"""A limit that a child process met, and its parent ignored, stands in the job's history."""

from pathlib import Path

import pytest

from bacalhau.client import AsyncClient
from bacalhau.testing.stack import stack

HOG = "python3 -c 'x = b\"a\" * (1 << 30)'; echo went on"


@pytest.mark.sandbox
async def test_children_killed_for_memory_are_told_although_the_program_went_on(
    tmp_path: Path,
) -> None:
    spec = {
        "Type": "batch",
        "Retry": {"Attempts": 1},
        "Tasks": [
            {
                "Name": "main",
                "Engine": {
                    "Type": "process",
                    "Params": {"Command": "sh", "Arguments": ["-c", HOG]},
                },
                "Resources": {"Memory": "100mb"},
            }
        ],
    }
    async with stack(tmp_path) as here, AsyncClient(here.url) as client:
        submitted = await client.submit(spec)
        job = await client.wait(submitted.job_id, timeout_s=30)
        assert job.state == "completed", job.message
        words = [event.message async for event in client.history(submitted.job_id)]
        [execution] = await client.executions(submitted.job_id)
        assert execution.output is not None
        if here.nodes[0].info.attributes["process.limits"] == "rlimits":
            assert "MemoryError" in execution.output.stderr  # refused, not killed
        else:
            assert any("killed at the memory limit" in word for word in words), words

"""A job does not get the node's network, and with it the node's API, unless the owner says so."""

from pathlib import Path

import pytest

from bacalhau.client import AsyncClient
from bacalhau.testing.stack import stack

SPEC = {
    "Type": "batch",
    "Retry": {"Attempts": 1},
    "Tasks": [
        {
            "Name": "main",
            "Engine": {"Type": "process", "Params": {"Command": "true"}},
            "Network": {"Type": "Host"},
        }
    ],
}


@pytest.mark.sandbox
@pytest.mark.parametrize(("allowed", "ends"), [(False, "failed"), (True, "completed")])
async def test_the_hosts_network_is_for_jobs_whose_nodes_owner_allows_it(
    tmp_path: Path, allowed: bool, ends: str
) -> None:
    settings = {"Engines.Types.Process.HostNetwork": allowed}
    async with stack(tmp_path, settings) as here, AsyncClient(here.url) as client:
        submitted = await client.submit(SPEC)
        job = await client.wait(submitted.job_id, timeout_s=30)
        assert job.state == ends, job.message
        if not allowed:
            assert "network" in job.message

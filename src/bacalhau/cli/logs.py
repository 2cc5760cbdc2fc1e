"""`bacalhau job logs`, and following the output of a job that was just submitted."""

import sys
import time
from typing import Any

from bacalhau.cli.call import Call
from bacalhau.cli.follow import TimeLimit, batches
from bacalhau.cli.job import named_job


def show_logs(call: Call) -> None:
    """What one execution writes or wrote, raw, stdout and stderr both on stdout."""
    flags = call.flags
    lines = call.client.logs(
        named_job(call),
        execution_id=flags["execution-id"],
        version=flags["version"],
        follow=flags["follow"],
        tail=flags["tail"],
    )
    for line in lines:
        sys.stdout.write(line.text)
        sys.stdout.flush()


def follow_output(call: Call, job_id: str, deadline: float) -> None:
    """Write what the job's executions write, one after the other, until the job has ended.

    Raises TimeLimit at the deadline.
    """
    seen: set[str] = set()
    for events in batches(call, job_id, 0, deadline):
        for event in events:
            execution_id = event.get("ExecutionID", "")
            if execution_id and execution_id not in seen and _has_output(event):
                seen.add(execution_id)
                _write(call, job_id, execution_id, deadline)


def _has_output(event: dict[str, Any]) -> bool:
    """Is this the event after which there may be output to read?"""
    what = event["Event"]
    fails = (what.get("Details") or {}).get("FailsExecution") == "true"
    return fails or (what["Topic"] == "Execution" and what["Message"] == "Running")


def _write(call: Call, job_id: str, execution_id: str, deadline: float) -> None:
    for line in call.client.logs(job_id, execution_id=execution_id, follow=True):
        sys.stdout.write(line.text)
        sys.stdout.flush()
        if time.monotonic() >= deadline:
            raise TimeLimit

"""`bacalhau job logs`, and following the output of a job that was just submitted."""

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bacalhau.cli.call import Call
from bacalhau.cli.follow import (
    LAST_POLL_S,
    PATIENCE_S,
    REASON_S,
    TimeLimit,
    batches,
    queue_reason,
)
from bacalhau.cli.job import named_job
from bacalhau.cli.style import safe
from bacalhau.model.errors import Unavailable


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

    Why it waits goes to stderr. Raises TimeLimit at the deadline, Unavailable.
    """
    seen: set[str] = set()
    with _limit(deadline):
        waiting = _Waiting(call, job_id)
        for events in batches(call, job_id, 0, deadline, waiting.say):
            for event in events:
                execution_id = event.get("ExecutionID", "")
                if execution_id and execution_id not in seen and _has_output(event):
                    seen.add(execution_id)
                    _write(call, job_id, execution_id)
                    waiting.again()


class _Waiting:
    """Says on stderr why a job waits, each reason once."""

    def __init__(self, call: Call, job_id: str) -> None:
        self._call, self._job_id = call, job_id
        self._said = ""
        self.again()

    def again(self) -> None:
        """Look later: there was something else to show just now."""
        self._due = time.monotonic() + REASON_S

    def say(self) -> None:
        if time.monotonic() < self._due:
            return
        self.again()
        reason = queue_reason(self._call, self._job_id)
        if reason and reason != self._said:
            print(f"Queued: {safe(reason)}", file=sys.stderr, flush=True)
        self._said = reason


@contextmanager
def _limit(deadline: float) -> Iterator[None]:
    """Raise TimeLimit at the deadline, also while a silent stream is being read."""
    if deadline == float("inf"):
        yield
        return

    def over(*_: object) -> None:
        raise TimeLimit

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, max(0.001, deadline - time.monotonic()))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _has_output(event: dict[str, Any]) -> bool:
    """Is this the event after which there may be output to read?"""
    what = event["Event"]
    fails = (what.get("Details") or {}).get("FailsExecution") == "true"
    return fails or (what["Topic"] == "Execution" and what["Message"] == "Running")


def _write(call: Call, job_id: str, execution_id: str) -> None:
    """All that an execution writes; a stream that breaks off is taken up where it was."""
    written = {1: 0, 2: 0}
    away = 0.0
    while True:
        skip = dict(written)
        try:
            for line in call.client.logs(job_id, execution_id=execution_id, follow=True):
                away = 0.0
                text = line.text[skip[line.source] :]
                skip[line.source] -= len(line.text) - len(text)
                written[line.source] += len(text)
                sys.stdout.write(text)
                sys.stdout.flush()
        except Unavailable:
            away = away or time.monotonic()
            if time.monotonic() - away > PATIENCE_S:
                raise
            time.sleep(LAST_POLL_S)
        else:
            return

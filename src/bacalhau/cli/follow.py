"""After a submission: show how the job goes until it ends, and say how it ended.

Services and daemons do not end: they are followed until they run.
"""

import sys
import time
from collections.abc import Iterator
from typing import Any

from bacalhau.cli.call import Call, segment
from bacalhau.cli.command import Problem
from bacalhau.cli.progress import Progress, is_endless
from bacalhau.cli.style import paint, safe, short_id
from bacalhau.model.errors import Unavailable

FIRST_POLL_S = 0.03
LAST_POLL_S = 0.5
"""Short jobs are seen to end at once, long ones cost the server two requests a second."""

PATIENCE_S = 120.0
"""How long a server may be away (a restart, say) before following gives up."""

REASON_S = 1.0
"""How often to ask why a job waits."""

PAGE = 1000


def follow(call: Call, job_id: str, version: int) -> int:
    """Go on after a submission as the flags say; the exit status: 1 when the job failed."""
    flags = call.flags
    if not flags["wait"]:
        print(job_id)
        return 0
    if flags["id-only"]:
        print(job_id, flush=True)
    try:
        if flags["follow"] and not flags["id-only"]:
            from bacalhau.cli.logs import follow_output

            print(f"Job successfully submitted. Job ID: {job_id}", file=sys.stderr)
            follow_output(call, job_id, _deadline(call))
        else:
            _follow_events(call, job_id, version)
    except KeyboardInterrupt:
        _say_goes_on(job_id, "\nThe job goes on.")
        return 1
    except TimeLimit:
        _say_goes_on(
            job_id, f"Job {job_id} has not ended after {flags['wait-timeout-secs']} s; it goes on."
        )
        return 1
    return _conclude(call, job_id)


class TimeLimit(Exception):
    """--wait-timeout-secs are over."""


def _follow_events(call: Call, job_id: str, version: int) -> None:
    quiet = call.flags["id-only"]
    if not quiet:
        print(f"Job successfully submitted. Job ID: {job_id}")
        print("Checking job status... (Enter Ctrl+C to stop following; the job goes on)\n")
        sys.stdout.flush()
    job = call.get(f"/orchestrator/jobs/{segment(job_id)}")["Job"]
    with Progress(job, quiet=quiet) as progress:
        asked = 0.0
        for events in batches(call, job_id, version, _deadline(call), progress.tick):
            progress.take(events)
            if is_endless(job) and progress.runs:
                return
            if not events and progress.waits and time.monotonic() - asked > REASON_S:
                asked = time.monotonic()
                progress.queued(queue_reason(call, job_id))


def queue_reason(call: Call, job_id: str) -> str:
    """Why the job waits; empty when it does not."""
    try:
        state = call.get(f"/orchestrator/jobs/{segment(job_id)}")["Job"]["State"]
    except Unavailable:
        return "the server does not answer"
    return str(state.get("Message", "")) if state["StateType"] == "Queued" else ""


def batches(
    call: Call, job_id: str, version: int, deadline: float, idle: Any = None
) -> Iterator[list[dict[str, Any]]]:
    """New events again and again until the job has ended. Raises TimeLimit, Unavailable.

    `idle` is called while there is nothing new.
    """
    token, pause, away = "", FIRST_POLL_S, 0.0
    while True:
        try:
            reply = call.get(
                f"/orchestrator/jobs/{segment(job_id)}/history",
                {"job_version": version, "limit": PAGE, "next_token": token},
            )
            away = 0.0
        except Unavailable:
            away = away or time.monotonic()
            if time.monotonic() - away > PATIENCE_S:
                _say_goes_on(job_id, "The server is gone for too long.")
                raise
            reply = {"Items": [], "NextToken": token or "again"}
        events = reply["Items"] or []
        yield events
        if not reply["NextToken"]:
            return
        token = "" if reply["NextToken"] == "again" else reply["NextToken"]
        pause = FIRST_POLL_S if events else min(pause * 1.5, LAST_POLL_S)
        if len(events) < PAGE:
            _sleep(min(pause, max(0.0, deadline - time.monotonic())), idle)
        if time.monotonic() >= deadline:
            raise TimeLimit


def _sleep(seconds: float, idle: Any) -> None:
    """Sleep in steps short enough for a line that moves."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        time.sleep(min(left, 0.1))
        if idle is not None:
            idle()


def _deadline(call: Call) -> float:
    limit = call.flags["wait-timeout-secs"]
    return time.monotonic() + limit if limit else float("inf")


def _conclude(call: Call, job_id: str) -> int:
    """Say how it ended, and what to look at next. Raises Problem when it did not complete."""
    job = call.get(f"/orchestrator/jobs/{segment(job_id)}")["Job"]
    state = job["State"]["StateType"]
    shows = not call.flags["id-only"]
    if call.flags["node-details"]:
        _show_by_node(call, job_id)
    if shows and not call.flags["follow"]:
        _hints(job)
    sys.stdout.flush()
    if state in ("Failed", "Stopped"):
        message = safe(job["State"].get("Message") or "")
        raise Problem(f"job {state.lower()}" + (f": {message}" if message else ""))
    return 0


def _hints(job: dict[str, Any]) -> None:
    short = short_id(job["ID"])
    publishes = (job["Tasks"][0].get("Publisher") or {}).get("Type")
    rows = [
        ("To see what it printed", f"bacalhau job logs {short}"),
        ("To see more about the job", f"bacalhau job describe {short}"),
        ("To see its executions", f"bacalhau job executions {short}"),
    ]
    if is_endless(job):
        rows.append(("To stop it", f"bacalhau job stop {short}"))
    elif publishes:
        rows.append(("To fetch the results", f"bacalhau job get {short}"))
    print()
    for what, command in rows:
        print(f"{what}:\n  {paint(command, 'bold', sys.stdout)}")


def _say_goes_on(job_id: str, first: str) -> None:
    short = short_id(job_id)
    print(
        f"{first}\nTo see it:  bacalhau job describe {short}\n"
        f"To stop it: bacalhau job stop {short}",
        file=sys.stderr,
    )


def _show_by_node(call: Call, job_id: str) -> None:
    """What the executions wrote, equal texts together."""
    reply = call.get(f"/orchestrator/jobs/{segment(job_id)}/executions")
    nodes: dict[str, list[str]] = {}
    for execution in reply["Items"] or []:
        nodes.setdefault(_said(execution), []).append(short_id(execution["NodeID"]))
    print("Job Results By Node:")
    for text, where in nodes.items():
        place = f"Node {where[0]}" if len(where) == 1 else _counted(where)
        print(f"• {place}: {safe(text).rstrip()}")


def _counted(where: list[str]) -> str:
    return f"{len(where)} runs on {len(set(where))} nodes"


def _said(execution: dict[str, Any]) -> str:
    output = execution.get("RunOutput") or {}
    if output.get("ErrorMsg"):
        return str(output["ErrorMsg"])
    if output.get("ExitCode"):
        return str(output.get("stderr", ""))
    return str(output.get("Stdout", ""))

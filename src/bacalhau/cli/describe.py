"""`bacalhau job describe`: all about one job, for people or as one object."""

import sys
import time
from typing import Any

from bacalhau.cli.call import Call, segment
from bacalhau.cli.job import event_moment, event_text, execution_state
from bacalhau.cli.style import STATES, paint, safe, short_id
from bacalhau.cli.table import moment, show_data, table

_SUMMARY = (
    "New", "AskForBid", "AskForBidAccepted", "AskForBidRejected", "BidAccepted", "Running",
    "Publishing", "BidRejected", "Completed", "Failed", "Cancelled",
)  # fmt: skip
MAX_SHOWN = 50
"""Executions shown in full; a job may have a million."""

_DESIRED = {0: "Pending", 1: "Running", 2: "Stopped"}


def describe_job(call: Call) -> None:
    path = f"/orchestrator/jobs/{segment(call.arguments[0])}"
    found = call.get(
        path,
        {
            "include": "executions,history",
            "job_version": call.flags["version"],
            "namespace": call.flags["namespace"],
        },
    )
    if call.flags["output"]:
        shown = {key: found[key] for key in ("Job", "Executions", "History") if key in found}
        show_data(shown, call.flags["output"], pretty=call.flags["pretty"])
        return
    executions = (found.get("Executions") or {}).get("Items") or []
    events = (found.get("History") or {}).get("Items") or []
    _show_job(found["Job"])
    _show_summary(executions)
    _show_events("Job History", [event for event in events if not event.get("ExecutionID")])
    _show_executions(executions)
    for execution in executions[-MAX_SHOWN:]:
        own = [event for event in events if event.get("ExecutionID") == execution["ID"]]
        _show_events(f"Execution {short_id(execution['ID'])} History", own)
    _show_output(executions)


def _heading(text: str) -> None:
    print("\n" + paint(text, "bold", sys.stdout))


def _show_job(job: dict[str, Any]) -> None:
    state = job["State"]["StateType"]
    rows = {
        "ID": job["ID"],
        "Name": job.get("Name", ""),
        "Namespace": job.get("Namespace", ""),
        "Type": job.get("Type", ""),
        "State": paint(state, STATES.get(state, ""), sys.stdout),
        "Message": safe(job["State"].get("Message") or ""),
        "Count": job.get("Count") if job.get("Type") in ("batch", "service") else "",
        "Created Time": moment(job.get("CreateTime", 0)),
        "Modified Time": moment(job.get("ModifyTime", 0)),
        "Version": job.get("Version", ""),
    }
    for key, value in rows.items():
        if value not in ("", None):
            indented = str(value).replace("\n", "\n" + " " * 16)
            print(f"{key:<13} = {indented}")


def _show_summary(executions: list[dict[str, Any]]) -> None:
    counts: dict[str, int] = {}
    for execution in executions:
        state = execution_state(execution)
        counts[state] = counts.get(state, 0) + 1
    if counts:
        _heading("Summary")
        for state in _SUMMARY:
            if state in counts:
                print(f"{state} = {counts[state]}")


def _show_events(title: str, events: list[dict[str, Any]]) -> None:
    if events:
        _heading(title)
        rows = [
            [event_moment(event["Time"]), event["Event"]["Topic"], safe(event_text(event["Event"]))]
            for event in events
        ]
        table(("Time", "Topic", "Event"), rows, (0, 0, 90))


def _show_executions(executions: list[dict[str, Any]]) -> None:
    if not executions:
        return
    _heading("Executions")
    now = time.time_ns()
    newest = sorted(executions, key=lambda one: -one.get("CreateTime", 0))[:MAX_SHOWN]
    rows = [
        [
            short_id(execution["ID"]),
            safe(short_id(execution.get("NodeID", ""))),
            execution_state(execution),
            _DESIRED.get((execution.get("DesiredState") or {}).get("StateType", 0), ""),
            str(execution.get("Revision", "")),
            age(now - execution.get("CreateTime", now)),
            age(now - execution.get("ModifyTime", now)),
            safe((execution.get("ComputeState") or {}).get("Message", "")),
        ]
        for execution in newest
    ]
    captions = ("ID", "Node ID", "State", "Desired", "Rev.", "Created", "Modified", "Comment")
    table(captions, rows, (0, 0, 0, 0, 0, 0, 0, 60))
    if len(executions) > MAX_SHOWN:
        print(f"... and {len(executions) - MAX_SHOWN} more: bacalhau job executions --limit 0")


def _show_output(executions: list[dict[str, Any]]) -> None:
    written = [one for one in executions if _texts(one)[0] or _texts(one)[1]][-MAX_SHOWN:]
    if not written:
        return
    _heading("Standard Output")
    for execution in written:
        if len(written) > 1:
            print(f"Execution {short_id(execution['ID'])}:")
        stdout, stderr = _texts(execution)
        for text in (stdout, stderr):
            if text:
                sys.stdout.write(safe(text) if text.endswith("\n") else safe(text) + "\n")
        output = execution["RunOutput"]
        if output.get("StdoutTruncated") or output.get("StderrTruncated"):
            print("...\nOutput truncated: `bacalhau job logs` shows all of it")


def _texts(execution: dict[str, Any]) -> tuple[str, str]:
    output = execution.get("RunOutput") or {}
    return str(output.get("Stdout") or ""), str(output.get("stderr") or "")


def age(nanoseconds: int) -> str:
    """`5m12s ago`."""
    left = max(0, nanoseconds // 10**9)
    if left < 1:
        return "now"
    parts = []
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        amount, left = divmod(left, length)
        if amount:
            parts.append(f"{amount}{unit}")
    return "".join(parts[:2]) + " ago"

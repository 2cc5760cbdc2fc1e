"""`bacalhau job`: the commands, and those that only look."""

import sys

from bacalhau.cli.call import Call, segment
from bacalhau.cli.command import Command, Flag
from bacalhau.cli.flags import NAMESPACE, RUN_TIME
from bacalhau.cli.style import paint, short_id
from bacalhau.cli.table import (
    OBJECT,
    OUTPUT,
    Column,
    clock_only,
    created,
    field,
    identity,
    listing,
    moment,
    show_rows,
)

TYPE_CHECKING = False  # typing is slow to import, see command.py
if TYPE_CHECKING:
    from typing import Any

MAX_PAGE = 1000
"""Rows that one request brings; `--limit 0` asks as often as needed."""

_VERSION = Flag("version", "uint", "Version of the job; 0: the latest.", short="v", word="number")
_ALL = Flag("all-versions", "bool", "All versions of the job.")

COMMANDS = (
    Command(
        "job run", "bacalhau.cli.run:run_file", "Run a job from a file or standard input.",
        arguments="[FILE]", most=-1,
        flags=(
            *RUN_TIME,
            Flag("dry-run", "bool", "Show what would change; submit nothing."),
            Flag("force", "bool", "Submit although nothing changed."),
            Flag("hide-warnings", "bool", "Do not print the server's warnings."),
            Flag("no-template", "bool", "Take the file literally."),
            Flag("template-vars", "texts", "Variable of the template.", short="V",
                 word="key=value"),
            Flag("template-envs", "text", "Which environment variables the template sees.",
                 short="E", word="regex"),
        ),
        details="The file is YAML or JSON, rendered as a template first. Without FILE the job is\n"
        "read from standard input. Exits 1 when the job fails.",
    ),
    Command(
        "job list", "bacalhau.cli.job:list_jobs", "List jobs, oldest first.",
        flags=(
            Flag("labels", "text", "Only jobs with these labels, e.g. team=a,env in (x,y).",
                 default="bacalhau_canary != true", word="selector"),
            *listing(10),
            *OUTPUT,
        ),
        details="Order by created_at or modified_at; --order-reversed shows the newest first.",
    ),
    Command("job describe", "bacalhau.cli.describe:describe_job", "Show all about a job.",
            arguments="ID|NAME", least=1, most=1, flags=(_VERSION, NAMESPACE, *OBJECT)),
    Command("job executions", "bacalhau.cli.job:list_executions", "List a job's executions.",
            arguments="ID|NAME", least=1, most=1,
            flags=(_VERSION, _ALL, NAMESPACE, *listing(20), *OUTPUT),
            details="Order by created_at or modified_at."),
    Command("job history", "bacalhau.cli.job:list_history", "List what happened to a job.",
            arguments="ID|NAME", least=1, most=1,
            flags=(
                Flag("event-type", "choice", "Which events.", choices=("all", "job", "execution"),
                     default="all"),
                Flag("execution-id", "text", "Only events of this execution.", word="id"),
                _VERSION, _ALL, NAMESPACE, *listing(0), *OUTPUT,
            )),
    Command("job versions", "bacalhau.cli.job:list_versions", "List a job's versions.",
            arguments="ID|NAME", least=1, most=1, flags=(NAMESPACE, *OUTPUT)),
    Command("job logs", "bacalhau.cli.logs:show_logs", "Print what a job writes, or wrote.",
            arguments="ID|NAME", least=1, most=1,
            flags=(
                Flag("execution-id", "text", "Of this execution.", short="e", word="id"),
                Flag("follow", "bool", "Go on until the execution ends.", short="f"),
                Flag("tail", "bool", "Only what is written from now on.", short="t"),
                _VERSION, NAMESPACE,
            )),
    Command("job get", "bacalhau.cli.results:get_results", "Fetch a job's results.",
            arguments="ID|NAME", least=1, most=1,
            flags=(
                Flag("output-dir", "text", "Existing directory to put them in.",
                     word="directory"),
                Flag("raw", "bool", "Keep each result as it came, in raw/."),
                Flag("download-timeout-secs", "text", "Longest time, such as 5m or 300s.",
                     default="5m", word="duration"),
                NAMESPACE,
            )),
    Command("job stop", "bacalhau.cli.job:stop_job", "Stop a job.",
            arguments="ID|NAME", least=1, most=1,
            flags=(Flag("quiet", "bool", "Print nothing."), NAMESPACE)),
    Command("job rerun", "bacalhau.cli.run:rerun", "Run a job again, as a new version.",
            arguments="ID|NAME", least=1, most=1, flags=(_VERSION, *RUN_TIME, NAMESPACE)),
    Command("job validate", "bacalhau.cli.run:validate", "Check a job file, without a server.",
            arguments="FILE", least=1, most=-1),
)  # fmt: skip


def list_jobs(call: Call) -> None:
    query = {"labels": call.flags["labels"]}
    rows, following = pages(call, "/orchestrator/jobs", query)
    show_rows(call, rows, _JOB)
    hint_more(call, following)


def list_executions(call: Call) -> None:
    path = f"/orchestrator/jobs/{segment(call.arguments[0])}/executions"
    rows, following = pages(call, path, versions_of(call))
    show_rows(call, rows, _EXECUTION)
    hint_more(call, following)


def list_history(call: Call) -> None:
    path = f"/orchestrator/jobs/{segment(call.arguments[0])}/history"
    query = {
        **versions_of(call),
        "event_type": call.flags["event-type"],
        "execution_id": call.flags["execution-id"],
    }
    rows, following = pages(call, path, query)
    show_rows(call, rows, _EVENT)
    # Bacalhau's token stays while a job runs: a page that is not full was the last for now.
    if following and call.flags["limit"] and len(rows) >= call.flags["limit"]:
        hint_more(call, following)


def list_versions(call: Call) -> None:
    path = f"/orchestrator/jobs/{segment(call.arguments[0])}/versions"
    reply = call.get(path, {"namespace": call.flags["namespace"]})
    show_rows(call, reply["Items"] or [], _VERSION_COLUMNS)


def stop_job(call: Call) -> None:
    """Stop it and print the evaluation's id; a job that was stopped before is no error."""
    job_id = named_job(call)
    evaluation = call.client.stop(job_id, reason="Stopped at user request")
    if call.flags["quiet"]:
        return
    if evaluation:
        print(evaluation)
    else:
        print(f"job {job_id} was stopped before", file=sys.stderr)


def named_job(call: Call) -> str:
    """The job that the first argument names; '' or - means: the first line of stdin."""
    given: str = call.arguments[0]
    return sys.stdin.readline().strip() if given in ("", "-") else given


def versions_of(call: Call) -> "dict[str, Any]":
    """The query for the versions that the flags mean."""
    return {
        "namespace": call.flags["namespace"],
        "job_version": call.flags["version"],
        "all_job_versions": call.flags["all-versions"],
    }


def pages(call: Call, path: str, query: "dict[str, Any]") -> "tuple[list[Any], str]":
    """Rows up to the limit (0: all there are now), and the token of what follows."""
    flags = call.flags
    rows: list[Any] = []
    token, limit = flags["next-token"], flags["limit"]
    while True:
        reply = call.get(
            path,
            {
                **query,
                "limit": min(limit - len(rows), MAX_PAGE) if limit else MAX_PAGE,
                "next_token": token,
                "order_by": flags["order-by"],
                "reverse": flags["order-reversed"],
            },
        )
        items = reply["Items"] or []
        rows += items
        token = reply["NextToken"]
        if not token or not items or (limit and len(rows) >= limit):
            return rows, token


def hint_more(call: Call, token: str) -> None:
    """Say on stderr how to see the rest: stdout is for scripts."""
    if token and call.flags["limit"]:
        words = " ".join([call.command.name, *call.arguments])
        print(
            f"\n{paint('There is more:', 'bold', sys.stderr)} "
            f"bacalhau {words} --limit {call.flags['limit']} --next-token {token}",
            file=sys.stderr,
        )


def execution_state(row: "Any") -> str:
    return _STATES.get((row.get("ComputeState") or {}).get("StateType", 0), "Undefined")


def event_text(event: "Any") -> str:
    """An event's message, with its hint on a line of its own."""
    details = event.get("Details") or {}
    text = str(event.get("Message", ""))
    if details.get("IsError") == "true":
        text = f"Error: {text}"
    return f"{text}\nHint: {details['Hint']}" if details.get("Hint") else text


def event_moment(text: str) -> str:
    """`2026-01-02T03:04:05.123Z` -> `2026-01-02 03:04:05`."""
    return text[:19].replace("T", " ")


def _engine(row: "Any") -> str:
    tasks = row.get("Tasks") or [{}]
    return str((tasks[0].get("Engine") or {}).get("Type", ""))


_STATES = {
    1: "New",
    2: "AskForBid",
    3: "AskForBidAccepted",
    4: "AskForBidRejected",
    5: "BidAccepted",
    6: "Running",
    7: "Publishing",
    8: "BidRejected",
    9: "Completed",
    10: "Failed",
    11: "Cancelled",
}
_DESIRED = {0: "Pending", 1: "Running", 2: "Stopped"}

_JOB = (
    created("created", "CreateTime"),
    identity("id", "ID"),
    Column("name", lambda row: row.get("Name", ""), brief=short_id, width=40),
    Column("job", _engine),
    field("type", "Type"),
    field("state", "State", "StateType"),
)
_EXECUTION = (
    created("Created", "CreateTime"),
    created("Modified", "ModifyTime"),
    identity("ID", "ID"),
    field("Job Version", "JobVersion"),
    identity("Node ID", "NodeID"),
    field("Rev.", "Revision"),
    Column("State", execution_state),
    Column(
        "Desired", lambda row: _DESIRED.get((row.get("DesiredState") or {}).get("StateType", 0), "")
    ),
)
_EVENT = (
    Column("Time", lambda row: event_moment(row["Time"]), brief=clock_only),
    field("Level", "Type"),
    field("Job Version", "JobVersion"),
    identity("Exec. ID", "ExecutionID"),
    field("Topic", "Event", "Topic"),
    Column("Event", lambda row: event_text(row["Event"]), width=90),
)
_VERSION_COLUMNS = (
    Column("Created At", lambda row: moment(row["ModifyTime"])),
    field("Job Version", "Version"),
)

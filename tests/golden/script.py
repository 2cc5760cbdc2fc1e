"""Scenarios of the scheduling core as text: commands, and after each `plan` what it decided.

    scenario TITLE                     a fresh cluster; time is 0 s
    node ID [cpu=N] [lookahead=N] [LABEL=VALUE ...] [engine=none] [off] [unapproved]
    job ID TYPE [count=N] [cpu=N] [priority=N] [attempts=N] [delay=S] [queue=S] [exec=S]
        [total=S] [where=KEY=VALUE] [wish=KEY=VALUE]
    update ID [the same]               a new version of the job
    stop ID
    on | off | gone | approve | reject NODE
    label NODE KEY=VALUE
    time SECONDS                       now
    EXECUTION running | completed | cancelled | failed KIND | declined
    plan                               decide, write, show; an execution is JOB.PARTITION#TRY

The lines that `plan` shows are indented. A test plays each script and compares the text.
"""

from collections.abc import Iterator
from typing import Any

from bacalhau.core import lifecycle, membership
from bacalhau.core.schedule import schedule
from bacalhau.model.base import evolve
from bacalhau.model.execution import Execution, Fault, FaultKind, Observed
from bacalhau.model.job import (
    Job,
    JobSpec,
    JobState,
    JobType,
    Requirement,
    Retry,
    SpecConfig,
    Task,
    Timeouts,
)
from bacalhau.model.message import Hello
from bacalhau.model.node import Connection, Membership, Node, NodeInfo
from bacalhau.model.plan import Plan
from bacalhau.model.resources import Resources, ResourcesConfig
from bacalhau.testing.snapshots import job_view, snapshot_of

NS = 1_000_000_000
START_NS = 1_000_000 * NS


def play(text: str) -> str:
    """The script with the lines after each `plan` written anew."""
    played: list[str] = []
    scene = Scene()
    for line in text.splitlines():
        if line.startswith("  "):
            continue
        played.append(line)
        words = line.split()
        if not words or line.startswith("#"):
            continue
        if words[0] == "scenario":
            scene = Scene()
        else:
            played += [f"  {shown}" for shown in scene.do(words)]
    return "\n".join(played) + "\n"


class Scene:
    """The rows of one scenario."""

    def __init__(self) -> None:
        self.now = START_NS
        self.nodes: dict[str, Node] = {}
        self.jobs: dict[str, Job] = {}
        self.executions: dict[str, Execution] = {}
        self.names: dict[str, str] = {}
        self.plans = 0

    def do(self, words: list[str]) -> list[str]:
        """Carry out one command; what it shows."""
        verb, *rest = words
        match verb:
            case "plan":
                return self.plan()
            case "node":
                self.nodes[rest[0]] = _node(rest)
            case "job":
                spec = _spec(rest[1:])
                self.jobs[rest[0]] = Job(
                    id=rest[0], spec=spec, create_time=self.now, modify_time=self.now,
                    version_time=self.now,
                )  # fmt: skip
            case "update":
                self.update(rest)
            case "stop":
                self.write_job(rest[0], state=JobState.STOPPED)
            case "time":
                self.now = START_NS + int(float(rest[0]) * NS)
            case "on" | "off" | "gone" | "approve" | "reject" | "label":
                self.change_node(verb, rest)
            case _:
                self.report(verb, rest)
        return []

    def update(self, words: list[str]) -> None:
        job = self.jobs[words[0]]
        self.write_job(
            words[0],
            spec=_spec([job.spec.type.value, *words[1:]]),
            state=JobState.PENDING,
            version=job.version + 1,
            version_time=self.now,
            queued_time=0,
            wake_time=0,
        )

    def write_job(self, job_id: str, **fields: Any) -> None:
        job = self.jobs[job_id]
        self.jobs[job_id] = evolve(job, revision=job.revision + 1, modify_time=self.now, **fields)

    def change_node(self, verb: str, words: list[str]) -> None:
        node = self.nodes[words[0]]
        match verb:
            case "on":
                row: Node | str = membership.hello(
                    node, Hello(info=node.info, boot_id="b"), self.now, manual_approval=False
                )
            case "off":
                row = membership.goodbye(node, self.now)
            case "gone":
                del self.nodes[node.id]
                return
            case "label":
                key, _, value = words[1].partition("=")
                labels = {**node.info.labels, key: value}
                row = evolve(node, info=evolve(node.info, labels=labels))
            case _:
                row = membership.decide(node, verb, "", self.now)
        assert isinstance(row, Node), row
        self.nodes[node.id] = row

    def report(self, name: str, words: list[str]) -> None:
        """The node's word on an execution."""
        stored = self.executions[self.names[name]]
        observed = Observed(words[0])
        fault = None
        if observed is Observed.FAILED:
            fault = Fault(kind=FaultKind(words[1]), code="Some", message="it failed")
        mine = [row for row in self.executions.values() if row.job_id == stored.job_id]
        view = job_view(self.jobs[stored.job_id], mine)
        row = lifecycle.observe(
            stored,
            evolve(
                stored,
                observed=observed,
                fault=fault,
                start_time=self.now if observed is Observed.RUNNING else 0,
            ),
            self.now,
            finite=view.job.spec.type.is_finite,
            filled=lifecycle.filled(view, stored),
        )
        assert row is not None, f"{name}: {stored.observed} -> {observed}"
        self.executions[row.id] = row

    def plan(self) -> list[str]:
        self.plans += 1
        plan = schedule(
            snapshot_of(
                list(self.nodes.values()),
                list(self.jobs.values()),
                list(self.executions.values()),
                now=self.now,
                seed=self.plans,
            )
        )
        shown = list(self.show(plan))
        self.jobs.update((job.id, job) for job in plan.change.jobs)
        self.executions.update((row.id, row) for row in plan.change.executions)
        return shown or ["nothing"]

    def show(self, plan: Plan) -> Iterator[str]:
        events = {event.execution_id: event for event in plan.change.events}
        for row in plan.change.executions:
            if row.revision == 1:
                version = f"v{row.job_version}." if row.job_version > 1 else ""
                name = f"{row.job_id}.{version}{row.partition}#{row.attempt}"
                self.names[name] = row.id
                yield f"{name} on {row.node_id}"
            else:
                name = next(key for key, value in self.names.items() if value == row.id)
                words = "settled" if row.is_settled else "lost" if row.lost else row.desired.value
                said = events[row.id].message if row.id in events else row.desired_message
                yield f"{name} {words}: {said}"
        for job in plan.change.jobs:
            yield from self.show_job(job, plan)

    def show_job(self, job: Job, plan: Plan) -> Iterator[str]:
        before = self.jobs[job.id]
        parts = []
        if job.state is not before.state:
            parts.append(job.state.value)
        if job.message and job.message != before.message:
            parts.append(f"({' / '.join(job.message.splitlines())})")
        if before.queued_time and not job.queued_time and not job.state.is_terminal:
            parts.append("no longer queued")
        if job.wake_time != before.wake_time and job.wake_time:
            parts.append(f"looks again at {(job.wake_time - START_NS) / NS:g} s")
        if parts:
            yield f"{job.id} {' '.join(parts)}"
        for event in plan.change.events:
            if event.job_id == job.id and not event.execution_id:
                details = {k: v for k, v in event.details.items() if k != "NewState"}
                first = event.message.splitlines()[0]
                yield f"{job.id} event {event.topic}: {first}{f' {details}' if details else ''}"


def _options(words: list[str]) -> dict[str, str]:
    return dict(word.split("=", 1) for word in words if "=" in word)


def _node(words: list[str]) -> Node:
    options = _options(words[1:])
    cpu = int(options.pop("cpu", "4")) * 1000
    lookahead = int(options.pop("lookahead", "0"))
    engine = options.pop("engine", "noop")
    return Node(
        id=words[0],
        info=NodeInfo(
            id=words[0],
            labels=options,
            engines=(engine,),
            capacity=Resources(cpu=cpu),
        ),
        lookahead=lookahead,
        boot_id="b",
        membership=Membership.PENDING if "unapproved" in words else Membership.APPROVED,
        connection=Connection.DISCONNECTED if "off" in words else Connection.CONNECTED,
    )


def _spec(words: list[str]) -> JobSpec:
    options = _options(words[1:])
    constraints = []
    for option, prefix in (("where", ""), ("wish", "favour_")):
        if option in options:
            key, _, value = options[option].partition("=")
            constraints.append(Requirement(key=prefix + key, operator="=", values=(value,)))
    return JobSpec(
        type=JobType(words[0]),
        count=int(options["count"]) if "count" in options else None,
        priority=int(options.get("priority", "0")),
        constraints=tuple(constraints),
        tasks=(
            Task(
                engine=SpecConfig(type="noop"),
                resources=ResourcesConfig(cpu=options.get("cpu", "1")),
                timeouts=Timeouts(
                    execution_timeout=int(options.get("exec", "0")),
                    queue_timeout=int(options.get("queue", "0")),
                    total_timeout=int(options.get("total", "0")),
                ),
            ),
        ),
        retry=Retry(
            attempts=int(options.get("attempts", "2")), delay=float(options.get("delay", "1"))
        ),
    )

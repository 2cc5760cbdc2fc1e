"""Jobs as Bacalhau's JSON."""

from typing import Any

import msgspec

from bacalhau.core.bind import bind, bind_job
from bacalhau.model.base import Record
from bacalhau.model.errors import Rejected
from bacalhau.model.job import (
    InputSource,
    Job,
    JobSpec,
    JobState,
    Network,
    Port,
    Retry,
    SpecConfig,
    Task,
    Timeouts,
)
from bacalhau.model.resources import ResourcesConfig

JSON = dict[str, Any]

_QUEUED = "Queued"
_NO_RETRY = Retry()


class State(Record, kw_only=True):
    """A job's state as it is sent."""

    state_type: str = ""
    message: str = ""
    details: dict[str, str] = {}


class Sent(Record, kw_only=True):
    """What a job has besides its spec, as it is sent."""

    id: str = ""
    state: State = State()
    version: int = 1
    revision: int = 1
    create_time: int = 0
    modify_time: int = 0


def job(job: Job, queued: str = "") -> JSON:
    """The job; `queued` is the reason why partitions of it wait, if any does."""
    view = spec(job.spec)
    count = 1 if job.spec.type.is_counted else 0
    return {
        "ID": job.id,
        **view,
        "Count": count if job.spec.count is None else job.spec.count,
        "State": _job_state(job, queued),
        "Version": job.version,
        "Revision": job.revision,
        "CreateTime": job.create_time,
        "ModifyTime": job.modify_time,
    }


def spec(spec: JobSpec) -> JSON:
    """The spec as clients send it; Count is null when nobody gave one."""
    view: JSON = {
        "Name": spec.name,
        "Namespace": spec.namespace,
        "Type": spec.type.value,
        "Priority": spec.priority,
        "Count": spec.count,
        "Constraints": [
            {"Key": one.key, "Operator": one.operator, "Values": list(one.values)}
            if one.values
            else {"Key": one.key, "Operator": one.operator}
            for one in spec.constraints
        ],
        "Meta": spec.meta,
        "Labels": spec.labels,
        "Tasks": [_task(task) for task in spec.tasks],
    }
    if spec.retry != _NO_RETRY:
        view["Retry"] = msgspec.to_builtins(spec.retry)
    return view


def spec_config(config: SpecConfig) -> JSON:
    """A plug-in's name and parameters; the latter only when there are any."""
    if config.params:
        return {"Type": config.type, "Params": config.params}
    return {"Type": config.type}


def parse_job(obj: object) -> Job:
    """The job of that view. A queued job is pending, with the reason as its message."""
    spec, given = bind_job(obj)
    sent = bind(Sent, given)
    word = sent.state.state_type.lower()
    if word in ("", _QUEUED.lower()):
        state = JobState.PENDING
    elif word in set(JobState):
        state = JobState(word)
    else:
        raise Rejected(f"State.StateType: unknown word {word[:60]!a}")
    if sent.state.details.get("Held"):
        state = JobState.HELD
    return Job(
        id=sent.id,
        spec=spec,
        state=state,
        message=sent.state.message,
        version=sent.version,
        revision=sent.revision,
        create_time=sent.create_time,
        modify_time=sent.modify_time,
    )


def _job_state(job: Job, queued: str) -> JSON:
    if queued and job.state in (JobState.PENDING, JobState.RUNNING):
        return {"StateType": _QUEUED, "Message": queued}
    held = job.state is JobState.HELD
    state: JSON = {"StateType": "Pending" if held else job.state.title()}
    if job.message:
        state["Message"] = job.message
    if held:
        state["Details"] = {"Held": "true"}
    return state


def _task(task: Task) -> JSON:
    view: JSON = {
        "Name": task.name,
        "Engine": spec_config(task.engine),
        "Publisher": spec_config(task.publisher),
    }
    if task.env:
        view["Env"] = task.env
    if task.meta:
        view["Meta"] = task.meta
    if task.input_sources:
        view["InputSources"] = [_input(one) for one in task.input_sources]
    if task.result_paths:
        view["ResultPaths"] = [{"Name": one.name, "Path": one.path} for one in task.result_paths]
    view["Resources"] = _resources_config(task.resources)
    view["Network"] = _network(task.network)
    view["Timeouts"] = _timeouts(task.timeouts)
    return view


def _input(one: InputSource) -> JSON:
    return {"Source": spec_config(one.source), "Alias": one.alias, "Target": one.target}


def _resources_config(config: ResourcesConfig) -> JSON:
    view = {"CPU": config.cpu, "Memory": config.memory, "Disk": config.disk, "GPU": config.gpu}
    return {key: amount for key, amount in view.items() if amount}


def _network(network: Network) -> JSON:
    view: JSON = {"Type": network.type.value}
    if network.domains:
        view["Domains"] = list(network.domains)
    if network.ports:
        view["Ports"] = [_port(port) for port in network.ports]
    return view


def _port(port: Port) -> JSON:
    view: JSON = {"Name": port.name}
    if port.static:
        view["Static"] = port.static
    if port.target:
        view["Target"] = port.target
    if port.host_network:
        view["HostNetwork"] = port.host_network
    return view


def _timeouts(timeouts: Timeouts) -> JSON:
    view = {
        "ExecutionTimeout": timeouts.execution_timeout,
        "QueueTimeout": timeouts.queue_timeout,
        "TotalTimeout": timeouts.total_timeout,
    }
    return {key: seconds for key, seconds in view.items() if seconds}

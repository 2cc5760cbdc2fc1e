"""Executions as Bacalhau's JSON."""

from typing import Any

import msgspec

from bacalhau.core.bind import bind
from bacalhau.core.wire.jobs import JSON, spec_config
from bacalhau.core.wire.jobs import job as job_view
from bacalhau.model.base import Record
from bacalhau.model.errors import Rejected
from bacalhau.model.execution import Desired, Execution, Fault, Observed, RunOutput
from bacalhau.model.job import Job, SpecConfig
from bacalhau.model.resources import Resources

OBSERVED_NUMBERS = {
    Observed.NEW: 1,
    Observed.BID: 3,
    Observed.DECLINED: 4,
    Observed.PREPARING: 5,
    Observed.RUNNING: 6,
    Observed.PUBLISHING: 7,
    Observed.HELD: 7,
    Observed.COMPLETED: 9,
    Observed.FAILED: 10,
    Observed.CANCELLED: 11,
}
DESIRED_NUMBERS = {Desired.BID: 0, Desired.RUN: 1, Desired.STOP: 2}

_OBSERVED = {number: word for word, number in OBSERVED_NUMBERS.items() if word != Observed.HELD}
_DESIRED = {number: word for word, number in DESIRED_NUMBERS.items()}
_NO_OUTPUT = RunOutput()


class Numbered(Record, kw_only=True):
    """A state as it is sent: a number."""

    state_type: int = 0
    message: str = ""


class Allocated(Record, kw_only=True):
    """Amounts by task, as they are sent."""

    tasks: dict[str, Any] = {}


class Amounts(Record, kw_only=True):
    """Resources as they are sent: cores and bytes."""

    cpu: float = 0.0
    memory: int = 0
    disk: int = 0
    gpu: int = 0


class Sent(Record, kw_only=True):
    """An execution as it is sent."""

    id: str
    namespace: str = ""
    node_id: str = ""
    job_id: str = ""
    job_version: int = 1
    allocated_resources: Allocated = Allocated()
    desired_state: Numbered = Numbered()
    compute_state: Numbered
    published_result: SpecConfig = SpecConfig()
    run_output: RunOutput | None = None
    partition_index: int = 0
    revision: int = 1
    create_time: int = 0
    modify_time: int = 0
    attempt: int = 1
    lost: bool = False
    observed: Observed | None = None
    fault: Fault | None = None
    start_time: int = 0
    end_time: int = 0


def execution(execution: Execution, job: Job | None = None) -> JSON:
    """The execution; with its job when that is given.

    An ended one shows as wanted stopped, as Bacalhau does; a lost one as failed.
    """
    view: JSON = {
        "ID": execution.id,
        "Namespace": execution.namespace,
        "EvalID": "",
        "Name": "",
        "NodeID": execution.node_id,
        "JobID": execution.job_id,
    }
    if job is not None:
        view["Job"] = job_view(job)
    task = job.spec.tasks[0].name if job is not None and job.spec.tasks else "main"
    amounts = amounts_view(execution.resources)
    view |= {
        "JobVersion": execution.job_version,
        "AllocatedResources": {"Tasks": {task: amounts} if amounts else {}},
        "DesiredState": _desired(execution),
        "ComputeState": _observed(execution),
        "PublishedResult": spec_config(execution.result),
        "RunOutput": _output(execution),
        "PreviousExecution": "",
        "NextExecution": "",
        "FollowupEvalID": "",
    }
    if execution.partition:
        view["PartitionIndex"] = execution.partition
    view["Revision"] = execution.revision
    view["CreateTime"] = execution.create_time
    view["ModifyTime"] = execution.modify_time
    return view | _execution_extras(execution)


def parse_execution(obj: object) -> Execution:
    """The execution of that view, without its job."""
    sent = bind(Sent, obj)
    observed = sent.observed or _OBSERVED.get(sent.compute_state.state_type)
    desired = _DESIRED.get(sent.desired_state.state_type)
    if observed is None or desired is None:
        raise Rejected(
            f"execution {sent.id[:60]!a}: unknown state numbers "
            f"{sent.compute_state.state_type}, {sent.desired_state.state_type}"
        )
    output = sent.run_output
    if output == _NO_OUTPUT and observed is not Observed.COMPLETED:
        output = None
    return Execution(
        id=sent.id,
        job_id=sent.job_id,
        job_version=sent.job_version,
        namespace=sent.namespace,
        node_id=sent.node_id,
        partition=sent.partition_index,
        attempt=sent.attempt,
        desired=desired,
        desired_message=sent.desired_state.message,
        observed=observed,
        observed_message=sent.compute_state.message,
        lost=sent.lost,
        fault=sent.fault,
        output=output,
        result=sent.published_result,
        resources=_allocated(sent.allocated_resources.tasks),
        revision=sent.revision,
        create_time=sent.create_time,
        modify_time=sent.modify_time,
        start_time=sent.start_time,
        end_time=sent.end_time,
    )


def _desired(execution: Execution) -> JSON:
    observed = execution.observed
    if observed.is_terminal or execution.lost:
        word = observed if observed.is_terminal else "lost"
        message = execution.desired_message or f"execution {word}"
        return _numbered(DESIRED_NUMBERS[Desired.STOP], message)
    return _numbered(DESIRED_NUMBERS[execution.desired], execution.desired_message)


def _observed(execution: Execution) -> JSON:
    number = OBSERVED_NUMBERS[execution.observed]
    if execution.lost and not execution.observed.is_terminal:
        return _numbered(
            OBSERVED_NUMBERS[Observed.FAILED], execution.observed_message or "node lost"
        )
    return _numbered(number, execution.observed_message)


def _numbered(number: int, message: str) -> JSON:
    return {"StateType": number, "Message": message} if message else {"StateType": number}


def _output(execution: Execution) -> JSON:
    output = execution.output or _NO_OUTPUT
    return {
        "Stdout": output.stdout,
        "StdoutTruncated": output.stdout_truncated,
        "stderr": output.stderr,
        "StderrTruncated": output.stderr_truncated,
        "ExitCode": output.exit_code,
        "ErrorMsg": execution.fault.message if execution.fault else "",
    }


def _execution_extras(execution: Execution) -> JSON:
    """What Bacalhau does not have."""
    view: JSON = {}
    if execution.attempt != 1:
        view["Attempt"] = execution.attempt
    if execution.lost:
        view["Lost"] = True
    if execution.lost or execution.observed is Observed.HELD:
        view["Observed"] = execution.observed.value
    if execution.fault:
        view["Fault"] = msgspec.to_builtins(execution.fault)
    if execution.start_time:
        view["StartTime"] = execution.start_time
    if execution.end_time:
        view["EndTime"] = execution.end_time
    return view


def amounts_view(amounts: Resources) -> JSON:
    """Numeric amounts: cores and bytes; zeros are left out."""
    view: JSON = {
        "CPU": amounts.cpu / 1000,
        "Memory": amounts.memory,
        "Disk": amounts.disk,
        "GPU": amounts.gpu,
    }
    return {key: amount for key, amount in view.items() if amount}


def parse_amounts(amounts: Amounts) -> Resources:
    """The amounts of that view."""
    return Resources(
        cpu=round(amounts.cpu * 1000), memory=amounts.memory, disk=amounts.disk, gpu=amounts.gpu
    )


def _allocated(tasks: JSON) -> Resources:
    amounts = Resources()
    for each in tasks.values():
        amounts += parse_amounts(bind(Amounts, each))
    return amounts

"""One execution on this node, top to bottom: prepare, run, collect, publish, report."""

import asyncio
import logging
from pathlib import Path
from typing import Any

from bacalhau.compute.node import Held, Node
from bacalhau.compute.upload import upload_log
from bacalhau.compute.workspace import cut, prepare, publishes_files
from bacalhau.model.errors import EngineFailed, Error
from bacalhau.model.event import Topic
from bacalhau.model.execution import Fault, FaultKind, Observed, RunOutput
from bacalhau.model.job import SpecConfig
from bacalhau.ports.executor import Executor, Outcome, Work

log = logging.getLogger(__name__)

INLINE_BYTES = 2048
"""How much of stdout and of stderr is kept in the execution's record, as in Bacalhau."""

INTERRUPTED = Fault(
    kind=FaultKind.NODE,
    code="Interrupted",
    message="the node was restarted and the run could not be found again",
)


async def run(node: Node, held: Held) -> None:
    """Carry out an accepted execution, or go on with one that a restart interrupted.

    Ends with exactly one terminal report, unless the node itself goes down first.
    """
    held.underway = True
    fault, result = None, SpecConfig()
    try:
        if held.restored or not held.stop_reason:
            fault, result = await _carry_out(node, held)
    except EngineFailed as error:
        fault = error.fault
    except asyncio.CancelledError:
        if held.stop_reason:
            await _end(node, held)
        elif _is_cancelled():
            raise  # the node goes down: the run may go on without it
        else:
            fault = INTERRUPTED  # a plug-in gave up by itself
    except (Error, OSError, ValueError) as error:
        fault = _node_failed(FaultKind.NODE, error)
    except Exception as error:
        # A bug of a plug-in: counted, for this job may meet it everywhere.
        log.exception("execution %s failed unexpectedly", held.execution.id)
        fault = _node_failed(FaultKind.TRANSIENT, error)
    _conclude(node, held, fault, result)


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _node_failed(kind: FaultKind, error: Exception) -> Fault:
    return Fault(
        kind=kind,
        code="NodeFailed",
        message=f"{type(error).__name__}: {error}",
        hint="See the log of the node.",
    )


def _conclude(node: Node, held: Held, fault: Fault | None, result: SpecConfig) -> None:
    output = held.output
    ended = node.clock.now()
    if held.stop_reason:
        node.say(
            held,
            Topic.EXECUTION,
            held.stop_reason,
            observed=Observed.CANCELLED,
            observed_message=held.stop_reason,
            output=output,
            result=result,
            end_time=ended,
        )
    elif fault is None:
        node.say(
            held,
            Topic.EXECUTION,
            "Completed successfully",
            observed=Observed.COMPLETED,
            output=output,
            result=result,
            end_time=ended,
        )
    else:
        details = {"IsError": "true", "ErrorCode": fault.code, "FailsExecution": "true"}
        if fault.hint:
            details["Hint"] = fault.hint
        if fault.kind is not FaultKind.PERMANENT:
            details["Retryable"] = "true"
        node.say(
            held,
            Topic.RUNNING if held.execution.start_time else Topic.PREPARING,
            fault.message,
            details=details,
            observed=Observed.FAILED,
            observed_message=fault.message,
            fault=fault,
            output=output,
            result=result,
            end_time=ended,
        )


async def _carry_out(node: Node, held: Held) -> tuple[Fault | None, SpecConfig]:
    task = held.job.spec.task
    executor = node.executors.get(task.engine.type.lower())
    if executor is None:
        raise EngineFailed(
            Fault(
                kind=FaultKind.TRANSIENT,
                code="EngineAbsent",
                message=f"this node has no engine '{task.engine.type}'",
            )
        )
    held.work = await prepare(node, held, held.restored)
    if held.restored:
        if not await executor.attach(held.work):
            raise EngineFailed(INTERRUPTED)
        node.say(
            held,
            Topic.RESTART,
            "Found the run again after a restart of the node",
            **_begun(node, held),
        )
    else:
        await executor.start(held.work)
        node.say(
            held,
            Topic.EXECUTION,
            "Running",
            observed=Observed.RUNNING,
            start_time=node.clock.now(),
        )
    outcome = await _outcome(node, held, executor)
    if outcome.fault is None:
        _tell_limits(node, held, outcome)
    held.output = await _collect(node, held, held.work, outcome)
    if outcome.fault is not None and outcome.fault.kind is not FaultKind.USER:
        return outcome.fault, SpecConfig()  # the program never had its say
    verdict = _verdict(outcome)
    try:
        return verdict, await _publish(node, held, held.work, outcome.exit_code)
    except EngineFailed as error:
        if verdict is None:
            raise
        node.say(held, Topic.PUBLISHING, f"not published: {error.fault.message}")
        return verdict, SpecConfig()


def _begun(node: Node, held: Held) -> dict[str, Any]:
    """What is to be said of a run that goes on, if its start was never written."""
    if held.execution.start_time:
        return {}
    return {"observed": Observed.RUNNING, "start_time": node.clock.now()}


async def _end(node: Node, held: Held) -> None:
    """Stop what was cut off between its start and its end."""
    executor = node.executors.get(held.job.spec.task.engine.type.lower())
    if executor is None or held.work is None:
        return
    try:
        await executor.stop(held.execution.id, node.config.compute.stop_grace)
    except Exception:
        log.exception("execution %s could not be stopped", held.execution.id)


async def _outcome(node: Node, held: Held, executor: Executor) -> Outcome:
    """Wait for the end, within the execution time-out; a wish to stop ends it earlier."""
    execution_id = held.execution.id
    if held.stop_reason:  # wished for while the node was down
        await executor.stop(execution_id, node.config.compute.stop_grace)
    limit_s = 0
    timeout_s: float | None = None
    if held.job.spec.type.is_finite:
        timeouts = held.job.spec.task.timeouts
        limit_s = timeouts.execution_timeout or timeouts.total_timeout
        if limit_s:
            ran_s = (node.clock.now() - held.execution.start_time) / 1e9
            timeout_s = max(0.0, limit_s - ran_s)
    try:
        async with asyncio.timeout(timeout_s):
            return await executor.wait(execution_id)
    except TimeoutError:
        await executor.stop(execution_id, node.config.compute.stop_grace)
        outcome = await executor.wait(execution_id)
        return Outcome(
            exit_code=outcome.exit_code,
            fault=Fault(
                kind=FaultKind.USER,
                code="ExecutionTimeout",
                message=f"stopped after its execution time-out of {limit_s} s",
                hint="Raise Timeouts.ExecutionTimeout, or give it more CPU.",
            ),
            usage=outcome.usage,
        )
    except asyncio.CancelledError:
        if not held.stop_reason:
            raise
        current = asyncio.current_task()
        if current is not None:
            current.uncancel()
        await executor.stop(execution_id, node.config.compute.stop_grace)
        return await executor.wait(execution_id)


def _tell_limits(node: Node, held: Held, outcome: Outcome) -> None:
    """A program may survive what its children do not: that must not go unseen."""
    for figure, words in (
        ("oom_kills", "of its processes were killed at the memory limit"),
        ("forks_refused", "times it was refused another process"),
    ):
        count = int(outcome.usage.get(figure, 0))
        if count:
            node.say(
                held,
                Topic.RUNNING,
                f"{count} {words}",
                details={"IsError": "true", "ErrorCode": "LimitMet"},
            )


def _verdict(outcome: Outcome) -> Fault | None:
    if outcome.fault is not None:
        return outcome.fault
    if outcome.exit_code != 0:
        return Fault(
            kind=FaultKind.USER,
            code="ExitCode",
            message=f"the program ended with exit code {outcome.exit_code}",
            hint="Its output is kept: see the logs of the job.",
        )
    return None


async def _collect(node: Node, held: Held, work: Work, outcome: Outcome) -> RunOutput:
    stdout, stdout_truncated = cut(work.stdout, INLINE_BYTES)
    stderr, stderr_truncated = cut(work.stderr, INLINE_BYTES)
    for path, truncated in ((work.stdout, stdout_truncated), (work.stderr, stderr_truncated)):
        if truncated:
            await upload_log(node, held, Path(path))
    return RunOutput(
        stdout=stdout,
        stdout_truncated=stdout_truncated,
        stderr=stderr,
        stderr_truncated=stderr_truncated,
        exit_code=outcome.exit_code,
    )


async def _publish(node: Node, held: Held, work: Work, exit_code: int) -> SpecConfig:
    """Publish what is there, also after a failure; a managed result without files needs none."""
    task = held.job.spec.task
    wanted = task.publisher
    name = wanted.type.lower()
    if not publishes_files(task):
        return SpecConfig(type="managed") if name == "managed" else SpecConfig()
    results = Path(work.stdout).parent
    (results / "exitCode").write_text(str(exit_code))
    publisher = node.publishers.get(name)
    if publisher is None:
        raise EngineFailed(
            Fault(
                kind=FaultKind.TRANSIENT,
                code="PublisherAbsent",
                message=f"this node has no publisher '{wanted.type}'",
            )
        )
    if name != "noop":
        node.say(
            held,
            Topic.PUBLISHING,
            f"Publishing results ({wanted.type})",
            observed=Observed.PUBLISHING,
        )
    result = await publisher.publish(held.execution, wanted, results)
    for reason in result.param("LeftOut", ()):
        node.say(held, Topic.PUBLISHING, f"not published: {reason}")
    return result

"""The directory of one execution: its inputs, its outputs, its environment.

executions/<execution id>/
├── inputs/<n>/      what sources fetched
├── results/         what is published: stdout, stderr, exitCode, one directory per result path
├── stdout, stderr   here when nothing is published
└── ...              what the engine keeps to find its run again
"""

import asyncio
import fnmatch
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from bacalhau.compute.node import Held, Node
from bacalhau.model.errors import EngineFailed
from bacalhau.model.event import Topic
from bacalhau.model.execution import Fault, FaultKind, Observed
from bacalhau.model.job import InputSource, Task
from bacalhau.model.resources import parse_bytes
from bacalhau.ports.executor import Mount, Work


async def prepare(node: Node, held: Held, resume: bool) -> Work:
    """Make the workspace and fetch the inputs; with `resume` only say where things are.

    Raises EngineFailed.
    """
    place = node.place_of(held.execution.id)
    task = held.job.spec.task
    results = place / "results" if publishes_files(task) else place
    if results != place and not resume:
        _make(results, [result.name for result in task.result_paths])
    inputs: tuple[Mount, ...] = ()
    if task.input_sources and not resume:
        inputs = await _fetch_all(node, held, place / "inputs")
    return Work(
        execution_id=held.execution.id,
        engine=task.engine,
        env=environment(held, node.environ, node.info.allowed_env),
        inputs=inputs,
        outputs=tuple(
            Mount(source=str(results / result.name), target=result.path, read_only=False)
            for result in task.result_paths
        ),
        resources=held.wanted,
        network=task.network,
        directory=str(place),
        stdout=str(results / "stdout"),
        stderr=str(results / "stderr"),
        output_limit=held.wanted.disk or parse_bytes(node.config.compute.output_limit),
    )


def publishes_files(task: Task) -> bool:
    """Does a publisher get a directory? A managed result without paths is made from the record."""
    name = task.publisher.type.lower()
    return bool(task.result_paths) or name not in ("", "noop", "managed")


def may_be_large(task: Task) -> bool:
    """May its work directory hold more than a few small files?"""
    return bool(task.input_sources) or publishes_files(task)


def _make(results: Path, names: list[str]) -> None:
    for name in ("", *names):
        (results / name).mkdir(parents=True, exist_ok=True)


async def _fetch_all(node: Node, held: Held, directory: Path) -> tuple[Mount, ...]:
    sources = held.job.spec.task.input_sources
    node.say(
        held,
        Topic.INPUTS,
        f"Fetching {len(sources)} input" + ("s" if len(sources) > 1 else ""),
        observed=Observed.PREPARING,
    )
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(_fetch(node, source, directory / str(number)))
                for number, source in enumerate(sources)
            ]
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return tuple(task.result() for task in tasks)


async def _fetch(node: Node, item: InputSource, directory: Path) -> Mount:
    source = node.sources.get(item.source.type.lower())
    if source is None:
        raise EngineFailed(
            Fault(
                kind=FaultKind.TRANSIENT,
                code="SourceAbsent",
                message=f"input '{item.target}': this node has no source '{item.source.type}'",
            )
        )
    if not source.in_place:
        await asyncio.to_thread(_make_empty, directory)
    fetched = await source.fetch(item.source, directory, lambda _done, _total: None)
    return Mount(source=fetched.path, target=item.target, read_only=fetched.read_only)


def _make_empty(directory: Path) -> None:
    if directory.exists():  # what an interrupted try left
        remove(directory)
    directory.mkdir(parents=True)


def environment(held: Held, environ: Mapping[str, str], allowed: tuple[str, ...]) -> dict[str, str]:
    """The variables of an execution: the task's, with `env:NAME` resolved, then ours.

    Raises EngineFailed for a variable that the node does not have or does not give.
    """
    job, execution = held.job, held.execution
    env: dict[str, str] = {}
    for name, value in job.spec.task.env.items():
        if not value.startswith("env:"):
            env[name] = value
            continue
        wanted = value[4:]
        if not any(fnmatch.fnmatchcase(wanted, pattern) for pattern in allowed):
            raise EngineFailed(
                Fault(
                    kind=FaultKind.TRANSIENT,
                    code="EnvNotAllowed",
                    message=f"{name}: this node does not give its variable {wanted}",
                    hint="The node's owner can allow it with Compute.Env.AllowList.",
                )
            )
        if wanted not in environ:
            raise EngineFailed(
                Fault(
                    kind=FaultKind.TRANSIENT,
                    code="EnvNotSet",
                    message=f"{name}: the variable {wanted} is not set on this node",
                )
            )
        env[name] = environ[wanted]
    env.update(
        BACALHAU_EXECUTION_ID=execution.id,
        BACALHAU_JOB_ID=job.id,
        BACALHAU_JOB_TYPE=job.spec.type.value,
        BACALHAU_PARTITION_INDEX=str(execution.partition),
        BACALHAU_PARTITION_COUNT=str(max(job.spec.count or 0, execution.partition + 1)),
    )
    return env


def cut(path: str, limit: int) -> tuple[str, bool]:
    """The first `limit` bytes of a file as text, and whether there is more."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return "", False  # nothing was written
    try:
        data = os.read(descriptor, limit + 1)
    finally:
        os.close(descriptor)
    return data[:limit].decode(errors="replace"), len(data) > limit


def remove(directory: Path) -> None:
    """Delete a directory tree, whatever permissions a job left in it."""
    try:
        with os.scandir(directory) as entries:
            for entry in entries:  # mostly a few files and an empty directory
                if entry.is_dir(follow_symlinks=False):
                    os.rmdir(entry.path)
                else:
                    os.unlink(entry.path)
        os.rmdir(directory)
    except FileNotFoundError:
        return
    except OSError:
        try:
            shutil.rmtree(directory, onerror=_insist)
        except RecursionError:  # a job may leave a tree deeper than Python can follow
            subprocess.run(["rm", "-rf", "--", str(directory)], check=False, capture_output=True)


def _insist(function: object, path: str, _: object) -> None:
    """Take the permissions that are missing, then delete once more."""
    try:
        Path(path).parent.chmod(0o700)
        if Path(path).is_dir() and not Path(path).is_symlink():
            Path(path).chmod(0o700)
            shutil.rmtree(path, ignore_errors=True)
        else:
            Path(path).unlink(missing_ok=True)
    except OSError:
        return

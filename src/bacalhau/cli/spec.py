"""From the flags of `exec` and `wasm run` to a job."""

from collections.abc import Callable
from typing import Any, TypeVar

from bacalhau.cli.call import Call
from bacalhau.cli.command import Problem
from bacalhau.cli.pack import pack
from bacalhau.cli.values import parse_input, parse_label, parse_output, parse_publisher
from bacalhau.model.job import (
    InputSource,
    JobSpec,
    JobType,
    Network,
    NetworkType,
    Requirement,
    SpecConfig,
    Task,
    Timeouts,
)
from bacalhau.model.resources import ResourcesConfig

T = TypeVar("T")


def build(call: Call, engine: SpecConfig, modules: tuple[InputSource, ...] = ()) -> JobSpec:
    """The job that the flags describe, with that engine. Raises Problem."""
    flags = call.flags
    _exclusive(call, "count", "concurrency")
    _exclusive(call, "constraints", "selector")
    kind = JobType.OPS if flags["target"] == "all" else JobType.BATCH
    count = flags["concurrency"] if "concurrency" in call.given else flags["count"]
    task = Task(
        name=flags["task-name"],
        engine=engine,
        publisher=_publisher(flags["publisher"]),
        env=_variables(flags["env"]),
        input_sources=(*modules, *_inputs(flags["input"])),
        result_paths=tuple(each("output", flags["output"], parse_output)),
        resources=ResourcesConfig(
            cpu=flags["cpu"], memory=flags["memory"], disk=flags["disk"], gpu=flags["gpu"]
        ),
        network=_network(flags),
        timeouts=Timeouts(total_timeout=flags["timeout"], queue_timeout=flags["queue-timeout"]),
    )
    return JobSpec(
        name=flags["name"],
        namespace=flags["namespace"],
        type=kind,
        priority=flags["priority"],
        count=count if kind is JobType.BATCH else None,
        constraints=_constraints(flags["constraints"] or flags["selector"]),
        labels=dict(each("labels", flags["labels"], parse_label)),
        tasks=(task,),
    )


def each(flag: str, texts: list[str], parse: Callable[[str], T]) -> list[T]:
    """The values of a repeated flag. Raises Problem naming the flag."""
    found = []
    for text in texts:
        try:
            found.append(parse(text))
        except ValueError as error:
            raise Problem(f"--{flag}: {error}") from None
    return found


def _inputs(texts: list[str]) -> list[InputSource]:
    return each("input", texts, lambda text: parse_input(text, pack))


def _variables(texts: list[str]) -> dict[str, str]:
    from bacalhau.core.template import parse_vars

    return parse_vars(texts)


def _publisher(text: str) -> SpecConfig:
    return each("publisher", [text], parse_publisher)[0] if text else SpecConfig()


def _network(flags: dict[str, Any]) -> Network:
    kind = NetworkType(flags["network"])
    if kind is NetworkType.DEFAULT:
        if flags["domain"]:
            raise Problem("--domain needs --network HTTP")
        return Network()
    return Network(type=kind, domains=tuple(flags["domain"]))


def _constraints(text: str) -> tuple[Requirement, ...]:
    from bacalhau.core.selector import parse

    return each("constraints", [text], parse)[0] if text else ()


def _exclusive(call: Call, one: str, other: str) -> None:
    if one in call.given and other in call.given:
        raise Problem(f"--{one} and --{other} mean the same: give one of them")

"""The jobs of a simulated world: of all types, with a fate in the task's `meta`."""

import random

from bacalhau.model.job import (
    Job,
    JobSpec,
    JobType,
    Requirement,
    Retry,
    SpecConfig,
    Task,
    Timeouts,
)
from bacalhau.model.resources import ResourcesConfig

FATES = ("good", "flaky", "poison", "permanent", "endless")
"""good: ends well; flaky: fails now and then; poison: always fails; permanent: can never
work; endless: runs until stopped or timed out."""


def spec_of(draw: random.Random, poison: float) -> JobSpec:
    """Some job."""
    kind = draw.choice((*[JobType.BATCH] * 5, JobType.SERVICE, JobType.DAEMON, *[JobType.OPS] * 2))
    fate = draw.choice(("good", "good", "flaky"))
    if draw.random() < poison:
        fate = draw.choice(("poison", "permanent"))
    timeouts = Timeouts()
    if not kind.is_finite:
        fate = draw.choice(("endless", "endless", "good"))
    elif draw.random() < 0.1:
        fate = "endless"
        timeouts = Timeouts(execution_timeout=draw.choice((3, 10)))
    elif draw.random() < 0.1:
        timeouts = draw.choice((Timeouts(queue_timeout=20), Timeouts(total_timeout=60)))
    region = Requirement(key="region", operator="=", values=("eu",))
    wish = Requirement(key="favour_region", operator="=", values=("eu",))
    return JobSpec(
        type=kind,
        namespace="default",
        count=draw.choice((1, 1, 2, 3, 5, 8)) if kind.is_counted else None,
        priority=draw.choice((0, 0, 5)),
        constraints=draw.choice(((), (), (region,), (wish,))),
        tasks=(
            Task(
                engine=SpecConfig(type="noop"),
                resources=ResourcesConfig(cpu=draw.choice(("0.5", "1", "1", "2"))),
                timeouts=timeouts,
                meta={"fate": fate, "ms": str(draw.choice((20, 300, 1000, 4000)))},
            ),
        ),
        retry=Retry(
            attempts=draw.choice((2, 4)) if kind.is_finite else 0,
            delay=draw.choice((0.1, 1.0)),
            max_delay=5.0,
        ),
    )


def fate(job: Job) -> str:
    """What happens to runs of this job."""
    return job.spec.task.meta["fate"]


def duration_ns(job: Job) -> int:
    """How long one run takes on a node of normal speed; endless ones take for ever."""
    if fate(job) == "endless":
        return 10**15
    return int(job.spec.task.meta["ms"]) * 1_000_000

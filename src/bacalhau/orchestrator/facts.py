"""Gathers what admission must know besides the spec."""

from collections.abc import Mapping
from typing import Any

from bacalhau.config import Config
from bacalhau.core.admit import Facts
from bacalhau.core.normal import MANAGED, Defaults
from bacalhau.core.params import ENGINES, PUBLISHERS, SOURCES
from bacalhau.model.job import Job, JobType, SpecConfig, Timeouts
from bacalhau.model.resources import ResourcesConfig, parse_bytes
from bacalhau.orchestrator.state import State


def facts(
    state: State,
    *,
    existing: Job | None,
    force: bool,
    actor: str,
    client: Mapping[str, str] | None = None,
    given: Mapping[str, Any] | None = None,
) -> Facts:
    """The facts of one submission, as they are now."""
    infos = [view.node.info for view in state.store.nodes()]
    return Facts(
        now=state.clock.now(),
        job_id=state.ids.new("j-"),
        node_id=state.info.id,
        existing=existing,
        force=force,
        actor=actor,
        given=given or {},
        client=client or {},
        defaults=state.defaults,
        engines=frozenset(ENGINES).union(*(info.engines for info in infos)),
        sources=frozenset(SOURCES).union(*(info.sources for info in infos)),
        publishers=frozenset(PUBLISHERS).union(*(info.publishers for info in infos)),
        max_count=state.config.limits.max_count,
        max_spec_bytes=parse_bytes(state.config.limits.max_spec_size),
    )


def defaults(config: Config) -> dict[JobType, Defaults]:
    """JobDefaults of the configuration, per type of job."""
    given = config.job_defaults
    made = {}
    for kind, part in (
        (JobType.BATCH, given.batch),
        (JobType.OPS, given.ops),
        (JobType.DAEMON, given.daemon),
        (JobType.SERVICE, given.service),
    ):
        amounts = part.task.resources
        publisher, timeouts = MANAGED, Timeouts()
        if kind.is_finite:
            task = (given.batch if kind is JobType.BATCH else given.ops).task
            if task.publisher.type:
                publisher = SpecConfig(type=task.publisher.type, params=dict(task.publisher.params))
            timeouts = Timeouts(
                total_timeout=int(task.timeouts.total_timeout),
                execution_timeout=int(task.timeouts.execution_timeout),
            )
        made[kind] = Defaults(
            priority=part.priority,
            resources=ResourcesConfig(
                cpu=amounts.cpu,
                memory=amounts.memory.lower(),
                disk=amounts.disk.lower(),
                gpu=amounts.gpu,
            ),
            publisher=publisher,
            timeouts=timeouts,
        )
    return made

"""The normal form of a spec: one spelling for everything, defaults filled in.

`normal(normal(spec)) == normal(spec)`; equal wishes have equal normal forms.
"""

from collections.abc import Sequence
from typing import Any

from bacalhau.core import selector
from bacalhau.core.bind import bind
from bacalhau.core.check import settled
from bacalhau.model.base import Record, evolve
from bacalhau.model.errors import Rejected
from bacalhau.model.job import (
    DEFAULT_NAMESPACE,
    RESERVED_META,
    InputSource,
    JobSpec,
    JobType,
    Network,
    NetworkType,
    ResultPath,
    SpecConfig,
    Task,
    Timeouts,
)
from bacalhau.model.resources import ResourcesConfig

MANAGED = SpecConfig(type="managed")
"""Where results go when nobody says otherwise: to the orchestrator's object store."""

_ENTRY_TARGET = "/wasm/entry.wasm"
_IMPORT_TARGET = "/wasm/imports/module_{at}.wasm"


class Defaults(Record, kw_only=True):
    """What a job of one type gets where it says nothing (JobDefaults of the configuration)."""

    priority: int = 0
    resources: ResourcesConfig = ResourcesConfig(cpu="500m", memory="512mb")
    publisher: SpecConfig = MANAGED
    timeouts: Timeouts = Timeouts()


def normal(spec: JobSpec, defaults: Defaults) -> JobSpec:
    """The spec in its normal form. It must have passed `check`; only the first task is kept."""
    count = 1 if spec.count is None else spec.count
    return JobSpec(
        name=spec.name,
        namespace=spec.namespace or DEFAULT_NAMESPACE,
        type=spec.type,
        priority=spec.priority or defaults.priority,
        count=count if spec.type.is_counted else 0,
        constraints=tuple([selector.normalise(one) for one in spec.constraints]),
        meta=spec.meta,
        labels=spec.labels,
        tasks=(_task(spec.tasks[0], spec.type, defaults),),
        retry=spec.retry,
    )


def comparable(spec: JobSpec) -> JobSpec:
    """The spec without the meta keys that the orchestrator adds."""
    meta = {key: text for key, text in spec.meta.items() if not is_reserved(key)}
    return evolve(spec, meta=meta)


def is_reserved(key: str) -> bool:
    """True for meta keys that belong to the orchestrator."""
    return key.lower().startswith(RESERVED_META)


def _task(task: Task, job_type: JobType, defaults: Defaults) -> Task:
    return Task(
        name=task.name,
        engine=_config(task.engine),
        publisher=_publisher(task, job_type, defaults),
        env=task.env,
        meta=task.meta,
        input_sources=tuple(
            [
                InputSource(
                    source=_config(one.source), target=one.target.strip(), alias=one.alias.strip()
                )
                for one in task.input_sources
            ]
        ),
        result_paths=tuple(
            [ResultPath(name=one.name.strip(), path=one.path.strip()) for one in task.result_paths]
        ),
        resources=_resources(task.resources, defaults.resources),
        network=_network(task.network),
        timeouts=_timeouts(task.timeouts, defaults.timeouts)
        if job_type.is_finite
        else task.timeouts,
    )


def _config(config: SpecConfig) -> SpecConfig:
    kind = config.type.strip()
    return config if kind == config.type else SpecConfig(type=kind, params=config.params)


def _publisher(task: Task, job_type: JobType, defaults: Defaults) -> SpecConfig:
    publisher = _config(task.publisher)
    if publisher.type or not (job_type.is_finite or task.result_paths):
        return publisher
    return _config(defaults.publisher)


def _resources(wanted: ResourcesConfig, default: ResourcesConfig) -> ResourcesConfig:
    if wanted == default:
        return settled(default)
    return settled(
        ResourcesConfig(
            cpu=wanted.cpu.strip() or default.cpu,
            memory=wanted.memory.strip() or default.memory,
            disk=wanted.disk.strip() or default.disk,
            gpu=wanted.gpu.strip() or default.gpu,
        )
    )


def _network(network: Network) -> Network:
    if network.type is not NetworkType.HTTP:
        return network
    return evolve(network, domains=tuple([one.strip().lower() for one in network.domains]))


def _timeouts(wanted: Timeouts, default: Timeouts) -> Timeouts:
    return Timeouts(
        execution_timeout=wanted.execution_timeout or default.execution_timeout,
        queue_timeout=wanted.queue_timeout or default.queue_timeout,
        total_timeout=wanted.total_timeout or default.total_timeout,
    )


def translate_wasm(spec: JobSpec) -> JobSpec:
    """The spec with modules in the form of releases before 1.7 moved to the inputs.

    There `EntryModule` and each of `ImportModules` was an input source itself. Raises Rejected
    when such an object is not one.
    """
    if not any(_is_legacy_wasm(task.engine) for task in spec.tasks[:1]):
        return spec
    task = spec.tasks[0]
    engine = task.engine
    entry, entry_input = _module(engine.param("EntryModule"), "EntryModule", _ENTRY_TARGET)
    inputs = entry_input
    imports: list[Any] = []
    for at, module in enumerate(engine.param("ImportModules", ())):
        path, more = _module(module, f"ImportModules[{at}]", _IMPORT_TARGET.format(at=at))
        imports.append(path)
        inputs += more
    params = {
        "EntryModule": entry,
        "Entrypoint": engine.param("Entrypoint", ""),
        "Parameters": engine.param("Parameters", []),
        "ImportModules": imports,
    }
    changed = evolve(
        task,
        engine=SpecConfig(type=engine.type, params=params),
        input_sources=task.input_sources + inputs,
    )
    return evolve(spec, tasks=(changed, *spec.tasks[1:]))


def _is_legacy_wasm(engine: SpecConfig) -> bool:
    if engine.type.strip().lower() != "wasm":
        return False
    imports = engine.param("ImportModules", ())
    modules: Sequence[Any] = imports if isinstance(imports, list | tuple) else ()
    return any(isinstance(one, dict) for one in (engine.param("EntryModule"), *modules))


def _module(module: Any, what: str, target: str) -> tuple[Any, tuple[InputSource, ...]]:
    """The path of a module, and the input that provides it when it came as one."""
    if not isinstance(module, dict):
        return module, ()
    try:
        source = bind(InputSource, module)
    except Rejected as rejected:
        where = f"Tasks[0].Engine.Params.{what}."
        raise Rejected(*(where + reason for reason in rejected.reasons)) from None
    if not source.target.strip():
        source = evolve(source, target=target)
    return source.target.strip(), (source,)

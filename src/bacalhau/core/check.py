"""Is this spec acceptable as it was sent? Pure; asked by clients and by admission alike.

Plug-in parameters are looked at in core.params, what needs facts of the cluster in core.admit.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from ipaddress import ip_address
from math import isfinite
from posixpath import normpath

from bacalhau.core import selector
from bacalhau.model import resources
from bacalhau.model.job import (
    InputSource,
    JobSpec,
    Network,
    NetworkType,
    Port,
    ResultPath,
    Retry,
    Task,
    Timeouts,
)
from bacalhau.model.resources import ResourcesConfig

MAX_NAME_CHARS = 256
"""Names and namespaces appear in tables, paths and index keys."""
MAX_COUNT = 1_000_000
MAX_TASKS = 16
MAX_ENTRIES = 1024
"""Labels, meta keys, variables, constraints, inputs, result paths, domains, ports: each."""
MAX_SECONDS = 10**9
"""About 31 years: in nanoseconds, added to any date, it still fits 64 bits."""
MAX_PRIORITY = 2**31 - 1
MAX_ATTEMPTS = 1_000_000
MAX_DELAY_S = 7 * 86_400.0

RESERVED_RESULTS = frozenset({"stdout", "stderr", "exitcode"})
"""Names in an archive of results that we write ourselves, lower-case."""

_ENV_NAME = re.compile(r"[A-Z][A-Z0-9_]*")
_ENV_PREFIX = "BACALHAU_"
_PORT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,236}")
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_DOMAIN = re.compile(rf"\.?{_LABEL}(?:\.{_LABEL})*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

_NO_TIMEOUTS, _NO_NETWORK, _NO_RETRY = Timeouts(), Network(), Retry()


def check(spec: JobSpec) -> tuple[str, ...]:
    """Every reason why this spec is unacceptable, before any default; none when it is fine."""
    return tuple(_reasons(spec))


def amount(text: str) -> str:
    """A resource amount in its one spelling: ` 512 Mb` -> `512mb`."""
    return "".join(text.split()).lower()


def timeouts_fit(timeouts: Timeouts) -> str:
    """Why these timeouts contradict each other; '' when they do not."""
    parts = timeouts.execution_timeout + timeouts.queue_timeout
    if 0 < timeouts.total_timeout < parts:
        return (
            f"Timeouts: TotalTimeout {timeouts.total_timeout} s is less than ExecutionTimeout "
            f"plus QueueTimeout ({parts} s)"
        )
    return ""


def _reasons(spec: JobSpec) -> Iterator[str]:
    yield from _named("Name", spec.name, required=False)
    yield from _named("Namespace", spec.namespace, required=False)
    if abs(spec.priority) > MAX_PRIORITY:
        yield f"Priority: {spec.priority} is beyond {MAX_PRIORITY}"
    yield from _count(spec)
    yield from _bounded("Constraints", spec.constraints)
    for at, requirement in enumerate(spec.constraints[:MAX_ENTRIES]):
        wrong = selector.fault(selector.normalise(requirement))
        if wrong:
            yield f"Constraints[{at}]: {wrong}"
    for name, entries in (("Meta", spec.meta), ("Labels", spec.labels)):
        yield from _bounded(name, entries)
        if any(not key.strip() for key in entries):
            yield f"{name}: a key must not be empty"
    if spec.retry != _NO_RETRY:
        yield from _retry(spec.retry)
    if not spec.tasks:
        yield "Tasks: a job needs a task"
    if len(spec.tasks) > MAX_TASKS:
        yield f"Tasks: {len(spec.tasks)} tasks, at most {MAX_TASKS} are read"
    for at, task in enumerate(spec.tasks[:MAX_TASKS]):
        for reason in _task(task):
            yield f"Tasks[{at}].{reason}"


def _count(spec: JobSpec) -> Iterator[str]:
    count = spec.count
    if count is None:
        return
    if count < 0:
        yield f"Count: {count} is negative"
    elif not spec.type.is_counted and count > 1:
        yield f"Count: {count} for a {spec.type} job, which runs once on every fitting node"
    elif count > MAX_COUNT:
        yield f"Count: {count} is more than {MAX_COUNT}"


def _task(task: Task) -> Iterator[str]:
    yield from _named("Name", task.name, required=True)
    if not task.engine.type.strip():
        yield "Engine.Type: missing engine type"
    if task.env:
        yield from _env(task.env)
    if task.meta:
        yield from _bounded("Meta", task.meta)
    if task.timeouts != _NO_TIMEOUTS:
        yield from _timeouts(task.timeouts)
    yield from _resources(task.resources)
    if task.input_sources:
        yield from _inputs(task.input_sources)
    if task.result_paths:
        yield from _results(task.result_paths, task.input_sources)
    if task.network != _NO_NETWORK:
        yield from _network(task.network)


def _named(what: str, name: str, *, required: bool) -> Iterator[str]:
    if required and not name.strip():
        yield f"{what}: must not be blank"
    if name and not name.strip() and not required:
        yield f"{what}: consists of blanks"
    if len(name) > MAX_NAME_CHARS:
        yield f"{what}: longer than {MAX_NAME_CHARS} characters"
    if _CONTROL.search(name):
        yield f"{what}: {name[:60]!a} contains control characters"


def _bounded(what: str, entries: Sequence[object] | Mapping[str, str]) -> Iterator[str]:
    if len(entries) > MAX_ENTRIES:
        yield f"{what}: {len(entries)} entries, at most {MAX_ENTRIES} are allowed"


def _env(env: Mapping[str, str]) -> Iterator[str]:
    yield from _bounded("Env", env)
    for name, value in env.items():
        if not _ENV_NAME.fullmatch(name):
            yield f"Env: name {name[:60]!a} is not upper-case letters, digits and '_'"
        elif name.startswith(_ENV_PREFIX):
            yield f"Env.{name}: names starting {_ENV_PREFIX} are reserved"
        elif not value:
            yield f"Env.{name}: value must not be empty"


def _timeouts(timeouts: Timeouts) -> Iterator[str]:
    for name, seconds in (
        ("ExecutionTimeout", timeouts.execution_timeout),
        ("QueueTimeout", timeouts.queue_timeout),
        ("TotalTimeout", timeouts.total_timeout),
    ):
        if not 0 <= seconds <= MAX_SECONDS:
            yield f"Timeouts.{name}: {seconds} is not between 0 and {MAX_SECONDS} seconds"


@lru_cache(maxsize=1024)
def _resources(config: ResourcesConfig) -> tuple[str, ...]:
    """Remembered, because most jobs ask for one of few amounts."""
    try:
        resources.parse(settled(config))
    except ValueError:
        return tuple(_resource_faults(config))
    return ()


def _resource_faults(config: ResourcesConfig) -> Iterator[str]:
    for name, shown in (("cpu", "CPU"), ("memory", "Memory"), ("disk", "Disk"), ("gpu", "GPU")):
        try:
            resources.parse(ResourcesConfig(**{name: amount(getattr(config, name))}))
        except ValueError as error:
            yield f"Resources.{shown}: {error}"


def settled(config: ResourcesConfig) -> ResourcesConfig:
    """The same amounts in their one spelling."""
    return ResourcesConfig(
        cpu=amount(config.cpu),
        memory=amount(config.memory),
        disk=amount(config.disk),
        gpu=amount(config.gpu),
    )


def _inputs(inputs: Sequence[InputSource]) -> Iterator[str]:
    yield from _bounded("InputSources", inputs)
    for at, one in enumerate(inputs[:MAX_ENTRIES]):
        if not one.source.type.strip():
            yield f"InputSources[{at}].Source.Type: missing source type"
        target = one.target.strip()
        if not target:
            yield f"InputSources[{at}].Target: must not be blank"
        else:
            yield from _path(f"InputSources[{at}].Target", target)
    yield from _repeated("InputSources", "Alias", (one.alias.strip() for one in inputs))
    yield from _repeated("InputSources", "Target", (place(one.target) for one in inputs))


def _results(paths: Sequence[ResultPath], inputs: Sequence[InputSource]) -> Iterator[str]:
    yield from _bounded("ResultPaths", paths)
    targets = {place(one.target) for one in inputs}
    for at, one in enumerate(paths[:MAX_ENTRIES]):
        where = f"ResultPaths[{at}]"
        name, path = one.name.strip(), one.path.strip()
        if not name:
            yield f"{where}.Name: must not be blank"
        elif "/" in name or name in (".", "..") or name.lower() in RESERVED_RESULTS:
            yield f"{where}.Name: {name[:60]!a} cannot be a directory of the results"
        else:
            yield from _named(f"{where}.Name", name, required=True)
        if not path.startswith("/"):
            yield f"{where}.Path: {path[:60]!a} is not absolute"
        else:
            yield from _path(f"{where}.Path", path)
        if path and place(path) in targets:
            yield f"{where}.Path: {path[:60]!a} is the target of an input, too"
    yield from _repeated("ResultPaths", "Name", (one.name.strip() for one in paths))
    yield from _repeated("ResultPaths", "Path", (place(one.path) for one in paths))


def place(path: str) -> str:
    """Where a path of the sandbox leads: absolute, without `.` and doubled slashes."""
    path = path.strip()
    return normpath("/" + path.lstrip("/")) if path else ""


def _path(what: str, path: str) -> Iterator[str]:
    if ".." in path.split("/"):
        yield f"{what}: {path[:60]!a} must not contain '..'"
    elif place(path) == "/":
        yield f"{what}: must not be the root directory"
    if _CONTROL.search(path):
        yield f"{what}: {path[:60]!a} contains control characters"


def _repeated(what: str, field: str, values: Iterable[str]) -> Iterator[str]:
    seen: set[str] = set()
    for value in values:
        if value in seen:
            yield f"{what}: {field} {value[:60]!a} occurs more than once"
        if value:
            seen.add(value)


def _network(network: Network) -> Iterator[str]:
    yield from _bounded("Network.Domains", network.domains)
    yield from _bounded("Network.Ports", network.ports)
    if network.domains and network.type is not NetworkType.HTTP:
        yield f"Network.Domains: only with type HTTP, not {network.type}"
    for domain in network.domains[:MAX_ENTRIES]:
        if not _is_domain(domain.strip().lower()):
            yield f"Network.Domains: {domain[:60]!a} is neither a domain nor an IP address"
    is_bridge = network.type is NetworkType.BRIDGE
    is_host = network.type in (NetworkType.HOST, NetworkType.FULL)
    if network.ports and not (is_bridge or is_host):
        yield f"Network.Ports: only with type Host or Bridge, not {network.type}"
    for at, port in enumerate(network.ports[:MAX_ENTRIES]):
        for reason in _port(port, is_host):
            yield f"Network.Ports[{at}].{reason}"
    yield from _repeated("Network.Ports", "Name", (port.name for port in network.ports))
    for field, numbers in (
        ("Static", [port.static for port in network.ports]),
        ("Target", [port.target for port in network.ports]),
    ):
        yield from _repeated("Network.Ports", field, (str(n) if n else "" for n in numbers))


def _port(port: Port, is_host: bool) -> Iterator[str]:
    if not _PORT_NAME.fullmatch(port.name):
        yield (f"Name: {port.name[:60]!a} is not letters, digits and '_', starting with no digit")
    if port.static and not 1024 <= port.static <= 65535:
        yield f"Static: {port.static} is not between 1024 and 65535"
    if not 0 <= port.target <= 65535:
        yield f"Target: {port.target} is not between 0 and 65535"
    elif port.target and is_host:
        yield "Target: only with type Bridge"
    if port.host_network and not _is_ip(port.host_network):
        yield f"HostNetwork: {port.host_network[:60]!a} is not an IP address"


def _is_domain(text: str) -> bool:
    return (len(text) <= 254 and bool(_DOMAIN.fullmatch(text))) or _is_ip(text)


def _is_ip(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _retry(retry: Retry) -> Iterator[str]:
    if not 0 <= retry.attempts <= MAX_ATTEMPTS:
        yield f"Retry.Attempts: {retry.attempts} is not between 0 and {MAX_ATTEMPTS}"
    for name, value, least, most in (
        ("Delay", retry.delay, 0.0, MAX_DELAY_S),
        ("MaxDelay", retry.max_delay, 0.0, MAX_DELAY_S),
        ("Factor", retry.factor, 1.0, 100.0),
    ):
        if not (isfinite(value) and least <= value <= most):
            yield f"Retry.{name}: {value} is not between {least:g} and {most:g}"

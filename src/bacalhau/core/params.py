"""Do the parameters of a plug-in that we know make sense? Structure only, nothing is touched.

A plug-in that we do not know is left to itself: its own `check` runs on the node.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from bacalhau.core.check import place
from bacalhau.model.job import SpecConfig, Task

ENGINES = ("docker", "noop", "process", "wasm")
SOURCES = ("inline", "ipfs", "local", "localdirectory", "s3", "urldownload")
PUBLISHERS = ("ipfs", "local", "managed", "noop", "s3", "s3managed")

_URL = re.compile(r"https?://(?:[^/?#@\s]*@)?(?:\[[0-9a-f:.]+\]|[^/?#@:\s\[\]]+)(?::\d{1,5})?"
                  r"(?:[/?#]\S*)?", re.IGNORECASE)  # fmt: skip
_PARTITIONS = ("", "none", "object", "regex", "substring", "date")
_CREATE_AS = ("dir", "file", "nocreate")


def check_params(task: Task) -> Iterator[str]:
    """What is wrong with the params of this task's engine, inputs and publisher."""
    engine = _ENGINE_CHECKS.get(task.engine.type.strip().lower())
    if engine:
        for reason in engine(task.engine):
            yield f"Engine.Params.{reason}"
        if task.engine.type.strip().lower() == "wasm":
            for reason in _modules(task):
                yield f"Engine.Params.{reason}"
    for at, one in enumerate(task.input_sources):
        source = _SOURCE_CHECKS.get(one.source.type.strip().lower())
        for reason in source(one.source) if source else ():
            yield f"InputSources[{at}].Source.Params.{reason}"
    publisher = _PUBLISHER_CHECKS.get(task.publisher.type.strip().lower())
    for reason in publisher(task.publisher) if publisher else ():
        yield f"Publisher.Params.{reason}"


def module_paths(engine: SpecConfig) -> tuple[tuple[str, str], ...]:
    """(param, path) of the modules that a wasm engine's params name."""
    entry = engine.param("EntryModule")
    imports = engine.param("ImportModules", ())
    found = [("EntryModule", entry)] if isinstance(entry, str) and entry.strip() else []
    if isinstance(imports, list | tuple):
        for at, path in enumerate(imports):
            if isinstance(path, str) and path.strip():
                found.append((f"ImportModules[{at}]", path))
    return tuple(found)


def _process(engine: SpecConfig) -> Iterator[str]:
    command, name = engine.param("Command"), engine.param("Name")
    if command is None and name is None:
        yield "Command: missing, name the program to run"
    for key, value in (("Command", command), ("Name", name)):
        if value is not None and (not isinstance(value, str) or not value.strip()):
            yield f"{key}: must be a non-empty string"
    yield from _strings(engine, "Arguments")
    yield from _variables(engine)
    yield from _directory(engine)


def _docker(engine: SpecConfig) -> Iterator[str]:
    image = engine.param("Image")
    if not isinstance(image, str) or not image.strip():
        yield "Image: missing, name the container image"
    yield from _strings(engine, "Entrypoint")
    yield from _strings(engine, "Parameters")
    yield from _variables(engine)
    yield from _directory(engine)


def _wasm(engine: SpecConfig) -> Iterator[str]:
    entry = engine.param("EntryModule")
    if not isinstance(entry, str) or not entry.strip():
        yield "EntryModule: missing, name the target of the input that is the module"
    start = engine.param("Entrypoint")
    if start is not None and not isinstance(start, str):
        yield "Entrypoint: must be the name of an exported function"
    yield from _strings(engine, "Parameters")
    yield from _strings(engine, "ImportModules")


def _modules(task: Task) -> Iterator[str]:
    """Modules that no input provides."""
    targets = [place(one.target) for one in task.input_sources if one.target.strip()]
    for param, path in module_paths(task.engine):
        wanted = place(path)
        if not any(wanted == target or wanted.startswith(f"{target}/") for target in targets):
            there = ", ".join(targets[:10]) or "there is none"
            yield (
                f"{param}: no input has the target '{path[:200]}' (targets: {there}); "
                "add an entry to InputSources that provides the module there"
            )


def _strings(config: SpecConfig, key: str) -> Iterator[str]:
    value = config.param(key)
    if value is None:
        return
    if not isinstance(value, list | tuple):
        yield f"{key}: must be a list of strings"
        return
    for at, item in enumerate(value):
        if not isinstance(item, str):
            yield f"{key}[{at}]: must be a string; put it into quotes"


def _variables(engine: SpecConfig) -> Iterator[str]:
    """A list of KEY=VALUE, or a map."""
    value = engine.param("EnvironmentVariables")
    if value is None:
        return
    names: list[str] = []
    if isinstance(value, Mapping):
        for name, text in value.items():
            names.append(name)
            if not isinstance(text, str):
                yield f"EnvironmentVariables.{name[:60]}: must be a string"
    elif isinstance(value, list | tuple):
        for at, item in enumerate(value):
            name, equals, _ = item.partition("=") if isinstance(item, str) else ("", "", "")
            names.append(name)
            if not (name and equals):
                yield f"EnvironmentVariables[{at}]: must look like KEY=VALUE"
    else:
        yield "EnvironmentVariables: must be a list of KEY=VALUE or a map"
    for name in names:
        if name.upper().startswith("BACALHAU_"):
            yield f"EnvironmentVariables: {name[:60]}: names starting BACALHAU_ are reserved"


def _directory(engine: SpecConfig) -> Iterator[str]:
    value = engine.param("WorkingDirectory", "")
    if not isinstance(value, str) or (value and not value.startswith("/")):
        yield "WorkingDirectory: must be an absolute path"


def _inline(source: SpecConfig) -> Iterator[str]:
    url = source.param("URL")
    if not isinstance(url, str) or url[:5].lower() != "data:" or "," not in url:
        yield "URL: must be a data: URL, such as data:;base64,aGk="


def _local(source: SpecConfig) -> Iterator[str]:
    path = source.param("SourcePath")
    if not isinstance(path, str) or not path.strip():
        yield "SourcePath: missing, name a path on the node"
    elif not path.strip().startswith("/") or ".." in path.split("/"):
        yield f"SourcePath: '{path[:200]}' must be absolute, without '..'"
    if not isinstance(source.param("ReadWrite", False), bool | str):
        yield "ReadWrite: must be true or false"
    create = source.param("CreateAs", "noCreate")
    if not isinstance(create, str) or create.lower() not in _CREATE_AS:
        yield "CreateAs: must be dir, file or noCreate"


def _url(source: SpecConfig) -> Iterator[str]:
    url = source.param("URL")
    if not isinstance(url, str) or not url.strip():
        yield "URL: missing, name a http:// or https:// URL"
    elif not _URL.fullmatch(url.strip()):
        yield f"URL: '{url[:200]}' is not a http:// or https:// URL with a host"


def _s3_source(source: SpecConfig) -> Iterator[str]:
    yield from _required(source, "Bucket")
    partition = source.param("Partition")
    if partition is None:
        return
    if not isinstance(partition, Mapping):
        yield "Partition: must be an object"
        return
    kind = SpecConfig(params=dict(partition)).param("Type", "")
    if not isinstance(kind, str) or kind.lower() not in _PARTITIONS:
        yield "Partition.Type: must be none, object, regex, substring or date"


def _s3_publisher(publisher: SpecConfig) -> Iterator[str]:
    yield from _required(publisher, "Bucket")
    yield from _required(publisher, "Key")
    encoding = publisher.param("Encoding", "gzip")
    if not isinstance(encoding, str) or encoding.lower() not in ("", "gzip", "plain"):
        yield "Encoding: must be gzip or plain"


def _ipfs(source: SpecConfig) -> Iterator[str]:
    yield from _required(source, "CID")


def _required(config: SpecConfig, key: str) -> Iterator[str]:
    value: Any = config.param(key)
    if not isinstance(value, str) or not value.strip():
        yield f"{key}: missing"


_Check = Callable[[SpecConfig], Iterator[str]]
_ENGINE_CHECKS: Mapping[str, _Check] = {"docker": _docker, "process": _process, "wasm": _wasm}
_SOURCE_CHECKS: Mapping[str, _Check] = {
    "inline": _inline,
    "ipfs": _ipfs,
    "local": _local,
    "localdirectory": _local,
    "s3": _s3_source,
    "urldownload": _url,
}
_PUBLISHER_CHECKS: Mapping[str, _Check] = {"s3": _s3_publisher}


def check_known(
    what: str, word: str, given: str, known: Sequence[str] | frozenset[str]
) -> Iterator[str]:
    """A reason that lists what there is, when `given` is not among the known names."""
    if given.strip().lower() not in known:
        there = ", ".join(sorted(known)) or "none"
        yield f"{what}: unknown {word} '{given.strip()[:60]}'; known are: {there}"

"""The engine's params: what a job may write, and what is wrong with what it wrote. Pure."""

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bacalhau.model.job import SpecConfig

_KEYS = ("Command", "Name", "Arguments", "EnvironmentVariables", "WorkingDirectory")
_ARGUMENT_BYTES = 131_071  # the kernel's MAX_ARG_STRLEN, less its final zero


@dataclass(frozen=True)
class Params:
    """`directory` is '' when the job names none."""

    command: str
    arguments: tuple[str, ...] = ()
    env: Mapping[str, str] | None = None
    directory: str = ""


def read(engine: SpecConfig) -> Params:
    """The params of a spec that check() has nothing against."""
    directory = str(engine.param("WorkingDirectory", ""))
    return Params(
        command=str(engine.param("Command") or engine.param("Name", "")),
        arguments=tuple(str(item) for item in engine.param("Arguments", ())),
        env=dict(_pairs(engine.param("EnvironmentVariables", {}))),
        directory=posixpath.normpath(directory) if directory else "",
    )


def check(engine: SpecConfig) -> tuple[str, ...]:
    """What is wrong with the params, in the user's words; empty when nothing is."""
    known = {key.lower() for key in _KEYS}
    reasons = [
        f"unknown parameter '{key}'; the process engine has {', '.join(_KEYS)}"
        for key in engine.params
        if key.lower() not in known
    ]
    reasons += _check_command(engine.param("Command"), engine.param("Name"))
    reasons += _check_arguments(engine.param("Arguments", ()))
    reasons += _check_variables(engine.param("EnvironmentVariables", {}))
    directory = engine.param("WorkingDirectory")
    if directory is not None and not (_is_text(directory) and directory.startswith("/")):
        reasons.append(f"WorkingDirectory must be an absolute path, not {directory!r}")
    return tuple(reasons)


def check_env(env: Mapping[str, str]) -> tuple[str, ...]:
    """What is wrong with a set of variables, whoever gave them."""
    return tuple(
        f"environment variable {name!r} cannot be set: names have no '=' and no zero byte"
        for name, value in env.items()
        if not name or "=" in name or "\0" in name or "\0" in value
    )


def _check_command(command: Any, name: Any) -> list[str]:
    given = [value for value in (command, name) if value is not None]
    if not given:
        return ["Command is missing: name the program to run, such as 'python3'"]
    if len(given) == 2 and command != name:
        return ["Command and Name are the same thing; give one of them"]
    if not _is_text(given[0]) or not given[0].strip():
        return [f"Command must be a program's name or path, not {given[0]!r}"]
    return []


def _check_arguments(arguments: Any) -> list[str]:
    if not isinstance(arguments, list | tuple):
        return [f"Arguments must be a list, not {arguments!r}"]
    reasons = []
    for number, item in enumerate(arguments, start=1):
        plain = isinstance(item, str | int | float) and not isinstance(item, bool)
        if not plain or not _is_text(str(item)):
            reasons.append(f"argument {number} must be text without zero bytes, not {item!r}")
        elif len(str(item).encode(errors="surrogateescape")) > _ARGUMENT_BYTES:
            reasons.append(
                f"argument {number} is longer than the {_ARGUMENT_BYTES} bytes that Linux allows; "
                "pass large data as an input"
            )
    return reasons


def _check_variables(variables: Any) -> list[str]:
    if isinstance(variables, Mapping):
        if not all(isinstance(value, str | int | float) for value in variables.values()):
            return ["EnvironmentVariables must map names to text"]
    elif not isinstance(variables, list | tuple) or not all(
        isinstance(item, str) and "=" in item for item in variables
    ):
        return ["EnvironmentVariables must be a list of KEY=VALUE"]
    return list(check_env(dict(_pairs(variables))))


def _pairs(variables: Any) -> list[tuple[str, str]]:
    if isinstance(variables, Mapping):
        return [(str(name), str(value)) for name, value in variables.items()]
    return [(name, value) for name, _, value in (item.partition("=") for item in variables)]


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and "\0" not in value

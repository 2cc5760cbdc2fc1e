"""`bacalhau config`: show and change settings."""

import os
import sys

from bacalhau.cli.call import Call
from bacalhau.cli.command import Command, Flag, Problem
from bacalhau.cli.table import FORMATS, Column, show_data, show_rows, to_json, to_yaml

COMMANDS = (
    Command(
        "config list", "bacalhau.cli.config:list_settings", "Show every setting and its value.",
        flags=(
            Flag("output", "choice", "Format of the output.", choices=FORMATS, default="table"),
            Flag("pretty", "bool", "Indent JSON.", default=True),
            Flag("hide-header", "bool", "No header row."),
            Flag("no-style", "bool", "A plain table, without colours."),
            Flag("wide", "bool", "No limits of width."),
        ),
        details="Values are the effective ones: defaults, files, environment and flags applied.\n"
        "Secrets are shown; `bacalhau agent config` masks them.",
    ),
    Command(
        "config set", "bacalhau.cli.config:set_setting",
        "Write a setting to the configuration file.",
        arguments="KEY=VALUE", least=1, most=-1,
        details="The file is the one given with -c, else config.yaml in the data directory.\n"
        "Comments in the file are lost, keys keep their spelling.",
    ),
)  # fmt: skip


def list_settings(call: Call) -> None:
    from bacalhau.config.show import rows, tree

    for warning in call.loaded.warnings:
        print(f"Warning: {warning}", file=sys.stderr)
    if call.flags["output"] == "yaml":
        print(to_yaml(tree(call.config, mask=False)))
        return
    if call.flags["output"] == "json":
        show_data(rows(call.config), "json", pretty=call.flags["pretty"])
        return
    show_rows(
        call,
        rows(call.config),
        (
            Column("Key", lambda row: row["Key"]),
            Column("Value", lambda row: _as_word(row["Value"]), width=40),
            Column("Description", lambda row: row["Description"], width=70),
        ),
    )


def _as_word(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list) and any(isinstance(inner, dict) for inner in value):
        return to_json(value)
    if isinstance(value, list):
        return ",".join(map(str, value))
    if isinstance(value, dict) and any(isinstance(inner, dict) for inner in value.values()):
        return to_json(value)
    if isinstance(value, dict):
        return ",".join(f"{key}={inner}" for key, inner in value.items())
    return str(value)


def set_setting(call: Call) -> None:
    from bacalhau.config import find, read_file

    name, value = _assignment(call.arguments)
    key = find(name)
    shown = _stored(key, value)
    path = _target(call)
    data = _load(path, read_file(path) or "")
    _place(data, key.name.split("."), shown)
    print(f"Writing config to {path}")
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    part = f"{path}.part"
    with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(to_yaml(data))
    os.replace(part, path)


def _assignment(words: list[str]) -> tuple[str, str]:
    name, equals, value = words[0].partition("=")
    if equals and len(words) == 1:
        return name, value
    if not equals and len(words) > 1:
        print("Warning: write KEY=VALUE; separate words are an old form", file=sys.stderr)
        return name, ",".join(words[1:])
    raise Problem(f"'{' '.join(words)}' is not KEY=VALUE", "bacalhau config set API.Port=1235")


def _stored(key: "Key", value: str) -> object:
    """The value as the file holds it, checked. Raises Problem."""
    from bacalhau.config.section import parse, show

    if key.name == "DataDir" and not value.startswith("~"):
        value = os.path.abspath(value)
    try:
        return show(key, parse(key, value, strict=False))
    except ValueError as error:
        raise Problem(f"{key.name} is '{value}', but should be {error}") from None


def _target(call: Call) -> str:
    given = call.flags["config"]
    if not given:
        return os.path.join(call.config.data_dir, "config.yaml")
    if len(given) > 1 or not given[0].endswith((".yaml", ".yml")):
        raise Problem("-c must name the one .yaml file to write")
    if not os.path.isfile(given[0]):
        raise Problem(f"{given[0]} does not exist", "create it first, an empty file will do")
    return str(given[0])


def _load(path: str, content: str) -> "dict[object, Any]":
    import yaml

    try:
        data = yaml.safe_load(content)
    except yaml.YAMLError as error:
        raise Problem(f"{path} is not valid YAML: {error}") from None
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise Problem(f"{path} does not hold a mapping of sections")
    return data


def _place(data: "dict[object, Any]", path: list[str], value: object) -> None:
    """Set the value at the path, under keys of any case that are there already."""
    for at, name in enumerate(path):
        existing = next((key for key in data if str(key).lower() == name.lower()), name)
        if at == len(path) - 1:
            data[existing] = value
        elif isinstance(data.get(existing), dict):
            data = data[existing]
        else:
            data[existing] = {}
            data = data[existing]


TYPE_CHECKING = False  # typing is slow to import, see command.py
if TYPE_CHECKING:
    from typing import Any

    from bacalhau.config.section import Key

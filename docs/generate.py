"""Writes docs/reference from the code: `make docs`. With --check it only compares, and fails.

Settings come from the table of keys, commands from the command tree, routes from the OpenAPI
document, errors from the error classes and every fault in the syntax, plug-ins from the entry
points, the job specification from the records. Nothing here knows a fact of its own.
"""

import ast
import inspect
import re
import sys
import types
from enum import StrEnum
from pathlib import Path
from typing import Any, get_args, get_origin

import msgspec

from bacalhau.api.errors import TABLE, answer
from bacalhau.api.openapi import document
from bacalhau.api.signin import Signin
from bacalhau.api.table import routes
from bacalhau.auth.guard import Guard
from bacalhau.cli.help import help_text
from bacalhau.cli.tree import NOUNS, commands
from bacalhau.config.show import reference
from bacalhau.model import errors, job, resources
from bacalhau.model.base import Record
from bacalhau.model.execution import FaultKind
from bacalhau.ports.plugins import GROUPS, find

sys.path.insert(0, str(Path(__file__).parent))
from fault_codes import scan

HERE = Path(__file__).parent
PACKAGE = HERE.parent / "src" / "bacalhau"
TARGET = HERE / "reference"
NOTICE = "<!-- Made by `make docs` from the code; changes here are lost. -->\n\n"
PORTS = {
    "executors": ("Executor", "executor"),
    "sources": ("Source", "source"),
    "publishers": ("Publisher", "publisher"),
    "stores": ("Store", "store"),
    "transports": ("Transport", "transport"),
}
"""Group of entry points -> its Protocol, and its module below bacalhau.ports."""


def config() -> str:
    return f"""# Settings

A flag wins over an environment variable, that over a file given with `-c`, that over
`config.yaml` in the data directory. `bacalhau config list` shows what is in force.
Keys are written in any case; a star marks those that Bacalhau does not have.

{reference()}"""


def cli() -> str:
    parts = ["# Commands\n", _fence(help_text(""))]
    for noun in NOUNS:
        names = [command.name for command in commands(noun)]
        parts.append(f"\n## bacalhau {noun}\n")
        parts += [_fence(help_text(noun))] if noun not in names else []
        for name in names:
            parts += [f"\n### bacalhau {name}\n"] if name != noun else []
            parts.append(_fence(_own_help(name)))
    return "\n".join(parts) + "\n"


def _own_help(name: str) -> str:
    """The help of one command, without what the help of all says already."""
    return help_text(name).partition("\nFlags of every command:")[0].rstrip()


def api() -> str:
    found, access = _operations()
    lines = [
        "# API\n",
        "The server gives the whole document, schemas included, at `/api/v1/openapi.json`.",
        "Keys of requests are matched in any case. Every error has the same envelope, see",
        "[errors](errors.md). Lists come in pages: pass `NextToken` as `next_token`.\n",
        "| Call | What it does | Right | Query | Body | Answer |",
        "|---|---|---|---|---|---|",
    ]
    for path, methods in found["paths"].items():
        for method, call in methods.items():
            query = ", ".join(f"`{p['name']}`" for p in call["parameters"] if p["in"] == "query")
            body = _schema(call.get("requestBody", {}).get("content", {}))
            gives = _schema(call["responses"].get("200", {}).get("content", {}))
            cells = (f"`{method.upper()} {path}`", call["summary"], access[call["operationId"]],
                     query, body, gives)  # fmt: skip
            lines.append(_row(*cells))
    lines.append("\n## Schemas\n")
    for name, schema in sorted(found["components"]["schemas"].items()):
        if "properties" in schema:
            needed = set(schema.get("required", ()))
            fields = ", ".join(
                f"`{field}`" + ("" if field in needed else "?") for field in schema["properties"]
            )
            lines.append(f"- **{name}**: {fields or 'no fields'}")
    return "\n".join(lines) + "\n\nA question mark: may be absent.\n"


def _operations() -> tuple[dict[str, Any], dict[str, str]]:
    """The document as a server makes it, and which right each operation needs."""
    signin = Signin(Guard(admin=""))
    table = routes(signin, signin.methods)  # any handler will do: nothing is served here
    access = {route.name: ":".join(route.access) if route.access else "none" for route in table}
    return document(table), access


def _schema(content: dict[str, Any]) -> str:
    for media, entry in content.items():
        reference = entry.get("schema", {}).get("$ref", "")
        return reference.rpartition("/")[2] or media
    return ""


def errors_page() -> str:
    lines = [
        "# Errors\n",
        "Codes are stable; messages may get better. An error says what failed, with which value,",
        "and in `Hint` what to do.\n",
        "## Answers of the API\n",
        "| Status | Code | Component | Meaning |",
        "|---|---|---|---|",
    ]
    for kind in sorted(_kinds(), key=lambda kind: (*_shown(kind), kind.__name__)):
        status, code, component = _shown(kind)
        if kind is not errors.Error:
            lines.append(_row(str(status), f"`{code}`", component, _first(kind)))
    lines += [
        _row("500", "`InternalError`", "Unknown", "A fault of the server; its log says more."),
        "\nA client that is too old gets 403 with a plain `Error`, as Bacalhau answers.\n",
        "## Why an execution did not complete\n",
        "The kind decides what happens next:\n",
        *_kind_lines(),
        "\n| Code | Kind | Message (`…`: a value) |",
        "|---|---|---|",
    ]
    codes: dict[str, tuple[set[str], list[str]]] = {}
    for seen in scan(PACKAGE):
        kinds, messages = codes.setdefault(seen.code, (set(), []))
        kinds.update({seen.kind} - {""})
        if seen.message.strip("… ;") and seen.message not in messages:
            messages.append(seen.message)
    for code, (kinds, messages) in sorted(codes.items()):
        lines.append(_row(f"`{code}`", ", ".join(sorted(kinds)), "<br>".join(messages) or "…"))
    return "\n".join(lines) + "\n"


def _kinds() -> set[type[errors.Error]]:
    found, todo = set(TABLE), [errors.Error]
    while todo:
        kind = todo.pop()
        found.add(kind)
        todo += [sub for sub in kind.__subclasses__() if sub.__module__.startswith("bacalhau.api")
                 or sub.__module__ == errors.__name__]  # fmt: skip
    return found - {errors.Error}


def _shown(kind: type[errors.Error]) -> tuple[int, str, str]:
    row = answer(kind.__new__(kind))
    return row.status, row.code, row.component


def _kind_lines() -> list[str]:
    """The lines of FaultKind's docstring that explain a member."""
    text = inspect.getdoc(FaultKind) or ""
    return [
        f"- **{kind}**: {found[1]}"
        for kind in FaultKind
        if (found := re.search(rf"^{kind.name}: (.+)$", text, re.MULTILINE))
    ]


def plugins() -> str:
    lines = ["# Plug-ins\n", "Found by entry point; the built-in ones come through the same door.",
             "[How to write one](../how-to/write-a-plugin.md).\n"]  # fmt: skip
    for group in GROUPS:
        protocol, module = PORTS[group]
        tree = ast.parse((PACKAGE / "ports" / f"{module}.py").read_text())
        port = next(n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == protocol)
        lines += [
            f"## {group.capitalize()}\n",
            f"Entry points `bacalhau.{group}`; Protocol `bacalhau.ports.{module}.{protocol}`.\n",
            (ast.get_docstring(port) or "") + "\n",
            "| Method | |",
            "|---|---|",
        ]
        for node in port.body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                arguments = ", ".join(a.arg for a in node.args.args[1:] + node.args.kwonlyargs)
                first = (ast.get_docstring(node) or "").partition("\n\n")[0].replace("\n", " ")
                lines.append(_row(f"`{node.name}({arguments})`", first))
        for name, entry in sorted(find(group).items()):
            if entry.value.startswith("bacalhau."):
                text = inspect.getdoc(entry.load()) or ""
                lines += [f"\n### {name}\n", f"`{entry.value}`\n", text]
        lines.append("")
    return "\n".join(lines)


def job_spec() -> str:
    records = (job.JobSpec, job.Requirement, job.Retry, job.Task, job.SpecConfig, job.InputSource,
               job.ResultPath, resources.ResourcesConfig, job.Network, job.Port,
               job.Timeouts)  # fmt: skip
    lines = [
        "# Job specification\n",
        "YAML or JSON, keys in any case. `bacalhau job validate FILE` checks a file without a",
        "server; settings `JobDefaults.*` fill in what a job leaves out.\n",
    ]
    for record in records:
        lines += [f"## {record.__name__}\n", (inspect.getdoc(record) or "") + "\n",
                  "| Key | Type | Default |", "|---|---|---|"]  # fmt: skip
        hints = inspect.get_annotations(record)
        for field in msgspec.structs.fields(record):
            lines.append(
                _row(f"`{field.encode_name}`", _type(hints[field.name]), _default_of(field))
            )
        lines.append("")
    for enum in (job.JobType, job.NetworkType):
        values = ", ".join(f"`{value}`" for value in enum)
        lines += [f"## {enum.__name__}\n", (inspect.getdoc(enum) or "") + "\n", f"{values}\n"]
    return "\n".join(lines)


_NAMES = {str: "text", int: "whole number", float: "number", bool: "bool", Any: "anything"}


def _type(hint: Any) -> str:
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (types.UnionType,):
        return " or ".join(_type(one) for one in inner if one is not type(None))
    if origin is tuple:
        return f"list of {_type(inner[0])}"
    if origin is dict:
        return f"map of text to {_type(inner[1])}"
    if isinstance(hint, type) and issubclass(hint, Record | StrEnum):
        return f"[{hint.__name__}](#{hint.__name__.lower()})"
    return _NAMES[hint]


def _default_of(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "required"
    made = field.default
    if made is msgspec.NODEFAULT:
        made = field.default_factory()  # type: ignore[operator]  # one of the two is there
    if made in ("", (), {}, None) or isinstance(made, Record):
        return ""
    return f"`{made}`"


def _first(kind: type) -> str:
    text = kind.__doc__ or next((b.__doc__ for b in kind.__mro__ if b.__doc__), "") or ""
    return text.strip().partition("\n")[0].split(" `")[0]


def _fence(text: str) -> str:
    return f"```text\n{text}\n```"


def _row(*cells: str) -> str:
    return "| " + " | ".join(re.sub(r"\s+", " ", c).replace("|", "\\|") for c in cells) + " |"


PAGES = {
    "config.md": config,
    "cli.md": cli,
    "api.md": api,
    "errors.md": errors_page,
    "plugins.md": plugins,
    "job-spec.md": job_spec,
}


def pages() -> dict[Path, str]:
    """Path -> text of every generated page."""
    return {TARGET / name: NOTICE + make().rstrip() + "\n" for name, make in PAGES.items()}


def stale() -> list[str]:
    """Names of the pages that are not what the code says, missing ones included."""
    return [
        path.name for path, text in pages().items() if not path.exists() or path.read_text() != text
    ]


def main(arguments: list[str]) -> int:
    if arguments == ["--check"]:
        differing = stale()
        if differing:
            print(f"docs/reference: {', '.join(differing)} differ from the code; run `make docs`")
        return 1 if differing else 0
    if arguments:
        print("usage: generate.py [--check]")
        return 2
    TARGET.mkdir(exist_ok=True)
    for path, text in pages().items():
        path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

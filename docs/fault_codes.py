"""Which fault codes the code base can put into an execution's record, read from its syntax.

A fault is made by `Fault(...)`, often inside a small function that takes the code or the
message as an argument. Such makers are followed to their callers, so that every place that
names a code counts, whatever stands between it and the record.
"""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

FIELDS = ("kind", "code", "message", "hint")
NOT_OURS = ("testing",)
"""Packages whose faults no user can meet."""


class Seen(NamedTuple):
    """One place that names a code. `message` has `…` where values go."""

    code: str
    kind: str
    message: str
    module: str


class Maker(NamedTuple):
    """A function that makes faults: the values it sets itself, and those its caller gives."""

    parameters: tuple[str, ...]
    defaults: dict[str, ast.expr]
    sets: dict[str, ast.expr]


def scan(package: Path) -> list[Seen]:
    """Every code with its messages, by code. Values decided at run time are left out."""
    trees = {
        path.relative_to(package).with_suffix("").as_posix(): ast.parse(path.read_text())
        for path in sorted(package.rglob("*.py"))
        if path.relative_to(package).parts[0] not in NOT_OURS
    }
    found: set[Seen] = set()
    shared = _known(trees)
    for module, tree in trees.items():
        makers = _in_reach(tree, module, shared)
        for function, call in _calls(tree):
            maker = makers.get(_called(call))
            if maker is None:
                continue
            values = _values(call, maker)
            code = _text(values.get("code"))
            if code and code.isidentifier() and not _is_passed_on(values["code"], function):
                kind = _kind(values.get("kind"))
                found.add(Seen(code, kind, _text(values.get("message")), module))
    return sorted(found)


Makers = dict[str, Maker]


def _known(trees: dict[str, ast.Module]) -> dict[tuple[str, str], Maker]:
    """All makers by (module, name), found in rounds: a maker may call another one."""
    shared: dict[tuple[str, str], Maker] = {}
    while True:
        before = len(shared)
        for module, tree in trees.items():
            makers = _in_reach(tree, module, shared)
            for function, call in _calls(tree):
                maker = makers.get(_called(call))
                if function is None or maker is None:
                    continue
                values = _values(call, maker)
                if any(_is_passed_on(value, function) for value in values.values()):
                    shared.setdefault((module, function.name), _maker(function, values))
        if len(shared) == before:
            return shared


def _in_reach(tree: ast.Module, module: str, shared: dict[tuple[str, str], Maker]) -> Makers:
    """What this module can call by a plain name."""
    makers: Makers = {"Fault": Maker(FIELDS, {}, {name: ast.Name(name) for name in FIELDS})}
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module:
            there = node.module.removeprefix("bacalhau.").replace(".", "/")
            for alias in node.names:
                if (there, alias.name) in shared:
                    makers[alias.asname or alias.name] = shared[there, alias.name]
    makers |= {name: maker for (where, name), maker in shared.items() if where == module}
    return makers


Function = ast.FunctionDef | ast.AsyncFunctionDef


def _calls(
    node: ast.AST, function: Function | None = None
) -> Iterator[tuple[Function | None, ast.Call]]:
    """Every call, with the function it stands in."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Call):
            yield function, child
        inner = child if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) else function
        yield from _calls(child, inner)


def _called(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else ""


def _maker(function: Function, values: dict[str, ast.expr]) -> Maker:
    arguments = [*function.args.posonlyargs, *function.args.args]
    defaults = dict(
        zip([a.arg for a in arguments][::-1], function.args.defaults[::-1], strict=False)
    )
    for argument, default in zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True):
        if default is not None:
            defaults[argument.arg] = default
    return Maker(tuple(a.arg for a in arguments), defaults, values)


def _values(call: ast.Call, maker: Maker) -> dict[str, ast.expr]:
    """What the fault's fields are in this call: expressions of the caller."""
    given = {**maker.defaults, **dict(zip(maker.parameters, call.args, strict=False))}
    given |= {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg}
    values = {}
    for field, value in maker.sets.items():
        if isinstance(value, ast.Name) and (value.id in given or value.id in maker.parameters):
            if value.id in given:
                values[field] = given[value.id]
        else:
            values[field] = value
    return values


def _is_passed_on(value: ast.expr, function: Function | None) -> bool:
    if function is None or not isinstance(value, ast.Name):
        return False
    arguments = function.args
    return value.id in {
        a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)
    }


def _kind(value: ast.expr | None) -> str:
    """The kind as users read it; empty when it depends."""
    return value.attr.lower() if isinstance(value, ast.Attribute) else ""


def _text(value: ast.expr | None) -> str:
    """The text, with an ellipsis for every value in it; empty when it is no literal."""
    if isinstance(value, ast.Constant) and isinstance(value.value, str):
        return value.value
    if isinstance(value, ast.JoinedStr):
        return "".join(_text(part) or "…" for part in value.values)
    if isinstance(value, ast.BinOp):
        left, right = _text(value.left), _text(value.right)
        return left + right if left and right else ""
    return ""

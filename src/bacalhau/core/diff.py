"""How does a submitted spec differ from the stored one? In words for people."""

import json
from collections.abc import Iterator
from typing import Any

import msgspec

from bacalhau.core.normal import comparable
from bacalhau.core.wire import spec as view
from bacalhau.model.job import JobSpec

MAX_LINES = 2000
"""Longer differences are cut: nobody reads them."""

MAX_VALUE_CHARS = 2000
"""Inline data may be megabytes long."""

_RESOURCES = ("CPU", "Memory", "Disk", "GPU")
_MISSING: Any = object()

Path = tuple[str, ...]


def diff(old: JobSpec, new: JobSpec) -> str:
    """Lines of what was (`-`) and what would be (`+`), below where they stand; '' when equal.

    Both specs are in their normal form. What the orchestrator keeps in Meta does not count,
    nor does the case of resource amounts.

          Tasks[0].Resources
        -   CPU: "500m"
        +   CPU: "1"
    """
    lines: list[str] = []
    place: Path | None = None
    for path, before, after in _changes((), _shape(old), _shape(new)):
        if path[:-1] != place:
            place = path[:-1]
            lines.append("  " + (_text(place) or "Job"))
        if before is not _MISSING:
            lines.append(f"-   {_key(path[-1])}: {_value(before)}")
        if after is not _MISSING:
            lines.append(f"+   {_key(path[-1])}: {_value(after)}")
        if len(lines) >= MAX_LINES:
            lines.append("  ... and more")
            break
    return "\n".join(lines)


def _shape(spec: JobSpec) -> dict[str, Any]:
    shape = view(comparable(spec))
    for task in shape["Tasks"]:
        amounts = task["Resources"]
        task["Resources"] = {key: amounts[key].lower() for key in _RESOURCES if key in amounts}
    return shape


def _changes(path: Path, old: Any, new: Any) -> Iterator[tuple[Path, Any, Any]]:
    """(path, before, after) of every leaf that differs."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in [*old, *(key for key in new if key not in old)]:
            yield from _changes((*path, key), old.get(key, _MISSING), new.get(key, _MISSING))
    elif isinstance(old, list | tuple) and isinstance(new, list | tuple):
        for at in range(max(len(old), len(new))):
            before = old[at] if at < len(old) else _MISSING
            after = new[at] if at < len(new) else _MISSING
            yield from _changes((*path, f"[{at}]"), before, after)
    elif old is _MISSING or new is _MISSING or type(old) is not type(new) or old != new:
        yield path, old, new


def _value(value: Any) -> str:
    """One line of JSON, whatever was in it."""
    text = msgspec.json.encode(value).decode()
    if not text.isprintable():
        text = json.dumps(value)
    if len(text) <= MAX_VALUE_CHARS:
        return text
    return f"{text[:MAX_VALUE_CHARS]}... ({len(text)} characters)"


def _key(part: str) -> str:
    return part if part and part.isprintable() else ascii(part)


def _text(path: Path) -> str:
    text = ""
    for part in path:
        part = _key(part)
        text += part if part.startswith("[") or not text else f".{part}"
    return text

"""From a decoded JSON or YAML object to a model record, told all that is wrong with it.

Keys are matched in any case at every typed level; the keys of data maps (Params, Meta, Labels,
Env) are kept as they are. Null leaves the default, the last duplicate wins, unknown keys mean
nothing. Types are strict, with two kindnesses: amounts of resources and values of constraints
may be written as numbers.
"""

import types
from collections.abc import Callable, Mapping
from enum import StrEnum
from functools import cache
from math import isfinite
from typing import Any, TypeVar, Union, get_args, get_origin

import msgspec

from bacalhau.model.base import Record
from bacalhau.model.errors import Rejected
from bacalhau.model.job import JobSpec, JobType, Requirement
from bacalhau.model.resources import ResourcesConfig

MAX_DEPTH = 64
"""Levels of nesting; no job needs ten."""

MAX_WEIGHT = 32 * 1024 * 1024
"""Characters of all texts, plus eight per item: what an object may weigh once expanded."""

MAX_FAULTS = 100
"""Faults that are listed; more help nobody."""

_MIN_INT, _MAX_INT = -(2**63), 2**63 - 1
_ITEM_WEIGHT = 8

T = TypeVar("T", bound=Record)
Path = tuple[str | int, ...]


def bind(kind: type[T], obj: object) -> T:
    """The record that this object describes. Raises Rejected with every fault found."""
    return bind_noting_unknown(kind, obj)[0]


def bind_noting_unknown(kind: type[T], obj: object) -> tuple[T, tuple[str, ...]]:
    """The record, and the paths of the keys that mean nothing. Raises Rejected."""
    work = _Work()
    try:
        record = _binder(kind)(obj, (), work)
    except _TooMuch as error:
        raise Rejected(*work.faults, str(error)) from None
    if work.faults:
        raise Rejected(*work.faults)
    return record, tuple(work.unknown)


def bind_job(obj: object) -> tuple[JobSpec, dict[str, Any]]:
    """The spec, and the fields a client sent although the orchestrator decides them.

    The latter are ID, State, Version, Revision, CreateTime, ModifyTime: checked, by those
    names, for the warnings of `admit`. Raises Rejected.
    """
    if not isinstance(obj, dict):
        raise Rejected(f"job: expected object, got {_name(obj)}")
    spec: dict[Any, Any] = {}
    given: dict[str, Any] = {}
    for key, item in obj.items():
        wire = GIVEN_KEYS.get(key.lower()) if isinstance(key, str) else None
        if wire is None:
            spec[key] = item
        elif item is not None:
            given[wire] = item
    if given:
        bind(_Given, given)
    return bind(JobSpec, spec), given


class _Given(Record, kw_only=True):
    """Of which types those fields are."""

    id: str = ""
    state: dict[str, Any] = {}
    version: int = 0
    revision: int = 0
    create_time: int = 0
    modify_time: int = 0


GIVEN_KEYS = {
    field.encode_name.lower(): field.encode_name for field in msgspec.structs.fields(_Given)
}
"""The keys of a job that the orchestrator decides, by their lower-case form."""


class _TooMuch(Exception):
    """The object is beyond a bound: no use in going on."""


class _Work:
    """What one binding gathers."""

    __slots__ = ("faults", "left", "unknown")

    def __init__(self) -> None:
        self.faults: list[str] = []
        self.unknown: list[str] = []
        self.left = MAX_WEIGHT

    def fault(self, path: Path, text: str) -> None:
        where = _text(path)
        self.faults.append(f"{where}: {text}" if where else text)
        if len(self.faults) >= MAX_FAULTS:
            raise _TooMuch("there may be more faults")

    def enter(self, path: Path, items: int) -> None:
        """Count the items of a container in; called before any of them is looked at."""
        self.left -= items * _ITEM_WEIGHT
        if self.left < 0:
            raise _TooMuch(f"{_text(path)}: too much data")
        if len(path) > MAX_DEPTH:
            raise _TooMuch(f"{_text(path[:8])}...: nested more than {MAX_DEPTH} levels deep")


_Binder = Callable[[Any, Path, _Work], Any]
_SKIPPED: Any = object()


@cache
def _binder(kind: Any) -> _Binder:
    """The function that binds values of this annotation."""
    plain = _SCALARS.get(kind)
    if plain is not None:
        return plain
    origin, args = get_origin(kind), get_args(kind)
    if origin is tuple and len(args) == 2 and args[1] is Ellipsis:
        return _list_binder(_binder(args[0]))
    if origin is dict:
        return _data_map if args[1] is Any else _text_map
    if origin in (Union, types.UnionType):
        return _binder(next(arg for arg in args if arg is not type(None)))
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return _enum_binder(kind)
    if isinstance(kind, type) and issubclass(kind, Record):
        return _record_binder(kind)
    raise TypeError(f"cannot bind {kind!r}")


def _record_binder(kind: type[Record]) -> _Binder:
    """Binds objects to this record; keys in any case, the usual spelling without detour."""
    fields: dict[str, tuple[str, str, _Binder]] = {}
    required: list[tuple[str, str]] = []
    for field in msgspec.structs.fields(kind):
        lenient = _LENIENT.get((kind, field.name))
        entry = (field.name, field.encode_name, lenient or _binder(field.type))
        fields[field.encode_name] = fields[field.encode_name.lower()] = entry
        if field.required:
            required.append((field.name, field.encode_name))
    missing = "missing job type, use one of " + ", ".join(JobType)

    def bind_record(value: Any, path: Path, work: _Work) -> Any:
        if not isinstance(value, dict):
            work.fault(path, f"expected object, got {_name(value)}")
            return _SKIPPED
        work.enter(path, len(value))
        given: dict[str, Any] = {}
        for key, item in value.items():
            entry = fields.get(key)
            if entry is None:
                entry = fields.get(key.lower()) if isinstance(key, str) else None
                if entry is None:
                    if len(work.unknown) < MAX_FAULTS:
                        work.unknown.append(_text((*path, str(key)[:200])))
                    continue
            name, wire, bind_field = entry
            if bind_field is _string and type(item) is str and _is_plain(item):
                work.left -= len(item)  # most fields are such; they need no path
                given[name] = item
            elif item is not None:
                given[name] = bind_field(item, (*path, wire), work)
        for name, wire in required:
            if name not in given:
                is_type = name == "type" and kind is JobSpec
                work.fault((*path, wire), missing if is_type else "missing")
        if work.faults:
            return _SKIPPED
        return kind(**given)

    return bind_record


def _list_binder(bind_item: _Binder) -> _Binder:
    def bind_list(value: Any, path: Path, work: _Work) -> Any:
        if not isinstance(value, list | tuple):
            work.fault(path, f"expected list, got {_name(value)}")
            return _SKIPPED
        work.enter(path, len(value))
        return tuple([bind_item(item, (*path, at), work) for at, item in enumerate(value)])

    return bind_list


def _enum_binder(kind: type[StrEnum]) -> _Binder:
    words = {word.lower(): word for word in kind}
    allowed = ", ".join(kind)

    def bind_word(value: Any, path: Path, work: _Work) -> Any:
        if not isinstance(value, str):
            work.fault(path, f"expected string, got {_name(value)}; use one of {allowed}")
            return _SKIPPED
        word = words.get(value.strip().lower())
        if word is None:
            work.fault(path, f"unknown word {_quote(value)}, use one of {allowed}")
        return word

    return bind_word


def _string(value: Any, path: Path, work: _Work) -> Any:
    if type(value) is not str:
        work.fault(path, f"expected string, got {_name(value)}")
        return _SKIPPED
    work.left -= len(value)
    if not _is_plain(value) and ("\0" in value or not _is_unicode(value)):
        work.fault(path, "contains a character that is not allowed (NUL or half a surrogate pair)")
    return value


def _integer(value: Any, path: Path, work: _Work) -> Any:
    if type(value) is not int:
        work.fault(path, f"expected integer, got {_name(value)}")
    elif not _MIN_INT <= value <= _MAX_INT:
        work.fault(path, "does not fit 64 bits")
    return value


def _number(value: Any, path: Path, work: _Work) -> Any:
    if type(value) is int and _MIN_INT <= value <= _MAX_INT:
        return float(value)
    if type(value) is not float:
        work.fault(path, f"expected number, got {_name(value)}")
    elif not isfinite(value):
        work.fault(path, "must be a finite number")
    return value


def _boolean(value: Any, path: Path, work: _Work) -> Any:
    if type(value) is not bool:
        work.fault(path, f"expected boolean, got {_name(value)}")
    return value


def _amount(value: Any, path: Path, work: _Work) -> Any:
    """A resource amount; `CPU: 1` is common in job files."""
    return _string(_spelt(value) if type(value) in (int, float) else value, path, work)


def _label_value(value: Any, path: Path, work: _Work) -> Any:
    """A constraint's value; `Values: [4]` and `Values: [true]` are common in job files."""
    return _string(_spelt(value) if type(value) in (int, float, bool) else value, path, work)


def _spelt(value: bool | float) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    # Long integers are not spelt out: that takes quadratic time, and the fault says "number".
    return value if isinstance(value, int) and not _MIN_INT <= value <= _MAX_INT else repr(value)


def _text_map(value: Any, path: Path, work: _Work) -> Any:
    if not isinstance(value, dict):
        work.fault(path, f"expected object, got {_name(value)}")
        return _SKIPPED
    work.enter(path, len(value))
    for key, item in value.items():
        _string(key, path, work)
        if type(item) is str and _is_plain(item):
            work.left -= len(item)
        else:
            _string(item, (*path, key), work)
    return value


def _data_map(value: Any, path: Path, work: _Work) -> Any:
    if not isinstance(value, dict):
        work.fault(path, f"expected object, got {_name(value)}")
        return _SKIPPED
    _data(value, path, work)
    return value


def _data(value: Any, path: Path, work: _Work) -> None:
    """Look through plug-in data: any JSON value that can be stored and shown again."""
    kind = type(value)
    if kind is str:
        _string(value, path, work)
    elif kind is dict:
        work.enter(path, len(value))
        for key, item in value.items():
            _string(key, path, work)
            if type(item) is str and _is_plain(item):
                work.left -= len(item)
            else:
                _data(item, (*path, key), work)
    elif kind is list or kind is tuple:
        work.enter(path, len(value))
        for at, item in enumerate(value):
            if type(item) is str and _is_plain(item):
                work.left -= len(item)
            else:
                _data(item, (*path, at), work)
    elif kind is int:
        _integer(value, path, work)
    elif kind is float:
        _number(value, path, work)
    elif value is not None and kind is not bool:
        work.fault(path, f"expected a JSON value, got {_name(value)}")


_SCALARS: Mapping[Any, _Binder] = {
    str: _string,
    int: _integer,
    float: _number,
    bool: _boolean,
}

_LENIENT: Mapping[tuple[type[Record], str], _Binder] = {
    **{(ResourcesConfig, name): _amount for name in ("cpu", "memory", "disk", "gpu")},
    (Requirement, "values"): _list_binder(_label_value),
}


def _is_plain(text: str) -> bool:
    return text.isascii() and "\0" not in text


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _name(value: object) -> str:
    """What JSON calls this value."""
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case str():
            return "string"
        case list() | tuple():
            return "list"
        case dict():
            return "object"
        case _:
            return type(value).__name__


def _quote(text: str) -> str:
    """The text in quotes, short and printable."""
    return ascii(text[:60]) if len(text) <= 60 else ascii(text[:60]) + "..."


def _text(path: Path) -> str:
    """`Tasks[0].Resources.CPU`"""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            shown = part if isinstance(part, str) and part.isprintable() else ascii(part)
            text += f".{shown[:200]}" if text else shown[:200]
    return text

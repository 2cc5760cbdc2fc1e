"""Sections and keys: how a setting is declared, read from text or YAML, and shown.

A section is a frozen record whose class body is the table: `host = text("127.0.0.1",
"what it does")`. Nothing here imports typing, dataclasses or msgspec, because every command
line start reads the configuration first and those cost more than all the rest of it.
"""

import re
from collections.abc import Callable, Iterator, Mapping

TYPE_CHECKING = False  # not from typing: that import alone takes as long as the interpreter
if TYPE_CHECKING:
    from typing import Self, TypeVar

    S = TypeVar("S", bound="Section")

ACRONYMS = {"API", "CA", "CPU", "GPU", "HTTP", "ID", "IPFS", "JWKS", "TLS", "TTL", "UI", "URL",
            "WASM", "S3"}  # fmt: skip
_DURATION = re.compile(r"([0-9]*\.?[0-9]*)(ns|us|µs|μs|ms|s|m|h)")
_UNITS = {
    "ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3,
    "s": 1.0, "m": 60.0, "h": 3600.0,
}  # fmt: skip
_TRUE = frozenset(("1", "t", "T", "TRUE", "true", "True"))
_FALSE = frozenset(("0", "f", "F", "FALSE", "false", "False"))
_MAX_SECONDS = float(2**63) / 1e9
"""Go's durations are int64 nanoseconds: about 292 years."""


def spelling(attribute: str) -> str:
    """The documented name of an attribute: `pre_signed_url_expiration` -> `PreSignedURL...`."""
    words = attribute.split("_")
    return "".join(w.upper() if w.upper() in ACRONYMS else w.capitalize() for w in words)


class Key:
    """One setting: what it is called (`name`, dotted), its type, default and documentation.

    `kind` is one of string, bool, int, duration, size, list, map, records, record map.
    `low`..`high` bound numbers; `one_of` lists the allowed words; `record` is the section
    class of structured values; `ours` marks keys that Bacalhau does not have.
    """

    __slots__ = ("default", "doc", "high", "kind", "low", "name", "one_of", "ours", "path",
                 "record", "secret")  # fmt: skip

    def __init__(
        self,
        kind: str,
        default: object,
        doc: str,
        *,
        low: float | None = None,
        high: float | None = None,
        one_of: tuple[str, ...] = (),
        record: "type[Section] | None" = None,
        secret: bool = False,
        ours: bool = False,
    ) -> None:
        self.kind = kind
        self.default = default
        self.doc = doc
        self.low = low
        self.high = high
        self.one_of = one_of
        self.record = record
        self.secret = secret
        self.ours = ours
        self.name = ""
        self.path: tuple[str, ...] = ()

    def at(self, path: tuple[str, ...]) -> "Key":
        """The same setting at its place in the tree."""
        placed = Key(
            self.kind, self.default, self.doc, low=self.low, high=self.high, one_of=self.one_of,
            record=self.record, secret=self.secret, ours=self.ours,
        )  # fmt: skip
        placed.path = path
        placed.name = ".".join(map(spelling, path))
        return placed

    @property
    def variable(self) -> str:
        """The environment variable of this key."""
        return "BACALHAU_" + self.name.upper().replace(".", "_")


# What a class body says. Each returns a Key, but is declared with the type that the
# attribute has on instances, so that `config.api.port` is an int for readers and mypy.


def text(
    default: str, doc: str, *, one_of: tuple[str, ...] = (), secret: bool = False,
    ours: bool = False,
) -> str:  # fmt: skip
    return Key("string", default, doc, one_of=one_of, secret=secret, ours=ours)  # type: ignore[return-value]  # see above


def switch(default: bool, doc: str, *, ours: bool = False) -> bool:
    return Key("bool", default, doc, ours=ours)  # type: ignore[return-value]  # see above


def number(
    default: int, doc: str, *, low: int = 0, high: int = 2**31 - 1, ours: bool = False
) -> int:
    return Key("int", default, doc, low=low, high=high, ours=ours)  # type: ignore[return-value]  # see above


def duration(default: float, doc: str, *, low: float = 0.0, ours: bool = False) -> float:
    """Seconds; written in Go's syntax."""
    return Key("duration", float(default), doc, low=low, ours=ours)  # type: ignore[return-value]  # see above


def size(default: str, doc: str, *, ours: bool = False) -> str:
    """A number of bytes as people write it, such as `10MB` or `1GiB`: checked, kept as text."""
    return Key("size", default, doc, ours=ours)  # type: ignore[return-value]  # see above


def words(default: tuple[str, ...], doc: str, *, ours: bool = False) -> tuple[str, ...]:
    return Key("list", default, doc, ours=ours)  # type: ignore[return-value]  # see above


def pairs(doc: str) -> Mapping[str, str]:
    return Key("map", {}, doc)  # type: ignore[return-value]  # see above


def records(record: "type[S]", doc: str) -> "tuple[S, ...]":
    return Key("records", (), doc, record=record)  # type: ignore[return-value]  # see above


def named(default: "Mapping[str, S]", record: "type[S]", doc: str) -> "Mapping[str, S]":
    return Key("record map", default, doc, record=record)  # type: ignore[return-value]  # see above


class Section:
    """A frozen group of settings. Attributes that are only annotated are sub-sections."""

    _keys: dict[str, Key]
    _sections: "dict[str, type[Section]]"

    def __init_subclass__(cls) -> None:
        own = vars(cls)
        cls._keys = {name: value for name, value in own.items() if isinstance(value, Key)}
        cls._sections = dict(own.get("__annotations__", {}))

    def __init__(self, **values: object) -> None:
        state = self.__dict__
        for name, key in self._keys.items():
            state[name] = values.pop(name) if name in values else key.default
        for name, kind in self._sections.items():
            state[name] = values.pop(name) if name in values else kind()
        if values:
            raise TypeError(f"{type(self).__name__} has no {', '.join(values)}")

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a configuration is never changed; {name} stays as it is")

    def but(self, **changes: object) -> "Self":
        """This section with some attributes changed."""
        return type(self)(**{**self.__dict__, **changes})

    __delattr__ = None  # type: ignore[assignment]  # as frozen as the rest

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.__dict__ == other.__dict__

    __hash__ = None  # type: ignore[assignment]  # maps inside are not hashable

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.__dict__})"

    @classmethod
    def of(cls, values: Mapping[tuple[str, ...], object]) -> "Self":
        """The section with these values, by attribute path; the rest as declared."""
        given: dict[str, object] = {}
        below: dict[str, dict[tuple[str, ...], object]] = {}
        for path, value in values.items():
            if len(path) == 1:
                given[path[0]] = value
            else:
                below.setdefault(path[0], {})[path[1:]] = value
        for name, inner in below.items():
            given[name] = cls._sections[name].of(inner)
        return cls(**given)


def walk(section: type[Section], path: tuple[str, ...] = ()) -> Iterator[Key]:
    """Every setting below, each at its place in the tree."""
    for attribute, key in section._keys.items():
        yield key.at((*path, attribute))
    for attribute, kind in section._sections.items():
        yield from walk(kind, (*path, attribute))


# Values. Every function raises ValueError saying what is expected.


def seconds(given: str) -> float:
    """Go's duration syntax in seconds: `1h30m` -> 5400.0, `100ms` -> 0.1, `0` -> 0.0."""
    sign, rest = 1.0, given.strip()
    if rest[:1] in ("-", "+"):
        sign, rest = (-1.0 if rest[0] == "-" else 1.0), rest[1:]
    if rest == "0":
        return 0.0
    total, at = 0.0, 0
    while at < len(rest):
        part = _DURATION.match(rest, at)
        if not part or part[1] in ("", "."):
            break
        total += float(part[1]) * _UNITS[part[2]]
        at = part.end()
    if not rest or at < len(rest) or total > _MAX_SECONDS:
        raise ValueError("a duration such as 30s, 1h30m or 100ms")
    return sign * round(total, 9)


def go_duration(given: float) -> str:
    """Seconds as Go writes them: 60 -> `1m0s`, 0.1 -> `100ms`, 0 -> `0s`."""
    nanos = round(abs(given) * 1e9)
    sign = "-" if given < 0 and nanos else ""
    if not nanos:
        return "0s"
    for unit, scale in (("ns", 1), ("µs", 10**3), ("ms", 10**6)):
        if nanos < scale * 1000:
            return f"{sign}{_decimal(nanos, scale)}{unit}"
    minutes, rest = divmod(nanos, 60 * 10**9)
    hours, minutes = divmod(minutes, 60)
    head = f"{hours}h{minutes}m" if hours else f"{minutes}m" if minutes else ""
    return f"{sign}{head}{_decimal(rest, 10**9)}s"


def _decimal(amount: int, scale: int) -> str:
    whole, part = divmod(amount, scale)
    digits = len(str(scale)) - 1
    return f"{whole}.{part:0{digits}d}".rstrip("0") if part else str(whole)


def parse(key: Key, given: str, *, strict: bool = True) -> object:
    """The value that a text means for this key: `-c`, environment, flags, `config set`.

    `strict` refuses spaces, `;` and empty elements in lists, as `-c` does.
    """
    if key.kind == "list":
        return _list(given, strict)
    if key.kind == "map":
        return _map(given)
    return convert(key, given, from_file=False)


def _list(given: str, strict: bool) -> tuple[str, ...]:
    if strict and (" " in given or ";" in given):
        raise ValueError("a comma-separated list without spaces or semicolons")
    parts = [part.strip() for part in given.split(",")]
    if strict and not all(parts):
        raise ValueError("a comma-separated list without empty elements")
    return tuple(part for part in parts if part)


def _map(given: str) -> dict[str, str]:
    pairs = {}
    for part in given.split(","):
        name, equals, value = part.strip().partition("=")
        if not name or not equals or not value or "=" in value:
            raise ValueError("pairs such as key=value,key2=value2")
        pairs[name] = value
    return pairs


def convert(key: Key, given: object, *, from_file: bool = True) -> object:
    """The value that YAML data (weakly typed, as in Bacalhau) or a text means."""
    value = _CONVERT[key.kind](key, given, from_file)
    if key.one_of and value not in key.one_of:
        raise ValueError("one of " + ", ".join(key.one_of))
    if isinstance(value, int | float) and not isinstance(value, bool):
        if key.low is not None and value < key.low:
            raise ValueError(f"at least {show(key, key.low)}")
        if key.high is not None and value > key.high:
            raise ValueError(f"at most {show(key, key.high)}")
    return value


def _to_string(key: Key, given: object, from_file: bool) -> str:
    if isinstance(given, bool):
        return "true" if given else "false"
    if not isinstance(given, str | int | float):
        raise ValueError("a text")
    value = str(given)
    return value.lower() if key.one_of else value


def _to_bool(key: Key, given: object, from_file: bool) -> bool:
    word = _scalar(given)
    if word in _TRUE or word in _FALSE:
        return word in _TRUE
    raise ValueError("true or false")


def _to_int(key: Key, given: object, from_file: bool) -> int:
    word = _scalar(given)
    digits = word[1:] if word[:1] in ("-", "+") else word
    if digits.isascii() and digits.isdigit() and len(digits) < 20:
        return int(word)
    raise ValueError("a whole number")


def _to_duration(key: Key, given: object, from_file: bool) -> float:
    if isinstance(given, int) and not isinstance(given, bool):
        return given / 1e9  # a bare number in a file is nanoseconds
    if isinstance(given, str):
        return seconds(given)
    raise ValueError("a duration such as 30s, 1h30m or 100ms")


def _to_size(key: Key, given: object, from_file: bool) -> str:
    from bacalhau.model.resources import parse_bytes  # only when needed: it brings in msgspec

    word = _scalar(given)
    try:
        parse_bytes(word)
    except ValueError:
        raise ValueError("a size such as 512MB, 1GiB or 4096") from None
    return word


def _to_list(key: Key, given: object, from_file: bool) -> tuple[str, ...]:
    items = given if isinstance(given, list | tuple) else [given]
    return tuple(_to_string(key, item, from_file) for item in items)


def _to_map(key: Key, given: object, from_file: bool) -> dict[str, str]:
    if not isinstance(given, Mapping):
        raise ValueError("a mapping of names to texts")
    return {
        str(name): "" if value is None else _to_string(key, value, from_file)
        for name, value in given.items()
    }


def _to_records(key: Key, given: object, from_file: bool) -> tuple[Section, ...]:
    if not from_file or not isinstance(given, list | tuple):
        raise ValueError("a list of mappings; it can only be given in a configuration file")
    return tuple(_to_record(key, item) for item in given)


def _to_record_map(key: Key, given: object, from_file: bool) -> dict[str, Section]:
    if not from_file or not isinstance(given, Mapping):
        raise ValueError("a mapping of mappings; it can only be given in a configuration file")
    return {str(name): _to_record(key, item) for name, item in given.items()}


def _to_record(key: Key, given: object) -> Section:
    assert key.record is not None
    if not isinstance(given, Mapping):
        raise ValueError("a mapping")
    values = {str(name).lower(): value for name, value in given.items()}
    found = {
        attribute: convert(inner, values[spelling(attribute).lower()])
        for attribute, inner in key.record._keys.items()
        if values.get(spelling(attribute).lower()) is not None
    }
    return key.record(**found)


def _scalar(given: object) -> str:
    if isinstance(given, bool):
        return "true" if given else "false"
    return str(given).strip() if isinstance(given, str | int) else ""


_CONVERT: dict[str, Callable[[Key, object, bool], object]] = {
    "string": _to_string,
    "bool": _to_bool,
    "int": _to_int,
    "duration": _to_duration,
    "size": _to_size,
    "list": _to_list,
    "map": _to_map,
    "records": _to_records,
    "record map": _to_record_map,
}


def show(key: Key, value: object, *, mask: bool = False) -> object:
    """The value as JSON shows it: durations in Go's syntax, secrets masked if asked."""
    if mask and key.secret and value:
        return "********"
    if key.kind == "duration":
        return go_duration(value)  # type: ignore[arg-type]  # this kind holds floats
    if isinstance(value, tuple):
        return [_show_record(item, mask) for item in value]
    if isinstance(value, Mapping):
        return {name: _show_record(item, mask) for name, item in value.items()}
    return value


def _show_record(value: object, mask: bool) -> object:
    if not isinstance(value, Section):
        return value
    return {
        spelling(attribute): show(key, vars(value)[attribute], mask=mask)
        for attribute, key in value._keys.items()
        if vars(value)[attribute]
    }

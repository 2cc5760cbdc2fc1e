"""The functions of templates, with the meaning they have in Go."""

import json
import re
from collections.abc import Callable, Mapping, Sequence

Value = str | int | float | bool | Mapping[str, str]

MAX_WIDTH = 1000
"""Of a printf field: `%999999999d` is no way to fill a memory."""

_VERB = re.compile(r"%([-+# 0]*)([0-9]*)(?:\.([0-9]*))?(.?)", re.DOTALL)


def is_true(value: Value) -> bool:
    """Go's truth: neither empty nor zero nor false."""
    return bool(value)


def show(value: Value) -> str:
    """The value as it appears in the text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e21 else repr(value)
    if isinstance(value, Mapping):
        return "map[" + " ".join(f"{key}:{value[key]}" for key in sorted(value)) + "]"
    return str(value)


def call(name: str, values: Sequence[Value]) -> Value:
    """The function's value. Raises ValueError saying what is wrong with its arguments."""
    least, most, function = FUNCTIONS[name]
    if len(values) < least or (most is not None and len(values) > most):
        wanted = str(least) if least == most else f"{least} or more"
        raise ValueError(f"{wanted} arguments wanted, {len(values)} given")
    return function(values)


def _and(values: Sequence[Value]) -> Value:
    return next((value for value in values if not is_true(value)), values[-1])


def _or(values: Sequence[Value]) -> Value:
    return next((value for value in values if is_true(value)), values[-1])


def _equal(values: Sequence[Value]) -> bool:
    first, *others = values
    for other in others:
        _check_comparable(first, other)
    return first in others


def _less(values: Sequence[Value]) -> bool:
    one, other = values
    _check_comparable(one, other)
    if isinstance(one, bool):
        raise ValueError("booleans have no order")
    if isinstance(one, str) and isinstance(other, str):
        return one < other  # by code points, which is the order of their UTF-8 bytes
    if isinstance(one, int | float) and isinstance(other, int | float):
        return one < other
    raise ValueError(f"a {_kind(one)} has no order")


def _check_comparable(one: Value, other: Value) -> None:
    if _kind(one) != _kind(other) or isinstance(one, Mapping):
        raise ValueError(f"cannot compare a {_kind(one)} with a {_kind(other)}")


def _kind(value: Value) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, str):
        return "text"
    if isinstance(value, Mapping):
        return "map"
    return "whole number" if isinstance(value, int) else "number"


def _length(values: Sequence[Value]) -> int:
    value = values[0]
    if isinstance(value, str):
        return len(value.encode(errors="surrogatepass"))
    if isinstance(value, Mapping):
        return len(value)
    raise ValueError(f"a {_kind(value)} has no length")


def _index(values: Sequence[Value]) -> Value:
    found, *keys = values
    for key in keys:
        if not isinstance(found, Mapping):
            raise ValueError(f"a {_kind(found)} cannot be indexed")
        if not isinstance(key, str):
            raise ValueError(f"a {_kind(key)} is no name of a variable")
        found = found.get(key, "")
    return found


def _print(values: Sequence[Value]) -> str:
    """Blanks stand between two values of which neither is a text."""
    out = ""
    for at, value in enumerate(values):
        if at and not isinstance(value, str) and not isinstance(values[at - 1], str):
            out += " "
        out += show(value)
    return out


def _println(values: Sequence[Value]) -> str:
    return " ".join(show(value) for value in values) + "\n"


def _printf(values: Sequence[Value]) -> str:
    pattern, *given = values
    if not isinstance(pattern, str):
        raise ValueError("the format must be a text")
    left = list(given)

    def put(found: re.Match[str]) -> str:
        flags, width, precision, verb = found.groups()
        if verb == "%":
            return "%"
        if not left:
            raise ValueError(f"no value left for '{found[0]}'")
        if int(width or 0) > MAX_WIDTH or int(precision or 0) > MAX_WIDTH:
            raise ValueError(f"'{found[0][:20]}' is wider than {MAX_WIDTH}")
        return _verb(verb, flags, width, precision, left.pop(0))

    out = _VERB.sub(put, pattern)
    if left:
        raise ValueError(f"{len(left)} values more than the format wants")
    return out


def _verb(verb: str, flags: str, width: str, precision: str | None, value: Value) -> str:
    """One value by its verb: Python's % knows the flags, widths and precisions of Go's."""
    places = "" if precision is None else f".{precision}"
    if verb == "v":
        return f"%{flags}{width}s" % show(value)
    if verb == "t" and isinstance(value, bool):
        return f"%{flags}{width}s" % show(value)
    if verb == "q" and isinstance(value, str):
        return f"%{flags}{width}s" % json.dumps(value, ensure_ascii=False)
    if verb == "s" and isinstance(value, str):
        return f"%{flags}{width}{places}s" % value
    if verb in "xX" and isinstance(value, str):
        digits = value.encode(errors="surrogatepass").hex()
        return f"%{flags}{width}s" % (digits.upper() if verb == "X" else digits)
    if verb in "dxXo" and isinstance(value, int) and not isinstance(value, bool):
        return f"%{flags}{width}{verb}" % value
    if verb in "feg" and isinstance(value, float):
        return f"%{flags}{width}{places}{verb}" % value
    raise ValueError(f"verb '%{verb}' does not fit a {_kind(value)}")


FUNCTIONS: Mapping[str, tuple[int, int | None, Callable[[Sequence[Value]], Value]]] = {
    "and": (1, None, _and),
    "or": (1, None, _or),
    "not": (1, 1, lambda values: not is_true(values[0])),
    "eq": (2, None, _equal),
    "ne": (2, 2, lambda values: not _equal(values)),
    "lt": (2, 2, _less),
    "le": (2, 2, lambda values: not _less(values[::-1])),
    "gt": (2, 2, lambda values: _less(values[::-1])),
    "ge": (2, 2, lambda values: not _less(values)),
    "index": (1, None, _index),
    "len": (1, 1, _length),
    "print": (0, None, _print),
    "printf": (1, None, _printf),
    "println": (0, None, _println),
}
"""By name: how many arguments it takes (None: any number), and what it does."""

"""Query strings: typed, names in any case, the first value wins, empty means absent."""

from collections.abc import Sequence
from typing import Literal, NamedTuple
from urllib.parse import parse_qsl

from bacalhau.api.errors import BadRequest

MAX_FIELDS = 256
"""More parameters than any request can mean."""

_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})
_MAX_NUMBER = 2**63 - 1

Kind = Literal["text", "flag", "number", "texts"]


class Param(NamedTuple):
    """A query parameter of a route; `texts` may be repeated, all others not."""

    name: str
    kind: Kind = "text"
    description: str = ""


class Query:
    """The parameters of one request. What was not sent is '', False, 0, ()."""

    __slots__ = ("_values",)

    def __init__(self, values: dict[str, list[str]]) -> None:
        self._values = values

    def text(self, name: str) -> str:
        return self._values[name][0] if name in self._values else ""

    def texts(self, name: str) -> list[str]:
        return self._values.get(name, [])

    def flag(self, name: str) -> bool:
        return self.text(name) in _TRUE

    def number(self, name: str) -> int:
        return int(self.text(name) or 0)


EMPTY = Query({})


def parse(query_string: bytes, params: Sequence[Param]) -> Query:
    """The known parameters of a query string; others mean nothing. Raises BadRequest."""
    if not query_string:
        return EMPTY
    try:
        pairs = parse_qsl(query_string.decode("utf-8"), errors="strict", max_num_fields=MAX_FIELDS)
    except ValueError as error:
        raise BadRequest(f"the query cannot be read: {error}") from None
    known = {param.name: param for param in params}
    values: dict[str, list[str]] = {}
    for key, value in pairs:
        param = known.get(key.lower())
        if param is None:
            continue
        if "\0" in value:
            raise BadRequest(f"query parameter '{param.name}' contains a NUL character")
        if param.kind == "texts" or param.name not in values:
            _check(param, value)
            values.setdefault(param.name, []).append(value)
    return Query(values)


def _check(param: Param, value: str) -> None:
    if param.kind == "flag" and value not in _TRUE | _FALSE:
        raise BadRequest(
            f"query parameter '{param.name}' must be true or false, not {value[:60]!r}"
        )
    if param.kind == "number":
        digits = value.isascii() and value.isdigit() and len(value) <= 19
        if not digits or int(value) > _MAX_NUMBER:
            raise BadRequest(
                f"query parameter '{param.name}' must be a whole number from 0 to {_MAX_NUMBER}, "
                f"not {value[:60]!r}"
            )

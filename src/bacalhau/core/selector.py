"""Do these labels satisfy these conditions? Kubernetes' selector syntax and semantics.

`region=eu`, `region!=us`, `zone in (a,b)`, `zone notin (a,b)`, `gpu`, `!gpu`, `cores>4`,
`cores<8`, joined by commas: all must hold.
"""

import re
from collections.abc import Iterable, Mapping

from bacalhau.model.base import evolve
from bacalhau.model.job import FAVOUR, Requirement

OPERATORS = ("=", "==", "!=", "in", "notin", "exists", "!", "gt", "lt")
"""What a requirement's operator may be."""

MAX_SELECTOR_CHARS = 16_384
MAX_REQUIREMENTS = 256
MAX_VALUES = 1024

_SINGLE = frozenset({"=", "==", "!=", "gt", "lt"})
_NONE = frozenset({"exists", "!"})
_SYMBOLS = {"=": "=", "==": "==", "!=": "!=", ">": "gt", "<": "lt"}
_SIGNS = {"gt": ">", "lt": "<"}
_SPELLINGS = {"doesnotexist": "!", **{name: name for name in OPERATORS}}
_TOKEN = re.compile(r"\s*(==|!=|[=!<>(),]|[^\s=!<>(),]+)")
_WORD = re.compile(r"[^\s=!<>(),]+")
_INTEGER = re.compile(r"[+-]?[0-9]{1,19}")


def parse(text: str) -> tuple[Requirement, ...]:
    """The requirements that a selector text states; none for an empty text.

    Raises ValueError saying what is wrong and where.
    """
    if len(text) > MAX_SELECTOR_CHARS:
        raise ValueError(f"selector is longer than {MAX_SELECTOR_CHARS} characters")
    tokens = _tokens(text)
    if not tokens:
        return ()
    found: list[Requirement] = []
    at = 0
    while True:
        requirement, at = _one(text, tokens, at)
        wrong = fault(requirement)
        if wrong:
            raise ValueError(f"selector '{text}': {wrong}")
        found.append(requirement)
        if len(found) > MAX_REQUIREMENTS:
            raise ValueError(f"selector has more than {MAX_REQUIREMENTS} requirements")
        if at == len(tokens):
            return tuple(found)
        if tokens[at] != ",":
            raise ValueError(f"selector '{text}': ',' expected before '{tokens[at]}'")
        at += 1


def render(requirements: Iterable[Requirement]) -> str:
    """The selector text of these requirements; `parse` reads it back.

    Raises ValueError for a key or value that the syntax cannot express.
    """
    return ",".join(_render(requirement) for requirement in requirements)


def normalise(requirement: Requirement) -> Requirement:
    """The same requirement with the operator in its one spelling: `NotIn` -> `notin`."""
    operator = requirement.operator
    spelling = operator if operator in OPERATORS else _SPELLINGS.get(operator.strip().lower())
    key = requirement.key.strip()
    if (spelling is None or spelling == operator) and key == requirement.key:
        return requirement
    return evolve(requirement, key=key, operator=spelling or operator)


def fault(requirement: Requirement) -> str:
    """Why this requirement makes no sense; '' when it does."""
    key, values = requirement.key, requirement.values
    operator = requirement.operator
    if not key.strip() or key == FAVOUR:
        return "constraint key must not be empty"
    if operator not in OPERATORS:
        return (
            f"constraint '{key}': unknown operator '{operator}', use one of {' '.join(OPERATORS)}"
        )
    if operator in _NONE:
        return f"constraint '{key}': operator '{operator}' takes no values" if values else ""
    if operator in _SINGLE:
        if len(values) != 1:
            return f"constraint '{key}': operator '{operator}' takes one value, got {len(values)}"
        if operator in _SIGNS and not _INTEGER.fullmatch(values[0]):
            return f"constraint '{key}': operator '{operator}' needs an integer, got '{values[0]}'"
        return ""
    if not values:
        return f"constraint '{key}': operator '{operator}' needs at least one value"
    if len(values) > MAX_VALUES:
        return f"constraint '{key}': more than {MAX_VALUES} values"
    return ""


def matches(requirements: Iterable[Requirement], labels: Mapping[str, str]) -> str:
    """'' when the labels satisfy all requirements, else the first reason why they do not.

    Keys starting `favour_` are wishes and do not count here.
    """
    for requirement in requirements:
        if requirement.key.startswith(FAVOUR):
            continue
        reason = unmet(requirement, requirement.key, labels)
        if reason:
            return reason
    return ""


def unmet(requirement: Requirement, key: str, labels: Mapping[str, str]) -> str:
    """Why the label `key` does not satisfy this requirement; '' when it does."""
    operator, values = requirement.operator, requirement.values
    found = labels.get(key)
    if operator in ("=", "==", "in"):
        holds = found in values
    elif operator in ("!=", "notin"):
        holds = found not in values
    elif operator == "exists":
        holds = found is not None
    elif operator == "!":
        holds = found is None
    elif operator in _SIGNS:
        holds = _compares(operator, found, values)
    else:
        return f"label {key}: unknown operator '{operator}'"
    return "" if holds else _reason(operator, key, values, found)


def _compares(operator: str, found: str | None, values: tuple[str, ...]) -> bool:
    if found is None or len(values) != 1:
        return False
    if not (_INTEGER.fullmatch(found) and _INTEGER.fullmatch(values[0])):
        return False
    left, right = int(found), int(values[0])
    return left > right if operator == "gt" else left < right


def _reason(operator: str, key: str, values: tuple[str, ...], found: str | None) -> str:
    if operator == "!":
        return f"label {key}: unwanted, {found} found"
    there = f"{found} found" if found is not None else "none found"
    if operator == "exists":
        return f"label {key}: wanted, none found"
    if operator in ("!=", "notin"):
        return f"label {key}: not {' or '.join(values)} wanted, {there}"
    if operator in _SIGNS:
        return f"label {key}: {_SIGNS[operator]}{''.join(values)} wanted, {there}"
    return f"label {key}: {' or '.join(values)} wanted, {there}"


def _tokens(text: str) -> list[str]:
    # The pattern takes any character but trailing space, so nothing is skipped.
    return _TOKEN.findall(text)


def _one(text: str, tokens: list[str], at: int) -> tuple[Requirement, int]:
    """The requirement that starts at this token, and where the next thing is."""

    def token(index: int) -> str:
        return tokens[index] if index < len(tokens) else ""

    def word(index: int, what: str) -> str:
        given = token(index)
        if not _WORD.fullmatch(given):
            found = f"'{given}'" if given else "the end"
            raise ValueError(f"selector '{text}': {what} expected, {found} found")
        return given

    if token(at) == "!":
        return Requirement(key=word(at + 1, "a label"), operator="!"), at + 2
    key = word(at, "a label")
    following = token(at + 1)
    if following in ("", ","):
        return Requirement(key=key, operator="exists"), at + 1
    if following in _SYMBOLS:
        operator = _SYMBOLS[following]
        if token(at + 2) in ("", ",") and operator not in _SIGNS:
            return Requirement(key=key, operator=operator, values=("",)), at + 2
        return Requirement(key=key, operator=operator, values=(word(at + 2, "a value"),)), at + 3
    if following in ("in", "notin"):
        if token(at + 2) != "(":
            raise ValueError(f"selector '{text}': '(' expected after '{following}'")
        values, at = _values(text, tokens, at + 3)
        return Requirement(key=key, operator=following, values=values), at
    raise ValueError(
        f"selector '{text}': an operator (= == != in notin > <) expected after '{key}', "
        f"'{following}' found"
    )


def _values(text: str, tokens: list[str], at: int) -> tuple[tuple[str, ...], int]:
    """The values up to the closing bracket; between two commas is the empty value."""
    values: list[str] = []
    wants_value = True
    while at < len(tokens):
        token = tokens[at]
        at += 1
        if token == ")":
            if wants_value:
                values.append("")
            return tuple(values), at
        if token == ",":
            if wants_value:
                values.append("")
            wants_value = True
        elif wants_value and _WORD.fullmatch(token):
            values.append(token)
            wants_value = False
        else:
            raise ValueError(f"selector '{text}': ',' or ')' expected, '{token}' found")
    raise ValueError(f"selector '{text}': ')' expected, the end found")


def _render(requirement: Requirement) -> str:
    key, operator, values = requirement.key, requirement.operator, requirement.values
    wrong = fault(requirement)
    if wrong:
        raise ValueError(wrong)
    for part in (key, *values):
        if part and not _WORD.fullmatch(part):
            raise ValueError(f"'{part}' cannot be written in a selector")
    if operator == "exists":
        return key
    if operator == "!":
        return f"!{key}"
    if operator in ("in", "notin"):
        return f"{key} {operator} ({','.join(values)})"
    return f"{key}{_SIGNS.get(operator, operator)}{values[0]}"

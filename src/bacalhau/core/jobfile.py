"""Job files: YAML or JSON text to a spec, with every fault named where it stands.

YAML is read by the core schema of YAML 1.2: only true and false are booleans, `no`, `on`,
`12:30`, `=` and dates are texts. In one mapping the last of equal keys wins.
"""

import re
from collections.abc import Iterator
from typing import Any, NoReturn

import msgspec

from bacalhau.core.bind import GIVEN_KEYS, bind_noting_unknown
from bacalhau.model.errors import Rejected
from bacalhau.model.job import (
    InputSource,
    JobSpec,
    Network,
    Port,
    Requirement,
    ResultPath,
    Retry,
    SpecConfig,
    Task,
    Timeouts,
)
from bacalhau.model.resources import ResourcesConfig

MAX_TEXT_CHARS = 16 * 1024 * 1024
"""Larger files are refused unread; admission allows less."""

MAX_DEPTH = 64
MAX_ALIASES = 10_000
INVALID = "the job provided is invalid: "
QUOTES_HINT = "Numbers, true and false need quotes where text is expected."

_TAG = "tag:yaml.org,2002:"
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEANS = {"true": True, "True": True, "TRUE": True,
             "false": False, "False": False, "FALSE": False}  # fmt: skip
_TAGGED: dict[str, tuple[type, ...]] = {
    _TAG + "int": (int,),
    _TAG + "float": (int, float),
    _TAG + "bool": (bool,),
    _TAG + "null": (type(None),),
}
_INTEGER = re.compile(r"[-+]?[0-9]{1,25}")
_BASED = re.compile(r"0x[0-9a-fA-F]{1,20}|0o[0-7]{1,25}")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_SPECIAL = {".inf": "inf", "+.inf": "inf", "-.inf": "-inf", ".nan": "nan"}

# Where a number is meant as text: kept as written, so that the label value 1.10 stays 1.10.
_TEXT_PLACES = frozenset(
    {("constraints", "values")}
    | {("tasks", "resources", amount) for amount in ("cpu", "memory", "disk", "gpu")}
)
_RECORDS = (
    JobSpec, Requirement, Retry, Task, SpecConfig, InputSource, ResultPath, ResourcesConfig,
    Network, Port, Timeouts,
)  # fmt: skip
_TOP = {field.encode_name.lower(): field.encode_name for field in msgspec.structs.fields(JobSpec)}
_FOREIGN = frozenset({"apiversion", "kind", "spec", "job"})


def load(text: str) -> tuple[JobSpec, tuple[str, ...]]:
    """The spec in that text, and notes about keys that mean nothing.

    Raises Rejected, its message starting with "the job provided is invalid".
    """
    try:
        return _spec(read(text))
    except Rejected as rejected:
        first, *others = rejected.reasons
        if "{{" in text:
            hint = "It contains '{{': was it meant as a template? Give variables with -V."
        else:
            hint = rejected.hint
        raise Rejected(INVALID + first, *others, hint=hint) from None


def read(text: str) -> Any:
    """The data in YAML or JSON text. Raises Rejected with line and column."""
    if len(text) > MAX_TEXT_CHARS:
        raise Rejected(f"the text is longer than {MAX_TEXT_CHARS} characters")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise Rejected(f"character {error.start} is no valid Unicode") from None
    if text.lstrip()[:1] == "{":
        try:
            return msgspec.json.decode(text)
        except (msgspec.DecodeError, RecursionError):
            pass  # YAML's flow style looks like JSON; and YAML's errors tell the line
    return _read_yaml(text)


def _spec(obj: Any) -> tuple[JobSpec, tuple[str, ...]]:
    if obj is None:
        raise Rejected("it is empty", hint="A job needs at least Type and Tasks.")
    if not isinstance(obj, dict):
        raise Rejected("expected keys such as Name, Type and Tasks at the top level")
    reasons = list(_top_level(obj))
    known = {key: value for key, value in obj.items() if key.lower() in _TOP}
    unknown: tuple[str, ...] = ()
    spec: JobSpec | None = None
    try:
        spec, unknown = bind_noting_unknown(JobSpec, known)
    except Rejected as rejected:
        # Files of another format lack everything: one reason is enough.
        if not reasons or known:
            reasons += rejected.reasons
    if spec is None or reasons:
        raise Rejected(*reasons, hint=_hint(obj, reasons))
    return spec, tuple(_note(path) for path in unknown)


def _top_level(obj: dict[str, Any]) -> Iterator[str]:
    for key in obj:
        if key.lower() in GIVEN_KEYS:
            yield f"{key[:60]}: not allowed in a job file, the orchestrator sets it"
        elif key.lower() not in _TOP:
            meant = _similar(key, _TOP.values())
            yield f"unknown key {key[:60]!a}" + (f", did you mean {meant}?" if meant else "")


def _hint(obj: dict[str, Any], reasons: list[str]) -> str:
    if _FOREIGN & {key.lower() for key in obj}:
        return (
            "This is another format; write Name, Type, Tasks ... at the top level "
            "(for kind BacalhauJob: what stands below spec.raw)."
        )
    if any("expected string, got" in reason for reason in reasons):
        return QUOTES_HINT
    return ""


def _note(path: str) -> str:
    """What to say of a key that means nothing where it stands."""
    name = path.rpartition(".")[2]
    top = _TOP.get(name.lower())
    if top:
        return f"{path}: unknown here and ignored; {top} belongs to the top level"
    keys = {field.encode_name for kind in _RECORDS for field in msgspec.structs.fields(kind)}
    meant = _similar(name, keys)
    return f"{path}: unknown and ignored" + (f"; did you mean {meant}?" if meant else "")


def _similar(name: str, words: Any) -> str:
    from difflib import get_close_matches

    spelt = {word.lower(): word for word in sorted(words)}
    found = get_close_matches(name[:60].lower(), spelt, n=1, cutoff=0.7)
    return spelt[found[0]] if found else ""


# YAML


def _read_yaml(text: str) -> Any:
    import yaml  # about 40 ms, which only readers of YAML pay

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return _Yaml(yaml, yaml.parse(text, Loader=loader)).document()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise Rejected(where + (error.problem or error.context or "not YAML")) from None
    except yaml.YAMLError as error:
        position = getattr(error, "position", None)
        where = f"character {position}: " if isinstance(position, int) else ""
        raise Rejected(where + str(getattr(error, "reason", "") or "not YAML")) from None


class _Yaml:
    """Builds data from the events of a YAML parser, within bounds."""

    def __init__(self, yaml: Any, events: Iterator[Any]) -> None:
        self.yaml = yaml
        self.events = events
        self.anchors: dict[str, Any] = {}
        self.aliases = 0

    def document(self) -> Any:
        """The one document there is; None when there is none."""
        yaml = self.yaml
        value, seen = None, False
        for event in self.events:
            if isinstance(event, yaml.DocumentStartEvent):
                if seen:
                    _fail(event, "a second document starts; one job per file")
                seen = True
                value = self.value(next(self.events), (), 0)
        return value

    def value(self, event: Any, place: tuple[str, ...], depth: int) -> Any:
        """The value that starts with this event; `place` are the keys that lead to it."""
        yaml = self.yaml
        if depth > MAX_DEPTH:
            _fail(event, f"nested more than {MAX_DEPTH} levels deep")
        if isinstance(event, yaml.AliasEvent):
            return self.alias(event)
        if isinstance(event, yaml.ScalarEvent):
            value: Any = _scalar(event, place)
        elif isinstance(event, yaml.SequenceStartEvent):
            _expect_tag(event, "seq")
            value = []
            for item in self.events:
                if isinstance(item, yaml.SequenceEndEvent):
                    break
                value.append(self.value(item, place, depth + 1))
        else:
            _expect_tag(event, "map")
            value = self.mapping(place, depth)
        if event.anchor:
            self.anchors[event.anchor] = value
        return value

    def mapping(self, place: tuple[str, ...], depth: int) -> dict[str, Any]:
        own: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for event in self.events:
            if isinstance(event, self.yaml.MappingEndEvent):
                break
            if not isinstance(event, self.yaml.ScalarEvent):
                _fail(event, "a key must be a plain text")
            key = event.value
            if event.anchor:
                self.anchors[event.anchor] = key
            following = next(self.events)
            value = self.value(following, (*place, key.lower()), depth + 1)
            if key == "<<" and event.implicit[0]:
                for each in value if isinstance(value, list) else [value]:
                    if not isinstance(each, dict):
                        _fail(following, "'<<' merges mappings only")
                    self.count(event, len(each))
                    merged = each | merged
            else:
                own.pop(key, None)  # the last of equal keys wins, in its place, too
                own[key] = value
        return merged | own if merged else own

    def alias(self, event: Any) -> Any:
        self.count(event, 1)
        if event.anchor not in self.anchors:
            _fail(event, f"alias '*{event.anchor[:60]}' stands for nothing that is complete")
        return self.anchors[event.anchor]

    def count(self, event: Any, copies: int) -> None:
        """Aliases and merged keys make much out of little text."""
        self.aliases += copies
        if self.aliases > MAX_ALIASES:
            _fail(event, f"more than {MAX_ALIASES} aliases and merged keys")


def _scalar(event: Any, place: tuple[str, ...]) -> Any:
    text: str = event.value
    tag = event.tag
    if tag in (None, "!") or not tag:
        # implicit[0]: plain, so that its look decides; quoted and block texts are texts.
        if tag == "!" or not event.implicit[0]:
            return text
        return text if place in _TEXT_PLACES and text not in _NULLS else _resolve(text)
    if tag == _TAG + "str":
        return text
    value = _resolve(text)
    wanted = _TAGGED.get(tag)
    if wanted is None:
        _fail(event, f"tag {tag[:60]} is not supported")
    if type(value) not in wanted:
        _fail(event, f"{text[:60]!a} is not of type {tag.removeprefix(_TAG)}")
    return value


def _resolve(text: str) -> Any:
    """The value of a plain scalar by YAML 1.2's core schema."""
    if text in _NULLS:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if text[0] not in "+-.0123456789":
        return text
    if _INTEGER.fullmatch(text):
        return int(text)
    if _BASED.fullmatch(text):
        return int(text, 0)
    if len(text) <= 100 and _FLOAT.fullmatch(text):
        return float(text)
    special = _SPECIAL.get(text.lower())
    return float(special) if special else text


def _expect_tag(event: Any, kind: str) -> None:
    if event.tag not in (None, "!", _TAG + kind):
        _fail(event, f"tag {event.tag[:60]} is not supported")


def _fail(event: Any, text: str) -> NoReturn:
    mark = event.start_mark
    raise Rejected(f"line {mark.line + 1}, column {mark.column + 1}: {text}")

"""What a command line means: commands and flags as data, and the GNU grammar of Bacalhau.

`--flag=value` or `--flag value`, bools `--flag` or `--flag=false`, short flags in clusters
with a glued value, flags and arguments in any order, `--` ends the flags. No typing, no
argparse: help and lists start in the time of the interpreter.
"""

from collections.abc import Mapping, Sequence

TYPE_CHECKING = False  # typing itself is not imported, see above
if TYPE_CHECKING:
    from typing import Any

_TRUE = ("1", "t", "T", "TRUE", "true", "True")
_FALSE = ("0", "f", "F", "FALSE", "false", "False")
_BITS = {"uint": (0, 2**64 - 1), "uint32": (0, 2**32 - 1), "int": (-(2**63), 2**63 - 1)}


class Problem(Exception):
    """What the command line itself has to complain about: what is wrong, and what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class Flag:
    """One flag. `kind` says what a value is and what repeating does:

    bool; text; int, uint, uint32; choice (of `choices`, any case);
    texts (each occurrence adds one), list (the same, split at commas).
    `config` is the key that the flag sets; `word` names the value in help.
    """

    __slots__ = ("choices", "config", "default", "help", "hidden", "kind", "name", "short", "word")

    def __init__(
        self,
        name: str,
        kind: str,
        help: str,
        *,
        short: str = "",
        default: object = None,
        choices: Sequence[str] = (),
        config: str = "",
        hidden: bool = False,
        word: str = "",
    ) -> None:
        self.name = name
        self.kind = kind
        self.help = help
        self.short = short
        self.default = _EMPTY[kind] if default is None else default
        self.choices = choices
        self.config = config
        self.hidden = hidden
        self.word = word or {"list": "text,...", "texts": "text"}.get(
            kind, "|".join(choices) or kind
        )


_EMPTY: dict[str, object] = {
    "bool": False,
    "text": "",
    "choice": "",
    "int": 0,
    "uint": 0,
    "uint32": 0,
    "texts": (),
    "list": (),
}


class Command:
    """One command. `handler` is `module:function`, imported when the command runs.

    `least`..`most` bound the number of arguments (`most` -1: any number). `stops`: flags
    end at the first argument, because the rest is a command line of its own.
    """

    __slots__ = ("arguments", "details", "flags", "handler", "least", "most", "name", "stops",
                 "summary")  # fmt: skip

    def __init__(
        self,
        name: str,
        handler: str,
        summary: str,
        *,
        arguments: str = "",
        least: int = 0,
        most: int = 0,
        flags: Sequence[Flag] = (),
        details: str = "",
        stops: bool = False,
    ) -> None:
        self.name = name
        self.handler = handler
        self.summary = summary
        self.arguments = arguments
        self.least = least
        self.most = most
        self.flags = flags
        self.details = details
        self.stops = stops


class Line:
    """A parsed command line: arguments, a value for every flag, and which were given."""

    __slots__ = ("arguments", "flags", "given")

    def __init__(self, arguments: list[str], flags: "dict[str, Any]", given: set[str]) -> None:
        self.arguments = arguments
        self.flags = flags
        self.given = given


def parse(words: Sequence[str], flags: Sequence[Flag], *, stops: bool = False) -> Line:
    """Read the words of a command; `stops` as in Command. Raises Problem."""
    by_name = {flag.name: flag for flag in flags}
    by_short = {flag.short: flag for flag in flags if flag.short}
    line = Line([], {flag.name: _fresh(flag) for flag in flags}, set())
    at = 0
    while at < len(words):
        word = words[at]
        at += 1
        if word == "--":
            line.arguments.extend(words[at:])
            break
        if word.startswith("--"):
            at += _long(line, by_name, word[2:], words[at:])
        elif len(word) > 1 and word.startswith("-"):
            at += _cluster(line, by_short, word, words[at:])
        elif stops:
            line.arguments.extend(words[at - 1 :])
            break
        else:
            line.arguments.append(word)
    return line


def _long(line: Line, flags: Mapping[str, Flag], word: str, rest: Sequence[str]) -> int:
    """Take a long flag; how many of the following words were its value."""
    name, equals, value = word.partition("=")
    flag = flags.get(name)
    if flag is None:
        raise Problem(f"unknown flag: --{name}", _suggest(name, flags))
    if equals:
        return _take(line, flag, value, f"--{name}")
    if flag.kind == "bool":
        return _take(line, flag, "true", f"--{name}")
    if not rest:
        raise Problem(f"flag needs an argument: --{name}")
    _take(line, flag, rest[0], f"--{name}")
    return 1


def _cluster(line: Line, flags: Mapping[str, Flag], word: str, rest: Sequence[str]) -> int:
    """Take short flags in one word, the last perhaps with a value; words used of the rest."""
    for at, letter in enumerate(word[1:], start=1):
        flag = flags.get(letter)
        if flag is None:
            raise Problem(
                f"unknown shorthand flag: '{letter}' in {word}",
                "write -- before arguments that start with a dash",
            )
        glued = word[at + 1 :]
        shown = f"-{letter}, --{flag.name}"
        if glued.startswith("="):
            return _take(line, flag, glued[1:], shown)
        if flag.kind == "bool":
            _take(line, flag, "true", shown)
        elif glued:
            return _take(line, flag, glued, shown)
        elif rest:
            _take(line, flag, rest[0], shown)
            return 1
        else:
            raise Problem(f"flag needs an argument: '{letter}' in {word}")
    return 0


def _take(line: Line, flag: Flag, value: str, shown: str) -> int:
    try:
        read = _read(flag, value)
    except ValueError as error:
        raise Problem(f'invalid argument "{value}" for "{shown}" flag: {error}') from None
    if isinstance(read, list):  # the first occurrence replaces the default
        before = line.flags[flag.name] if flag.name in line.given else []
        line.flags[flag.name] = [*before, *read]
    else:
        line.flags[flag.name] = read
    line.given.add(flag.name)
    return 0


def _read(flag: Flag, value: str) -> object:
    if flag.kind == "bool":
        if value not in _TRUE and value not in _FALSE:
            raise ValueError("must be true or false")
        return value in _TRUE
    if flag.kind in _BITS:
        return _whole(value, *_BITS[flag.kind])
    if flag.kind == "choice":
        found = next((one for one in flag.choices if one.lower() == value.lower()), None)
        if found is None:
            raise ValueError("must be one of " + ", ".join(flag.choices))
        return found
    if flag.kind == "texts":
        return [value]
    if flag.kind == "list":
        return fields(value) if value else []
    return value


def _whole(value: str, low: int, high: int) -> int:
    digits = value[1:] if value[:1] in ("-", "+") else value
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 20):
        raise ValueError("must be a whole number")
    if not low <= int(value) <= high:
        raise ValueError(f"must be between {low} and {high}")
    return int(value)


def fields(text: str) -> list[str]:
    """The fields of one CSV record: commas separate, double quotes protect. Raises ValueError."""
    found, at = [], 0
    while True:
        if text.startswith('"', at):
            field, at = _quoted(text, at + 1)
        else:
            end = text.find(",", at)
            field = text[at:] if end < 0 else text[at:end]
            if '"' in field:
                raise ValueError(
                    f"a double quote inside {field}; put quotes around the whole field"
                )
            at += len(field)
        found.append(field)
        if at >= len(text):
            return found
        at += 1


def _quoted(text: str, at: int) -> tuple[str, int]:
    """The field whose opening quote ends before `at`, and where it ends."""
    field = ""
    while True:
        end = text.find('"', at)
        if end < 0:
            raise ValueError("a double quote is not closed")
        field += text[at:end]
        if not text.startswith('"', end + 1):
            break
        field, at = field + '"', end + 2
    if end + 1 < len(text) and text[end + 1] != ",":
        raise ValueError(f"text after the closing quote of {field}")
    return field, end + 1


def _fresh(flag: Flag) -> object:
    if flag.kind in ("texts", "list"):
        return list(flag.default)  # type: ignore[call-overload]  # this kind's default is a tuple
    return flag.default


def _suggest(name: str, known: Mapping[str, object]) -> str:
    import difflib

    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"did you mean --{near[0]}?" if near else ""

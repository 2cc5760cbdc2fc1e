"""Templates in job files: the part of Go's text/template that job files use.

`{{.name}}`, `{{index . "k"}}`, `or and not eq ne lt le gt ge len index print printf println`,
`if / else if / else / with / end`, pipelines, brackets, comments and trim markers. The data is
a flat map of texts; a missing name is an error, `index` gives "" for it.
"""

import re
from collections.abc import Mapping, Sequence
from typing import NoReturn

import msgspec

from bacalhau.core.template_functions import FUNCTIONS, Value, call, is_true, show
from bacalhau.model.errors import Rejected

MAX_OUTPUT_CHARS = 16 * 1024 * 1024
MAX_DEPTH = 64

_TOKEN = re.compile(
    r"""(?P<text>"(?:[^"\\\n]|\\.)*"|`[^`]*`)
    | (?P<number>[-+]?(?:0[xX][0-9a-fA-F]+|[0-9]+(?:\.[0-9]+)?)(?![\w.]))
    | (?P<field>\$?\.[^\W\d]\w*)
    | (?P<word>[^\W\d]\w*)
    | (?P<sign>[.|()]|\$(?!\w))""",
    re.VERBOSE,
)
_OPEN = re.compile(r"\{\{(-(?=\s))?")
_COMMENT = re.compile(r"\s*/\*.*?\*/(\s+-|\s*)\}\}", re.DOTALL)
_CLOSE = re.compile(r"(?:\s+(-)|\s*)\}\}")
_BLANK = re.compile(r"\s*")
_ESCAPE = re.compile(r"\\(?:x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-7]{3}|.)")
_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v",
            "\\": "\\", '"': '"', "'": "'"}  # fmt: skip
_CONSTANTS: Mapping[str, Value] = {"true": True, "false": False}
_BLOCKS = ("if", "with")
_UNSUPPORTED = ("range", "define", "template", "block", "break", "continue")


class _Token(msgspec.Struct, frozen=True):
    kind: str
    text: str


class _Action(msgspec.Struct, frozen=True):
    """What stands between `{{` and `}}`, with its line for errors."""

    tokens: tuple[_Token, ...]
    line: int


_Part = str | _Action


def render(text: str, variables: Mapping[str, str]) -> str:
    """The text with all actions carried out. Raises Rejected naming the line."""
    return _Renderer(_parts(text), variables).run()


def _parts(text: str) -> list[_Part]:
    """Literal text and actions in turn, trim markers applied."""
    parts: list[_Part] = []
    at, trims, line, counted = 0, False, 1, 0
    while True:
        opened = _OPEN.search(text, at)
        literal = text[at : opened.start() if opened else len(text)]
        if trims:
            literal = literal.lstrip(" \t\r\n")
        if opened and opened[1]:
            literal = literal.rstrip(" \t\r\n")
        parts.append(literal)
        if not opened:
            return parts
        line += text.count("\n", counted, opened.start())
        counted = opened.start()
        comment = _COMMENT.match(text, opened.end())
        if comment:
            at, trims = comment.end(), comment[1].endswith("-")
            continue
        tokens, at, trims = _tokens(text, opened.end(), line)
        parts.append(_Action(tokens=tokens, line=line))


def _tokens(text: str, at: int, line: int) -> tuple[tuple[_Token, ...], int, bool]:
    """The tokens up to `}}`, where it ends, and whether it trims what follows."""
    tokens: list[_Token] = []
    while True:
        closed = _CLOSE.match(text, at)
        if closed:
            return tuple(tokens), closed.end(), bool(closed[1])
        blank = _BLANK.match(text, at)
        start = blank.end() if blank else at
        found = _TOKEN.match(text, start)
        if not found:
            if start >= len(text):
                _fail(line, "'{{' without '}}'")
            _fail(line, f"{text[start : start + 10]!a} is not understood in an action")
        kind = found.lastgroup or ""
        if kind == "field" and start == at and tokens and tokens[-1].kind != "sign":
            _fail(line, f"'{found[0]}': variables are texts and have no fields")
        at = found.end()
        tokens.append(_Token(kind, found[0]))


class _Renderer:
    """Walks the parts once; blocks that are not taken are read but not carried out."""

    def __init__(self, parts: Sequence[_Part], variables: Mapping[str, str]) -> None:
        self.parts = parts
        self.variables = variables
        self.at = 0
        self.out: list[str] = []
        self.size = 0

    def run(self) -> str:
        end = self.block(self.variables, True, 0)
        if end is not None:
            _fail(end.line, f"'{end.tokens[0].text}' without 'if' or 'with'")
        return "".join(self.out)

    def block(self, dot: Value, active: bool, depth: int) -> _Action | None:
        """Everything up to an `else` or `end`, which is returned; None at the end of the text."""
        while self.at < len(self.parts):
            part = self.parts[self.at]
            self.at += 1
            if isinstance(part, str):
                self.write(part, active)
                continue
            word = part.tokens[0].text if part.tokens and part.tokens[0].kind == "word" else ""
            if word in ("else", "end"):
                return part
            if word in _UNSUPPORTED:
                _fail(part.line, f"'{word}' is not supported")
            if word in _BLOCKS:
                if depth >= MAX_DEPTH:
                    _fail(part.line, f"blocks nested more than {MAX_DEPTH} deep")
                self.choice(part, dot, active, depth)
            else:
                value = _Expression(part, self.variables, dot, active).value()
                if active:
                    self.write(show(value), active)
        return None

    def choice(self, opened: _Action, dot: Value, active: bool, depth: int) -> None:
        """An `if` or `with` and its branches up to `end`; `opened` is its first action."""
        taken = False
        head: _Action | None = opened
        while head is not None:
            word, rest = head.tokens[0].text, head.tokens[1:]
            inner = dot
            applies = active and not taken
            if word in _BLOCKS:
                condition = _Action(tokens=rest, line=head.line)
                value = _Expression(condition, self.variables, dot, applies).value()
                applies = applies and is_true(value)
                inner = value if word == "with" and applies else dot
            taken = taken or applies
            follows = self.block(inner, applies, depth + 1)
            if follows is None:
                _fail(opened.line, f"'{opened.tokens[0].text}' without 'end'")
            head = self.branch(follows, is_last=word not in _BLOCKS)

    def branch(self, action: _Action, *, is_last: bool) -> _Action | None:
        """The next branch: `else`, or the condition of `else if`; None for `end`."""
        word, rest = action.tokens[0].text, action.tokens[1:]
        if word == "end":
            if rest:
                _fail(action.line, "nothing may follow 'end'")
            return None
        if is_last:
            _fail(action.line, "'else' after 'else'")
        if rest and rest[0].text not in _BLOCKS:
            _fail(action.line, "only 'if' or 'with' may follow 'else'")
        return _Action(tokens=rest or action.tokens, line=action.line)

    def write(self, text: str, active: bool) -> None:
        if active:
            self.size += len(text)
            if self.size > MAX_OUTPUT_CHARS:
                raise Rejected(f"template: more than {MAX_OUTPUT_CHARS} characters come out")
            self.out.append(text)


class _Expression:
    """A pipeline: `or .a "b" | printf "%q"`. An inactive one is checked, not evaluated."""

    def __init__(
        self, action: _Action, variables: Mapping[str, str], dot: Value, active: bool
    ) -> None:
        self.tokens = action.tokens
        self.line = action.line
        self.variables = variables
        self.dot = dot
        self.active = active
        self.at = 0

    def value(self) -> Value:
        if not self.tokens:
            _fail(self.line, "an action without content")
        value = self.pipeline(0, self.active)
        if self.at < len(self.tokens):
            _fail(self.line, f"unexpected '{self.tokens[self.at].text}'")
        return value

    def pipeline(self, depth: int, active: bool) -> Value:
        value = self.command(depth, (), active)
        while self.sign("|"):
            value = self.command(depth, (value,), active)
        return value

    def command(self, depth: int, piped: tuple[Value, ...], active: bool) -> Value:
        """A function with its operands, or a single operand."""
        token = self.peek()
        if token.kind != "word" or token.text in _CONSTANTS:
            value = self.operand(depth, active)
            if piped or self.starts_operand():
                _fail(self.line, f"'{token.text}' is not a function and takes no arguments")
            return value
        self.at += 1
        if token.text not in FUNCTIONS:
            known = ", ".join(FUNCTIONS)
            _fail(self.line, f"unknown function '{token.text[:60]}'; known are: {known}"
                  f" (a variable is written '.{token.text[:60]}')")  # fmt: skip
        values: list[Value] = []
        decided = False
        while self.starts_operand():
            # `and` and `or` look no further than they must, as in Go.
            value = self.operand(depth, active and not decided)
            if not decided:
                values.append(value)
                decided = (token.text == "or" and is_true(value)) or (
                    token.text == "and" and not is_true(value)
                )
        if not active:
            return ""
        try:
            return call(token.text, values if decided else [*values, *piped])
        except ValueError as error:
            _fail(self.line, f"{token.text}: {error}")

    def operand(self, depth: int, active: bool) -> Value:
        token = self.peek()
        self.at += 1
        match token.kind:
            case "text":
                return self.literal(token.text)
            case "number":
                return _number(token.text)
            case "field":
                return self.field(token.text, active)
            case "word" if token.text in _CONSTANTS:
                return _CONSTANTS[token.text]
            case "word":
                _fail(self.line, f"function '{token.text[:60]}' needs brackets around it here")
        if token.text == ".":
            return self.dot
        if token.text == "$":
            return self.variables
        if token.text != "(":
            _fail(self.line, f"a value expected, '{token.text}' found")
        if depth >= MAX_DEPTH:
            _fail(self.line, f"brackets nested more than {MAX_DEPTH} deep")
        value = self.pipeline(depth + 1, active)
        if not self.sign(")"):
            _fail(self.line, "')' is missing")
        return value

    def field(self, text: str, active: bool) -> Value:
        """`.name` of the current value, `$.name` of the variables."""
        source: Value = self.variables if text.startswith("$") else self.dot
        name = text.lstrip("$.")
        if not active:
            return ""
        if not isinstance(source, Mapping):
            _fail(self.line, f"'.{name}': the current value is a text and has no fields")
        if name not in source:
            _fail(self.line, f"no variable '{name}'; give it with -V {name}=VALUE")
        return source[name]

    def literal(self, text: str) -> str:
        if text.startswith("`"):
            return text[1:-1]
        return _ESCAPE.sub(self.unescape, text[1:-1])

    def unescape(self, found: re.Match[str]) -> str:
        body = found[0][1:]
        if body in _ESCAPES:
            return _ESCAPES[body]
        try:
            return chr(int(body, 8) if body[0] in "01234567" else int(body[1:], 16))
        except (ValueError, OverflowError):
            _fail(self.line, f"unknown escape '{found[0]}'")

    def peek(self) -> _Token:
        if self.at >= len(self.tokens):
            _fail(self.line, "a value is missing at the end of the action")
        return self.tokens[self.at]

    def starts_operand(self) -> bool:
        if self.at >= len(self.tokens):
            return False
        token = self.tokens[self.at]
        return token.kind != "sign" or token.text in (".", "(", "$")

    def sign(self, text: str) -> bool:
        if self.at < len(self.tokens) and self.tokens[self.at] == _Token("sign", text):
            self.at += 1
            return True
        return False


def _number(text: str) -> Value:
    if "." in text:
        return float(text)
    return int(text, 16) if "x" in text.lower() else int(text)


def _fail(line: int, text: str) -> NoReturn:
    raise Rejected(f"template: line {line}: {text}")


# Where variables come from

_FIELD = re.compile(r'"((?:[^"]|"")*)"|([^",\r\n]*)')


def parse_vars(arguments: Sequence[str]) -> dict[str, str]:
    """The variables of `-V key=value` arguments, later ones winning. Raises Rejected.

    With one `=` the rest is the value as it stands, without surrounding double quotes; with
    more, the argument is a CSV record of pairs, so that commas separate (as in Bacalhau).
    """
    variables: dict[str, str] = {}
    for argument in arguments:
        # One '=': all the rest is the value, commas and quotes inside included.
        is_single = argument.count("=") == 1
        for pair in [_unquoted(argument)] if is_single else _record(argument):
            key, equals, value = pair.partition("=")
            if not equals or not key.strip():
                raise Rejected(f"variable {pair[:60]!a} must be given as key=value")
            variables[key.strip()] = _unquoted(value) if is_single else value
    return variables


def select_env(pattern: str, environ: Mapping[str, str]) -> dict[str, str]:
    """The environment variables whose names match (anywhere, as in Bacalhau); '*' is all.

    Raises Rejected when the pattern is no regular expression.
    """
    if not pattern:
        return {}
    try:
        wanted = re.compile(".*" if pattern == "*" else pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise Rejected(f"{pattern[:60]!a} is not a regular expression: {error}") from None
    return {name: value for name, value in environ.items() if wanted.search(name)}


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] == '"' else text


def _record(text: str) -> list[str]:
    """The fields of one CSV record."""
    fields: list[str] = []
    at = 0
    while True:
        found = _FIELD.match(text, at)
        if found:
            fields.append(found[2] if found[1] is None else found[1].replace('""', '"'))
            at = found.end()
        if at == len(text):
            return fields
        if text[at] != ",":
            raise Rejected(
                f"variable {text[:60]!a}: a quote or line break inside an unquoted field",
                hint='With more than one "=", quote each pair: -V \'"a=1,2","b=3"\'.',
            )
        at += 1

"""Does the owner of a node share this path? Allow-lists of host paths, matched as text.

An entry is `glob[:ro|:rw]`, `ro` when it does not say. The glob covers the whole path:
`*` and `?` stand for characters of one component, `[...]` for one of them, `{a,b}` for a
choice, `**` as a component for any number of components, none included; `\\` takes the
next character as it is. Whoever asks has to resolve links first: text knows none.
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

MAX_GLOB_CHARS = 4096


class Allowed(NamedTuple):
    """One entry: its glob, and whether jobs may write there."""

    glob: str
    writable: bool


def allowed(entry: str) -> Allowed:
    """An entry of the allow-list, taken apart."""
    for mode in ("ro", "rw"):
        if entry.endswith(f":{mode}"):
            return Allowed(entry[:-3].strip(), mode == "rw")
    return Allowed(entry.strip(), False)


def fault(entry: str) -> str:
    """What is wrong with an entry; empty when nothing is."""
    glob = allowed(entry).glob
    if not glob.startswith("/"):
        return f"'{entry[:200]}' is not an absolute path"
    if ".." in glob.split("/"):
        return f"'{entry[:200]}' must not contain '..'"
    try:
        compiled(glob)
    except (ValueError, re.error) as error:
        return f"'{entry[:200]}' is not a valid pattern ({error})"
    return ""


def literal_base(glob: str) -> tuple[str, str]:
    """The glob's leading directories without any pattern, and the rest."""
    parts = glob.split("/")
    plain = next((at for at, part in enumerate(parts) if re.search(r"[*?\[{\\]", part)), None)
    if plain is None:
        return glob, ""
    return "/".join(parts[:plain]) or "/", "/".join(parts[plain:])


def escaped(path: str) -> str:
    """The glob that matches exactly this path."""
    return re.sub(r"([*?\[\]{}\\,])", r"\\\1", path)


def matches(glob: str, path: str) -> bool:
    """Does the glob cover the path, which is absolute and without `.` and `..`?"""
    return compiled(glob).fullmatch(path.rstrip("/")) is not None


@lru_cache(maxsize=1024)
def compiled(glob: str) -> re.Pattern[str]:
    """The glob as a regular expression over paths without a trailing slash, the root being "".

    Raises ValueError for a glob that ends too early.
    """
    if len(glob) > MAX_GLOB_CHARS:
        raise ValueError(f"longer than {MAX_GLOB_CHARS} characters")
    return re.compile("".join(_expressions(glob.rstrip("/"))), re.DOTALL)


_TOKEN = re.compile(
    r"(?P<deep>/\*\*(?=[/,}]|\Z))|\\(?P<plain>.)|\[(?P<set>[!^]?\]?[^\]]*)\]|(?P<stars>\*+)|(?P<one>.)",
    re.DOTALL,
)


def _expressions(glob: str) -> Iterator[str]:
    depth = 0
    for found in _TOKEN.finditer(glob):
        kind, text = str(found.lastgroup), str(found[str(found.lastgroup)])
        if kind == "deep" and (depth or glob[found.end() : found.end() + 1] in ("", "/")):
            yield "(?:/[^/]+)*"
        elif kind == "deep":
            yield "/[^/]*"
        elif kind == "plain":
            yield re.escape(text)
        elif kind == "set":
            yield _set(text)
        elif kind == "stars":
            yield "[^/]*"
        elif text == "?":
            yield "[^/]"
        elif text in "[\\":
            raise ValueError(f"'{text}' has no end")
        elif text == "{" or (depth and text in ",}"):
            depth += {"{": 1, "}": -1, ",": 0}[text]
            yield {"{": "(?:", "}": ")", ",": "|"}[text]
        else:
            yield re.escape(text)
    if depth:
        raise ValueError("'{' has no '}'")


def _set(inner: str) -> str:
    negated = inner[:1] in ("!", "^")
    members = inner[1:] if negated else inner
    if not members:
        raise ValueError("'[]' is empty")
    members = re.sub(r"([\\\[\]^&~|])", r"\\\1", members)
    return f"(?!/)[{'^' if negated else ''}{members}]"

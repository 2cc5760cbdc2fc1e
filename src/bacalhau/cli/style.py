"""Colours on terminals only, and text that is safe to show on one."""

import os

TYPE_CHECKING = False  # typing is slow to import, see command.py
if TYPE_CHECKING:
    from typing import TextIO

_CODES = {
    "bold": "1",
    "dim": "2",
    "red": "31",
    "green": "32",
    "yellow": "33",
    "blue": "34",
    "cyan": "36",
}

STATES = {
    "Completed": "green",
    "Failed": "red",
    "Stopped": "yellow",
    "Running": "cyan",
    "Queued": "yellow",
    "CONNECTED": "green",
    "DISCONNECTED": "red",
    "PENDING": "yellow",
    "REJECTED": "red",
}
"""The colour of a state, wherever it is shown."""


def is_terminal(stream: "TextIO") -> bool:
    """May this stream get cursor movements and redrawn lines?"""
    return stream.isatty() and os.environ.get("TERM", "") != "dumb"


def has_colours(stream: "TextIO") -> bool:
    """NO_COLOR switches colours off, FORCE_COLOR on; else terminals have them."""
    if os.environ.get("NO_COLOR", "") not in ("", "0"):
        return False
    if os.environ.get("FORCE_COLOR", "") not in ("", "0"):
        return True
    return is_terminal(stream)


def paint(text: str, how: str, stream: "TextIO") -> str:
    """The text in a style such as `bold red`, if the stream has colours."""
    if not how or not has_colours(stream):
        return text
    codes = ";".join(_CODES[word] for word in how.split())
    return f"\033[{codes}m{text}\033[0m"


_SAFE = {
    **dict.fromkeys((*range(32), *range(127, 160)), "\N{REPLACEMENT CHARACTER}"),
    9: " ",
    10: "\n",
    13: "",
}


def safe(text: str) -> str:
    """The text without characters that could steer a terminal; names come from strangers."""
    return text.translate(_SAFE)


def short_id(text: str) -> str:
    """`j-47805f5c-...` -> `j-47805f5c`; what is not a UUID stays whole."""
    prefix, rest = (text[:2], text[2:]) if text[1:2] == "-" else ("", text)
    parts = rest.split("-")
    if [len(part) for part in parts] != [8, 4, 4, 4, 12]:
        return text
    if not all(char in "0123456789abcdef" for part in parts for char in part):
        return text
    return prefix + parts[0]

"""How results are printed: table, csv, json, yaml. All times are UTC."""

import sys
import time
from collections.abc import Callable, Mapping, Sequence

from bacalhau.cli.command import Flag
from bacalhau.cli.style import STATES, has_colours, paint, safe, short_id

TYPE_CHECKING = False  # typing is slow to import, see command.py
if TYPE_CHECKING:
    from typing import Any

    from bacalhau.cli.call import Call

FORMATS = ("table", "csv", "json", "yaml")

OUTPUT = (
    Flag("output", "choice", "Format of the output.", choices=FORMATS, default="table"),
    Flag("pretty", "bool", "Indent JSON."),
    Flag("hide-header", "bool", "No header row."),
    Flag("no-style", "bool", "A plain table, without colours."),
    Flag("wide", "bool", "Whole ids and times, no limits of width."),
)
"""Flags of commands that print lists."""

OBJECT = (
    Flag("output", "choice", "Format of the output.", choices=("json", "yaml")),
    Flag("pretty", "bool", "Indent JSON."),
)
"""Flags of commands that print one object."""


def listing(limit: int) -> tuple[Flag, ...]:
    """Flags of commands that ask for a page of a list."""
    return (
        Flag("limit", "uint32", "How many to show; 0: all.", default=limit, word="number"),
        Flag("next-token", "text", "Go on after an earlier page.", word="token"),
        Flag("order-by", "text", "Which field gives the order.", word="field"),
        Flag("order-reversed", "bool", "The other way round."),
    )


class Column:
    """A column: `text` gives the whole value, `brief` what a narrow table shows of it."""

    __slots__ = ("brief", "caption", "text", "width")

    def __init__(
        self,
        caption: str,
        text: "Callable[[Any], str]",
        *,
        brief: Callable[[str], str] | None = None,
        width: int = 0,
    ) -> None:
        self.caption = caption
        self.text = text
        self.brief = brief
        self.width = width


def show_rows(call: "Call", rows: "Sequence[Any]", columns: Sequence[Column]) -> None:
    """Print rows in the format that the flags ask for."""
    flags = call.flags
    if flags["output"] in ("json", "yaml"):
        show_data(list(rows), flags["output"], pretty=flags["pretty"])
        return
    header = [] if flags["hide-header"] else [column.caption for column in columns]
    cells = [[safe(column.text(row)) for column in columns] for row in rows]
    if flags["output"] == "csv":
        _csv([header] if header else [], cells)
        return
    if not flags["wide"]:
        cells = [
            [column.brief(cell) if column.brief else cell for column, cell in zip(columns, row)]  # noqa: B905 as many cells as columns
            for row in cells
        ]
    widths = [0 if flags["wide"] else column.width for column in columns]
    table(header, cells, widths, plain=flags["no-style"])


def table(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    limits: Sequence[int] = (),
    *,
    plain: bool = False,
    indent: str = "",
) -> None:
    """Print an aligned table; cells wrap at their column's limit (0: none)."""
    blocks = [[[caption.upper()] for caption in header]] if header else []
    blocks += [
        [_wrap(cell, limits[at] if limits else 0) for at, cell in enumerate(row)] for row in rows
    ]
    if not blocks:
        return
    widths = [
        max(len(line) for block in blocks for line in block[at]) for at in range(len(blocks[0]))
    ]
    colours = not plain and has_colours(sys.stdout)
    for number, block in enumerate(blocks):
        is_header = bool(header) and number == 0
        for line in range(max(len(cell) for cell in block)):
            parts = []
            for cell, width in zip(block, widths, strict=True):
                text = cell[line] if line < len(cell) else ""
                padded = text.ljust(width)
                if colours:
                    padded = paint(
                        padded, "bold" if is_header else STATES.get(text, ""), sys.stdout
                    )
                parts.append(padded)
            sys.stdout.write((indent + "  ".join(parts)).rstrip() + "\n")


def _wrap(text: str, width: int) -> list[str]:
    """Lines of at most `width`, broken at spaces where possible."""
    lines = []
    for line in text.split("\n"):
        while width and len(line) > width:
            cut = line.rfind(" ", 0, width + 1)
            cut = cut if cut > 0 else width
            lines.append(line[:cut].rstrip())
            line = line[cut:].lstrip()
        lines.append(line)
    return lines


def _csv(header: Sequence[Sequence[str]], rows: Sequence[Sequence[str]]) -> None:
    for row in (*header, *rows):
        sys.stdout.write(",".join(map(_csv_field, row)) + "\n")


def _csv_field(text: str) -> str:
    if any(char in text for char in ',"\n') or text != text.strip():
        return '"' + text.replace('"', '""') + '"'
    return text


def show_data(data: object, form: str, *, pretty: bool) -> None:
    """Print an object as json (Go's escapes, one line unless pretty) or yaml (sorted keys)."""
    sys.stdout.write(to_yaml(data) if form == "yaml" else to_json(data, pretty=pretty) + "\n")


def to_json(data: object, *, pretty: bool = False) -> str:
    import json

    separators = None if pretty else (",", ":")
    text = json.dumps(data, ensure_ascii=False, indent=2 if pretty else None, separators=separators)
    for char, escape in (("<", "\\u003c"), (">", "\\u003e"), ("&", "\\u0026")):
        text = text.replace(char, escape)
    return text


def to_yaml(data: object, *, sort: bool = True) -> str:
    import yaml

    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    text: str = yaml.dump(
        data, Dumper=dumper, sort_keys=sort, allow_unicode=True, default_flow_style=False
    )
    return text


def moment(nanoseconds: int) -> str:
    """`2026-01-02 03:04:05`; empty for 0."""
    if not nanoseconds:
        return ""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(nanoseconds // 10**9))


def clock_only(text: str) -> str:
    """The time of day of a whole time, as narrow tables show it."""
    return text[11:]


def created(caption: str, key: str) -> Column:
    """A column with the time under `key`."""
    return Column(caption, lambda row: moment(row.get(key, 0)), brief=clock_only)


def identity(caption: str, key: str) -> Column:
    """A column with the id under `key`."""
    return Column(caption, lambda row: row.get(key, ""), brief=short_id)


def field(caption: str, *path: str, width: int = 0) -> Column:
    """A column with what lies at a path of keys."""

    def text(row: "Any") -> str:
        for key in path:
            row = row.get(key) if isinstance(row, Mapping) else None
        return "" if row is None else str(row)

    return Column(caption, text, width=width)

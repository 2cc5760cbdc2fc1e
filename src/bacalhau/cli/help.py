"""Help texts, made from the command table."""

from collections.abc import Sequence

from bacalhau.cli.command import Command, Flag
from bacalhau.cli.tree import GLOBAL, NOUNS, commands

NAME_WIDTH = 30
LINE_WIDTH = 100

CREDENTIALS = (
    "Credentials come from the environment: BACALHAU_API_KEY, or BACALHAU_API_USERNAME and\n"
    "BACALHAU_API_PASSWORD."
)


def help_text(name: str) -> str:
    """The help of a command, of a noun, or (for '') of everything."""
    noun = name.split(" ")[0]
    if not noun:
        return _root()
    found = {command.name: command for command in commands(noun)}
    if name in found:
        return _command(found[name])
    return _noun(noun, list(found.values()))


def _root() -> str:
    rows = [(noun, summary) for noun, (_, summary) in NOUNS.items()]
    return "\n".join(
        [
            "Bacalhau sends the computation to where the data lies.",
            "",
            "Usage:\n  bacalhau COMMAND [flags]",
            "",
            "Commands:",
            *_columns(rows),
            "",
            "Flags of every command:",
            *_flags(GLOBAL),
            "",
            "To try it: `bacalhau devstack` in one terminal, and in another\n"
            "  bacalhau exec -- python3 -c 'print(6 * 7)'",
            "",
            "`bacalhau COMMAND --help` tells more.",
            "",
            CREDENTIALS,
        ]
    )


def _noun(noun: str, found: Sequence[Command]) -> str:
    rows = [(command.name.split()[1], command.summary) for command in found]
    return "\n".join(
        [
            NOUNS[noun][1],
            "",
            f"Usage:\n  bacalhau {noun} COMMAND [flags]",
            "",
            "Commands:",
            *_columns(rows),
            "",
            f"`bacalhau {noun} COMMAND --help` tells more.",
        ]
    )


def _command(command: Command) -> str:
    usage = f"  bacalhau {command.name} [flags] {command.arguments}".rstrip()
    lines = [command.summary, "", f"Usage:\n{usage}"]
    if command.details:
        lines += ["", command.details]
    if command.flags:
        lines += ["", "Flags:", *_flags(command.flags)]
    lines += ["", "Flags of every command:", *_flags(GLOBAL), "", CREDENTIALS]
    return "\n".join(lines)


def _flags(flags: Sequence[Flag]) -> list[str]:
    rows = []
    for flag in flags:
        if flag.hidden:
            continue
        short = f"-{flag.short}, " if flag.short else "    "
        word = "" if flag.kind == "bool" else f" {flag.word}"
        rows.append((f"{short}--{flag.name}{word}", flag.help + _default(flag)))
    return _columns(rows)


def _default(flag: Flag) -> str:
    if flag.default in ("", False, 0, (), {}):
        return ""
    if flag.default is True:
        return " (default true)"
    if isinstance(flag.default, tuple):
        return f" (default {','.join(flag.default)})"
    return f' (default "{flag.default}")' if flag.kind == "text" else f" (default {flag.default})"


def _columns(rows: Sequence[tuple[str, str]]) -> list[str]:
    """Two columns, the second one wrapped; a long name has the first line to itself."""
    width = max((len(name) for name, _ in rows if len(name) <= NAME_WIDTH), default=0)
    lines = []
    for name, text in rows:
        first, *others = _wrapped(text, LINE_WIDTH - width - 4)
        if len(name) > width:
            lines.append(f"  {name}")
            name = ""
        lines.append(f"  {name.ljust(width)}  {first}")
        lines += [f"  {' ' * width}  {other}" for other in others]
    return lines


def _wrapped(text: str, width: int) -> list[str]:
    """Lines of that width. textwrap would bring in re, which costs a sixth of the start."""
    lines = [""]
    for word in text.split(" "):
        if lines[-1] and len(lines[-1]) + 1 + len(word) > width:
            lines.append("")
        lines[-1] += f" {word}" if lines[-1] else word
    return lines

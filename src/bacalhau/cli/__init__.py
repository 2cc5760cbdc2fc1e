"""The command line. `main` is the entry point; every noun is a module of its own."""

import os
import sys
from collections.abc import Callable, Sequence

TYPE_CHECKING = False  # typing is slow to import, see command.py
if TYPE_CHECKING:
    from bacalhau.cli.call import Call
    from bacalhau.cli.command import Command


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; the exit status: 0, or 1 for any error."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        status = _run(words)
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        return 1
    except BrokenPipeError:
        # the reader went away; nothing more can be said, not even at interpreter exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        return _complain(error)


def _run(words: list[str]) -> int:
    from bacalhau.cli.command import parse
    from bacalhau.cli.tree import GLOBAL, find

    found = find(words)
    command = found.command
    flags = (*command.flags, *GLOBAL) if command else GLOBAL
    line = parse(found.rest, flags, stops=command.stops if command else False)
    if command is None or line.flags["help"]:
        from bacalhau.cli.help import help_text

        print(help_text(command.name if command else found.noun))
        return 0
    _check_count(command, len(line.arguments))
    if found.notice:
        print(found.notice, file=sys.stderr)
    from bacalhau.cli.call import Call

    return _handler(command)(Call(command, line)) or 0


def _handler(command: "Command") -> "Callable[[Call], int | None]":
    import importlib

    module, _, function = command.handler.partition(":")
    handler: Callable[[Call], int | None] = getattr(importlib.import_module(module), function)
    return handler


def _check_count(command: "Command", count: int) -> None:
    from bacalhau.cli.command import Problem

    usage = f"usage: bacalhau {command.name} {command.arguments}".rstrip()
    if count < command.least:
        raise Problem(f"an argument is missing: {command.arguments}", usage)
    if 0 <= command.most < count:
        raise Problem(f"{count} arguments given, at most {command.most} expected", usage)


def _complain(error: Exception) -> int:
    """Say on stderr what failed and what to do; 1."""
    from bacalhau.cli.style import paint

    debug = os.environ.get("DEBUG") == "true"
    message, hint = getattr(error, "message", ""), getattr(error, "hint", "")
    if not message and isinstance(error, OSError) and error.strerror:
        where = f": {error.filename}" if error.filename else ""
        message = f"{error.strerror}{where}"
    elif not message:
        message = f"{type(error).__name__}: {error}"
        hint = "this is a fault of the program; DEBUG=true shows where"
    if getattr(error, "code", "") == "Unauthorized":
        hint = (
            "set BACALHAU_API_KEY, or BACALHAU_API_USERNAME and BACALHAU_API_PASSWORD; the\n"
            "administrator's key lies in admin.token of the server's data directory"
        )
    print(f"{paint('Error:', 'bold red', sys.stderr)} {message}", file=sys.stderr)
    if hint:
        print(f"{paint('Hint:', 'bold green', sys.stderr)} {hint}", file=sys.stderr)
    if debug:
        for key, value in getattr(error, "details", {}).items():
            print(f"* {key}: {value}", file=sys.stderr)
        import traceback

        traceback.print_exception(error)
    return 1

"""The command tree: which module holds which noun. A module is imported when it is needed."""

from collections.abc import Sequence

from bacalhau.cli.command import Command, Flag, Problem

NOUNS = {
    "agent": ("agent", "Ask the server about itself."),
    "completion": ("completion", "Make your shell complete commands."),
    "config": ("config", "Show and change the configuration."),
    "devstack": ("serve", "Start a cluster of several nodes on this machine, to try things."),
    "exec": ("exec", "Run a command of the node, in a sandbox."),
    "help": ("completion", "Show help for a command."),
    "job": ("job", "Run jobs and see how they go."),
    "node": ("node", "See and manage the nodes of the cluster."),
    "serve": ("serve", "Start a node: orchestrator, compute, or both."),
    "version": ("version", "Show the versions of client and server."),
    "wasm": ("wasm", "Run a WebAssembly module."),
}
"""Noun -> (module, summary). A module's COMMANDS are named `noun` or `noun verb`."""

OLD = {
    "create": "job run",
    "list": "job list",
    "describe": "job describe",
    "get": "job get",
    "cancel": "job stop",
    "logs": "job logs",
    "validate": "job validate",
}
"""Names from before Bacalhau 1.7, still taken, with a notice."""

GLOBAL = (
    Flag("config", "texts", "Configuration: a .yaml file, Key=value, or a bare bool Key.",
         short="c", word="file|key=value"),
    Flag("api-host", "text", "Host or URL of the server.", config="API.Host"),
    Flag("api-port", "text", "Port of the server.", config="API.Port", word="port"),
    Flag("data-dir", "text", "Directory of configuration and state.", config="DataDir",
         word="directory"),
    Flag("repo", "text", "Old name of --data-dir.", config="DataDir", hidden=True),
    Flag("log-level", "text", "How much to log.", config="Logging.Level", hidden=True),
    Flag("help", "bool", "Show help.", short="h"),
)  # fmt: skip
"""Flags that every command takes, anywhere on the line."""


def commands(noun: str) -> tuple[Command, ...]:
    """The commands of a noun, hidden ones included."""
    import importlib

    module = importlib.import_module(f"bacalhau.cli.{NOUNS[noun][0]}")
    found: tuple[Command, ...] = module.COMMANDS
    return tuple(one for one in found if one.name.split()[0] == noun)


class Found:
    """What a line names: `command`, or only `noun` or nothing; `rest` are the other words.

    `notice` tells that an old name was used.
    """

    __slots__ = ("command", "notice", "noun", "rest")

    def __init__(self, noun: str, command: Command | None, rest: list[str], notice: str) -> None:
        self.noun = noun
        self.command = command
        self.rest = rest
        self.notice = notice


def find(words: Sequence[str]) -> Found:
    """The command that a line names. Raises Problem for a word that names nothing."""
    rest, at = list(words), _next_name(words, 0)
    if at is None:
        return Found("", None, rest, "")
    noun, notice = rest.pop(at), ""
    if noun in OLD:
        notice = f"`bacalhau {noun}` is now `bacalhau {OLD[noun]}`"
        noun, verb = OLD[noun].split()
        rest.insert(at, verb)
    elif noun not in NOUNS:
        raise Problem(f"unknown command '{noun}'", _suggest("", noun, (*NOUNS, *OLD)))
    found = {command.name: command for command in commands(noun)}
    if noun in found:
        return Found(noun, found[noun], rest, notice)
    at = _next_name(rest, at)
    if at is None:
        return Found(noun, None, rest, notice)
    verb = rest.pop(at)
    if f"{noun} {verb}" not in found:
        verbs = tuple(name.split()[1] for name in found)
        raise Problem(f"unknown command '{noun} {verb}'", _suggest(f"{noun} ", verb, verbs))
    return Found(noun, found[f"{noun} {verb}"], rest, notice)


def _next_name(words: Sequence[str], at: int) -> int | None:
    """Where the next word is that is neither a global flag nor its value."""
    while at < len(words):
        word = words[at]
        if not word.startswith("-") or word == "-":
            return at
        if word == "--":
            return None
        if "=" not in word and any(
            flag.kind != "bool" and word in (f"--{flag.name}", f"-{flag.short}") for flag in GLOBAL
        ):
            at += 1
        at += 1
    return None


def _suggest(before: str, word: str, known: Sequence[str]) -> str:
    import difflib

    near = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    if near:
        return f"did you mean `bacalhau {before}{near[0]}`?"
    return f"`bacalhau {before}--help` lists what there is"

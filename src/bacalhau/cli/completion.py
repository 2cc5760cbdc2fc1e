"""`bacalhau completion` and `bacalhau help`: both are made from the command table."""

from bacalhau.cli.call import Call
from bacalhau.cli.command import Command, Flag, Problem

SHELLS = ("bash", "zsh", "fish")

_USE = {
    "bash": "To use it: source <(bacalhau completion bash)",
    "zsh": "To use it: source <(bacalhau completion zsh)",
    "fish": "To use it: bacalhau completion fish | source",
}

COMMANDS = (
    *(
        Command(
            f"completion {shell}",
            "bacalhau.cli.completion:completion",
            f"Print completions for {shell}.",
            flags=(Flag("no-descriptions", "bool", "Only names."),),
            details=_USE[shell],
        )
        for shell in SHELLS
    ),
    Command(
        "help",
        "bacalhau.cli.completion:help_for",
        "Show help for a command.",
        arguments="[COMMAND]",
        most=2,
    ),
)


def help_for(call: Call) -> None:
    from bacalhau.cli.help import help_text
    from bacalhau.cli.tree import NOUNS, commands

    name = " ".join(call.arguments)
    if call.arguments and call.arguments[0] not in NOUNS:
        raise Problem(f"unknown command '{name}'", "`bacalhau help` lists what there is")
    known = {command.name for command in commands(call.arguments[0])} if name else set()
    if len(call.arguments) == 2 and name not in known:
        raise Problem(f"unknown command '{name}'", f"try `bacalhau help {call.arguments[0]}`")
    print(help_text(name))


def completion(call: Call) -> None:
    shell = call.command.name.split()[1]
    described = not call.flags["no-descriptions"]
    print({"bash": _bash, "zsh": _zsh, "fish": _fish}[shell](described), end="")


def _words() -> "dict[str, dict[str, str]]":
    """What may follow each command line so far: '' -> nouns, `job` -> verbs, `job run` -> flags."""
    from bacalhau.cli.tree import GLOBAL, NOUNS, commands

    table: dict[str, dict[str, str]] = {"": {noun: text for noun, (_, text) in NOUNS.items()}}
    for noun in NOUNS:
        for command in commands(noun):
            if " " in command.name:
                table.setdefault(noun, {})[command.name.split()[1]] = command.summary
            table[command.name] = {
                f"--{flag.name}": flag.help for flag in (*command.flags, *GLOBAL) if not flag.hidden
            }
    table["help"] = table[""]
    return table


def _bash(described: bool) -> str:
    cases = "\n".join(
        f'    "{line}") words="{" ".join(words)}" ;;' for line, words in _words().items()
    )
    return f"""\
# bash completion for bacalhau
_bacalhau() {{
  local current="${{COMP_WORDS[COMP_CWORD]}}" line="" word words=""
  for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
    case "$word" in
      --) COMPREPLY=($(compgen -f -- "$current")); return ;;
      -*) ;;
      *) case "$line" in *" "*) ;; "") line="$word" ;; *) line="$line $word" ;; esac ;;
    esac
  done
  case "$line" in
{cases}
    *) line="${{line%% *}}" ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
  [ ${{#COMPREPLY[@]}} -eq 0 ] && COMPREPLY=($(compgen -f -- "$current"))
}}
complete -o filenames -F _bacalhau bacalhau
"""


def _zsh(described: bool) -> str:
    def entry(word: str, text: str) -> str:
        escaped = text.replace("'", "").replace(":", "\\:")
        return f"'{word}:{escaped}'" if described else f"'{word}'"

    cases = "\n".join(
        f'    "{line}") words_now=({" ".join(entry(*pair) for pair in words.items())}) ;;'
        for line, words in _words().items()
    )
    return f"""\
#compdef bacalhau
_bacalhau() {{
  local line="" word
  local -a words_now
  for word in "${{words[@]:1:$((CURRENT-2))}}"; do
    case "$word" in
      -*) ;;
      *) case "$line" in *" "*) ;; "") line="$word" ;; *) line="$line $word" ;; esac ;;
    esac
  done
  case "$line" in
{cases}
  esac
  _describe 'bacalhau' words_now
  _files
}}
compdef _bacalhau bacalhau
"""


def _fish(described: bool) -> str:
    lines = ["# fish completion for bacalhau", "complete -c bacalhau -f"]
    table = _words()
    for line, words in table.items():
        if not line:
            when = "__fish_use_subcommand"
        elif " " in line:
            noun, verb = line.split()
            when = f"__fish_seen_subcommand_from {noun}; and __fish_seen_subcommand_from {verb}"
        elif any(key.startswith(line + " ") for key in table):
            verbs = " ".join(words)
            when = (
                f"__fish_seen_subcommand_from {line}; and not __fish_seen_subcommand_from {verbs}"
            )
        else:
            when = f"__fish_seen_subcommand_from {line}"
        for word, text in words.items():
            escaped = text.replace("\\", "\\\\").replace("'", "\\'")
            about = f" -d '{escaped}'" if described else ""
            what = f"-l {word[2:]}" if word.startswith("--") else f"-a {word}"
            lines.append(f"complete -c bacalhau -n '{when}' {what}{about}")
    return "\n".join(lines) + "\n"

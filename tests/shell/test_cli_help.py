"""Help and completion are made from the table, so they know every command and flag."""

import importlib
import shutil
import subprocess

import pytest

from bacalhau.cli import main
from bacalhau.cli.command import Command
from bacalhau.cli.tree import GLOBAL, NOUNS, commands

ALL = [command for noun in NOUNS for command in commands(noun)]


@pytest.mark.parametrize("command", ALL, ids=lambda command: command.name)
def test_help_of_a_command_shows_its_usage_and_every_flag(
    command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command.name.split(), "--help"]) == 0
    shown = capsys.readouterr()
    assert f"bacalhau {command.name} [flags] {command.arguments}".rstrip() in shown.out
    for flag in (*command.flags, *GLOBAL):
        assert (f"--{flag.name}" in shown.out) is not flag.hidden, flag.name
    assert all(len(line) <= 100 for line in shown.out.splitlines())
    assert shown.err == ""


@pytest.mark.parametrize("command", ALL, ids=lambda command: command.name)
def test_every_handler_exists(command: Command) -> None:
    module, _, function = command.handler.partition(":")
    assert callable(getattr(importlib.import_module(module), function))


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"], ["help"]])
def test_help_of_everything_lists_the_nouns(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 0
    shown = capsys.readouterr().out
    for noun, (_, summary) in NOUNS.items():
        assert f"  {noun.ljust(10)}  {summary}" in shown


@pytest.mark.parametrize("words", [["job"], ["job", "-h"], ["help", "job"]])
def test_help_of_a_noun_lists_its_verbs(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 0
    shown = capsys.readouterr().out
    for command in commands("job"):
        assert f"  {command.name.split()[1].ljust(10)}  {command.summary}" in shown


def test_help_of_an_unknown_command_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["help", "job", "fly"]) == 1
    assert "unknown command 'job fly'" in capsys.readouterr().err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_every_command_and_flag(
    shell: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    for command in ALL:
        assert command.name.split()[-1] in script
        for flag in command.flags:
            if not flag.hidden:
                assert flag.name in script


def complete(script: str, *words: str) -> list[str]:
    """What bash offers for the last of these words."""
    program = f"""{script}
    COMP_WORDS=({" ".join(f'"{word}"' for word in words)}); COMP_CWORD={len(words) - 1}
    _bacalhau; printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(
        ["bash", "-c", program], capture_output=True, text=True, check=False, timeout=20
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_bash_completes_nouns_verbs_and_flags(capsys: pytest.CaptureFixture[str]) -> None:
    assert shutil.which("bash"), "these completions are tried in bash"
    main(["completion", "bash"])
    script = capsys.readouterr().out
    assert complete(script, "bacalhau", "j") == ["job"]
    assert complete(script, "bacalhau", "job", "li") == ["list"]
    assert complete(script, "bacalhau", "job", "list", "--order") == [
        "--order-by",
        "--order-reversed",
    ]
    assert complete(script, "bacalhau", "exec", "--ent") == []

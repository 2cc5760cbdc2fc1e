"""The grammar of the command line: flags, arguments, commands."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bacalhau.cli.command import Flag, Line, Problem, fields, parse
from bacalhau.cli.tree import GLOBAL, NOUNS, OLD, commands, find

FLAGS = (
    Flag("wait", "bool", "", default=True),
    Flag("follow", "bool", "", short="f"),
    Flag("quiet", "bool", "", short="q"),
    Flag("name", "text", "", short="n"),
    Flag("count", "uint32", "", default=1),
    Flag("delta", "int", ""),
    Flag("var", "texts", "", short="V"),
    Flag("labels", "list", "", short="l"),
    Flag("show", "list", "", default=("a", "b")),
    Flag("format", "choice", "", choices=("Table", "json"), default="Table"),
)


def read(*words: str) -> Line:
    return parse(words, FLAGS)


@pytest.mark.parametrize(
    ("words", "flag", "value"),
    [
        (["--name=x"], "name", "x"),
        (["--name", "x"], "name", "x"),
        (["--name="], "name", ""),
        (["--name", "--count"], "name", "--count"),
        (["--name=a=b"], "name", "a=b"),
        (["-n", "x"], "name", "x"),
        (["-nx"], "name", "x"),
        (["-n=x"], "name", "x"),
        (["-fqn", "x"], "name", "x"),
        (["-fqnx"], "name", "x"),
        (["--wait"], "wait", True),
        (["--wait=false"], "wait", False),
        (["--wait=F"], "wait", False),
        (["-f=false"], "follow", False),
        (["-fq"], "quiet", True),
        (["--count", "5"], "count", 5),
        (["--delta=-5"], "delta", -5),
        (["--delta", "-5"], "delta", -5),
        (["-V", "a=1", "--var=b=1,2"], "var", ["a=1", "b=1,2"]),
        (["-l", "a=1,b", "--labels", '"c,d"'], "labels", ["a=1", "b", "c,d"]),
        (["--show", "c", "--show", "d"], "show", ["c", "d"]),
        (["--show", ""], "show", []),
        (["--format", "JSON"], "format", "json"),
        (["--name", "a", "--name", "b"], "name", "b"),
    ],
)
def test_a_flag_is_read(words: list[str], flag: str, value: object) -> None:
    line = read(*words)
    assert line.flags[flag] == value
    assert line.arguments == []
    assert flag in line.given


def test_flags_that_are_not_given_have_their_defaults() -> None:
    line = read()
    assert line.given == set()
    assert line.flags == {
        "wait": True, "follow": False, "quiet": False, "name": "", "count": 1, "delta": 0,
        "var": [], "labels": [], "show": ["a", "b"], "format": "Table",
    }  # fmt: skip


def test_flags_and_arguments_mix_and_two_dashes_end_the_flags() -> None:
    line = read("a", "--name", "x", "-", "b", "--", "--count", "-f", "--")
    assert line.arguments == ["a", "-", "b", "--count", "-f", "--"]
    assert line.given == {"name"}


def test_where_flags_stop_the_rest_is_one_command_line() -> None:
    line = parse(["-f", "bash", "-c", "echo", "--name", "x"], FLAGS, stops=True)
    assert line.arguments == ["bash", "-c", "echo", "--name", "x"]
    assert line.given == {"follow"}


@pytest.mark.parametrize(
    ("words", "says", "hint"),
    [
        (["--nmae", "x"], "unknown flag: --nmae", "did you mean --name?"),
        (["--xyzzy"], "unknown flag: --xyzzy", ""),
        (["-x"], "unknown shorthand flag: 'x' in -x", "write --"),
        (["-fx"], "unknown shorthand flag: 'x' in -fx", "write --"),
        (["--name"], "flag needs an argument: --name", ""),
        (["-fn"], "flag needs an argument: 'n' in -fn", ""),
        (["--wait=maybe"], 'invalid argument "maybe" for "--wait" flag', ""),
        (["--count=-1"], "must be between 0 and 4294967295", ""),
        (["--count=x"], "must be a whole number", ""),
        (["--count=" + "9" * 30], "must be a whole number", ""),
        (["--format", "xml"], "must be one of Table, json", ""),
        (["-l", 'a"b'], "a double quote inside", ""),
        (["-l", '"a'], "not closed", ""),
        (["-l", '"a"b'], "after the closing quote", ""),
    ],
)
def test_what_is_wrong_with_a_flag_is_said(words: list[str], says: str, hint: str) -> None:
    with pytest.raises(Problem) as raised:
        read(*words)
    assert says in raised.value.message
    assert hint in raised.value.hint


@given(st.lists(st.text(max_size=12), max_size=6))
def test_any_words_are_read_or_complained_about(words: list[str]) -> None:
    try:
        line = read(*words)
    except Problem as problem:
        said = problem.message
    else:
        said = str(line.flags)
    assert said


@given(st.lists(st.text(max_size=8), min_size=1, max_size=5))
def test_quoted_fields_read_back(values: list[str]) -> None:
    record = ",".join('"' + value.replace('"', '""') + '"' for value in values)
    assert fields(record) == values


@given(st.lists(st.text(st.characters(exclude_characters=',"')), min_size=1, max_size=5))
def test_plain_fields_read_back(values: list[str]) -> None:
    assert fields(",".join(values)) == values


# Commands


@pytest.mark.parametrize(
    ("words", "name", "rest"),
    [
        (["job", "list", "--limit", "3"], "job list", ["--limit", "3"]),
        (["-c", "x.yaml", "job", "--api-port=1", "list"], "job list",
         ["-c", "x.yaml", "--api-port=1"]),
        (["--api-host", "job", "node", "list"], "node list", ["--api-host", "job"]),
        (["exec", "--", "job", "list"], "exec", ["--", "job", "list"]),
        (["version"], "version", []),
        (["help", "job", "run"], "help", ["job", "run"]),
    ],
)  # fmt: skip
def test_a_command_is_found_between_global_flags(
    words: list[str], name: str, rest: list[str]
) -> None:
    found = find(words)
    assert found.command is not None
    assert (found.command.name, found.rest, found.notice) == (name, rest, "")


@pytest.mark.parametrize("old", sorted(OLD))
def test_old_names_are_taken_with_a_notice(old: str) -> None:
    found = find(["--api-port", "1", old, "x"])
    assert found.command is not None
    assert found.command.name == OLD[old]
    assert found.rest == ["--api-port", "1", "x"]
    assert found.notice == f"`bacalhau {old}` is now `bacalhau {OLD[old]}`"


@pytest.mark.parametrize(
    ("words", "says", "hint"),
    [
        (["jbo"], "unknown command 'jbo'", "did you mean `bacalhau job`?"),
        (["job", "lst"], "unknown command 'job lst'", "did you mean `bacalhau job list`?"),
        (["job", "zzzzzz"], "unknown command 'job zzzzzz'", "`bacalhau job --help`"),
        (["zzzzzz"], "unknown command 'zzzzzz'", "`bacalhau --help`"),
    ],
)
def test_unknown_commands_are_answered_with_the_nearest(
    words: list[str], says: str, hint: str
) -> None:
    with pytest.raises(Problem) as raised:
        find(words)
    assert raised.value.message == says
    assert hint in raised.value.hint


def test_nothing_or_a_noun_alone_names_no_command() -> None:
    assert (find([]).noun, find([]).command) == ("", None)
    assert (find(["--help"]).noun, find(["--help"]).rest) == ("", ["--help"])
    assert (find(["job"]).noun, find(["job"]).command) == ("job", None)


def test_no_command_uses_a_flag_twice() -> None:
    for noun in NOUNS:
        for command in commands(noun):
            flags = (*command.flags, *GLOBAL)
            names = [flag.name for flag in flags]
            shorts = [flag.short for flag in flags if flag.short]
            assert len(set(names)) == len(names), command.name
            assert len(set(shorts)) == len(shorts), command.name

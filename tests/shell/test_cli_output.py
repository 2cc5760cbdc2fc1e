"""Formats: table, csv, json, yaml; colours on terminals only; nothing steers the terminal."""

import io
import json
import sys

import pytest
import yaml

from bacalhau.cli.call import Call
from bacalhau.cli.command import Command, parse
from bacalhau.cli.describe import age
from bacalhau.cli.job import _JOB, event_text
from bacalhau.cli.node import size
from bacalhau.cli.progress import Counts, Progress
from bacalhau.cli.style import has_colours, paint, safe, short_id
from bacalhau.cli.table import OUTPUT, Column, moment, show_rows, to_json

ROWS = [
    {
        "ID": "j-6e51df50-8a5c-4b0e-9b0a-3c1d2e4f5a6b",
        "Name": 'count the <words> & more, of "all" the many books that there are',
        "Type": "batch",
        "State": {"StateType": "Completed"},
        "CreateTime": 1_765_000_000_123_456_789,
        "Tasks": [{"Engine": {"Type": "process"}}],
    },
    {
        "ID": "j-00000000-8a5c-4b0e-9b0a-3c1d2e4f5a6b",
        "Name": "x\x1b[31m",
        "Type": "ops",
        "State": {"StateType": "Failed"},
        "CreateTime": 1_765_000_061_000_000_000,
        "Tasks": [{"Engine": {"Type": "wasm"}}],
    },
]


def shown(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    command = Command("job list", "", "", flags=OUTPUT)
    show_rows(Call(command, parse(words, OUTPUT)), ROWS, _JOB)
    return capsys.readouterr().out


def test_a_table_is_narrow_and_wraps(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys) == (
        "CREATED   ID          NAME                                    JOB      TYPE   STATE\n"
        '05:46:40  j-6e51df50  count the <words> & more, of "all" the  process  batch  Completed\n'
        "                      many books that there are\n"
        "05:47:41  j-00000000  x\N{REPLACEMENT CHARACTER}[31m"
        "                                  wasm     ops    Failed\n"
    )


def test_a_wide_table_without_header_is_whole(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(capsys, "--wide", "--hide-header", "--no-style").splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("2025-12-06 05:46:40  j-6e51df50-8a5c-4b0e-9b0a-3c1d2e4f5a6b  count")
    assert lines[0].endswith("books that there are  process  batch  Completed")


def test_csv_has_the_captions_as_defined_and_whole_values(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = shown(capsys, "--output", "csv").splitlines()
    assert lines[0] == "created,id,name,job,type,state"
    assert lines[1] == (
        "2025-12-06 05:46:40,j-6e51df50-8a5c-4b0e-9b0a-3c1d2e4f5a6b,"
        '"count the <words> & more, of ""all"" the many books that there are",'
        "process,batch,Completed"
    )
    assert len(shown(capsys, "--output", "csv", "--hide-header").splitlines()) == 2


def test_json_is_one_line_with_gos_escapes(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, "--output", "json")
    assert json.loads(text) == ROWS
    assert text.count("\n") == 1
    assert "\\u003cwords\\u003e \\u0026 more" in text
    assert '"Type":"batch"' in text


def test_pretty_json_is_indented_by_two(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, "--output", "json", "--pretty")
    assert json.loads(text) == ROWS
    assert '\n    "Type": "batch"' in text


def test_yaml_has_sorted_keys(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, "--output", "yaml")
    assert yaml.safe_load(text) == ROWS
    assert list(yaml.safe_load(text)[0]) == sorted(ROWS[0])


@pytest.mark.parametrize(
    ("form", "expected"),
    [("json", "[]\n"), ("yaml", "[]\n"), ("csv", "a\n"), ("table", "A\n")],
)
def test_an_empty_list_is_shown_as_such(
    form: str, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = Command("x", "", "", flags=OUTPUT)
    call = Call(command, parse([f"--output={form}"], OUTPUT))
    show_rows(call, [], [Column("a", str)])
    assert capsys.readouterr().out == expected


# Colours


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("variables", "terminal", "expected"),
    [
        ({}, False, False),
        ({}, True, True),
        ({"TERM": "dumb"}, True, False),
        ({"NO_COLOR": "1"}, True, False),
        ({"NO_COLOR": "0"}, True, True),
        ({"FORCE_COLOR": "1"}, False, True),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False, False),
    ],
)
def test_who_gets_colours(
    variables: dict[str, str], terminal: bool, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    stream = Terminal() if terminal else io.StringIO()
    assert has_colours(stream) is expected
    assert paint("x", "bold red", stream) == ("\033[1;31mx\033[0m" if expected else "x")


def test_text_of_others_cannot_steer_the_terminal() -> None:
    assert (
        safe("a\x1b[2Jb\r\tc\x9b\n")
        == "a\N{REPLACEMENT CHARACTER}[2Jb c\N{REPLACEMENT CHARACTER}\n"
    )


# Words


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("j-6e51df50-8a5c-4b0e-9b0a-3c1d2e4f5a6b", "j-6e51df50"),
        ("6e51df50-8a5c-4b0e-9b0a-3c1d2e4f5a6b", "6e51df50"),
        ("node-1", "node-1"),
        ("a-b-c-d-e", "a-b-c-d-e"),
        ("ip-12345678-1234-1234-1234-123456789012", "ip-12345678-1234-1234-1234-123456789012"),
        ("", ""),
    ],
)
def test_ids_are_shortened_only_when_they_are_uuids(given: str, expected: str) -> None:
    assert short_id(given) == expected


def test_amounts_and_ages_are_short() -> None:
    found = [size(0), size(999), size(1500), size(16 * 10**9), size(999_999)]
    assert found == ["0 B", "999 B", "1.5 KB", "16 GB", "1.0 MB"]
    assert [age(s * 10**9) for s in (0, 5, 312, 3600, 200_000)] == [
        "now",
        "5s ago",
        "5m12s ago",
        "1h ago",
        "2d7h ago",
    ]
    assert moment(0) == ""


def test_an_event_shows_its_error_and_its_hint() -> None:
    event = {"Message": "no", "Details": {"IsError": "true", "Hint": "yes"}}
    assert event_text(event) == "Error: no\nHint: yes"
    assert event_text({"Message": "fine"}) == "fine"


def test_json_keeps_other_letters() -> None:
    assert to_json({"a": "ä→"}) == '{"a":"ä→"}'


# Progress


def event(topic: str, message: str, execution: str = "", **details: str) -> dict[str, object]:
    return {
        "Time": "2026-01-02T03:04:05.123456789Z",
        "ExecutionID": execution,
        "Event": {"Topic": topic, "Message": message, "Details": details},
    }


SUBMITTED = event("Submission", "Job submitted")


def test_counts_follow_the_events() -> None:
    counts = Counts(3)
    told = [
        (SUBMITTED, "0/3 done, 3 queued"),
        (event("Scheduling", "Requested execution on n", "a"), "0/3 done, 1 starting, 2 queued"),
        (event("Execution", "Running", "a"), "0/3 done, 1 running, 2 queued"),
        (event("Running Execution", "exit code 1", "a", FailsExecution="true"),
         "0/3 done, 1 failed, 3 queued"),
        (event("Execution", "too late", "a", FailsExecution="true"),
         "0/3 done, 1 failed, 3 queued"),
        (event("Scheduling", "Requested execution on n", "b"),
         "0/3 done, 1 failed, 1 starting, 2 queued"),
        (event("Execution", "Running", "b"), "0/3 done, 1 running, 1 failed, 2 queued"),
        (event("Publishing Results", "managed", "b"), "0/3 done, 1 running, 1 failed, 2 queued"),
        (event("Execution", "Completed successfully", "b"), "1/3 done, 1 failed, 2 queued"),
        (event("Scheduling", "Requested execution on n", "c"),
         "1/3 done, 1 failed, 1 starting, 1 queued"),
        (event("Exec Scanning", "busy", "c"), "1/3 done, 1 failed, 2 queued"),
    ]  # fmt: skip
    for happened, expected in told:
        counts.take(happened)
        assert counts.now() == expected
    counts.reason = "no node fits"
    assert counts.now() == "1/3 done, 1 failed, 2 queued (no node fits)"
    assert counts.end() == "1/3 done, 1 try failed"


def progress(events: list[dict[str, object]], count: int, *, quiet: bool = False) -> None:
    with Progress({"Count": count}, quiet=quiet) as shown_:
        shown_.take(events)


def test_without_a_terminal_progress_is_rows(capsys: pytest.CaptureFixture[str]) -> None:
    progress(
        [
            SUBMITTED,
            event("State Update", "Running"),
            event("Execution", "Running", "e-6e51df50-8a5c-4b0e-9b0a-3c1d2e4f5a6b"),
            event("Scheduling", "no node\nat all", IsError="true"),
        ],
        1,
    )
    said = capsys.readouterr()
    assert said.err == ""
    assert said.out.splitlines()[:-1] == [
        "TIME          EXEC. ID    TOPIC                  EVENT",
        "03:04:05.123              Submission             Job submitted",
        "03:04:05.123  e-6e51df50  Execution              Running",
        "03:04:05.123              Scheduling             Error: no node",
        "                                                 at all",
        "",
    ]
    assert said.out.splitlines()[-1].startswith("0/1 done in ")


def test_of_many_partitions_only_failures_get_rows(capsys: pytest.CaptureFixture[str]) -> None:
    done = [event("Execution", "Completed successfully", f"e{number}") for number in range(100)]
    progress([SUBMITTED, *done, event("Running Execution", "bad", "e7", IsError="true")], 200)
    lines = capsys.readouterr().out.splitlines()
    assert lines[2:4] == [
        "03:04:05.123  e7          Running Execution      Error: bad",
        "100/200 done, 100 queued",
    ]


def test_quiet_progress_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    progress([SUBMITTED], 1, quiet=True)
    assert capsys.readouterr() == ("", "")


def test_on_a_terminal_a_line_moves_and_is_gone_at_the_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    progress([SUBMITTED], 3)
    assert "0/3 done, 3 queued" in terminal.getvalue()
    assert terminal.getvalue().endswith("\r\033[K")
    assert "\033" not in capsys.readouterr().out

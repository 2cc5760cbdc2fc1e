"""Commands that need no server: configuration, validation, dry runs, and what goes wrong."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from bacalhau.cli import main
from bacalhau.config import KEYS

JOB = """
Name: hello
Type: batch
Count: {{or (index . "count") "1"}}
Tasks:
  - Name: main
    Engine:
      Type: process
      Params: {Command: echo, Arguments: ["{{.who}}"]}
"""


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No configuration of this machine takes part, and nobody listens at the server's port."""
    for name in os.environ:
        if name.startswith("BACALHAU_") or name in ("LOG_LEVEL", "DEBUG"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        monkeypatch.setenv("BACALHAU_API_PORT", str(probe.getsockname()[1]))


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    status = main(words)
    said = capsys.readouterr()
    return status, said.out, said.err


# config


def test_config_list_shows_every_key(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, "config", "list", "--output", "json", "-c", "API.Port=77")
    assert (status, err) == (0, "")
    rows = {row["Key"]: row["Value"] for row in json.loads(out)}
    assert set(rows) == {key.name for key in KEYS.values()}
    assert rows["API.Port"] == 77
    assert out.startswith("[\n  {")  # pretty unless asked otherwise


def test_config_list_as_table_csv_and_yaml(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("config", "list", "-c", "Labels=Region=EU", "-c", "Compute.Orchestrators=a,b")
    table = run(capsys, *words)[1]
    assert table.splitlines()[0].split() == ["KEY", "VALUE", "DESCRIPTION"]
    assert "\x1b" not in table
    csv = run(capsys, *words, "--output", "csv")[1]
    assert "\nLabels,Region=EU," in csv
    assert '\nCompute.Orchestrators,"a,b",' in csv
    document = yaml.safe_load(run(capsys, *words, "--output", "yaml")[1])
    assert document["Labels"] == {"Region": "EU"}


def test_config_set_writes_a_checked_value(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / ".bacalhau" / "config.yaml"
    status, out, err = run(capsys, "config", "set", "api.port=99")
    assert (status, out, err) == (0, f"Writing config to {file}\n", "")
    run(capsys, "config", "set", "Labels=Region=EU,x=y")
    run(capsys, "config", "set", "compute.heartbeat.interval=90s")
    run(capsys, "config", "set", "API.PORT=98")
    assert yaml.safe_load(file.read_text()) == {
        "API": {"Port": 98},
        "Labels": {"Region": "EU", "x": "y"},
        "Compute": {"Heartbeat": {"Interval": "1m30s"}},
    }
    assert file.stat().st_mode & 0o777 == 0o600


def test_config_set_keeps_what_the_file_has(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "own.yaml"
    file.write_text("api: {port: 1}\nOther: kept\n")
    assert run(capsys, "config", "set", "-c", "own.yaml", "API.Port=2")[0] == 0
    assert yaml.safe_load(file.read_text()) == {"api": {"port": 2}, "Other": "kept"}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["API.Port=x"], "API.Port is 'x', but should be a whole number"),
        (["API.Prot=1"], "did you mean API.Port?"),
        (["API.Port"], "is not KEY=VALUE"),
        (["-c", "gone.yaml", "API.Port=1"], "gone.yaml does not exist"),
        (["-c", "a", "API.Port=1"], "must name the one .yaml file"),
        ([], "an argument is missing"),
    ],
)
def test_config_set_refuses_what_it_cannot_write(
    words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status, _, err = run(capsys, "config", "set", *words)
    assert status == 1
    assert err.startswith("Error: ")
    assert says in err


def test_config_set_in_the_old_form_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = run(capsys, "config", "set", "Compute.Orchestrators", "a", "b")
    assert (status, "an old form" in err) == (0, True)


def test_unknown_keys_in_the_file_are_warned_about(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "f.yaml").write_text("API: {Prot: 1}")
    status, _, err = run(capsys, "config", "list", "-c", "f.yaml")
    assert status == 0
    assert err == "Warning: f.yaml: unknown key API.Prot is ignored; did you mean API.Port?\n"


# job validate, dry runs


def test_validate_says_ok(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "j.yaml").write_text(JOB.replace("{{.who}}", "x").replace(
        '{{or (index . "count") "1"}}', "1"))  # fmt: skip
    assert run(capsys, "job", "validate", "j.yaml") == (0, "OK\n", "")


def test_validate_does_not_render_templates(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "j.yaml").write_text(JOB)
    status, out, err = run(capsys, "job", "validate", "j.yaml")
    assert status == 1
    assert out.startswith("Error: the job provided is invalid\n")
    assert "was it meant as a template?" in err


def test_exec_dry_run_prints_a_job_file(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(
        capsys, "exec", "--dry-run", "--name", "n", "--namespace", "ns", "--priority", "3",
        "--count", "2", "--constraints", "region in (eu,us),gpu", "-l", "team=a,urgent",
        "--task-name", "t", "-e", "A=1", "-e", "B=x=y", "-i", "file:///d:/in", "-o", "o:/outputs",
        "-p", "s3://b/k,opt=region=eu", "--cpu", "500m", "--memory", "1gb", "--disk", "2gb",
        "--gpu", "1", "--network", "http", "--domain", "a.org", "--timeout", "60",
        "--queue-timeout", "5", "-w", "/in", "python3", "-c", "print(1)",
    )  # fmt: skip
    assert (status, err) == (0, "")
    assert yaml.safe_load(out) == {
        "Name": "n",
        "Namespace": "ns",
        "Type": "batch",
        "Priority": 3,
        "Count": 2,
        "Constraints": [
            {"Key": "region", "Operator": "in", "Values": ["eu", "us"]},
            {"Key": "gpu", "Operator": "exists"},
        ],
        "Labels": {"team": "a", "urgent": ""},
        "Tasks": [
            {
                "Name": "t",
                "Engine": {
                    "Type": "process",
                    "Params": {
                        "Command": "python3",
                        "Arguments": ["-c", "print(1)"],
                        "WorkingDirectory": "/in",
                    },
                },
                "Publisher": {"Type": "s3", "Params": {"bucket": "b", "key": "k", "region": "eu"}},
                "Env": {"A": "1", "B": "x=y"},
                "InputSources": [
                    {
                        "Source": {"Type": "local", "Params": {"SourcePath": "/d"}},
                        "Alias": "file:///d",
                        "Target": "/in",
                    }
                ],
                "ResultPaths": [{"Name": "o", "Path": "/outputs"}],
                "Resources": {"CPU": "500m", "Memory": "1gb", "Disk": "2gb", "GPU": "1"},
                "Network": {"Type": "HTTP", "Domains": ["a.org"]},
                "Timeouts": {"TotalTimeout": 60, "QueueTimeout": 5},
            }
        ],
    }


def test_a_dry_run_is_a_job_file_that_validates(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = run(capsys, "exec", "--dry-run", "--target=all", "--", "echo", "hi")[1]
    (tmp_path / "j.yaml").write_text(out)
    assert yaml.safe_load(out)["Type"] == "ops"
    assert run(capsys, "job", "validate", "j.yaml")[1] == "OK\n"


def test_wasm_run_embeds_a_local_module(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "m.wasm").write_bytes(b"\0asm")
    (tmp_path / "lib.wasm").write_bytes(b"\0asm")
    out = run(
        capsys, "wasm", "run", "--dry-run", "--entry-point", "go", "-I", "lib.wasm:lib.wasm",
        "m.wasm:/app/m.wasm", "--", "--size", "3",
    )[1]  # fmt: skip
    task = yaml.safe_load(out)["Tasks"][0]
    assert task["Engine"] == {
        "Type": "wasm",
        "Params": {
            "EntryModule": "/app/m.wasm",
            "Entrypoint": "go",
            "Parameters": ["--size", "3"],
            "ImportModules": ["lib.wasm"],
        },
    }
    assert [one["Target"] for one in task["InputSources"]] == ["/app/m.wasm", "lib.wasm"]
    assert task["InputSources"][0]["Source"]["Params"]["URL"] == (
        "data:application/octet-stream;base64,AGFzbQ=="
    )


def test_wasm_run_takes_a_uri_or_a_path_that_an_input_provides(
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = run(capsys, "wasm", "run", "--dry-run", "https://h/m.wasm")[1]
    task = yaml.safe_load(out)["Tasks"][0]
    assert task["Engine"]["Params"]["EntryModule"] == "main.wasm"
    assert task["InputSources"][0]["Source"]["Type"] == "urlDownload"
    out = run(capsys, "wasm", "run", "--dry-run", "/in/m.wasm", "-i", "file:///d:/in")[1]
    task = yaml.safe_load(out)["Tasks"][0]
    assert task["Engine"]["Params"]["EntryModule"] == "/in/m.wasm"
    assert [one["Target"] for one in task["InputSources"]] == ["/in"]


# What goes wrong


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["fly"], "unknown command 'fly'"),
        (["job", "list", "--fly"], "unknown flag: --fly"),
        (["job", "list", "x"], "1 arguments given, at most 0 expected"),
        (["job", "describe"], "an argument is missing: ID|NAME"),
        (["job", "describe", " "], "the name or id is empty"),
        (["job", "run", "gone.yaml"], "cannot read gone.yaml: No such file or directory"),
        (["job", "run", "."], "cannot read .: Is a directory"),
        (["job", "get", "x", "--download-timeout-secs", "300"], "should be a duration"),
        (["job", "list", "-c", "API.Prot=1"], "did you mean API.Port?"),
        (["job", "list", "-c", "gone.yaml"], "gone.yaml does not exist"),
        (["job", "list", "--api-host", "ftp://x"], "not an http or https address"),
        (["job", "list", "--api-port", "0x1"], "should be a whole number"),
        (["exec", "--cpu", "lots", "--", "true"], "CPU"),
        (["exec", "-i", "git://x", "--", "true"], "--input: git:// is not a kind of input"),
        (["exec", "-i", "./gone:/in", "--", "true"], "./gone does not exist on this machine"),
        (["exec", "-o", "out", "--", "true"], "--output: out must look like name:/path"),
        (["exec", "-p", "ftp://x", "--", "true"], "--publisher: 'ftp://x' is not a publisher"),
        (["exec", "-e", "A", "--", "true"], "key=value"),
        (["exec", "-s", "a in", "--", "true"], "--constraints: "),
        (["exec", "-s", "a", "--constraints", "b", "--", "true"], "mean the same"),
        (["exec", "--domain", "x.org", "--", "true"], "--domain needs --network HTTP"),
        (["exec", "--network", "wifi", "--", "true"], "must be one of None, Host"),
        (["exec", "-o", "a:/x", "-o", "a:/y", "--", "true"], "ResultPaths"),
        (["exec", ""], "the command is empty"),
        (["wasm", "run", "gone.wasm"], "there is no such file on this machine"),
        (["wasm", "run", "-I", "https://h/m.wasm", "https://h/n.wasm"], "has no target"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_that_says_what_and_exit_status_one(
    words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = run(capsys, *words)
    assert (status, out) == (1, "")
    assert err.startswith("Error: ")
    assert says in err
    assert "Traceback" not in err
    assert "fault of the program" not in err


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff\xfe\x00", b"a: [", b"- 1", b"Type: batch", b"Type: 3", b"Tasks: {}", b"\x00" * 50,
     b"Type: batch\nTasks: [{Name: x, Engine: {Type: y}}]\nID: 3", b"{{.x}}", b"{{", b"&a [*a]"],
)  # fmt: skip
def test_a_bad_job_file_is_refused_before_anything_is_sent(
    content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "j.yaml").write_bytes(content)
    status, out, err = run(capsys, "job", "run", "j.yaml")
    assert (status, out) == (1, "")
    assert err.startswith("Error: ")
    assert "fault of the program" not in err
    assert "cannot reach" not in err


def test_a_job_file_of_50_mb_is_refused_as_too_large(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "j.yaml").write_bytes(b"Name: " + b"x" * 50_000_000)
    for command in ("run", "validate"):
        status, _, err = run(capsys, "job", command, "j.yaml")
        assert status == 1
        assert "j.yaml is larger than the 16777216 bytes of a job file" in err
        assert "Hint: data belongs into inputs" in err


@pytest.mark.parametrize(
    "words",
    [["job", "list"], ["node", "list"], ["agent", "alive"], ["exec", "--", "true"],
     ["job", "stop", "x"], ["job", "get", "x"], ["job", "logs", "x"]],
    ids=" ".join,
)  # fmt: skip
def test_without_a_server_the_address_is_named(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = run(capsys, *words)
    assert (status, out) == (1, "")
    assert f"http://127.0.0.1:{os.environ['BACALHAU_API_PORT']}" in err
    assert "Hint: " in err


def test_half_of_the_credentials_is_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BACALHAU_API_USERNAME", "ann")
    status, _, err = run(capsys, "job", "list")
    assert status == 1
    assert "belong together" in err


def test_version_without_a_server_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, "version")
    assert (status, err) == (0, "")
    assert out.splitlines()[0] == "CLIENT"
    client = run(capsys, "version", "--client", "--output", "json")[1]
    assert set(json.loads(client)) == {"clientVersion"}


def test_a_directory_that_cannot_be_made_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = run(capsys, "config", "set", "--data-dir", "/proc/x", "API.Port=1")
    assert (status, err) == (1, "Error: No such file or directory: '/proc/x'\n".replace("'", ""))


def test_debug_shows_where(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DEBUG", "true")
    assert "Traceback" in run(capsys, "fly")[2]


def test_a_reader_that_goes_away_is_no_traceback() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "bacalhau", "config", "list"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    with process.stderr:
        assert process.stderr.read() == b""
    assert process.wait(20) == 1


def test_help_imports_nothing_heavy() -> None:
    """The start-up time is the absence of imports."""
    program = "import sys, bacalhau.cli; bacalhau.cli.main(['--help']); print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=20
    )
    loaded = done.stdout.splitlines()[-1].split()
    assert set(loaded) & {"msgspec", "typing", "argparse", "json", "socket", "re"} == set()

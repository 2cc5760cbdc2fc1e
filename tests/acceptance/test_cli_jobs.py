"""The command line as users meet it: real processes against a real server."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
import yaml
from wasmtime import wat2wasm

LIMIT_S = 60

HELLO = wat2wasm("""
(module
  (import "wasi_snapshot_preview1" "fd_write"
    (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "hello\\n")
  (func (export "_start")
    (i32.store (i32.const 0) (i32.const 16))
    (i32.store (i32.const 4) (i32.const 6))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))
""")

SHORT_ID = re.compile(r"\bj-[0-9a-f]{8}\b")
LONG_ID = re.compile(r"j-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Said:
    """What a command printed, and its exit status."""

    def __init__(self, done: "subprocess.CompletedProcess[str]") -> None:
        self.status, self.out, self.err = done.returncode, done.stdout, done.stderr

    def __repr__(self) -> str:
        return f"exit {self.status}\n--- stdout\n{self.out}\n--- stderr\n{self.err}"


class Cli:
    """A user at a shell, in a directory, with a server at that port."""

    def __init__(self, directory: Path, port: int, variables: Mapping[str, str]) -> None:
        self.directory = directory
        self.environ = {
            **{key: value for key, value in os.environ.items() if "BACALHAU" not in key},
            "HOME": str(directory),
            "BACALHAU_API_PORT": str(port),
            **variables,
        }

    def __call__(self, *words: str, stdin: str = "", succeeds: bool = True) -> Said:
        """Run a command; its exit status must be as expected."""
        said = Said(
            subprocess.run(
                [sys.executable, "-m", "bacalhau", *words],
                input=stdin, capture_output=True, text=True, timeout=LIMIT_S, check=False,
                cwd=self.directory, env=self.environ,
            )
        )  # fmt: skip
        assert (said.status == 0) is succeeds, said
        assert "Traceback" not in said.err, said
        return said

    def start(self, *words: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", "bacalhau", *words],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            cwd=self.directory, env=self.environ,
        )  # fmt: skip

    def wasm(self, *flags: str, succeeds: bool = True) -> Said:
        (self.directory / "hello.wasm").write_bytes(HELLO)
        return self("wasm", "run", *flags, "hello.wasm", succeeds=succeeds)


def serve(directory: Path, *words: str) -> "tuple[subprocess.Popen[str], int]":
    """A server process, and the port at which it answers."""
    environ = {key: value for key, value in os.environ.items() if "BACALHAU" not in key}
    with (directory / "server.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "bacalhau", *words, "-c", "Publishers.Disabled=local"],
            stdout=subprocess.PIPE, stderr=log, text=True,
            env={**environ, "HOME": str(directory)},
        )  # fmt: skip
    assert process.stdout is not None
    for line in process.stdout:
        if found := re.search(r"(?:127\.0\.0\.1:|BACALHAU_API_PORT=)(\d+)", line):
            return process, int(found[1])
    raise AssertionError((directory / "server.log").read_text()[-4000:])


def end(process: "subprocess.Popen[str]") -> None:
    process.terminate()
    process.communicate(timeout=LIMIT_S)


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    directory = tmp_path_factory.mktemp("server")
    process, number = serve(
        directory, "serve", "--orchestrator", "--compute", "--name", "here",
        "--data-dir", str(directory / "data"), "-c", "API.Port=0",
        "-c", "Labels=Region=EU,size=s",
    )  # fmt: skip
    yield number
    end(process)
    assert process.returncode == 0, (directory / "server.log").read_text()[-4000:]


@pytest.fixture
def cli(port: int, tmp_path: Path) -> Cli:
    return Cli(tmp_path, port, {})


def job_file(*arguments: str, name: str = "", count: int = 1) -> str:
    """A job that prints its arguments, by the shell of the node."""
    task = {
        "Name": "main",
        "Engine": {"Type": "process", "Params": {"Command": "sh", "Arguments": ["-c", *arguments]}},
    }
    job = {"Type": "batch", "Count": count, "Tasks": [task], **({"Name": name} if name else {})}
    return yaml.safe_dump(job)


# Running


def test_a_job_is_followed_to_its_end(cli: Cli) -> None:
    said = cli.wasm()
    lines = said.out.splitlines()
    assert re.fullmatch(rf"Job successfully submitted. Job ID: {LONG_ID.pattern}", lines[0])
    header, *rows = lines[3 : lines.index("", 3)]
    assert header == "TIME          EXEC. ID    TOPIC                  EVENT"
    assert rows[0].endswith("Submission             Job submitted")
    assert rows[-1].endswith("Completed successfully")
    assert "1/1 done in " in said.out
    assert "bacalhau job describe j-" in said.out
    assert said.err == ""
    assert "\x1b" not in said.out


def test_id_only_prints_the_id_and_waits(cli: Cli) -> None:
    said = cli.wasm("--id-only")
    assert LONG_ID.fullmatch(said.out.rstrip("\n"))
    assert said.err == ""
    state = json.loads(cli("job", "describe", said.out.strip(), "--output", "json").out)
    assert state["Job"]["State"]["StateType"] == "Completed"


def test_without_waiting_only_the_id_is_printed(cli: Cli) -> None:
    assert LONG_ID.fullmatch(cli.wasm("--wait=false").out.rstrip("\n"))


def test_follow_prints_what_the_job_prints_and_nothing_else_on_stdout(cli: Cli) -> None:
    said = cli.wasm("--follow")
    assert said.out == "hello\n"
    assert LONG_ID.search(said.err)


@pytest.mark.sandbox
def test_exec_runs_a_command_and_returns_its_results(cli: Cli) -> None:
    (cli.directory / "data").mkdir()
    (cli.directory / "data" / "numbers").write_text("1\n2\n3\n")
    program = (
        "print(sum(map(int, open('/in/numbers'))), file=open('/outputs/sum', 'w')); print('ok')"
    )
    said = cli(
        "exec",
        "--id-only",
        "-i",
        "./data:/in",
        "-o",
        "out:/outputs",
        "--",
        "python3",
        "-c",
        program,
    )
    job_id = said.out.strip()
    assert cli("job", "logs", job_id).out == "ok\n"
    said = cli("job", "get", job_id)
    directory = cli.directory / f"job-{job_id}"
    assert said.out.splitlines()[-1] == str(directory)
    assert said.err == f"Fetching results of job '{job_id}'...\n"
    assert (directory / "out" / "sum").read_text() == "6\n"
    assert (directory / "stdout").read_text() == "ok\n"
    assert (directory / "exitCode").read_text().strip() == "0"


@pytest.mark.sandbox
def test_results_of_several_executions_are_merged_or_kept_raw(cli: Cli) -> None:
    job_id = cli(
        "exec", "--id-only", "--count", "2", "-o", "out:/outputs", "--", "sh", "-c",
        "echo x > /outputs/$BACALHAU_PARTITION_INDEX",
    ).out.strip()  # fmt: skip
    (cli.directory / "here").mkdir()
    cli("job", "get", "--output-dir", "here", job_id)
    assert sorted(path.name for path in (cli.directory / "here" / "out").iterdir()) == ["0", "1"]
    (cli.directory / "there").mkdir()
    cli("job", "get", "--raw", "--output-dir", "there", job_id)
    raw = cli.directory / "there" / "raw"
    assert len(list(raw.iterdir())) == 2
    assert sorted(path.name for path in raw.glob("*/out/*")) == ["0", "1"]


def test_results_need_an_existing_directory_when_one_is_named(cli: Cli) -> None:
    job_id = cli.wasm("--id-only").out.strip()
    said = cli("job", "get", "--output-dir", "gone", job_id, succeeds=False)
    assert "gone is not an existing directory" in said.err


@pytest.mark.sandbox
def test_a_failed_job_exits_with_one_and_says_why(cli: Cli) -> None:
    said = cli("exec", "--", "sh", "-c", "echo no >&2; exit 3", succeeds=False)
    assert "Error: the program ended with exit code 3" in said.out
    assert "0/1 done, 2 tries failed in " in said.out
    assert said.err.startswith("Error: job failed: ")
    found = SHORT_ID.search(said.out)
    assert found
    assert "no\n" in cli("job", "logs", found[0]).out
    quiet = cli("exec", "--id-only", "--", "false", succeeds=False)
    assert LONG_ID.fullmatch(quiet.out.rstrip("\n"))
    assert quiet.err.startswith("Error: job failed: ")
    followed = cli("exec", "-f", "--", "sh", "-c", "echo out; exit 1", succeeds=False)
    assert set(followed.out.splitlines()) == {"out"}


@pytest.mark.sandbox
def test_a_job_file_is_rendered_updated_and_compared(cli: Cli) -> None:
    file = cli.directory / "job.yaml"
    file.write_text(job_file("echo hello {{.who}}", name="greeting"))
    said = cli("job", "run", "job.yaml", succeeds=False)
    assert "no variable 'who'" in said.err
    assert "it would be created" in cli("job", "run", "job.yaml", "-V", "who=a", "--dry-run").err
    job_id = cli("job", "run", "job.yaml", "-V", "who=a, b", "--id-only").out.strip()
    assert cli("job", "logs", "greeting").out == "hello a, b\n"
    said = cli("job", "run", "job.yaml", "-V", "who=a, b", succeeds=False)
    assert "--force" in said.err
    assert "No diff detected." in cli("job", "run", "job.yaml", "-V", "who=a, b", "--dry-run").err
    said = cli("job", "run", "job.yaml", "-V", "who=c", "--dry-run")
    assert '+   [1]: "echo hello c"' in said.out
    assert (
        cli("job", "run", "-V", "who=c", "--id-only", stdin=file.read_text()).out.strip() == job_id
    )
    assert cli(
        "job", "run", "-E", "^WHO", "--no-template", "job.yaml", "--id-only"
    ).out.strip() == (job_id)
    assert cli("job", "rerun", "greeting", "-v", "2", "--id-only").out.strip() == job_id
    assert cli("job", "logs", job_id).out == "hello c\n"
    versions = json.loads(cli("job", "versions", "greeting", "--output", "json").out)
    assert [version["Version"] for version in versions] == [1, 2, 3, 4]


# Waiting, stopping


def test_the_wait_ends_with_the_time_limit_but_the_job_goes_on(cli: Cli) -> None:
    said = cli.wasm("--constraints", "nowhere", "--wait-timeout-secs", "2", succeeds=False)
    assert "Queued: " in said.out
    assert "nowhere" in said.out
    job_id = LONG_ID.search(said.err)
    assert job_id
    assert f"To stop it: bacalhau job stop {job_id[0][:10]}" in said.err
    assert cli("job", "stop", job_id[0]).out.strip()
    again = cli("job", "stop", job_id[0])
    assert again.out == ""
    assert "was stopped before" in again.err
    assert cli("job", "stop", "--quiet", job_id[0]).err == ""


def test_ctrl_c_ends_the_following_and_not_the_job(cli: Cli) -> None:
    cli.wasm("--wait=false")  # so that the module is there
    process = cli.start("wasm", "run", "--constraints", "nowhere", "hello.wasm")
    assert process.stdout is not None
    for line in process.stdout:
        if "Queued" in line:
            break
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 1, (out, err)
    assert "The job goes on." in err
    found = SHORT_ID.search(err)
    assert found
    state = json.loads(cli("job", "describe", found[0], "--output", "json").out)["Job"]["State"]
    assert state["StateType"] == "Queued"
    cli("job", "stop", found[0])


def test_a_stopped_job_ends_the_following_with_an_error(cli: Cli) -> None:
    cli.wasm("--wait=false")
    process = cli.start("wasm", "run", "--id-only", "--constraints", "nowhere", "hello.wasm")
    assert process.stdout is not None
    job_id = process.stdout.readline().strip()
    cli("job", "stop", job_id)
    _, err = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 1
    assert err == "Error: job stopped: Stopped at user request\n"


def test_a_job_that_ended_cannot_be_stopped(cli: Cli) -> None:
    job_id = cli.wasm("--id-only").out.strip()
    assert "cannot stop job in state Completed" in cli("job", "stop", job_id, succeeds=False).err


# Looking


def test_lists_are_paged_and_the_hint_does_not_disturb_json(cli: Cli) -> None:
    for _ in range(3):
        cli.wasm("--id-only", "-l", "kind=paged")
    words = ("job", "list", "--labels", "kind=paged", "--output", "json")
    everything = json.loads(cli(*words, "--limit", "0").out)
    first = cli(*words, "--limit", "2")
    token = re.search(r"bacalhau job list --limit 2 --next-token (\S+)", first.err)
    assert token
    rest = cli(*words, "--next-token", token[1])
    assert json.loads(first.out) + json.loads(rest.out) == everything
    assert len(everything) == 3
    newest = json.loads(cli(*words, "--order-reversed", "--limit", "1").out)
    assert newest[0]["ID"] == everything[-1]["ID"]
    assert json.loads(cli("job", "list", "--labels", "kind=none", "--output", "json").out) == []


def test_scripts_get_plain_columns(cli: Cli) -> None:
    job_id = cli.wasm("--id-only", "-l", "kind=plain").out.strip()
    words = ("job", "list", "--labels", "kind=plain", "--wide", "--hide-header", "--no-style")
    assert cli(*words).out.split()[2:] == [job_id, job_id, "wasm", "batch", "Completed"]
    row = (
        cli("job", "executions", job_id, "--output", "csv", "--hide-header").out.strip().split(",")
    )
    assert row[4] == "here"
    assert row[-2:] == ["Completed", "Stopped"]


def test_a_list_imports_nothing_heavy(cli: Cli) -> None:
    """The start-up time is the absence of imports."""
    program = "import sys, bacalhau.cli; bacalhau.cli.main(['job', 'list']); print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True, text=True, check=True, timeout=LIMIT_S, env=cli.environ,
    )  # fmt: skip
    loaded = set(done.stdout.splitlines()[-1].split())
    heavy = {"msgspec", "typing", "argparse", "yaml", "asyncio", "http.client", "ssl", "pathlib"}
    assert "socket" in loaded
    assert loaded & heavy == set()


def test_a_job_is_described_for_people_and_for_programs(cli: Cli) -> None:
    job_id = cli.wasm("--id-only", "--name", "described").out.strip()
    shown = cli("job", "describe", "described").out
    for part in (
        f"ID            = {job_id}", "State         = Completed", "\nSummary\nCompleted = 1\n",
        "\nJob History\n", "\nExecutions\n", "\nStandard Output\nhello\n",
    ):  # fmt: skip
        assert part in shown
    data = json.loads(cli("job", "describe", job_id, "--output", "json").out)
    assert data["Executions"]["Items"][0]["RunOutput"]["Stdout"] == "hello\n"
    assert yaml.safe_load(cli("job", "describe", job_id, "--output", "yaml").out) == data


def test_history_shows_levels_and_topics(cli: Cli) -> None:
    job_id = cli.wasm("--id-only").out.strip()
    events = json.loads(cli("job", "history", job_id, "--output", "json").out)
    assert [event["SeqNum"] for event in events] == list(range(1, len(events) + 1))
    only = cli("job", "history", job_id, "--event-type", "job", "--output", "csv").out
    assert only.splitlines()[0] == "Time,Level,Job Version,Exec. ID,Topic,Event"
    assert "ExecutionLevel" not in only


def test_nodes_and_agent(cli: Cli) -> None:
    table = cli("node", "list", "--show", "labels", "--labels", "Region=EU").out
    assert table.splitlines()[0].split() == ["ID", "TYPE", "APPROVAL", "STATUS", "LABELS"]
    assert "Region=EU" in table
    assert cli("node", "list", "--labels", "Region=US", "--output", "json").out == "[]\n"
    capacity = cli("node", "list", "--show", "capacity,features").out
    assert "wasm" in capacity
    assert yaml.safe_load(cli("node", "describe", "here").out)["Info"]["NodeID"] == "here"
    assert "already" in cli("node", "approve", "here", succeeds=False).err
    assert cli("agent", "alive").out == "Status: OK\n"
    assert json.loads(cli("agent", "node", "--output", "json").out)["NodeID"] == "here"
    assert yaml.safe_load(cli("agent", "config").out)["Labels"] == {"Region": "EU", "size": "s"}
    assert cli("agent", "version").out.startswith("Bacalhau v")
    assert cli("version").out.splitlines()[0].split() == ["CLIENT", "SERVER"]


def test_what_is_not_there_is_said(cli: Cli) -> None:
    for words in (["job", "describe"], ["job", "logs"], ["job", "stop"], ["job", "executions"],
                  ["job", "history"], ["job", "versions"], ["job", "get"], ["job", "rerun"],
                  ["node", "describe"]):  # fmt: skip
        said = cli(*words, "j-gone", succeeds=False)
        assert said.err.splitlines()[-2 if "Hint" in said.err else -1].startswith("Error: "), said
        assert "j-gone" in said.err


def test_the_id_may_come_from_standard_input(cli: Cli) -> None:
    job_id = cli.wasm("--id-only").out.strip()
    assert cli("job", "logs", "-", stdin=f"{job_id}\n").out == "hello\n"


# Terminals


def on_terminal(cli: Cli, words: Sequence[str]) -> str:
    """What a command writes when stdout and stderr are a terminal."""
    read, write = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "bacalhau", *words],
        stdout=write, stderr=write, cwd=cli.directory, env={**cli.environ, "TERM": "xterm"},
    )  # fmt: skip
    os.close(write)
    parts = []
    try:
        while part := os.read(read, 65536):
            parts.append(part)
    except OSError:  # how a terminal says that its last writer is gone
        pass
    finally:
        os.close(read)
    assert process.wait(LIMIT_S) == 0
    return b"".join(parts).decode()


def test_a_terminal_gets_colours_and_a_line_that_moves(cli: Cli) -> None:
    cli.wasm("--wait=false")
    shown = on_terminal(cli, ["wasm", "run", "hello.wasm"])
    assert "\r\x1b[K\x1b[36m" in shown
    assert "0/1 done" in shown
    assert "\x1b[32mCompleted" in on_terminal(cli, ["job", "list"])


# Other servers


def test_a_server_that_wants_a_token_gets_that_of_the_shared_directory(tmp_path: Path) -> None:
    process, number = serve(
        tmp_path, "serve", "--orchestrator", "--data-dir", str(tmp_path / "data"),
        "-c", "API.Port=0", "-c", "API.Auth.RequireToken", "-c", "Store.Type=memory",
    )  # fmt: skip
    try:
        stranger = Cli(tmp_path, number, {})
        assert "BACALHAU_API_KEY" in stranger("job", "list", succeeds=False).err
        owner = Cli(tmp_path, number, {"BACALHAU_DIR": str(tmp_path / "data")})
        assert owner("job", "list", "--output", "json").out == "[]\n"
        token = (tmp_path / "data" / "admin.token").read_text().strip()
        friend = Cli(tmp_path, number, {"BACALHAU_API_KEY": token})
        assert friend("job", "list", "--output", "json").out == "[]\n"
        thief = Cli(tmp_path, number, {"BACALHAU_API_KEY": "x" * 40})
        assert thief("job", "list", succeeds=False).err.startswith("Error: ")
    finally:
        end(process)


def test_devstack_starts_several_nodes(tmp_path: Path) -> None:
    process, number = serve(
        tmp_path, "devstack", "--computes", "2", "--random-ports",
        "-c", "Store.Type=memory",
    )  # fmt: skip
    try:
        cli = Cli(tmp_path, number, {})
        shown = cli("node", "list", "--show", "", "--hide-header", "--no-style").out
        assert {line.split()[0] for line in shown.splitlines()} >= {"node-0", "node-1"}
        assert cli.wasm("--follow").out == "hello\n"
    finally:
        end(process)

"""The example jobs do what they say: the real command line against a real server."""

import csv
import os
import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from bacalhau.testing.served import served

EXAMPLES = Path(__file__).parents[2] / "examples"
DATA = Path(sysconfig.get_path("stdlib")) / "json"
"""A few files that every machine of a developer has."""

TEXTS = EXAMPLES.parent / "docs" / "adr"
LIMIT_S = 60


class Cli:
    """A user at a shell in `directory`."""

    def __init__(self, directory: Path, port: int) -> None:
        self.directory = directory
        self._environ = {
            **{key: value for key, value in os.environ.items() if "BACALHAU" not in key},
            "HOME": str(directory),
            "BACALHAU_API_PORT": str(port),
        }

    def __call__(self, *words: str, status: int = 0) -> str:
        """What a command prints; it must end with that status."""
        done = subprocess.run(
            [sys.executable, "-m", "bacalhau", *words],
            cwd=self.directory, env=self._environ, capture_output=True, text=True,
            timeout=LIMIT_S,
        )  # fmt: skip
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    allow = (f"{DATA}/**", f"{EXAMPLES}/wasm/**", f"{TEXTS}/**")
    settings = {"Compute.AllowListedLocalPaths": allow, "Compute.AllocatedCapacity.CPU": "100%"}
    with served(tmp_path_factory.mktemp("server"), settings) as server:
        yield Cli(tmp_path_factory.mktemp("user"), server.port)


@pytest.mark.sandbox
def test_partitions_share_the_files_and_their_counts_add_up(cli: Cli) -> None:
    cli("job", "run", "-V", f"data={DATA}", str(EXAMPLES / "partitions.yaml"))
    cli("job", "get", "count-lines")
    parts = sorted((cli.directory / "job-count-lines" / "counts").iterdir())
    assert [part.name for part in parts] == [f"part-{n}.csv" for n in range(4)]
    rows = [[int(cell) for cell in part.read_text().split(",")] for part in parts]
    code = list(DATA.rglob("*.py"))
    assert sum(files for files, _ in rows) == len(code)
    assert sum(lines for _, lines in rows) == sum(f.read_bytes().count(b"\n") for f in code)


def test_words_are_counted_in_webassembly(cli: Cli) -> None:
    module = EXAMPLES / "wasm" / "wordcount.wasm"
    variables = ("-V", f"module={module}", "-V", f"texts={TEXTS}")
    cli("job", "run", *variables, str(EXAMPLES / "wordcount.yaml"))
    cli("job", "get", "count-words")
    with (cli.directory / "job-count-words" / "words" / "counts.csv").open() as file:
        rows = list(csv.reader(file))[1:]
    counts = [int(count) for _, count in rows]
    words = re.findall(r"decision", "\n".join(p.read_text().lower() for p in TEXTS.iterdir()))
    assert int(dict(rows)["decision"]) <= len(words)
    assert int(dict(rows)["decision"]) >= len(list(TEXTS.iterdir()))
    assert counts == sorted(counts, reverse=True)


@pytest.mark.sandbox
def test_the_failing_job_fails_after_three_tries_and_keeps_what_it_wrote(cli: Cli) -> None:
    cli("job", "run", str(EXAMPLES / "failing.yaml"), status=1)
    rows = cli("job", "executions", "failing", "--hide-header").splitlines()
    assert len(rows) == 3
    assert all("Failed" in row for row in rows)
    cli("job", "get", "failing")
    kept = cli.directory / "job-failing" / "out" / "part.txt"
    assert kept.read_text() == "half a result\n"


@pytest.mark.sandbox
def test_the_job_for_every_node_runs_on_the_one_there_is(cli: Cli) -> None:
    assert cli("job", "run", "-f", str(EXAMPLES / "everywhere.yaml")).startswith("Linux ")

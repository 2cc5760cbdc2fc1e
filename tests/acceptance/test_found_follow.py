"""Following a job's output: what holds when the job is silent or waits."""

import re
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from bacalhau.testing.served import Served, served

LIMIT_S = 60


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("server")) as here:
        yield here


def follow(server: Served, job: str, *flags: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "bacalhau", "job", "run", "--api-port", str(server.port), *flags],
        input=job, capture_output=True, text=True, timeout=LIMIT_S, check=False,
    )  # fmt: skip


def test_following_a_silent_job_ends_with_the_time_limit(server: Served) -> None:
    began = time.monotonic()
    job = "Type: batch\nTasks: [{Name: main, Engine: {Type: noop, Params: {Sleep: 50}}}]"
    said = follow(server, job, "--follow", "--wait-timeout-secs", "1")
    assert said.returncode == 1
    assert "has not ended after 1 s; it goes on" in said.stderr
    assert time.monotonic() - began < 40


def test_following_output_says_why_the_job_waits(server: Served) -> None:
    job = (
        "Type: batch\nConstraints: [{Key: planet, Operator: =, Values: [mars]}]\n"
        "Tasks: [{Name: main, Engine: {Type: noop}}]"
    )
    said = follow(server, job, "--follow", "--wait-timeout-secs", "4")
    assert len(re.findall("^Queued: .*planet", said.stderr, re.MULTILINE)) == 1, said.stderr
    assert said.stdout == ""


@pytest.mark.parametrize("kind", ["service", "daemon"])
def test_following_a_job_without_an_end_ends_when_it_runs(server: Served, kind: str) -> None:
    job = f"Type: {kind}\nTasks: [{{Name: main, Engine: {{Type: noop, Params: {{Sleep: 50}}}}}}]"
    said = follow(server, job, "--wait-timeout-secs", "30")
    assert said.returncode == 0, said
    assert "Running" in said.stdout
    assert "bacalhau job stop" in said.stdout

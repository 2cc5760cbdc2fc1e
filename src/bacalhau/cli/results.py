"""`bacalhau job get`: fetch and unpack a job's results."""

import json
import os
import sys
import time
from typing import Self

from bacalhau.cli.call import Call
from bacalhau.cli.command import Problem
from bacalhau.cli.job import named_job
from bacalhau.cli.node import size
from bacalhau.cli.style import is_terminal
from bacalhau.config.section import seconds

BAR = 30
REDRAW_S = 0.1


def get_results(call: Call) -> int:
    job_id = named_job(call)
    limit_s = _limit(call.flags["download-timeout-secs"])
    print(f"Fetching results of job '{job_id}'...", file=sys.stderr)
    found = call.client.results(job_id)
    if not found:
        print("No results found")
        print(f"You can check the logs with:\n  bacalhau job logs {job_id}")
        return 0
    foreign = [one for one in found if one.type.lower() not in ("urldownload", "s3presigned")]
    if foreign:
        print("These results cannot be fetched by this client:", file=sys.stderr)
        shown = [{"Type": one.type, "Params": one.params} for one in foreign]
        print(json.dumps(shown, indent=2), file=sys.stderr)
        return 0
    directory = _directory(call, job_id)
    with _Bar(len(found), limit_s) as bar:
        call.client.download(job_id, directory, raw=call.flags["raw"], on_progress=bar.move)
    print(f"Results for job '{job_id}' have been written to...\n{os.path.abspath(directory)}")
    return 0


def _limit(text: str) -> float:
    try:
        return seconds(text)
    except ValueError as error:
        raise Problem(f"--download-timeout-secs is '{text}', but should be {error}") from None


def _directory(call: Call, job_id: str) -> str:
    """Where the results go; made, unless the user named one."""
    given: str = call.flags["output-dir"]
    if given:
        if not os.path.isdir(given):
            raise Problem(f"--output-dir {given} is not an existing directory", "make it first")
        return given
    namespace = call.flags["namespace"]
    name = job_id.replace(os.sep, "_")
    directory = f"job-{namespace}-{name}" if namespace not in ("", "default") else f"job-{name}"
    os.makedirs(directory, mode=0o755, exist_ok=True)
    return directory


class _Bar:
    """A transfer bar on a terminal's stderr; also holds the time limit."""

    def __init__(self, results: int, limit_s: float) -> None:
        self._results = results
        self._live = is_terminal(sys.stderr)
        self._deadline = time.monotonic() + limit_s if limit_s > 0 else float("inf")
        self._limit_s = limit_s
        self._number = 1
        self._before = 0
        self._drawn = 0.0
        self._started = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            sys.stderr.write("\r\033[K")
            sys.stderr.flush()

    def move(self, done: int, total: int) -> None:
        """So many bytes of one result are here."""
        now = time.monotonic()
        if now > self._deadline:
            raise Problem(
                f"the results did not come within {self._limit_s:g} s",
                "give more time with --download-timeout-secs 1h",
            )
        if done < self._before:
            self._number += 1
        self._before = done
        if not self._live or (now - self._drawn < REDRAW_S and done != total):
            return
        self._drawn = now
        filled = BAR * done // total if total else 0
        speed = size(int(done / max(now - self._started, 0.001)))
        bar = "█" * filled + "·" * (BAR - filled)
        amount = f"{size(done)} of {size(total)}" if total else size(done)
        which = f"{self._number}/{self._results} " if self._results > 1 else ""
        sys.stderr.write(f"\r\033[K{which}{bar} {amount}, {speed}/s")
        sys.stderr.flush()

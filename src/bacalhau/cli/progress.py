"""The progress of a job: rows for what happened, and on terminals a line that moves."""

import shutil
import sys
import time
from types import TracebackType
from typing import Any, Self

from bacalhau.cli.job import event_text
from bacalhau.cli.style import is_terminal, paint, safe, short_id

MANY = 20
"""Partitions; of more only failures get rows, and the counts tell the rest."""

SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_WIDTHS = (12, 10, 21)
_EVENT_WIDTH = 90
_ENDED = "ended"


class Counts:
    """How many partitions are where, as the events tell."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.failed = 0
        self.reason = ""
        self._states: dict[str, str] = {}

    def take(self, event: dict[str, Any]) -> None:
        what, execution = event["Event"], event.get("ExecutionID", "")
        details = what.get("Details") or {}
        if not execution:
            return
        if details.get("FailsExecution") == "true":
            if self._states.get(execution) != _ENDED:
                self.failed += 1
            self._states[execution] = _ENDED
        elif what["Topic"] == "Scheduling":
            self._states[execution] = "placed"
            self.reason = ""
        elif what["Topic"] == "Execution":
            self._states[execution] = {
                "Running": "running",
                "Completed successfully": "done",
            }.get(what["Message"], _ENDED)
        elif what["Topic"] == "Exec Scanning":
            self._states[execution] = _ENDED

    def of(self, state: str) -> int:
        """How many executions are in that state."""
        return sum(1 for found in self._states.values() if found == state)

    @property
    def queued(self) -> int:
        """Partitions that no node has."""
        return max(0, self.total - self.of("done") - self.of("running") - self.of("placed"))

    def now(self) -> str:
        """`3/10 done, 2 running, 1 failed, 5 queued (why)`; failed counts tries."""
        done, running, placed = self.of("done"), self.of("running"), self.of("placed")
        total = self.total or done + running + placed
        queued = self.queued
        parts = [f"{done}/{total} done"]
        parts += [f"{running} running"] if running else []
        parts += [f"{self.failed} failed"] if self.failed else []
        parts += [f"{placed} starting"] if placed else []
        parts += [f"{queued} queued"] if queued else []
        text = ", ".join(parts)
        return f"{text} ({self.reason})" if queued and self.reason else text

    def end(self) -> str:
        """The same of a job that has ended: nothing waits any more."""
        done = self.of("done")
        tries = "try" if self.failed == 1 else "tries"
        failed = f", {self.failed} {tries} failed" if self.failed else ""
        return f"{done}/{self.total or done} done{failed}"


def is_endless(job: dict[str, Any]) -> bool:
    """Is this a job that runs until it is stopped?"""
    return job.get("Type") in ("service", "daemon")


class Progress:
    """Shows events as they come. As a context manager it leaves no half line behind."""

    def __init__(self, job: dict[str, Any], *, quiet: bool) -> None:
        total = job.get("Count") or 0
        self._many = total > MANY
        self._quiet = quiet
        self._endless = is_endless(job)
        self._live = not quiet and is_terminal(sys.stderr)
        self._counts = Counts(total)
        self._has_header = False
        self._said = ""
        self._started = time.monotonic()
        self._turn = 0

    def __enter__(self) -> Self:
        self.tick()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._clear()
        if kind is None and not self._quiet:
            spent = time.monotonic() - self._started
            running = self._counts.of("running")
            how = f"{running} running after" if self._endless else f"{self._counts.end()} in"
            print(f"\n{how} {spent:.1f} s")
        sys.stdout.flush()

    def take(self, events: list[dict[str, Any]]) -> None:
        """Count these events, and show those that a person wants to see."""
        for event in events:
            self._counts.take(event)
        if self._quiet:
            return
        for event in events:
            if self._is_wanted(event):
                self._clear()
                self._row(event)
        sys.stdout.flush()
        if self._many and not self._live and events:
            self._say_counts()
        self.tick()

    @property
    def runs(self) -> bool:
        """Does all run that a job without an end asks for?"""
        counts = self._counts
        return counts.of("running") > 0 and not counts.of("placed") and not counts.queued

    @property
    def waits(self) -> bool:
        """Would a person like to know why nothing happens?"""
        return not self._quiet and self._counts.queued > 0

    def queued(self, reason: str) -> None:
        """Partitions wait for this reason ('' when none does)."""
        if reason and reason != self._counts.reason and not self._live:
            print(f"Queued: {safe(reason)}", flush=True)
        self._counts.reason = reason
        self.tick()

    def tick(self) -> None:
        """Redraw the line that moves."""
        if not self._live:
            return
        self._turn += 1
        sign = SPINNER[self._turn % len(SPINNER)]
        width = shutil.get_terminal_size().columns - 1
        text = safe(f"{sign} {self._counts.now()}").replace("\n", " ")[:width]
        sys.stderr.write(f"\r\033[K{paint(text, 'cyan', sys.stderr)}")
        sys.stderr.flush()

    def _clear(self) -> None:
        if self._live:
            sys.stderr.write("\r\033[K")
            sys.stderr.flush()

    def _is_wanted(self, event: dict[str, Any]) -> bool:
        details = event["Event"].get("Details") or {}
        if not self._has_header or details.get("IsError") == "true":
            return True
        return bool(event.get("ExecutionID")) and not self._many

    def _row(self, event: dict[str, Any]) -> None:
        if not self._has_header:
            self._has_header = True
            _print_row("TIME", "EXEC. ID", "TOPIC", ["EVENT"])
        what = event["Event"]
        _print_row(
            event["Time"][11:23].ljust(12, "0") if "." in event["Time"] else event["Time"][11:19],
            short_id(event.get("ExecutionID", "")),
            what["Topic"],
            _wrapped(safe(event_text(what))),
        )

    def _say_counts(self) -> None:
        """Without a terminal: a row each time another tenth is done."""
        counts = self._counts
        tenth = f"{counts.of('done') * 10 // counts.total}"
        if tenth != self._said:
            self._said = tenth
            print(counts.now(), flush=True)


def _print_row(moment: str, execution: str, topic: str, lines: list[str]) -> None:
    cells = zip((moment, execution, topic), _WIDTHS, strict=True)
    head = "  ".join(text[:width].ljust(width) for text, width in cells)
    print(f"{head}  {lines[0]}".rstrip())
    for line in lines[1:]:
        print(" " * (sum(_WIDTHS) + 2 * len(_WIDTHS)) + line)


def _wrapped(text: str) -> list[str]:
    import textwrap

    return [line for part in text.split("\n") for line in textwrap.wrap(part, _EVENT_WIDTH) or [""]]

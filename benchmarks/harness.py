"""Ratios within one run: subject and yardsticks take turns, the bests are compared.

Absolute figures depend on the machine and its mood; a ratio of two things measured in the
same minutes on the same machine says something. A yardstick whose own trials differ by more
than NOISE makes its verdict 'noisy'.
"""

import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

NOISE = 0.25
"""How much a yardstick's trials may differ before a comparison means little."""


@dataclass(frozen=True)
class Yardstick:
    """Something to measure against. `aim` bounds subject / yardstick; None: for context."""

    name: str
    measure: Callable[[], float]
    aim: float | None = None


@dataclass
class Result:
    """One comparison: the figures of subject and yardstick, and the ratio of their bests.

    `better` is 'low' for seconds and bytes, 'high' for rates. `aim` bounds the ratio from
    the better side, or, where there is no yardstick, the subject itself. `load` is the
    machine's load average before each trial.
    """

    goal: str
    what: str
    unit: str
    better: str
    aim: float | None
    subject: list[float]
    yardstick: list[float] = field(default_factory=list)
    yardstick_name: str = ""
    load: list[float] = field(default_factory=list)

    @property
    def best(self) -> float:
        return self._pick(self.subject)

    @property
    def ratio(self) -> float | None:
        return self.best / self._pick(self.yardstick) if self.yardstick else None

    @property
    def verdict(self) -> str:
        if self.aim is None:
            return "context"
        judged = self.best if self.ratio is None else self.ratio
        met = judged <= self.aim if self.better == "low" else judged >= self.aim
        noisy = ""
        if self.yardstick:
            spread = (max(self.yardstick) - min(self.yardstick)) / max(self.yardstick)
            noisy = " (noisy)" if spread > NOISE else ""
        return ("met" if met else "**missed**") + noisy

    @property
    def row(self) -> str:
        """The comparison as a row of the table."""
        sign = "≤" if self.better == "low" else "≥"
        against, ratio, aim = "—", "—", "—"
        if self.ratio is not None:
            against = f"{self.yardstick_name}: {figure(self._pick(self.yardstick), self.unit)}"
            ratio = f"{self.ratio:.2f}"
            if self.aim is not None:
                aim = f"{sign} {self.aim:g}"
        elif self.aim is not None:
            aim = f"{sign} {figure(self.aim, self.unit)}"
        cells = (self.goal, self.what, figure(self.best, self.unit), against, ratio, aim)
        return f"| {' | '.join(cells)} | {self.verdict} |"

    def _pick(self, values: list[float]) -> float:
        return min(values) if self.better == "low" else max(values)


def compare(
    goal: str,
    what: str,
    subject: Callable[[], float],
    yardsticks: Sequence[Yardstick],
    *,
    unit: str,
    better: str,
    trials: int = 3,
) -> list[Result]:
    """Run all in turn, `trials` times each; one comparison per yardstick."""
    ours: list[float] = []
    load: list[float] = []
    results = [Result(goal, what, unit, better, y.aim, ours, [], y.name, load) for y in yardsticks]
    for _ in range(trials):
        load.append(round(os.getloadavg()[0], 2))
        ours.append(subject())
        for result, yardstick in zip(results, yardsticks, strict=True):
            result.yardstick.append(yardstick.measure())
    return results


def timed(work: Callable[[], object]) -> float:
    """Seconds that it takes."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def percentile(values: Sequence[float], percent: int) -> float:
    """The value that so many percent of the values do not exceed."""
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, len(ranked) * percent // 100)]


def median(values: Sequence[float]) -> float:
    return percentile(values, 50)


def figure(value: float, unit: str) -> str:
    """The value for people: seconds and bytes at a size that can be read."""
    if unit == "s":
        if value < 0.001:
            return f"{value * 1e6:.1f} µs"
        return f"{value * 1000:.1f} ms" if value < 1 else f"{value:.1f} s"
    if unit == "bytes":
        return f"{value / 1e6:.1f} MB"
    return f"{value:,.0f} {unit}"


def machine() -> dict[str, object]:
    """What was measured on. How an interpreter was built shows in how fast it loops."""
    return {
        "python": sys.version.split()[0],
        "loop_ms": round(min(timed(_loop) for _ in range(5)) * 1000, 1),
        **disk(),
        "cores": len(os.sched_getaffinity(0)),
        "system": f"{platform.system()} {platform.release()}",
        "processor": _processor(),
    }


def disk() -> dict[str, float]:
    """Median costs of the file system that servers under test write to ($TMPDIR)."""
    synced: list[float] = []
    with tempfile.TemporaryDirectory(prefix="bacalhau-bench-") as scratch:
        made = [timed(Path(scratch, str(number)).touch) for number in range(200)]
        with open(Path(scratch, "log"), "wb", buffering=0) as file:
            for _ in range(50):
                file.write(bytes(4096))
                synced.append(timed(partial(os.fdatasync, file.fileno())))
    return {
        "create_us": round(median(made) * 1e6, 1),
        "fdatasync_ms": round(median(synced) * 1e3, 2),
    }


def _loop() -> None:
    total = 0
    for number in range(1_000_000):
        total += number


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.machine()


def write(
    results: Sequence[Result],
    facts: dict[str, object],
    versions: dict[str, str],
    directory: Path,
) -> None:
    """The report: benchmarks/report.json, and the table in docs/performance.md."""
    load = [value for result in results for value in result.load]
    data = {
        "machine": facts,
        "versions": versions,
        "results": [
            {**asdict(result), "ratio": result.ratio, "verdict": result.verdict.strip("*")}
            for result in results
        ],
    }
    (directory / "benchmarks" / "report.json").write_text(json.dumps(data, indent=1) + "\n")
    page = directory / "docs" / "performance.md"
    head, begin, rest = page.read_text().partition("<!-- table -->\n")
    _, end, tail = rest.partition("<!-- end -->")
    lines = [
        f"{', '.join(f'{name} {version}' for name, version in versions.items())}; "
        f"{facts['cores']} cores of {facts['processor']}, {facts['system']}, "
        f"Python {facts['python']} (a million additions in a loop: {facts['loop_ms']} ms), "
        f"creating a file {facts['create_us']} µs, a 4 KB write made durable "
        f"{facts['fdatasync_ms']} ms, "
        f"load average before the trials {min(load, default=0)} to {max(load, default=0)}.",
        "",
        "| Goal | What | We | Yardstick, same run | Ratio | Aim | |",
        "|---|---|---|---|---|---|---|",
        *(result.row for result in results),
        "",
    ]
    page.write_text(head + begin + "\n".join(lines) + end + tail)

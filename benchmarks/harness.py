"""Ratios within one run: subject and yardstick take turns, the bests are compared.

Absolute figures depend on the machine and its mood; a ratio of two things measured in the
same minutes on the same machine says something. A yardstick whose own trials differ by more
than NOISE makes its verdict 'noisy'.
"""

import json
import os
import platform
import statistics
import sys
import sysconfig
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

NOISE = 0.25
"""How much the yardstick's trials may differ before a comparison means little."""


@dataclass
class Result:
    """One goal: figures of subject and yardstick, and the ratio of their bests.

    `better` is 'low' for seconds and bytes, 'high' for rates. `aim` bounds the ratio
    subject / yardstick from the better side.
    """

    goal: str
    what: str
    unit: str
    better: str
    aim: float
    subject: list[float]
    yardstick: list[float]
    yardstick_name: str
    note: str = ""
    load: list[float] = field(default_factory=list)

    @property
    def best(self) -> tuple[float, float]:
        pick = min if self.better == "low" else max
        return pick(self.subject), pick(self.yardstick)

    @property
    def ratio(self) -> float:
        subject, yardstick = self.best
        return subject / yardstick

    @property
    def verdict(self) -> str:
        met = self.ratio <= self.aim if self.better == "low" else self.ratio >= self.aim
        spread = (max(self.yardstick) - min(self.yardstick)) / max(self.yardstick)
        noisy = " (yardstick noisy)" if spread > NOISE else ""
        return ("met" if met else "missed") + noisy


def compare(
    goal: str,
    what: str,
    subject: Callable[[], float],
    yardstick: Callable[[], float],
    *,
    unit: str,
    better: str,
    aim: float,
    yardstick_name: str,
    trials: int = 3,
    note: str = "",
) -> Result:
    """Run both in turn, `trials` times each."""
    result = Result(goal, what, unit, better, aim, [], [], yardstick_name, note)
    for _ in range(trials):
        result.load.append(os.getloadavg()[0])
        result.subject.append(subject())
        result.yardstick.append(yardstick())
    print(row(result), flush=True)
    return result


def timed(work: Callable[[], object]) -> float:
    """Seconds that it takes."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def median(values: list[float]) -> float:
    return statistics.median(values)


def figure(value: float, unit: str) -> str:
    if unit == "s":
        return f"{value * 1000:.2f} ms" if value < 1 else f"{value:.2f} s"
    if unit == "bytes":
        return f"{value / 1e6:.1f} MB"
    return f"{value:,.0f} {unit}"


def row(result: Result) -> str:
    subject, yardstick = result.best
    sign = "<=" if result.better == "low" else ">="
    return (
        f"| {result.goal} | {result.what} | {figure(subject, result.unit)} "
        f"| {result.yardstick_name}: {figure(yardstick, result.unit)} "
        f"| {result.ratio:.2f} | {sign} {result.aim} | {result.verdict} |"
    )


def machine() -> dict[str, object]:
    flags = sysconfig.get_config_var("CONFIG_ARGS") or ""
    return {
        "python": sys.version.split()[0],
        "optimised build": "--enable-optimizations" in flags,
        "cores": len(os.sched_getaffinity(0)),
        "system": f"{platform.system()} {platform.release()}",
        "processor": _processor(),
    }


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.machine()


def write(results: list[Result], versions: dict[str, str], directory: Path) -> None:
    """The report as JSON, and as the table in docs/performance.md."""
    facts = machine()
    data = {
        "machine": facts,
        "versions": versions,
        "results": [
            {**asdict(result), "ratio": result.ratio, "verdict": result.verdict}
            for result in results
        ],
    }
    (directory / "benchmarks" / "report.json").write_text(json.dumps(data, indent=1) + "\n")
    page = directory / "docs" / "performance.md"
    head, begin, rest = page.read_text().partition("<!-- table -->\n")
    _, end, tail = rest.partition("<!-- end -->")
    lines = [
        f"Measured with {', '.join(f'{name} {version}' for name, version in versions.items())}; "
        f"{facts['cores']} cores of {facts['processor']}, Python {facts['python']}"
        f"{'' if facts['optimised build'] else ' (not an optimised build)'}.",
        "",
        "| Goal | What | We | Yardstick, same run | Ratio | Aim | |",
        "|---|---|---|---|---|---|---|",
        *(row(result) for result in results),
        "",
    ]
    page.write_text(head + begin + "\n".join(lines) + end + tail)

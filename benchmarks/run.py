"""All benchmarks in one run; writes benchmarks/report.json and the table of docs/performance.md.

    python benchmarks/run.py                    everything
    python benchmarks/run.py --only P3,P9       some; printed, the report is left alone
    python benchmarks/run.py --quick            small and once each; printed only

Ray, Dask and Celery are installed into benchmarks/.peers at the first run, or taken from the
environment whose interpreter $BENCH_PEERS names. Celery also needs redis-server.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import footprint
import latency
import listing
import placement
import submissions
import throughput
from harness import Result, machine, write
from yardsticks import Peers

from bacalhau import __version__

GOALS: dict[str, Callable[[Peers, bool], list[Result]]] = {
    # Those that share a peer follow each other: a peer that is not needed is not running.
    "P10": placement.p10,
    "P13": listing.p13,
    "P16": footprint.p16,
    "P4": throughput.p4,
    "P7": throughput.p7,
    "P8": latency.p8,
    "P9": submissions.p9,
    "P14": footprint.p14,
    "P1": latency.p1,
    "P3": throughput.p3,
    "P2": throughput.p2,
}
LAST_USE = {"P9": "celery", "P3": "dask", "P2": "ray"}
"""After this goal the peer is ended."""


def main() -> None:
    options = _options()
    wanted = options.only.upper().split(",") if options.only else list(GOALS)
    if unknown := [name for name in wanted if name not in GOALS]:
        raise SystemExit(f"no such goals: {', '.join(unknown)}; there are {', '.join(GOALS)}")
    results: list[Result] = []
    peers = Peers()
    facts = machine()
    begin = time.monotonic()
    try:
        for name, measure in GOALS.items():
            if name in wanted:
                since = time.monotonic()
                results += (found := measure(peers, options.quick))
                for result in found:
                    print(result.row, flush=True)
                print(f"  {name} took {time.monotonic() - since:.0f} s", flush=True)
            if name in LAST_USE:
                peers.stop(LAST_USE[name])
    finally:
        peers.stop()
    print(f"{time.monotonic() - begin:.0f} s in all")
    if not options.quick and not options.only:
        results.sort(key=lambda result: int(result.goal[1:]))
        versions = {"bacalhau": __version__, **peers.versions}
        write(results, facts, versions, Path(__file__).parent.parent)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Benchmarks against yardsticks of the same run.")
    parser.add_argument("--only", default="", metavar="P3,P9", help="only these goals")
    parser.add_argument("--quick", action="store_true", help="small, one trial each, no report")
    return parser.parse_args()


if __name__ == "__main__":
    main()

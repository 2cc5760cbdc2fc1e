"""P14, P16: what a node costs while it does nothing, and a command before it does anything."""

import subprocess
import sys
import time
from pathlib import Path

from harness import Result, Yardstick, compare, timed
from processes import settle
from server import native, serve
from yardsticks import Peers, bare_python

IDLE_S = 3.0


def p14(peers: Peers, quick: bool) -> list[Result]:
    """Resident memory of `bacalhau serve --orchestrator --compute` and all below it."""

    def idle() -> float:
        with serve() as server:
            time.sleep(IDLE_S)
            settle(server.process.pid)
            return float(server.resident_bytes())

    return compare(
        "P14",
        "orchestrator and node in one idle process",
        idle,
        [Yardstick("one idle Dask worker", lambda: float(peers.ask("dask", "rss")), 0.4)],
        unit="bytes",
        better="low",
        trials=1 if quick else 3,
    )


def p16(peers: Peers, quick: bool) -> list[Result]:
    """Whole commands, from the start of the interpreter to its end."""
    program = str(Path(sys.executable).with_name("bacalhau"))
    runs = 5 if quick else 20
    with serve() as server:
        server.run_all([native()] * 10)
        address = ["--api-host", "127.0.0.1", "--api-port", server.url.rpartition(":")[2]]
        results = []
        for what, arguments, aim in (
            ("bacalhau --help", ["--help"], 4.0),
            ("bacalhau job list", ["job", "list", *address], 4.0),
        ):
            results += compare(
                "P16",
                what,
                lambda arguments=arguments: _fastest([program, *arguments], runs),
                [Yardstick("python -c pass", lambda: _fastest(bare_python(), runs), aim)],
                unit="s",
                better="low",
            )
    return results


def _fastest(command: list[str], runs: int) -> float:
    """The least noisy figure of a short program is its fastest run."""

    def run() -> None:
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)

    return min(timed(run) for _ in range(runs))

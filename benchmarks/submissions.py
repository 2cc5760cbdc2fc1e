"""P9: jobs accepted one by one, each validated and durable before the answer."""

import json
import subprocess
import sys
from pathlib import Path

from harness import Result, Yardstick, compare
from server import native, serve
from yardsticks import Peers

CONNECTIONS = (16, 1)


def p9(peers: Peers, quick: bool) -> list[Result]:
    """Single submissions from a load process of its own; no node runs anything meanwhile."""
    count = 500 if quick else 3_000
    results = []
    with serve("orchestrator") as server:
        for connections in CONNECTIONS:
            results += compare(
                "P9",
                f"single submissions, {connections} connection{'s' * (connections > 1)}",
                lambda at_once=connections: count / _load(server.url, at_once, count),
                [
                    Yardstick(
                        "Celery .delay, Redis without disk",
                        peers.rate("celery", "submit", count),
                        3.0 if connections > 1 else None,
                    )
                ],
                unit="/s",
                better="high",
                trials=1 if quick else 3,
            )
        listed = sum(1 for _ in server.client.jobs(page_size=1000))
    wanted = count * len(CONNECTIONS) * (1 if quick else 3)
    if listed != wanted:
        raise AssertionError(f"{listed} jobs are listed, {wanted} were accepted")
    return results


def _load(url: str, connections: int, count: int) -> float:
    """Seconds until all are accepted."""
    command = [sys.executable, str(Path(__file__).with_name("load.py"))]
    command += [url, str(connections), str(count)]
    body = json.dumps({"Job": native()})
    done = subprocess.run(command, input=body, capture_output=True, text=True, check=True)
    return float(done.stdout)

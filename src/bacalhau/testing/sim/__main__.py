"""Plays many worlds: python -m bacalhau.testing.sim --seeds 2000 [--start S] [--plant BUG]

Exit code 1 when a seed went bad. `--seeds 1 --start SEED --log` plays one again, in full.
"""

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor

from bacalhau.testing.sim.faults import PLANTS
from bacalhau.testing.sim.world import Broken, World

CHUNK = 50
SHOWN_MAX = 10


def play(first: int, count: int, plant: str = "") -> tuple[int, list[tuple[int, str]]]:
    """Play `count` worlds; the steps they took, and (seed, what broke) of the bad ones."""
    steps = 0
    bad: list[tuple[int, str]] = []
    for seed in range(first, first + count):
        world = World(seed, plant=plant)
        try:
            world.run()
        except Broken as broken:
            bad.append((seed, str(broken)))
        steps += world.steps
    return steps, bad


def play_all(first: int, count: int, plant: str) -> Iterator[tuple[int, list[tuple[int, str]]]]:
    """The same on all cores, in bites."""
    workers = len(os.sched_getaffinity(0))
    starts = range(first, first + count, CHUNK)
    sizes = [min(CHUNK, first + count - start) for start in starts]
    if workers == 1 or len(sizes) == 1:
        yield from (play(start, size, plant) for start, size in zip(starts, sizes, strict=True))
        return
    with ProcessPoolExecutor(workers) as pool:
        yield from pool.map(play, starts, sizes, [plant] * len(sizes))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m bacalhau.testing.sim", description=__doc__)
    parser.add_argument("--seeds", type=int, default=2000, help="how many worlds (2000)")
    parser.add_argument("--start", type=int, default=0, help="the first seed (0)")
    parser.add_argument("--plant", choices=PLANTS, default="", help="a bug to be found")
    parser.add_argument("--log", action="store_true", help="print the log of each world")
    options = parser.parse_args(arguments)
    if options.log:
        return _play_aloud(options.start, options.seeds, options.plant)
    steps, bad = 0, 0
    for some_steps, some_bad in play_all(options.start, options.seeds, options.plant):
        steps += some_steps
        for seed, what in some_bad:
            bad += 1
            if bad <= SHOWN_MAX:
                print(f"seed {seed}: {what}\n  again: {again(seed, options.plant)}", flush=True)
    print(f"{options.seeds} worlds, {steps} steps, {bad} bad")
    return 1 if bad else 0


def again(seed: int, plant: str) -> str:
    """The command that plays one world again."""
    planted = f" --plant {plant}" if plant else ""
    return f"python -m bacalhau.testing.sim --seeds 1 --start {seed}{planted} --log"


def _play_aloud(first: int, count: int, plant: str) -> int:
    code = 0
    for seed in range(first, first + count):
        world = World(seed, plant=plant)
        try:
            world.run()
        except Broken as broken:
            world.note("BROKEN:", broken)
            code = 1
        print("\n".join(world.log))
    return code


if __name__ == "__main__":
    sys.exit(main())

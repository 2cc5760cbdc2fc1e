"""Whole clusters in virtual time: no seed may be bad, and planted bugs must be found."""

import os
import subprocess
import sys
from hashlib import sha256

import pytest

from bacalhau.testing.sim import Broken, Faults, World
from bacalhau.testing.sim.__main__ import main, play
from bacalhau.testing.sim.faults import PLANTS

SEEDS = int(os.environ.get("SEEDS", "2000"))
SEEDS_TO_FIND_A_BUG = 300


def test_no_seed_is_bad(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["--seeds", str(SEEDS)])
    assert code == 0, capsys.readouterr().out


@pytest.mark.parametrize("plant", PLANTS)
def test_a_planted_bug_is_found(plant: str) -> None:
    assert any(play(seed, 1, plant)[1] for seed in range(SEEDS_TO_FIND_A_BUG))


def test_the_same_seed_gives_the_same_log() -> None:
    logs = [World(seed).run().log for seed in (7, 7, 8)]
    assert logs[0] == logs[1] != logs[2]


def test_the_log_does_not_depend_on_the_hash_seed_of_the_interpreter() -> None:
    digests = set()
    for hash_seed in ("1", "2"):
        played = subprocess.run(
            [sys.executable, "-m", "bacalhau.testing.sim", "--seeds", "3", "--log"],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            check=True,
            capture_output=True,
        )
        digests.add(sha256(played.stdout).hexdigest())
    assert len(digests) == 1


def test_a_bad_seed_is_printed_with_the_way_to_play_it_again(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--seeds", "20", "--plant", "outbox-off"]) == 1
    printed = capsys.readouterr().out
    seed = printed.split("seed ")[1].split(":")[0]
    again = f"--seeds 1 --start {seed} --plant outbox-off --log"
    assert again in printed
    assert main(again.split()) == 1
    assert "BROKEN" in capsys.readouterr().out


def test_a_world_without_faults_completes_all_good_jobs_at_once() -> None:
    for seed in range(20):
        world = World(seed, Faults())
        world.run()
        tried = world.orchestrator.executions.values()
        assert not [row for row in tried if row.lost or (row.fault and row.fault.kind == "node")]


def test_a_world_that_never_comes_to_rest_is_broken() -> None:
    world = World(0)

    def again() -> None:
        world.after(0, again)

    again()
    with pytest.raises(Broken, match="does not come to rest"):
        world.run()

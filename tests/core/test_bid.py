"""A node's answer, and how much work it wants ahead."""

import pytest

from bacalhau.core.bid import LOOKAHEAD_MAX, LOOKAHEAD_UNKNOWN, decide, lookahead
from bacalhau.model.base import evolve
from bacalhau.model.execution import Execution, FaultKind
from bacalhau.model.job import Job, JobSpec, JobType, SpecConfig, Task
from bacalhau.model.node import NodeInfo

JOB = Job(id="j-1", spec=JobSpec(type=JobType.BATCH, tasks=(Task(engine=SpecConfig(type="Noop")),)))
EXECUTION = Execution(id="e-1", job_id="j-1", job_version=1, namespace="default", node_id="n-1")
INFO = NodeInfo(id="n-1", engines=("noop",))


def test_a_node_takes_what_fits() -> None:
    assert decide(JOB, EXECUTION, INFO) is None


def test_a_node_declines_for_now_what_it_cannot_do() -> None:
    fault = decide(JOB, EXECUTION, evolve(INFO, engines=()))
    assert fault is not None
    assert (fault.kind, fault.message) == (FaultKind.BUSY, "engine noop is not offered")


def test_a_node_declines_what_is_meant_for_another() -> None:
    fault = decide(JOB, evolve(EXECUTION, node_id="n-2"), INFO)
    assert fault is not None
    assert "n-2" in fault.message


@pytest.mark.parametrize(
    ("slots", "recent_s", "wanted"),
    [
        (2, [], LOOKAHEAD_UNKNOWN),
        (2, [10.0], 0),
        (2, [0.1], 2),
        (2, [0.002], 100),
        (8, [0.0001], LOOKAHEAD_MAX),
        (2, [0.0], LOOKAHEAD_MAX),
        (0, [0.05, 0.15], 1),
    ],
)
def test_lookahead_is_about_a_tenth_of_a_second_of_work(
    slots: int, recent_s: list[float], wanted: int
) -> None:
    assert lookahead(slots, recent_s) == wanted

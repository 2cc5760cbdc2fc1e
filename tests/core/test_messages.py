"""What a node must be told follows from the row alone."""

import pytest

from bacalhau.core.messages import tell, unwanted
from bacalhau.model.base import evolve
from bacalhau.model.execution import Desired, Execution, Observed

ROW = Execution(id="e-1", job_id="j-1", job_version=1, namespace="default", node_id="n-1")


@pytest.mark.parametrize(
    ("desired", "observed", "said"),
    [
        (Desired.BID, Observed.NEW, "assign"),
        (Desired.BID, Observed.BID, None),
        (Desired.RUN, Observed.NEW, "assign"),
        (Desired.RUN, Observed.BID, "assign"),
        (Desired.RUN, Observed.PREPARING, None),
        (Desired.RUN, Observed.RUNNING, None),
        (Desired.STOP, Observed.NEW, "stop"),
        (Desired.STOP, Observed.RUNNING, "stop"),
        (Desired.STOP, Observed.HELD, "stop"),
    ],
)
def test_a_node_is_told_until_it_answers(
    desired: Desired, observed: Observed, said: str | None
) -> None:
    assert tell(evolve(ROW, desired=desired, observed=observed)) == said


@pytest.mark.parametrize("observed", [o for o in Observed if o.is_terminal])
def test_after_its_last_word_a_node_is_told_nothing(observed: Observed) -> None:
    for desired in Desired:
        assert tell(evolve(ROW, desired=desired, observed=observed)) is None


def test_a_lost_execution_is_told_to_stop() -> None:
    assert tell(evolve(ROW, desired=Desired.STOP, lost=True)) == "stop"


def test_who_goes_on_with_what_is_over_is_stopped() -> None:
    running = evolve(ROW, observed=Observed.RUNNING)
    ended = evolve(ROW, observed=Observed.FAILED)
    assert unwanted(None, running)
    assert unwanted(ended, running)
    assert not unwanted(running, running)
    assert not unwanted(None, ended)

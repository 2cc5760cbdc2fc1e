"""What a node must be told: it follows from a row, so nothing needs to be remembered."""

from typing import Literal

from bacalhau.model.execution import Desired, Execution, Observed

Word = Literal["assign", "stop"]


def tell(execution: Execution) -> Word | None:
    """What this row calls for, said again and again until the node's report changes it.

    `assign` until the node has begun, `stop` until it has ended, None when the node knows.
    """
    if execution.is_settled:
        return None
    match execution.desired, execution.observed:
        case Desired.STOP, _:
            return "stop"
        case _, Observed.NEW:
            return "assign"
        case Desired.RUN, Observed.BID:
            return "assign"
        case _:
            return None


def unwanted(stored: Execution | None, word: Execution) -> bool:
    """True when a node goes on with what is over here, or was never known: stop it."""
    return not word.is_settled and (stored is None or stored.is_settled)

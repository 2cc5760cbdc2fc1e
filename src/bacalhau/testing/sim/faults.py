"""All that can go wrong, in one record; which of it does is drawn from the seed."""

import random

import msgspec

PLANTS = (
    "outbox-off",
    "no-unfit",
    "lost-final",
    "early-ack",
    "forgetful-hello",
    "double-result",
    "deaf-to-stop",
    "unchecked-commit",
    "any-word",
)
"""Bugs that can be planted to see that they are found.

outbox-off       orchestrator and nodes say everything once, instead of repeating it
no-unfit         nodes accept without looking whether they can
lost-final       a lost execution is over: its node is never told to stop
early-ack        reports are acknowledged before they are committed
forgetful-hello  each hello, not only one of a new boot, fails what it does not list
double-result    the orchestrator takes every completion, also of a completed partition
deaf-to-stop     nodes answer a stop, but go on running
unchecked-commit the orchestrator writes over rows that have changed since it read them
any-word         the orchestrator takes a node's words in any order
"""


class Faults(msgspec.Struct, frozen=True, kw_only=True):
    """Probabilities are per message or commit, rates per second of virtual time.

    loss, duplication   of messages
    delay_s             messages take up to this long; now and then ten times as long
    cuts                per node: no messages to it, from it, or both, for a while
    crashes             per node: its process dies; `disk_loss` is how often its disk goes too
    orchestrator        crashes of the orchestrator
    conflict            commits that lose a race
    slow                share of nodes that are four times slower
    skew_s              clocks of nodes are off by up to this much
    changes             per node: it loses or regains its engine, or its size
    poison              share of jobs with permanent or repeated faults
    users               stops and updates of jobs
    """

    loss: float = 0.0
    duplication: float = 0.0
    delay_s: float = 0.02
    cuts: float = 0.0
    crashes: float = 0.0
    disk_loss: float = 0.3
    orchestrator: float = 0.0
    conflict: float = 0.0
    slow: float = 0.0
    skew_s: float = 0.0
    changes: float = 0.0
    poison: float = 0.0
    users: float = 0.0


def drawn(draw: random.Random) -> Faults:
    """Some faults, each in about half of the worlds, so that none hides another."""

    def some(most: float) -> float:
        return draw.choice((0.0, most / 3, most))

    return Faults(
        loss=some(0.3),
        duplication=some(0.2),
        delay_s=draw.choice((0.005, 0.05, 0.5)),
        cuts=some(0.05),
        crashes=some(0.04),
        disk_loss=draw.choice((0.0, 0.3, 1.0)),
        orchestrator=some(0.05),
        conflict=some(0.2),
        slow=draw.choice((0.0, 0.3)),
        skew_s=draw.choice((0.0, 3600.0)),
        changes=some(0.03),
        poison=draw.choice((0.0, 0.3)),
        users=some(0.1),
    )

"""Bacalhau's JSON for our records: one view per record, and the way back for our client.

What is ours (Retry, Fault, Attempt, Lost ...) appears only when it says something, so that
everything else looks exactly as Bacalhau's clients expect. `parse_x(x(record))` gives the
record again, as far as the wire carries it; the parsers raise Rejected for anything else.
"""

from collections.abc import Iterable

from bacalhau.core.wire.events import event, parse_event
from bacalhau.core.wire.executions import (
    DESIRED_NUMBERS,
    OBSERVED_NUMBERS,
    execution,
    parse_execution,
)
from bacalhau.core.wire.jobs import JSON, job, parse_job, spec, spec_config
from bacalhau.core.wire.nodes import (
    PROTOCOL,
    node,
    node_info,
    parse_node,
    parse_node_info,
    version_info,
)
from bacalhau.core.wire.times import NO_TIME, time_ns, time_text

__all__ = [
    "DESIRED_NUMBERS",
    "JSON",
    "NO_TIME",
    "OBSERVED_NUMBERS",
    "PROTOCOL",
    "event",
    "execution",
    "job",
    "node",
    "node_info",
    "page",
    "parse_event",
    "parse_execution",
    "parse_job",
    "parse_node",
    "parse_node_info",
    "spec",
    "spec_config",
    "time_ns",
    "time_text",
    "version_info",
]


def page(items: Iterable[JSON], next_token: str = "", key: str = "Items") -> JSON:
    """A page of a list; `next_token` is '' on the last one. Lists of nodes use key `Nodes`."""
    return {"NextToken": next_token, key: list(items)}

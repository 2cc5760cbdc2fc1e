"""Who asks (Principal), and for what (Action on Resource). Records only.

Who may do what is decided in core.authorise; who somebody is, in auth.
"""

from enum import StrEnum

from bacalhau.model.base import Record


class Action(StrEnum):
    """What is done to a resource: looked at, or changed."""

    READ = "read"
    WRITE = "write"


class Resource(StrEnum):
    """What a request is about."""

    JOB = "job"
    NODE = "node"
    AGENT = "agent"


class Principal(Record, kw_only=True):
    """Somebody who was recognised. `name` goes into events as their actor.

    `actions` are the capabilities: `*`, `read:*`, `write:*`, or `<action>:<resource>`.
    """

    name: str
    actions: frozenset[str] = frozenset()


ALL_ACTIONS = frozenset({"*"})

LOCAL = Principal(name="local", actions=ALL_ACTIONS)
"""Whoever sits at this machine."""

ADMIN = Principal(name="admin", actions=ALL_ACTIONS)
"""Whoever holds the admin token."""

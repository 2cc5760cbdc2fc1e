"""Nodes: what they can do (NodeInfo, the node's word) and what we think of them (Node)."""

from enum import StrEnum

from bacalhau.model.base import Record
from bacalhau.model.resources import Resources


class NodeRole(StrEnum):
    COMPUTE = "Compute"
    ORCHESTRATOR = "Requester"


class Membership(StrEnum):
    PENDING = "PENDING"
    APPROVED = "APPROVED"
    REJECTED = "REJECTED"


class Connection(StrEnum):
    CONNECTED = "CONNECTED"
    DISCONNECTED = "DISCONNECTED"


class NodeInfo(Record, kw_only=True):
    """What a node says of itself. Names of engines, sources, publishers are lower-case.

    `capacity` is what all its executions together may use, `max_job` what one may.
    `attributes` are facts of its plug-ins, such as `process.limits` -> `cgroup v1`.
    `denies` lists what its owner refuses, see core.schedule.feasible.
    """

    id: str
    role: NodeRole = NodeRole.COMPUTE
    labels: dict[str, str] = {}
    engines: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    publishers: tuple[str, ...] = ()
    capacity: Resources = Resources()
    max_job: Resources = Resources()
    attributes: dict[str, str] = {}
    allowed_paths: tuple[str, ...] = ()
    allowed_env: tuple[str, ...] = ()
    allowed_commands: tuple[str, ...] = ()
    local_only: bool = False
    reject_stateless: bool = False
    reject_networked: bool = False
    version: str = ""
    address: str = ""


class Node(Record, kw_only=True):
    """A member of the cluster. Times are nanoseconds since the epoch.

    `boot_id` changes whenever the node's process starts anew. `lookahead` is how many
    executions beyond its free capacity the node wants to have queued locally.
    Liveness (last heartbeat) is not stored: it lives in the orchestrator's memory.
    """

    id: str
    info: NodeInfo
    membership: Membership = Membership.APPROVED
    connection: Connection = Connection.DISCONNECTED
    message: str = ""
    boot_id: str = ""
    lookahead: int = 4
    revision: int = 1
    create_time: int = 0
    modify_time: int = 0
    connected_time: int = 0
    disconnected_time: int = 0

    @property
    def is_ready(self) -> bool:
        """True when work may be placed on it."""
        return (
            self.membership is Membership.APPROVED
            and self.connection is Connection.CONNECTED
            and self.info.role is NodeRole.COMPUTE
        )

"""Nodes as Bacalhau's JSON."""

import msgspec

from bacalhau.core.bind import bind
from bacalhau.core.wire.executions import Amounts, amounts_view, parse_amounts
from bacalhau.core.wire.jobs import JSON
from bacalhau.core.wire.times import NO_TIME, time_ns, time_text
from bacalhau.model.base import Record
from bacalhau.model.node import Connection, Membership, Node, NodeInfo, NodeRole
from bacalhau.model.plan import NodeView
from bacalhau.model.resources import Resources

PROTOCOL = "bacalhau.py/1"
"""What our nodes and orchestrators speak with each other."""

_OURS = (
    "attributes",
    "allowed_paths",
    "allowed_env",
    "allowed_commands",
    "local_only",
    "reject_stateless",
    "reject_networked",
)
_NOTHING = NodeInfo(id="")


class Compute(Record, kw_only=True):
    """What a node can do and does, as it is sent."""

    execution_engines: tuple[str, ...] = ()
    publishers: tuple[str, ...] = ()
    storage_sources: tuple[str, ...] = ()
    max_capacity: Amounts = Amounts()
    available_capacity: Amounts = Amounts()
    max_job_requirements: Amounts = Amounts()
    running_executions: int = 0
    enqueued_executions: int = 0
    address: str = ""


class Version(Record, kw_only=True):
    """A build as it is sent."""

    git_version: str = ""


class SentInfo(Record, kw_only=True):
    """A node's word of itself as it is sent."""

    node_id: str
    node_type: NodeRole = NodeRole.COMPUTE
    labels: dict[str, str] = {}
    compute_node_info: Compute = Compute()
    bacalhau_version: Version = Version()
    attributes: dict[str, str] = {}
    allowed_paths: tuple[str, ...] = ()
    allowed_env: tuple[str, ...] = ()
    allowed_commands: tuple[str, ...] = ()
    local_only: bool = False
    reject_stateless: bool = False
    reject_networked: bool = False


class SentConnection(Record, kw_only=True):
    """A node's connection as it is sent."""

    status: Connection = Connection.DISCONNECTED
    connected_since: str = ""
    disconnected_since: str = ""


class Sent(Record, kw_only=True):
    """A node as it is sent."""

    info: SentInfo
    membership: Membership = Membership.PENDING
    connection_state: SentConnection = SentConnection()
    message: str = ""


def node(
    view: NodeView, *, last_heartbeat: int = 0, running: int | None = None, waiting: int = 0
) -> JSON:
    """The node as a member; `running` is how many executions run (default: are placed)."""
    node = view.node
    connected = node.connection is Connection.CONNECTED
    free = node.info.capacity - view.used if connected else Resources()
    shown: JSON = {
        "Info": _info(node.info, free, view.placed if running is None else running, waiting),
        "Membership": node.membership.value,
        "Connection": node.connection.value,
        "ConnectionState": {
            "Status": node.connection.value,
            "LastHeartbeat": time_text(last_heartbeat),
            "ConnectedSince": time_text(node.connected_time),
            "DisconnectedSince": time_text(node.disconnected_time),
        },
    }
    if node.message:
        shown["Message"] = node.message
    return shown


def node_info(info: NodeInfo, *, free: Resources | None = None, running: int = 0) -> JSON:
    """A node's word of itself; `free` is what is left of its capacity (default: all)."""
    return _info(info, info.capacity if free is None else free, running, 0)


def version_info(version: str, *, os: str = "", arch: str = "") -> JSON:
    """A build: version `1.9.3` (a leading `v` is fine), operating system, machine."""
    major, _, rest = version.removeprefix("v").partition(".")
    return {
        "Major": major,
        "Minor": rest.partition(".")[0],
        "GitVersion": f"v{version.removeprefix('v')}" if version else "",
        "GitCommit": "",
        "BuildDate": NO_TIME,
        "GOOS": os,
        "GOARCH": arch,
    }


def parse_node(obj: object) -> NodeView:
    """The node of that view. What is used is unknown (none) while it is disconnected."""
    sent = bind(Sent, obj)
    info = _parse_info(sent.info)
    compute, state = sent.info.compute_node_info, sent.connection_state
    connected = state.status is Connection.CONNECTED
    node = Node(
        id=info.id,
        info=info,
        membership=sent.membership,
        connection=state.status,
        message=sent.message,
        connected_time=time_ns(state.connected_since),
        disconnected_time=time_ns(state.disconnected_since),
    )
    free = parse_amounts(compute.available_capacity)
    return NodeView(
        node=node,
        used=info.capacity - free if connected else Resources(),
        placed=compute.running_executions,
    )


def parse_node_info(obj: object) -> NodeInfo:
    """The node's word of itself of that view."""
    return _parse_info(bind(SentInfo, obj))


def _info(info: NodeInfo, free: Resources, running: int, waiting: int) -> JSON:
    is_compute = info.role is NodeRole.COMPUTE
    view: JSON = {
        "NodeID": info.id,
        "NodeType": info.role.value,
        "Labels": info.labels,
        "SupportedProtocols": [PROTOCOL],
        "ComputeNodeInfo": {
            "ExecutionEngines": list(info.engines) if is_compute else None,
            "Publishers": list(info.publishers) if is_compute else None,
            "StorageSources": list(info.sources) if is_compute else None,
            "MaxCapacity": amounts_view(info.capacity),
            "QueueCapacity": {},
            "AvailableCapacity": amounts_view(free),
            "MaxJobRequirements": amounts_view(info.max_job),
            "RunningExecutions": running,
            "EnqueuedExecutions": waiting,
            "address": info.address,
        },
        "BacalhauVersion": version_info(
            info.version, os=info.labels.get("os_type", ""), arch=info.labels.get("os_arch", "")
        ),
    }
    for field in msgspec.structs.fields(NodeInfo):
        if field.name in _OURS:
            value = getattr(info, field.name)
            if value != getattr(_NOTHING, field.name):
                view[field.encode_name] = list(value) if isinstance(value, tuple) else value
    return view


def _parse_info(sent: SentInfo) -> NodeInfo:
    compute = sent.compute_node_info
    return NodeInfo(
        id=sent.node_id,
        role=sent.node_type,
        labels=sent.labels,
        engines=compute.execution_engines,
        sources=compute.storage_sources,
        publishers=compute.publishers,
        capacity=parse_amounts(compute.max_capacity),
        max_job=parse_amounts(compute.max_job_requirements),
        version=sent.bacalhau_version.git_version.removeprefix("v"),
        address=compute.address,
        **{name: getattr(sent, name) for name in _OURS},
    )

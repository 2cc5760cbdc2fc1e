"""`bacalhau node`: see and manage the nodes of the cluster."""

from bacalhau.cli.call import Call, segment
from bacalhau.cli.command import Command, Flag
from bacalhau.cli.table import (
    OBJECT,
    OUTPUT,
    Column,
    field,
    identity,
    listing,
    show_data,
    show_rows,
)

TYPE_CHECKING = False  # typing is slow to import, see command.py
if TYPE_CHECKING:
    from typing import Any

_MESSAGE = Flag("message", "text", "Why; kept with the node.", short="m")

COMMANDS = (
    Command(
        "node list",
        "bacalhau.cli.node:list_nodes",
        "List the nodes.",
        flags=(
            Flag("show", "list", "Groups of columns: labels, version, features, capacity.",
                 default=("labels", "capacity"), word="group,..."),
            Flag("labels", "text", "Only nodes with these labels, e.g. region in (eu,us),gpu.",
                 word="selector"),
            Flag("filter-approval", "choice", "Only nodes in this membership.",
                 choices=("approved", "pending", "rejected")),
            Flag("filter-status", "choice", "Only nodes that are so.",
                 choices=("connected", "disconnected")),
            *listing(0),
            *OUTPUT,
        ),
        details="Order by id, type, available_cpu, available_memory, available_disk, "
        "available_gpu,\napproval or status.",
    ),
    Command("node describe", "bacalhau.cli.node:describe_node", "Show all about a node.",
            arguments="ID", least=1, most=1, flags=OBJECT),
    Command("node approve", "bacalhau.cli.node:update_node", "Let a node take part.",
            arguments="ID", least=1, most=1, flags=(_MESSAGE,)),
    Command("node reject", "bacalhau.cli.node:update_node", "Refuse a node; its work moves away.",
            arguments="ID", least=1, most=1, flags=(_MESSAGE,)),
    Command("node delete", "bacalhau.cli.node:update_node", "Forget a node.",
            arguments="ID", least=1, most=1, flags=(_MESSAGE,)),
)  # fmt: skip


def list_nodes(call: Call) -> None:
    flags = call.flags
    reply = call.get(
        "/orchestrator/nodes",
        {
            "labels": flags["labels"],
            "filter-approval": flags["filter-approval"],
            "filter-status": flags["filter-status"],
            "limit": flags["limit"],
            "next_token": flags["next-token"],
            "order_by": flags["order-by"],
            "reverse": flags["order-reversed"],
        },
    )
    groups = flags["show"] if "show" in call.given else ["labels", "capacity"]
    columns = [*_ALWAYS]
    for group in ("labels", "version", "features", "capacity"):
        if group in groups:
            columns += _GROUPS[group]
    show_rows(call, reply.get("Nodes") or [], columns)


def describe_node(call: Call) -> None:
    reply = call.get(f"/orchestrator/nodes/{segment(call.arguments[0])}")
    show_data(reply["Node"], call.flags["output"] or "yaml", pretty=call.flags["pretty"])


def update_node(call: Call) -> None:
    """approve, reject or delete. A refusal is an error here, unlike in Bacalhau."""
    action = call.command.name.split()[1]
    call.client.update_node(call.arguments[0], action, message=call.flags["message"])
    print("Ok")


def _labels(row: "Any") -> str:
    labels = row["Info"].get("Labels") or {}
    return " ".join(f"{key}={labels[key]}" for key in sorted(labels))


def _words(caption: str, key: str) -> Column:
    def text(row: "Any") -> str:
        return " ".join(sorted(row["Info"].get("ComputeNodeInfo", {}).get(key) or ()))

    return Column(caption, text, width=26)


def _share(caption: str, key: str, form: str) -> Column:
    """Available / total; blank for nodes that do not compute."""

    def text(row: "Any") -> str:
        info = row["Info"].get("ComputeNodeInfo") or {}
        total = (info.get("MaxCapacity") or {}).get(key, 0)
        if row["Info"].get("NodeType") != "Compute":
            return ""
        free = (info.get("AvailableCapacity") or {}).get(key, 0)
        if form == "bytes":
            return f"{size(free)} / {size(total)}"
        return f"{free:.1f} / {total:.1f}" if form == "cores" else f"{free} / {total}"

    return Column(caption, text)


def size(amount: int) -> str:
    """`16 GB`, `1.5 MB`: decimal, two or three digits."""
    value, unit = float(amount), "B"
    for larger in ("KB", "MB", "GB", "TB", "PB"):
        if value < 999.5:
            break
        value, unit = value / 1000, larger
    return f"{value:.0f} {unit}" if value >= 10 or unit == "B" else f"{value:.1f} {unit}"


def _id(row: "Any") -> str:
    return str(row["Info"]["NodeID"])


_ALWAYS = (
    Column("id", _id, brief=identity("", "").brief),
    field("type", "Info", "NodeType"),
    field("approval", "Membership"),
    Column("status", lambda row: (row.get("ConnectionState") or {}).get("Status", "")),
)
_GROUPS = {
    "labels": (Column("labels", _labels, width=50),),
    "version": (
        field("version", "Info", "BacalhauVersion", "GitVersion"),
        field("architecture", "Info", "BacalhauVersion", "GOARCH"),
        field("os", "Info", "BacalhauVersion", "GOOS"),
    ),
    "features": (
        _words("engines", "ExecutionEngines"),
        _words("inputs from", "StorageSources"),
        _words("outputs", "Publishers"),
    ),
    "capacity": (
        _share("cpu", "CPU", "cores"),
        _share("memory", "Memory", "bytes"),
        _share("disk", "Disk", "bytes"),
        _share("gpu", "GPU", "count"),
    ),
}

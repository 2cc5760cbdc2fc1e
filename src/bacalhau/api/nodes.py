"""Nodes: list, look at, approve, reject, delete."""

from collections.abc import Callable
from typing import Any

from bacalhau.api import jobs
from bacalhau.api.errors import AmbiguousNode, BadRequest, NodeNotFound
from bacalhau.api.reply import Listing, Reply
from bacalhau.api.request import Request
from bacalhau.core import selector, wire
from bacalhau.core.bind import bind
from bacalhau.model.base import Record
from bacalhau.model.errors import Rejected
from bacalhau.model.node import Connection, Membership
from bacalhau.model.resources import Resources
from bacalhau.ports.cluster import Cluster, Member

ACTIONS = ("approve", "reject", "delete")


class NodeBody(Record, kw_only=True):
    action: str = ""
    message: str = ""


def _free(member: Member) -> Resources:
    return member.view.node.info.capacity - member.view.used


_ORDERS: dict[str, Callable[[Member], Any]] = {
    "id": lambda member: member.view.node.id,
    "type": lambda member: member.view.node.info.role,
    "available_cpu": lambda member: -_free(member).cpu,
    "available_memory": lambda member: -_free(member).memory,
    "available_disk": lambda member: -_free(member).disk,
    "available_gpu": lambda member: -_free(member).gpu,
    "approval": lambda member: member.view.node.membership,
    "status": lambda member: member.view.node.membership,
}


async def list_nodes(cluster: Cluster, request: Request) -> Listing:
    query = request.query
    order = _ORDERS.get(query.text("order_by") or "id")
    if order is None:
        raise BadRequest("invalid order_by", hint=f"use one of {', '.join(_ORDERS)}")
    approval = _word(request, "filter-approval", Membership)
    status = _word(request, "filter-status", Connection)
    wanted = jobs.labels(request)
    found = [
        member
        for member in cluster.members()
        if approval in ("", member.view.node.membership)
        and status in ("", member.view.node.connection)
        and not selector.matches(wanted, member.view.node.info.labels)
    ]
    found.sort(key=order, reverse=query.flag("reverse"))
    shown = found[: query.number("limit") or None]
    return Listing(items=(_view(member) for member in shown), key="Nodes")


async def get(cluster: Cluster, request: Request) -> Reply:
    return Reply(body={"Node": _view(_find(cluster, request.values["id"]))})


async def update(cluster: Cluster, request: Request) -> Reply:
    given = await request.json()
    body = bind(NodeBody, {} if given is None else given)
    member = _find(cluster, request.values["id"])
    if body.action not in ACTIONS:
        raise Rejected(
            f"unknown action '{body.action[:60]}'", hint=f"use one of {', '.join(ACTIONS)}"
        )
    await cluster.update_node(
        member.view.node.id, body.action, body.message, request.principal.name
    )
    return Reply(body={"Success": True})


def _find(cluster: Cluster, wanted: str) -> Member:
    """The node of that id or id prefix. Raises NodeNotFound, AmbiguousNode."""
    members = cluster.members()
    found = [member for member in members if member.view.node.id == wanted] or [
        member for member in members if member.view.node.id.startswith(wanted)
    ]
    if not found:
        raise NodeNotFound(f"node not found: {wanted}", hint="see 'bacalhau node list'")
    if len(found) > 1:
        raise AmbiguousNode(
            f"'{wanted}' could be {found[0].view.node.id} or {found[1].view.node.id}",
            hint="give the full node id",
        )
    return found[0]


def _view(member: Member) -> dict[str, Any]:
    return wire.node(
        member.view,
        last_heartbeat=member.last_heartbeat,
        running=member.running,
        waiting=member.waiting,
    )


def _word(request: Request, name: str, kind: type[Membership] | type[Connection]) -> str:
    given = request.query.text(name).upper()
    if given and given not in set(kind):
        words = ", ".join(word.lower() for word in kind)
        raise BadRequest(f"invalid {name} '{given[:60].lower()}'", hint=f"use one of {words}")
    return given

"""This node: is it alive, which version, what it offers, how it is set up."""

import platform

from bacalhau import __version__
from bacalhau.api.reply import Reply
from bacalhau.api.request import Request
from bacalhau.core import wire
from bacalhau.ports.cluster import Cluster

DIALECT = "1.9.3"
"""The version of Bacalhau's API that is spoken here."""

MIN_CLIENT = (1, 4, 0)
"""Older clients of Bacalhau speak another API."""

_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


def build_info() -> dict[str, str]:
    """The version facts of this server, as Bacalhau spells them."""
    machine = platform.machine().lower()
    return wire.version_info(
        f"{DIALECT}+python.{__version__}",
        os=platform.system().lower(),
        arch=_MACHINES.get(machine, machine),
    )


async def alive(cluster: Cluster, request: Request) -> Reply:
    return Reply(body={"Status": "OK"})


async def version(cluster: Cluster, request: Request) -> Reply:
    return Reply(body=build_info())


async def node(cluster: Cluster, request: Request) -> Reply:
    return Reply(body=wire.node_info(cluster.node_info()))


async def config(cluster: Cluster, request: Request) -> Reply:
    return Reply(body={"config": cluster.config_view()})


async def debug(cluster: Cluster, request: Request) -> Reply:
    return Reply(body=cluster.debug())


async def authconfig(cluster: Cluster, request: Request) -> Reply:
    return Reply(body={"Version": "1.0.0", "Config": {}})

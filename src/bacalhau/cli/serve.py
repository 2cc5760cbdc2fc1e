"""`bacalhau serve` and `bacalhau devstack`: start nodes."""

import sys

from bacalhau.cli.call import Call
from bacalhau.cli.command import Command, Flag

_DEVSTACK = {
    "Orchestrator.Enabled": True,
    "Compute.Enabled": True,
    "Orchestrator.NodeManager.DisconnectTimeout": 30.0,
    "Compute.Env.AllowList": "TEST_*",
    "UpdateConfig.Interval": 0,
}
"""What a cluster for trying things has set, unless the user sets it."""

COMMANDS = (
    Command(
        "serve", "bacalhau.cli.serve:serve", "Start a node: orchestrator, compute, or both.",
        most=-1,
        flags=(
            Flag("orchestrator", "bool", "Run the control plane.", config="Orchestrator.Enabled"),
            Flag("compute", "bool", "Run jobs on this machine.", config="Compute.Enabled"),
            Flag("name", "text", "Name of the node; kept from the first start on."),
        ),
        details="Both roles on one machine:\n  bacalhau serve --orchestrator --compute\n"
        "State is kept in the data directory; `bacalhau config list` shows every setting.",
    ),
    Command(
        "devstack", "bacalhau.cli.serve:devstack",
        "Start a cluster of several nodes on this machine, to try things.",
        flags=(
            Flag("computes", "uint32", "Compute nodes.", default=3, word="number"),
            Flag("orchestrators", "uint32", "Orchestrators.", default=1, word="number"),
            Flag("hybrids", "uint32", "Nodes that are both.", word="number"),
            Flag("bad-computes", "uint32", "Compute nodes that fail everything.", word="number"),
            Flag("stack-repo", "text", "Directory for state; without it nothing is kept.",
                 word="directory"),
            Flag("random-ports", "bool", "Any free ports instead of 1234 and following."),
        ),
        details="State lives in a temporary directory and is gone when the cluster ends.",
    ),
)  # fmt: skip


def serve(call: Call) -> int:
    _warn(call)
    from bacalhau.app import run_serve

    return run_serve(call.config, call.flags["name"])


def devstack(call: Call) -> int:
    _warn(call)
    from bacalhau.app import run_devstack
    from bacalhau.config import configure

    loaded, flags = call.loaded, call.flags
    settings = {key: value for key, value in _DEVSTACK.items() if key not in loaded.origins}
    return run_devstack(
        configure(settings, loaded.config),
        computes=flags["computes"],
        orchestrators=flags["orchestrators"],
        hybrids=flags["hybrids"],
        bad_computes=flags["bad-computes"],
        stack_repo=flags["stack-repo"],
        random_ports=flags["random-ports"],
    )


def _warn(call: Call) -> None:
    for warning in call.loaded.warnings:
        print(f"Warning: {warning}", file=sys.stderr)

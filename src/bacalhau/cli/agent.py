"""`bacalhau agent`: ask the server about itself."""

from bacalhau.cli.call import Call
from bacalhau.cli.command import Command
from bacalhau.cli.table import OBJECT, show_data

COMMANDS = (
    Command("agent alive", "bacalhau.cli.agent:alive", "Is the server up? Exits 1 when it is not.",
            flags=OBJECT),
    Command("agent version", "bacalhau.cli.agent:version", "Show the server's version.",
            flags=OBJECT),
    Command("agent node", "bacalhau.cli.agent:node", "Show the server's node.", flags=OBJECT),
    Command("agent config", "bacalhau.cli.agent:config",
            "Show the server's configuration, secrets masked.", flags=OBJECT),
)  # fmt: skip


def alive(call: Call) -> None:
    found = call.get("/agent/alive")
    if call.flags["output"]:
        _show(call, found)
    else:  # the usual health check: without the cost of a YAML library
        print(f"Status: {found.get('Status', '')}")


def node(call: Call) -> None:
    _show(call, call.get("/agent/node"))


def config(call: Call) -> None:
    pretty = call.flags["pretty"] or "pretty" not in call.given
    show_data(
        call.get("/agent/config").get("config", {}),
        call.flags["output"] or "yaml",
        pretty=pretty,
    )


def version(call: Call) -> None:
    found = call.get("/agent/version")
    if call.flags["output"]:
        _show(call, found)
        return
    print(f"Bacalhau {found.get('GitVersion', '')}")
    print(f"BuildDate: {found.get('BuildDate', '')}")
    print(f"GitCommit: {found.get('GitCommit', '')}")


def _show(call: Call, data: object) -> None:
    show_data(data, call.flags["output"] or "yaml", pretty=call.flags["pretty"])

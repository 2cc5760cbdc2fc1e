"""`bacalhau version`: which client, which server."""

import contextlib

from bacalhau.cli.call import Call
from bacalhau.cli.command import Command, Flag
from bacalhau.cli.table import OUTPUT, field, show_data, show_rows

SERVER_S = 3.0
"""How long the server may take; a dead one is no error here."""

COMMANDS = (
    Command("version", "bacalhau.cli.version:version", "Show the versions of client and server.",
            flags=(Flag("client", "bool", "Do not ask the server."), *OUTPUT)),
)  # fmt: skip


def version(call: Call) -> None:
    from bacalhau.api.agent import build_info  # the same words on both sides

    row = {"clientVersion": build_info()}
    if not call.flags["client"]:
        found = _server(call)
        if found is not None:
            row["serverVersion"] = found
    if call.flags["output"] in ("json", "yaml"):
        show_data(row, call.flags["output"], pretty=call.flags["pretty"])
        return
    columns = [field("client", "clientVersion", "GitVersion")]
    if "serverVersion" in row:
        columns.append(field("server", "serverVersion", "GitVersion"))
    show_rows(call, [row], columns)


def _server(call: Call) -> "dict[str, str] | None":
    """The server's word; None when there is none in time, which the missing column says."""
    import threading

    answers: list[dict[str, str]] = []

    def ask() -> None:
        with contextlib.suppress(Exception):
            answers.append(call.get("/agent/version"))

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(SERVER_S)
    return answers[0] if answers else None

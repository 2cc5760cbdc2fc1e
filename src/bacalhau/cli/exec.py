"""`bacalhau exec`: run a command of the node, in its sandbox."""

from bacalhau.cli.call import Call
from bacalhau.cli.command import Command, Flag, Problem
from bacalhau.cli.flags import DRY_RUN, RUN_TIME, TASK

COMMANDS = (
    Command(
        "exec", "bacalhau.cli.exec:execute", "Run a command of the node, in a sandbox.",
        arguments="[--] COMMAND [ARG...]", least=1, most=-1, stops=True,
        flags=(
            *RUN_TIME,
            DRY_RUN,
            *TASK,
            Flag("workdir", "text", "Directory in which the command starts.", short="w",
                 word="path"),
        ),
        details="Everything from COMMAND on belongs to the command. It finds the node's programs,\n"
        "its inputs at their paths, and no network unless --network says so.\n\n"
        "  bacalhau exec -f -- python3 -c 'print(6 * 7)'\n"
        "  bacalhau exec -i file:///data/logs:/in -o out:/outputs -- \\\n"
        "    sh -c 'gzip -c /in/today.log > /outputs/today.gz'",
    ),
)  # fmt: skip


def execute(call: Call) -> int:
    from bacalhau.cli.run import submit_built
    from bacalhau.cli.spec import build
    from bacalhau.model.job import SpecConfig

    command, *arguments = call.arguments
    if not command:
        raise Problem("the command is empty", "bacalhau exec -- COMMAND [ARG...]")
    params: dict[str, object] = {"Command": command}
    if arguments:
        params["Arguments"] = arguments
    if call.flags["workdir"]:
        params["WorkingDirectory"] = call.flags["workdir"]
    return submit_built(call, build(call, SpecConfig(type="process", params=params)))

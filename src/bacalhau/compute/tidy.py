"""Removes work directories of executions that are over: when there is time, or when it must be."""

import asyncio

from bacalhau.compute.node import Node
from bacalhau.compute.workspace import remove

TIDY_S = 1.0
BITE = 500
LITTER_MAX = 20_000
"""With more directories than this waiting, they go even while the node is busy.

Some file systems look at every file that was just deleted whenever they make a new one, so
deleting in the midst of many short runs would slow each of them down.
"""


async def tidy(node: Node) -> None:
    """Remove in bites; at once after a run that may have left much."""
    while True:
        urgent = await node.to_tidy.wait(TIDY_S)
        while node.litter and (urgent or not node.running or len(node.litter) > LITTER_MAX):
            bite = [node.litter.popleft() for _ in range(min(BITE, len(node.litter)))]
            await asyncio.to_thread(_remove_all, node, bite)


def _remove_all(node: Node, execution_ids: list[str]) -> None:
    for execution_id in execution_ids:
        remove(node.place_of(execution_id))

"""What tests may need of the machine.

`@pytest.mark.sandbox`: a bubblewrap sandbox that works (unprivileged user namespaces). On a
machine without one these tests are left out, and a line at the end says so. With CI=true
they fail instead: a green run there means that the sandbox was tested.
"""

import asyncio
import os
from functools import cache

import pytest

from bacalhau.executors.process import ProcessExecutor

_REASON = "no working bubblewrap sandbox on this machine (are user namespaces allowed?)"
_left_out: list[str] = []


@cache
def _has_sandbox() -> bool:
    async def probe() -> bool:
        executor = ProcessExecutor()
        try:
            return await executor.probe() is not None
        finally:
            await executor.close()

    return asyncio.run(probe())


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("sandbox") is None or _has_sandbox():
        return
    if os.environ.get("CI") == "true":
        pytest.fail(_REASON, pytrace=False)
    _left_out.append(item.nodeid)
    pytest.skip(_REASON)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _left_out:
        terminalreporter.write_line(
            f"{len(_left_out)} sandbox tests were left out: {_REASON}", yellow=True
        )

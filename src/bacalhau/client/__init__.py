"""The Python client: `Client` for plain code, `AsyncClient` for asyncio.

    from bacalhau import Client

    with Client() as client:
        job = client.submit({"Name": "hello", "Type": "batch", "Tasks": [...]})
        done = client.wait(job.job_id)
        client.download(done.id, "results")

Importing this costs next to nothing; what a call needs is imported by that call.
"""

TYPE_CHECKING = False  # not from typing, which takes as long to import as all of this
if TYPE_CHECKING:
    from bacalhau.client.aio import AsyncClient
    from bacalhau.client.endpoint import Endpoint, resolve
    from bacalhau.client.records import LogLine, Submitted
    from bacalhau.client.sync import Client

__all__ = ["AsyncClient", "Client", "Endpoint", "LogLine", "Submitted", "resolve"]

_PLACES = {
    "AsyncClient": "aio",
    "Client": "sync",
    "Endpoint": "endpoint",
    "LogLine": "records",
    "Submitted": "records",
    "resolve": "endpoint",
}


def __getattr__(name: str) -> object:
    place = _PLACES.get(name)
    if place is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{place}"), name)

"""Bacalhau for Python: send the computation to where the data lies."""

__version__ = "0.1.0"

TYPE_CHECKING = False  # not from typing: this module is imported by every command
if TYPE_CHECKING:
    from bacalhau.client import AsyncClient, Client

__all__ = ["AsyncClient", "Client", "__version__"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from bacalhau import client

    return getattr(client, name)

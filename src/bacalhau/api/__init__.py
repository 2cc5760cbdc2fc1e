"""HTTP: requests in, the orchestrator's door called, Bacalhau's JSON out."""

from bacalhau.api.app import create_app

__all__ = ["create_app"]

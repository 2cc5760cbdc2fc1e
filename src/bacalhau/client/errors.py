"""Errors as they travel: the server's envelope becomes the same class of error again."""

import json
from collections.abc import Mapping
from typing import Any

from bacalhau.client.endpoint import Endpoint
from bacalhau.client.exchange import Broken, Head
from bacalhau.model.errors import (
    Ambiguous,
    Conflict,
    Error,
    Forbidden,
    Limit,
    NoChange,
    NotFound,
    Rejected,
    Unauthenticated,
    Unavailable,
)

_BY_CODE: Mapping[str, type[Error]] = {
    "NoChange": NoChange,
    "MultipleJobsFound": Ambiguous,
    "MultipleNodesFound": Ambiguous,
    "ConflictJobState": Conflict,
    "ConflictNodeState": Conflict,
    "ResourceInUse": Conflict,
    "RequestTooLarge": Limit,
}
_BY_STATUS: Mapping[int, type[Error]] = {
    400: Rejected,
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    405: Rejected,
    409: Conflict,
    413: Limit,
    429: Limit,
    503: Unavailable,
}
_CLASSES = (Rejected, Unauthenticated, Forbidden, NotFound, Ambiguous, Conflict, Limit, Unavailable)
_SHOWN_CHARS = 300


def error_of(envelope: Mapping[str, Any]) -> Error:
    """The error that an envelope describes: by its Code, else by its Status."""
    code = str(envelope.get("Code") or "")
    kind = _BY_CODE.get(code) or next((each for each in _CLASSES if each.code == code), None)
    if kind is None:
        kind = _BY_STATUS.get(int(envelope.get("Status") or 0), Error)
    message = str(envelope.get("Message") or "the server gave no reason")
    hint = str(envelope.get("Hint") or "")
    if issubclass(kind, Rejected):
        return kind(*message.split("\n"), hint=hint)
    return kind(message, hint=hint, details=envelope.get("Details") or {})


def raise_for(head: Head, body: bytes, endpoint: Endpoint) -> None:
    """Raise what the answer says went wrong; nothing when it is a success."""
    if head.status < 300:
        return
    try:
        envelope = json.loads(body)
    except ValueError:
        envelope = None
    if isinstance(envelope, dict) and "Message" in envelope:
        raise error_of({"Status": head.status, **envelope})
    if isinstance(envelope, dict) and isinstance(envelope.get("Error"), str):
        raise error_of({"Status": head.status, "Message": envelope["Error"]})
    shown = body[:_SHOWN_CHARS].decode("utf-8", "replace").strip()
    raise error_of(
        {
            "Status": head.status,
            "Message": f"{endpoint.url} answered {head.status}: {shown}".rstrip(": "),
            "Hint": "is this the address of a bacalhau server?",
        }
    )


def unreachable(endpoint: Endpoint, error: Exception) -> Unavailable:
    """The server cannot be talked to."""
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    if "CERTIFICATE_VERIFY_FAILED" in reason:
        hint = "name the authority to trust (API.TLS.CAFile, ca_file)"
    elif isinstance(error, Broken) and not endpoint.tls:
        hint = f"is this a bacalhau server? Perhaps it wants https://{endpoint.authority}"
    else:
        hint = (
            f"is 'bacalhau serve' running on {endpoint.authority}? "
            "Set BACALHAU_API_HOST and BACALHAU_API_PORT for another server."
        )
    return Unavailable(f"cannot reach {endpoint.url}: {reason}", hint=hint)

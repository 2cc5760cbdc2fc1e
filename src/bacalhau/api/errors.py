"""What an error is on the wire: one table from class to status, code and component.

Where Bacalhau answers 500 for something the caller did, we answer 4xx and keep its words:

| Case | Bacalhau | here |
|---|---|---|
| same spec without Force | 500, Code "" | 409 NoChange |
| stop of a completed or failed job | 500, Code "" or ConflictJobState | 409 ConflictJobState |
| ambiguous job id prefix | 500 MultipleJobsFound | 409 MultipleJobsFound |
| rerun of a job that has not started | 500, Code "" | 409 ConflictJobState |
| rerun of an unknown job or version | 400 BadRequest | 404 NotFound |
| bad order_by, unknown node action, results of a service | 500 InternalError | 400 BadRequest |
| diff without Job | 500 | 400 ValidationError |
| bad JSON, bad query, failed validation | 400 InternalError | 400 BadRequest, ValidationError |
"""

from typing import NamedTuple

from bacalhau.model.base import Record
from bacalhau.model.errors import (
    Ambiguous,
    Conflict,
    EngineFailed,
    Error,
    Forbidden,
    Limit,
    NoChange,
    NotFound,
    Rejected,
    Unauthenticated,
    Unavailable,
)


class BadRequest(Rejected):
    """The request cannot be read: its syntax, its query, its headers."""

    code = "BadRequest"


class NoRoute(NotFound):
    """Nothing is served at this path."""


class WrongMethod(Rejected):
    """Something is served at this path, but not by this method."""

    code = "MethodNotAllowed"


class TooLarge(Limit):
    """The body is beyond the limit."""

    code = "RequestTooLarge"


class TimedOut(Unavailable):
    """The handler did not finish within its time."""

    code = "TimeOut"


class AmbiguousJob(Ambiguous):
    code = "MultipleJobsFound"


class AmbiguousNode(Ambiguous):
    code = "MultipleNodesFound"


class NodeNotFound(NotFound):
    """There is no such node."""


class Envelope(Record, kw_only=True):
    """The body of every error."""

    status: int
    message: str
    request_id: str
    code: str
    component: str
    hint: str = ""
    details: dict[str, str] = {}


class Answer(NamedTuple):
    """`code` '' stands for the code of the error's class."""

    status: int
    component: str
    code: str = ""


TABLE: dict[type[Error], Answer] = {
    Rejected: Answer(400, "APIServer"),
    NoChange: Answer(409, "Bacalhau"),
    WrongMethod: Answer(405, "APIServer"),
    Unauthenticated: Answer(401, "Authorizer"),
    Forbidden: Answer(403, "Authorizer"),
    NotFound: Answer(404, "JobStore"),
    NoRoute: Answer(404, "APIServer"),
    NodeNotFound: Answer(404, "NodesManager"),
    Ambiguous: Answer(409, "JobStore"),
    AmbiguousNode: Answer(409, "NodesManager"),
    Conflict: Answer(409, "JobStore", "ConflictJobState"),
    Limit: Answer(429, "APIServer"),
    TooLarge: Answer(413, "APIServer"),
    Unavailable: Answer(503, "APIServer"),
    EngineFailed: Answer(502, "Executor"),
}

UNEXPECTED = Answer(500, "Unknown", "InternalError")


def answer(error: Error) -> Answer:
    """The table's row of the error's class, or of its nearest base there."""
    for kind in type(error).__mro__:
        row = TABLE.get(kind)
        if row is not None:
            return row._replace(code=row.code or error.code)
    return UNEXPECTED


def envelope(error: Exception, request_id: str) -> Envelope:
    """The body for this error. What we did not foresee tells nothing of our insides."""
    if not isinstance(error, Error):
        return Envelope(
            status=500,
            message="Internal server error",
            request_id=request_id,
            code=UNEXPECTED.code,
            component=UNEXPECTED.component,
            hint="this is a fault of the server; its log says more",
        )
    row = answer(error)
    return Envelope(
        status=row.status,
        message=error.message,
        request_id=request_id,
        code=row.code,
        component=row.component,
        hint=error.hint,
        details=error.details,
    )

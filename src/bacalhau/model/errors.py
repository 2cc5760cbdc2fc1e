"""The error tree. Core returns reasons; only shells raise.

Error
├── Rejected            the request itself is unacceptable; the caller must change it
│   └── NoChange        the submitted spec equals the stored one
├── Unauthenticated     no or bad credentials
├── Forbidden           good credentials without the right
├── NotFound            no such job, node, execution, object
├── Ambiguous           an ID prefix fits several
├── Conflict            the state does not allow it, or somebody else was faster
├── Limit               too big, too many, too often
├── Unavailable         try again later; nothing was lost
└── EngineFailed        a node could not carry out the work; carries a Fault
"""

from collections.abc import Mapping
from typing import ClassVar

from bacalhau.model.execution import Fault


class Error(Exception):
    """Something failed: what, with which value, and what to do about it.

    `code` is stable and documented; `message` says what failed and names the value;
    `hint` says what to do next.
    """

    code: ClassVar[str] = "InternalError"

    def __init__(
        self, message: str, *, hint: str = "", details: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details = dict(details or {})


class Rejected(Error):
    """The request is unacceptable as it stands. `reasons` lists every fault found."""

    code = "ValidationError"

    def __init__(self, *reasons: str, hint: str = "") -> None:
        super().__init__("\n".join(reasons), hint=hint)
        self.reasons = reasons


class NoChange(Rejected):
    """The submitted spec equals the stored one and nothing was forced."""

    code = "NoChange"


class Unauthenticated(Error):
    """No credentials, or credentials that are not valid."""

    code = "Unauthorized"


class Forbidden(Error):
    """Valid credentials that do not allow this action."""

    code = "Forbidden"


class NotFound(Error):
    """There is no such thing."""

    code = "NotFound"


class Ambiguous(Error):
    """A prefix fits more than one thing."""

    code = "MultipleFound"


class Conflict(Error):
    """The current state does not allow this, or a concurrent change won."""

    code = "Conflict"


class Limit(Error):
    """A documented limit was reached."""

    code = "ResourceExhausted"


class Unavailable(Error):
    """Cannot be done now; trying again is right."""

    code = "ServiceUnavailable"


class EngineFailed(Error):
    """A node could not carry out the work. `fault` goes into the execution's record."""

    code = "EngineFailed"

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message, hint=fault.hint)
        self.fault = fault

"""What only clients see: the answers that are not records of the model."""

from bacalhau.model.base import Record


class Submitted(Record, kw_only=True):
    """The server has the job, durably. `version` is 0 where the server does not tell."""

    job_id: str
    evaluation_id: str = ""
    version: int = 0
    warnings: tuple[str, ...] = ()


class LogLine(Record, kw_only=True):
    """A piece of output, mostly a line with its end: `source` 1 is stdout, 2 is stderr."""

    source: int
    text: str

"""What happened, to what, when, by whom: history, progress and audit in one."""

from enum import StrEnum

from bacalhau.model.base import Record


class Topic(StrEnum):
    """Bacalhau's topics; clients show them as they are."""

    SUBMISSION = "Submission"
    STATE = "State Update"
    SCHEDULING = "Scheduling"
    QUEUEING = "Queueing"
    EXEC_TIMEOUT = "Exec Timeout"
    JOB_TIMEOUT = "Job Timeout"
    EXECUTION = "Execution"
    SCANNING = "Exec Scanning"
    INPUTS = "Downloading Inputs"
    PREPARING = "Preparing Environment"
    RUNNING = "Running Execution"
    PUBLISHING = "Publishing Results"
    RESTART = "Restart"


class Event(Record, kw_only=True):
    """One fact in a job's history. `seq` is given by the store: 1, 2, 3 ... per job.

    `execution_id` is empty on job-level events. `time` is when it happened (ns).
    """

    job_id: str
    job_version: int
    topic: Topic
    message: str
    time: int
    execution_id: str = ""
    actor: str = ""
    details: dict[str, str] = {}
    seq: int = 0

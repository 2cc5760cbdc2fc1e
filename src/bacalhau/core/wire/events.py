"""A job's history as Bacalhau's JSON."""

from bacalhau.core.bind import bind
from bacalhau.core.wire.jobs import JSON
from bacalhau.core.wire.times import time_ns, time_text
from bacalhau.model.base import Record
from bacalhau.model.event import Event, Topic


class What(Record, kw_only=True):
    """What happened, as it is sent."""

    message: str = ""
    topic: str = ""
    details: dict[str, str] = {}


class Sent(Record, kw_only=True):
    """An item of a history as it is sent."""

    job_id: str
    job_version: int = 1
    execution_id: str = ""
    event: What
    seq_num: int = 0
    time: str = ""
    actor: str = ""


def event(event: Event) -> JSON:
    """The event as an item of a job's history."""
    when = time_text(event.time)
    view: JSON = {
        "SeqNum": event.seq,
        "Type": "ExecutionLevel" if event.execution_id else "JobLevel",
        "JobID": event.job_id,
        "JobVersion": event.job_version,
    }
    if event.execution_id:
        view["ExecutionID"] = event.execution_id
    what: JSON = {"Message": event.message, "Topic": event.topic.value, "Timestamp": when}
    if event.details:
        what["Details"] = event.details
    view["Event"] = what
    view["Time"] = when
    if event.actor:
        view["Actor"] = event.actor
    return view


def parse_event(obj: object) -> Event:
    """The event of that view; a topic that we do not know becomes `Execution`."""
    sent = bind(Sent, obj)
    known = sent.event.topic in set(Topic)
    return Event(
        job_id=sent.job_id,
        job_version=sent.job_version,
        topic=Topic(sent.event.topic) if known else Topic.EXECUTION,
        message=sent.event.message,
        time=time_ns(sent.time),
        execution_id=sent.execution_id,
        actor=sent.actor,
        details=sent.event.details,
        seq=sent.seq_num,
    )

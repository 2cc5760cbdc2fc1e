"""Every call of the API: what to ask, and how to read the answer. No input, no output."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from urllib.parse import quote, urlencode

from bacalhau import __version__
from bacalhau.client.endpoint import Endpoint
from bacalhau.client.exchange import Broken

TYPE_CHECKING = False  # not from typing, which takes long to import
if TYPE_CHECKING:
    from typing import Any, Generic, TypeVar

    from bacalhau.client.records import LogLine, Submitted
    from bacalhau.model.errors import Error
    from bacalhau.model.event import Event
    from bacalhau.model.execution import Execution
    from bacalhau.model.job import Job, JobSpec, SpecConfig
    from bacalhau.model.node import NodeInfo
    from bacalhau.model.plan import NodeView

    T = TypeVar("T")
    JSON = dict[str, Any]
    Spec = JobSpec | Mapping[str, Any]
    Page = tuple[list[T], str]

    class _Call(Generic[T]):
        """For the type checker: a call knows what it reads."""
else:
    # Subscripting it costs nothing at run time, unlike typing.Generic.
    class _Call:
        def __class_getitem__(cls, item):
            return cls


BASE = "/api/v1"
JOBS = "/orchestrator/jobs"
NODES = "/orchestrator/nodes"
USER_AGENT = f"bacalhau-python/{__version__}"


class Call(_Call["T"]):
    """One request; `read` turns the decoded JSON answer into what the caller wants."""

    __slots__ = ("body", "method", "path", "query", "read")

    def __init__(
        self,
        method: str,
        path: str,
        read: "Callable[[JSON], T]",
        query: "Mapping[str, Any] | None" = None,
        body: "JSON | None" = None,
    ) -> None:
        self.method = method
        self.path = path
        self.read = read
        self.query = query or {}
        self.body = body

    @property
    def target(self) -> str:
        """Path and query as they go into the request line; what is empty is left out."""
        pairs = []
        for key, value in self.query.items():
            if isinstance(value, bool):
                value = "true" if value else ""
            if value or (key == "revision" and value == 0):
                pairs.append((key, value))
        query = urlencode(pairs, doseq=True)
        return f"{BASE}{self.path}?{query}" if query else BASE + self.path

    @property
    def content(self) -> bytes | None:
        """The body's bytes."""
        if self.body is None:
            return None
        return json.dumps(self.body, separators=(",", ":")).encode()


def headers(endpoint: Endpoint) -> dict[str, str]:
    """What every request says besides what it asks."""
    return {
        "Host": endpoint.authority,
        "User-Agent": USER_AGENT,
        "Accept": "application/json",
        "Authorization": endpoint.authorization,
    }


def decode(content: bytes) -> "Any":
    """The JSON document of an answer. Raises Broken."""
    try:
        return json.loads(content)
    except ValueError:
        raise Broken("the answer is not JSON") from None


def raw(method: str, path: str, query: "Mapping[str, Any]", body: "JSON | None") -> "Call[JSON]":
    return Call(method, path, lambda answer: answer, query, body)


def submit(spec: "Spec", force: bool) -> "Call[Submitted]":
    return Call("PUT", JOBS, _submitted, body={"Job": _view(spec), "Force": force})


def submit_many(specs: "Iterable[Spec]") -> "Call[list[Submitted | Error]]":
    def read(answer: "JSON") -> "list[Submitted | Error]":
        from bacalhau.client.errors import error_of

        return [
            error_of(item["Error"]) if "Error" in item else _submitted(item)
            for item in answer["Items"]
        ]

    return Call("POST", f"{JOBS}/batch", read, body={"Jobs": [_view(spec) for spec in specs]})


def diff(spec: "Spec") -> "Call[tuple[str, tuple[str, ...]]]":
    def read(answer: "JSON") -> "tuple[str, tuple[str, ...]]":
        return answer["Diff"], tuple(answer["Warnings"] or ())

    return Call("PUT", f"{JOBS}/diff", read, body={"Job": _view(spec)})


def rerun(job_id: str, version: int, namespace: str) -> "Call[Submitted]":
    body = {"JobVersion": version, "Namespace": namespace}
    return Call("PUT", f"{_job(job_id)}/rerun", _submitted, body=body)


def stop(job_id: str, reason: str, namespace: str) -> "Call[str]":
    return Call(
        "DELETE",
        _job(job_id),
        lambda answer: str(answer["EvaluationID"]),
        {"namespace": namespace},
        {"reason": reason},
    )


def job(job_id: str, version: int, namespace: str) -> "Call[Job]":
    query = {"job_version": version, "namespace": namespace}
    return Call("GET", _job(job_id), _read_job, query)


def wait(job_id: str, revision: int, timeout_s: int, namespace: str) -> "Call[Job]":
    query = {"revision": revision, "timeout": timeout_s, "namespace": namespace}
    return Call("GET", f"{_job(job_id)}/wait", _read_job, query)


def jobs(
    namespace: str, labels: Sequence[str], order_by: str, reverse: bool, limit: int, token: str
) -> "Call[Page[Job]]":
    def read(answer: "JSON") -> "Page[Job]":
        from bacalhau.core.wire import parse_job

        return _page(answer, parse_job)

    query = {
        "namespace": namespace,
        "labels": list(labels),
        "order_by": order_by,
        "reverse": reverse,
        "limit": limit,
        "next_token": token,
    }
    return Call("GET", JOBS, read, query)


def executions(
    job_id: str, version: int, all_versions: bool, namespace: str, token: str
) -> "Call[Page[Execution]]":
    def read(answer: "JSON") -> "Page[Execution]":
        from bacalhau.core.wire import parse_execution

        return _page(answer, parse_execution)

    query = {
        "job_version": version,
        "all_job_versions": all_versions,
        "namespace": namespace,
        "next_token": token,
    }
    return Call("GET", f"{_job(job_id)}/executions", read, query)


def history(
    job_id: str, execution_id: str, kind: str, version: int, namespace: str, limit: int, token: str
) -> "Call[Page[Event]]":
    def read(answer: "JSON") -> "Page[Event]":
        from bacalhau.core.wire import parse_event

        return _page(answer, parse_event)

    query = {
        "execution_id": execution_id,
        "event_type": kind,
        "job_version": version,
        "namespace": namespace,
        "limit": limit,
        "next_token": token,
    }
    return Call("GET", f"{_job(job_id)}/history", read, query)


def versions(job_id: str, namespace: str) -> "Call[list[Job]]":
    def read(answer: "JSON") -> "list[Job]":
        from bacalhau.core.wire import parse_job

        return _page(answer, parse_job)[0]

    return Call("GET", f"{_job(job_id)}/versions", read, {"namespace": namespace})


def results(job_id: str, namespace: str) -> "Call[list[SpecConfig]]":
    def read(answer: "JSON") -> "list[SpecConfig]":
        from bacalhau.core.bind import bind
        from bacalhau.model.job import SpecConfig

        return [bind(SpecConfig, item) for item in answer["Items"]]

    return Call("GET", f"{_job(job_id)}/results", read, {"namespace": namespace})


def logs(
    job_id: str, execution_id: str, version: int, follow: bool, tail: bool, namespace: str
) -> "Call[None]":
    """The upgrade request; the messages that follow are read by read_line()."""
    query = {
        "execution_id": execution_id,
        "job_version": version,
        "follow": follow,
        "tail": tail,
        "namespace": namespace,
    }
    return Call("GET", f"{_job(job_id)}/logs", lambda answer: None, query)


def read_line(message: bytes) -> "LogLine":
    """A message of a log stream. Raises the error that it carries."""
    from bacalhau.client.errors import error_of
    from bacalhau.client.records import LogLine

    frame = json.loads(message)
    if frame.get("error"):
        raise error_of({"Code": frame.get("code", ""), "Message": frame["error"]})
    return LogLine(source=frame["value"]["Type"], text=frame["value"]["Line"])


def nodes(labels: Sequence[str], approval: str, status: str) -> "Call[list[NodeView]]":
    def read(answer: "JSON") -> "list[NodeView]":
        from bacalhau.core.wire import parse_node

        return [parse_node(item) for item in answer["Nodes"]]

    query = {"labels": list(labels), "filter-approval": approval, "filter-status": status}
    return Call("GET", NODES, read, query)


def node(node_id: str) -> "Call[NodeView]":
    def read(answer: "JSON") -> "NodeView":
        from bacalhau.core.wire import parse_node

        return parse_node(answer["Node"])

    return Call("GET", f"{NODES}/{quote(node_id, safe='')}", read)


def update_node(node_id: str, action: str, message: str) -> "Call[None]":
    body = {"Action": action, "Message": message}
    return Call("PUT", f"{NODES}/{quote(node_id, safe='')}", lambda answer: None, body=body)


def node_info() -> "Call[NodeInfo]":
    def read(answer: "JSON") -> "NodeInfo":
        from bacalhau.core.wire import parse_node_info

        return parse_node_info(answer)

    return Call("GET", "/agent/node", read)


def alive() -> "Call[bool]":
    return Call("GET", "/agent/alive", lambda answer: answer.get("Status") == "OK")


def version() -> "Call[JSON]":
    return raw("GET", "/agent/version", {}, None)


def config() -> "Call[JSON]":
    return Call("GET", "/agent/config", lambda answer: answer["config"])


def _job(job_id: str) -> str:
    if not job_id:
        from bacalhau.model.errors import Rejected

        raise Rejected("empty job id", hint="give a job's id, the beginning of it, or its name")
    return f"{JOBS}/{quote(job_id, safe='')}"


def _view(spec: "Spec") -> "JSON":
    if isinstance(spec, Mapping):
        # A job file may wrap the job, as the API does.
        return dict(spec)
    from bacalhau.core.wire import spec as view
    from bacalhau.model.errors import Rejected
    from bacalhau.model.job import JobSpec

    if not isinstance(spec, JobSpec):
        raise Rejected(
            f"a job is a mapping or a JobSpec, not {type(spec).__name__}",
            hint="Job files are read with bacalhau.core.jobfile.load.",
        )
    return view(spec)


def _submitted(answer: "JSON") -> "Submitted":
    from bacalhau.client.records import Submitted

    return Submitted(
        job_id=answer["JobID"],
        evaluation_id=answer["EvaluationID"],
        version=answer.get("JobVersion", 0),
        warnings=tuple(answer.get("Warnings") or ()),
    )


def _read_job(answer: "JSON") -> "Job":
    from bacalhau.core.wire import parse_job

    return parse_job(answer["Job"])


def _page(answer: "JSON", parse: "Callable[[object], T]") -> "Page[T]":
    return [parse(item) for item in answer["Items"] or ()], answer["NextToken"]

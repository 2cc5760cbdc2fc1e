"""Every route of the API: what is served, to whom, and what the document says of it."""

from bacalhau.api import agent, history, jobs, logs, nodes, objects
from bacalhau.api.query import Param
from bacalhau.api.reply import Reply
from bacalhau.api.request import Request
from bacalhau.api.routes import BASE, HANDLER_TIME_S, Handler, Route
from bacalhau.api.signin import Signin
from bacalhau.model.policy import Action, Resource
from bacalhau.ports.cluster import Cluster

READ_JOB = (Action.READ, Resource.JOB)
WRITE_JOB = (Action.WRITE, Resource.JOB)
READ_NODE = (Action.READ, Resource.NODE)
WRITE_NODE = (Action.WRITE, Resource.NODE)
READ_AGENT = (Action.READ, Resource.AGENT)

JOBS = f"{BASE}/orchestrator/jobs"
NODES = f"{BASE}/orchestrator/nodes"
AGENT = f"{BASE}/agent"
OBJECT = f"{BASE}/objects/{{key:path}}"
LOGS = f"{JOBS}/{{id}}/logs"
DOCUMENT = f"{BASE}/openapi.json"

NAMESPACE = Param("namespace", description="Where names are looked up; absent: default.")
LIMIT = Param("limit", "number", "At most so many items.")
NEXT_TOKEN = Param("next_token", description="NextToken of the page before.")
ORDER_BY = Param("order_by")
REVERSE = Param("reverse", "flag")
LABELS = Param("labels", "texts", "Label selector; repeated ones must all hold.")
VERSION = Param("job_version", "number", "0 or absent: the latest version.")
ALL_VERSIONS = Param("all_job_versions", "flag")
EXECUTION = Param("execution_id")
REASON = Param("reason", description="Why; the body's reason comes first.")
SIGNED = (Param("expires"), Param("signature"))


def routes(signin: Signin, document: Handler, time_s: float = HANDLER_TIME_S) -> tuple[Route, ...]:
    """The whole table. `document` serves the OpenAPI document that is made from it."""
    return (
        *_jobs(time_s),
        *_nodes(time_s),
        *_agent(time_s),
        *_signin(signin, time_s),
        Route(
            method="PUT", path=OBJECT, handler=objects.put, access=None, name="putObject",
            summary="Upload to a signed URL", params=SIGNED, takes="upload", gives="Stored",
            time_s=0,
        ),
        Route(
            method="GET", path=OBJECT, handler=objects.get, access=None, name="getObject",
            summary="Download from a signed URL", params=SIGNED, gives="download", time_s=0,
        ),
        Route(
            method="GET", path=DOCUMENT, handler=document, access=None, name="openapi",
            summary="This document", gives="object",
        ),
        _moved("/", f"{AGENT}/version", "root"),
        _moved("/version", f"{AGENT}/version", "plainVersion"),
        _moved("/livez", f"{AGENT}/alive", "livez"),
    )  # fmt: skip


def _jobs(time_s: float) -> tuple[Route, ...]:
    def job(
        method: str, path: str, handler: Handler, name: str, summary: str, *params: Param,
        takes: str = "", gives: str = "", time_s: float = time_s,
    ) -> Route:  # fmt: skip
        return Route(
            method=method, path=JOBS + path, handler=handler, name=name, summary=summary,
            access=READ_JOB if method == "GET" else WRITE_JOB,
            params=params, takes=takes, gives=gives, time_s=time_s,
        )  # fmt: skip

    page = (LIMIT, NEXT_TOKEN, ORDER_BY, REVERSE)
    return (
        job("PUT", "", jobs.submit, "putJob", "Submit a job, or update the one of its name",
            takes="PutJobRequest", gives="PutJobResponse"),
        job("POST", "", jobs.submit, "postJob", "Submit a job, or update the one of its name",
            takes="PutJobRequest", gives="PutJobResponse"),
        job("POST", "/batch", jobs.submit_many, "putJobs", "Submit many jobs in one write",
            takes="PutJobsRequest", gives="PutJobsResponse"),
        job("PUT", "/diff", jobs.diff, "diffJob", "Compare a job with the stored one of its name",
            takes="DiffJobRequest", gives="DiffJobResponse"),
        job("GET", "", jobs.list_jobs, "listJobs", "List jobs",
            NAMESPACE, LABELS, *page, gives="JobList"),
        job("GET", "/{id}", jobs.get, "getJob", "One job by name, id or id prefix",
            NAMESPACE, VERSION, Param("include", description="history, executions"), LIMIT,
            gives="GetJobResponse"),
        job("DELETE", "/{id}", jobs.stop, "stopJob", "Stop a job; it is kept",
            NAMESPACE, REASON, takes="StopJobRequest?", gives="StopJobResponse"),
        job("PUT", "/{id}/rerun", jobs.rerun, "rerunJob", "Run a version again as a new one",
            takes="RerunJobRequest?", gives="RerunJobResponse"),
        job("GET", "/{id}/wait", jobs.wait, "waitJob",
            "The job as soon as its revision is newer than that, or when the time is over",
            NAMESPACE, Param("revision", "number"),
            Param("timeout", "number", f"Seconds, at most {jobs.MAX_WAIT_S}."),
            gives="WaitJobResponse", time_s=0),
        job("GET", "/{id}/history", history.history, "jobHistory", "What happened to a job",
            NAMESPACE, VERSION, ALL_VERSIONS, EXECUTION, LIMIT, NEXT_TOKEN,
            Param("event_type", description="all, job or execution"),
            Param("since", "number", "Unix seconds"), gives="HistoryList"),
        job("GET", "/{id}/executions", history.executions, "jobExecutions",
            "A job's executions", NAMESPACE, VERSION, ALL_VERSIONS, *page, gives="ExecutionList"),
        job("GET", "/{id}/versions", jobs.versions, "jobVersions", "A job's versions",
            NAMESPACE, *page, gives="JobList"),
        job("GET", "/{id}/results", jobs.results, "jobResults", "Where a job's results are",
            NAMESPACE, gives="ResultList"),
        job("GET", "/{id}/logs", logs.without_upgrade, "jobLogs",
            "Output of an execution, over a WebSocket", NAMESPACE, VERSION, ALL_VERSIONS,
            EXECUTION, Param("tail", "flag", "Only new output."),
            Param("follow", "flag", "Until the execution ends.")),
    )  # fmt: skip


def _nodes(time_s: float) -> tuple[Route, ...]:
    return (
        Route(
            method="GET", path=NODES, handler=nodes.list_nodes, access=READ_NODE,
            name="listNodes", summary="List nodes", gives="NodeList", time_s=time_s,
            params=(LABELS, Param("filter-approval"), Param("filter-status"), ORDER_BY, REVERSE,
                    LIMIT),
        ),
        Route(
            method="GET", path=f"{NODES}/{{id}}", handler=nodes.get, access=READ_NODE,
            name="getNode", summary="One node by id or id prefix", gives="GetNodeResponse",
            time_s=time_s,
        ),
        Route(
            method="PUT", path=f"{NODES}/{{id}}", handler=nodes.update, access=WRITE_NODE,
            name="updateNode", summary="Approve, reject or delete a node",
            takes="PutNodeRequest", gives="PutNodeResponse", time_s=time_s,
        ),
    )  # fmt: skip


def _agent(time_s: float) -> tuple[Route, ...]:
    rows = (
        ("alive", agent.alive, None, "Is the server there?", "Alive"),
        ("version", agent.version, None, "Version of the server", "BuildVersion"),
        ("authconfig", agent.authconfig, None, "Single sign-on of this server", "AuthConfig"),
        ("node", agent.node, READ_AGENT, "What this node is", "NodeInfo"),
        ("config", agent.config, READ_AGENT, "The configuration, secrets masked", "ConfigView"),
        ("debug", agent.debug, READ_AGENT, "Figures for finding faults", "object"),
    )
    return tuple(
        Route(
            method="GET", path=f"{AGENT}/{word}", handler=handler, access=access,
            name=f"agent{word.capitalize()}", summary=summary, gives=gives, time_s=time_s,
        )
        for word, handler, access, summary, gives in rows
    )  # fmt: skip


def _signin(signin: Signin, time_s: float) -> tuple[Route, ...]:
    return (
        Route(
            method="GET", path=f"{BASE}/auth", handler=signin.methods, access=None,
            name="listAuthMethods", summary="Ways to a token", gives="AuthMethods", time_s=time_s,
        ),
        Route(
            method="GET", path=f"{BASE}/auth/{{method}}", handler=signin.method, access=None,
            name="getAuthMethod", summary="One way to a token", gives="AuthMethod", time_s=time_s,
        ),
        Route(
            method="POST", path=f"{BASE}/auth/{{method}}", handler=signin.answer, access=None,
            name="authenticate", summary="Get a token", takes="AuthRequest",
            gives="AuthResponse", time_s=time_s,
        ),
    )  # fmt: skip


def _moved(path: str, to: str, name: str) -> Route:
    async def move(cluster: Cluster, request: Request) -> Reply:
        return Reply(status=301, body={"Location": to}, headers=((b"location", to.encode()),))

    return Route(
        method="GET", path=path, handler=move, access=None, name=name, summary=f"Moved to {to}"
    )

"""The OpenAPI document: made from the route table and the records' own schemas."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from bacalhau import __version__
from bacalhau.api.errors import Envelope
from bacalhau.api.history import MAX_EXECUTIONS
from bacalhau.api.jobs import MAX_BATCH, RerunBody, StopBody
from bacalhau.api.nodes import ACTIONS
from bacalhau.api.query import Param
from bacalhau.api.routes import Route
from bacalhau.api.signin import SigninBody
from bacalhau.model.job import JobSpec, SpecConfig

_REF = "#/components/schemas/{name}"
_TEXT = {"type": "string"}
_COUNT = {"type": "integer"}
_TEXTS = {"type": "object", "additionalProperties": _TEXT}
_OBJECT = {"type": "object"}
_WARNINGS = {"anyOf": [{"type": "array", "items": _TEXT}, {"type": "null"}]}

_QUERY_KINDS: Mapping[str, Mapping[str, Any]] = {
    "text": {"type": "string"},
    "texts": {"type": "array", "items": _TEXT},
    "flag": {"type": "boolean"},
    "number": {"type": "integer", "minimum": 0, "maximum": 2**63 - 1},
}

_BINARY = {"upload": "application/octet-stream", "download": "application/gzip"}

_STATUSES = {
    "400": "The request is not acceptable.",
    "401": "Credentials are missing or wrong.",
    "403": "The credentials do not allow this, or the client is too old.",
    "404": "There is no such thing.",
    "405": "Not by this method.",
    "409": "The state does not allow it, or it is ambiguous.",
    "413": "The body is too large.",
    "429": "Too often, or too many.",
    "503": "Not now; try again.",
}


def document(routes: Iterable[Route]) -> dict[str, Any]:
    """The document that describes these routes."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        path = route.path.replace(":path}", "}")
        paths.setdefault(path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Bacalhau for Python",
            "version": __version__,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "basic": {"type": "http", "scheme": "basic"},
            },
        },
    }


def _operation(route: Route) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.summary,
        "parameters": [*_path_params(route.path), *map(_query_param, route.params)],
        "responses": {**_success(route), **_failures()},
        "security": [{"bearer": []}, {"basic": []}, {}] if route.access else [],
    }
    if route.takes:
        name = route.takes.rstrip("?")
        operation["requestBody"] = {
            "required": not route.takes.endswith("?"),
            "content": _content(name),
        }
    return operation


def _success(route: Route) -> dict[str, Any]:
    if not route.gives:
        moved = {"Location": {"schema": _TEXT}}
        is_move = route.path in ("/", "/version", "/livez")
        return {"301": {"description": route.summary, "headers": moved}} if is_move else {}
    done = {"description": "Done.", "content": _content(route.gives)}
    if route.gives in _BINARY:
        return {"200": done, "206": {**done, "description": "The part that was asked for."}}
    return {"200": done}


def _content(name: str) -> dict[str, Any]:
    if name in _BINARY:
        return {_BINARY[name]: {"schema": {}}}
    schema = _OBJECT if name == "object" else {"$ref": _REF.format(name=name)}
    return {"application/json": {"schema": schema}}


def _failures() -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": _REF.format(name="Error")}}}
    return {status: {"description": text, "content": content} for status, text in _STATUSES.items()}


def _path_params(path: str) -> list[dict[str, Any]]:
    return [
        {
            "name": segment[1:-1].partition(":")[0],
            "in": "path",
            "required": True,
            "schema": {"type": "string", "minLength": 1},
        }
        for segment in path.split("/")
        if segment.startswith("{")
    ]


def _query_param(param: Param) -> dict[str, Any]:
    entry = {"name": param.name, "in": "query", "schema": _QUERY_KINDS[param.kind]}
    return {**entry, "description": param.description} if param.description else entry


def _schemas() -> dict[str, Any]:
    """The records' schemas, and those of what is wrapped around them on the wire."""
    records = (JobSpec, SpecConfig, Envelope, StopBody, RerunBody, SigninBody)
    _, found = msgspec.json.schema_components(records, ref_template=_REF)
    renamed = {
        "Envelope": "ErrorEnvelope",
        "StopBody": "StopJobRequest",
        "RerunBody": "RerunJobRequest",
        "SigninBody": "AuthRequest",
    }
    schemas = {renamed.get(name, name): schema for name, schema in found.items()}
    return {**schemas, **_requests(), **_replies(), **_errors()}


def _requests() -> dict[str, Any]:
    spec = _ref("JobSpec")
    return {
        "PutJobRequest": _record({"Job": spec}, {"Force": {"type": "boolean"}}),
        "PutJobsRequest": _record(
            {"Jobs": {"type": "array", "items": spec, "minItems": 1, "maxItems": MAX_BATCH}}
        ),
        "DiffJobRequest": _record({"Job": spec}),
        "PutNodeRequest": _record(
            {"Action": {"type": "string", "enum": list(ACTIONS)}}, {"Message": _TEXT}
        ),
    }


def _replies() -> dict[str, Any]:
    job = _ref("Job")
    submitted = {"JobID": _TEXT, "EvaluationID": _TEXT, "Warnings": _WARNINGS}
    return {
        "PutJobResponse": _record(submitted),
        "PutJobsResponse": _record(
            {
                "Items": {
                    "type": "array",
                    "items": {
                        "anyOf": [_record(submitted), _record({"Error": _ref("ErrorEnvelope")})]
                    },
                }
            }
        ),
        "DiffJobResponse": _record({"Diff": _TEXT, "Warnings": _WARNINGS}),
        "StopJobResponse": _record({"EvaluationID": _TEXT}),
        "RerunJobResponse": _record({**submitted, "JobVersion": _COUNT}),
        "Job": _job(),
        "GetJobResponse": _record({"Job": job}, {"History": _OBJECT, "Executions": _OBJECT}),
        "WaitJobResponse": _record({"Job": job}),
        "JobList": _page(job),
        "Event": _record(
            {"SeqNum": _COUNT, "Type": _TEXT, "JobID": _TEXT, "JobVersion": _COUNT,
             "Event": _OBJECT, "Time": _TEXT},
            {"ExecutionID": _TEXT},
        ),
        "HistoryList": _page(_ref("Event")),
        "Execution": _execution(),
        "ExecutionList": _page(_ref("Execution"), MAX_EXECUTIONS),
        "ResultList": _page(_ref("SpecConfig")),
        **_node_replies(),
        "AuthMethods": _record({"NextToken": _TEXT, "Methods": _OBJECT}),
        "AuthMethod": _record({"type": _TEXT, "params": _OBJECT}),
        "AuthResponse": _record({"Authentication": _OBJECT}),
        "Stored": _record({"Key": _TEXT, "Size": _COUNT, "SHA256": _TEXT}),
    }  # fmt: skip


def _node_replies() -> dict[str, Any]:
    node = _ref("Node")
    info = {"NodeID": _TEXT, "NodeType": _TEXT, "Labels": _TEXTS, "SupportedProtocols": {},
            "ComputeNodeInfo": _OBJECT, "BacalhauVersion": _OBJECT}  # fmt: skip
    return {
        "NodeInfo": _record(info),
        "Node": _record(
            {"Info": _ref("NodeInfo"), "Membership": _TEXT, "Connection": _TEXT,
             "ConnectionState": _OBJECT}
        ),
        "NodeList": _record({"NextToken": _TEXT, "Nodes": {"type": "array", "items": node}}),
        "GetNodeResponse": _record({"Node": node}),
        "PutNodeResponse": _record({"Success": {"type": "boolean"}}),
        "Alive": _record({"Status": _TEXT}),
        "BuildVersion": _record({"GitVersion": _TEXT, "GOOS": _TEXT, "GOARCH": _TEXT}),
        "AuthConfig": _record({"Version": _TEXT, "Config": _OBJECT}),
        "ConfigView": _record({"config": _OBJECT}),
    }  # fmt: skip


def _errors() -> dict[str, Any]:
    """Errors have one shape, but for the version check and a refused sign-in (Bacalhau's)."""
    return {
        "VersionRefusal": _record({"Error": _TEXT}),
        "Error": {
            "anyOf": [_ref("ErrorEnvelope"), _ref("VersionRefusal"), _ref("AuthResponse")],
        },
    }


def _job() -> dict[str, Any]:
    return _record(
        {
            "ID": _TEXT, "Name": _TEXT, "Namespace": _TEXT, "Type": _TEXT, "Priority": _COUNT,
            "Count": _COUNT, "Constraints": {"type": "array"}, "Meta": _TEXTS, "Labels": _TEXTS,
            "Tasks": {"type": "array", "items": _ref("Task")},
            "State": _record({"StateType": _TEXT}, {"Message": _TEXT}),
            "Version": _COUNT, "Revision": _COUNT, "CreateTime": _COUNT, "ModifyTime": _COUNT,
        },
        {"Retry": _ref("Retry")},
    )  # fmt: skip


def _execution() -> dict[str, Any]:
    state = _record({"StateType": _COUNT}, {"Message": _TEXT})
    return _record(
        {
            "ID": _TEXT, "Namespace": _TEXT, "NodeID": _TEXT, "JobID": _TEXT,
            "JobVersion": _COUNT, "DesiredState": state, "ComputeState": state,
            "PublishedResult": _ref("SpecConfig"), "RunOutput": _OBJECT, "Revision": _COUNT,
            "CreateTime": _COUNT, "ModifyTime": _COUNT,
        },
        {"Job": _ref("Job"), "PartitionIndex": _COUNT},
    )  # fmt: skip


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": _REF.format(name=name)}


def _page(item: Mapping[str, Any], at_most: int = 0) -> dict[str, Any]:
    items = {"type": "array", "items": item}
    return _record(
        {"NextToken": _TEXT, "Items": {**items, "maxItems": at_most} if at_most else items}
    )


def _record(
    required: Mapping[str, Any], optional: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": list(required),
    }

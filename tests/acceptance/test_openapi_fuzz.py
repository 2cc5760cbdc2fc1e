"""Whatever is sent to the API: an answer as its own document describes, and never a 5xx."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from bacalhau.api.openapi import document
from bacalhau.api.signin import Signin
from bacalhau.api.table import routes
from bacalhau.auth.guard import Guard
from bacalhau.testing.served import Served, served

EXAMPLES = 20
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
RELAXED = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)


async def _nothing(*_: object) -> Any:
    """Stands for the document's own handler, which is not called."""


TABLE = routes(Signin(Guard(admin="")), _nothing)
DOCUMENT = document(TABLE)
schema = schemathesis.openapi.from_dict(DOCUMENT)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("data"), {"API.MaxBodySize": "1MB"}) as here:
        yield here
        assert here.get("/agent/alive").status == 200
        job = here.finish(here.submit())
        assert job["State"]["StateType"] == "Completed"


def check(server: Served, method: str, path: str, body: bytes | None, kind: str) -> None:
    answer = server.ask(method, path, body, {"Content-Type": kind} if body is not None else {})
    assert answer.status < 500, (method, path, body, answer.body)
    if answer.status >= 400 and method != "HEAD":
        envelope = answer.json
        assert envelope["Status"] == answer.status
        assert envelope["Message"]
        assert envelope["Code"]


@schema.parametrize()
@RELAXED
def test_answers_are_as_the_document_says(case: schemathesis.Case, server: Served) -> None:
    case.call_and_validate(base_url=server.url, checks=CHECKS)


texts = st.text(max_size=20) | st.sampled_from(["", "..", "%", "\0", "j-", "e-1", "clientkey"])


@given(
    st.sampled_from(["GET", "PUT", "POST", "DELETE", "HEAD", "PATCH", "OPTIONS", "BREW"]),
    st.sampled_from([route.path for route in TABLE]),
    st.lists(texts, min_size=1, max_size=1),
    st.none() | st.binary(max_size=200),
    st.sampled_from(["application/json", "text/plain", "application/octet-stream", "", "x/y;"]),
)
@RELAXED
def test_any_bytes_at_any_route_get_an_envelope(
    server: Served, method: str, route: str, value: list[str], body: bytes | None, kind: str
) -> None:
    path = "/".join(quoted(value[0]) if part.startswith("{") else part for part in route.split("/"))
    check(server, method, path or "/", body, kind)


@given(
    st.sampled_from([route.path for route in TABLE]),
    st.dictionaries(
        st.sampled_from(
            ["limit", "next_token", "labels", "job_version", "since", "order_by", "revision",
             "timeout", "follow", "expires", "signature", "namespace", "include", "event_type"]
        ),
        st.binary(max_size=30) | st.integers(-5, 2**70).map(lambda n: str(n).encode()),
        max_size=4,
    ),
)  # fmt: skip
@RELAXED
def test_any_query_at_any_route_gets_an_envelope(
    server: Served, route: str, query: dict[str, bytes]
) -> None:
    path = "/".join("x" if part.startswith("{") else part for part in route.split("/"))
    pairs = "&".join(f"{name}={quoted(value)}" for name, value in query.items())
    check(server, "GET", f"{path or '/'}?{pairs}", None, "")


def quoted(value: str | bytes) -> str:
    data = value.encode() if isinstance(value, str) else value
    return "".join(f"%{byte:02x}" for byte in data)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner),
    max_leaves=20,
)
KEYS = st.sampled_from(
    ["Job", "Jobs", "Type", "Tasks", "Engine", "Params", "Count", "Meta", "Constraints", "Key",
     "Operator", "Values", "Resources", "CPU", "Network", "Ports", "Timeouts", "Retry", "Name",
     "InputSources", "ResultPaths", "Env", "Force", "Action", "Message", "MethodData", "reason"]
)  # fmt: skip
JOBLIKE = st.recursive(
    st.none()
    | st.integers(-5, 2**65)
    | st.floats()
    | st.sampled_from(["batch", "ops", "daemon", "noop", "", "500m", "in", "x", "\0", "Host"])
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=6),
    max_leaves=30,
)


@given(
    st.sampled_from([(route.method, route.path) for route in TABLE if route.takes]),
    JSON | JOBLIKE | st.fixed_dictionaries({"Job": JOBLIKE}),
)
@settings(RELAXED, max_examples=200)
def test_any_json_at_any_route_gets_an_envelope(
    server: Served, route: tuple[str, str], body: Any
) -> None:
    path = "/".join("x" if part.startswith("{") else part for part in route[1].split("/"))
    check(server, route[0], path, json.dumps(body).encode(), "application/json")


@given(st.binary(max_size=300))
@RELAXED
def test_any_bytes_on_a_connection_leave_the_server_well(server: Served, data: bytes) -> None:
    assert not server.raw(data).startswith(b"HTTP/1.1 5")

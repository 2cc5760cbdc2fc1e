"""Bad input over HTTP: the envelope, a fitting 4xx, and a server that goes on."""

import asyncio
import json
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from bacalhau.api import errors
from bacalhau.api.app import Api
from bacalhau.api.limits import MAX_ADDRESSES, Rate
from bacalhau.api.reply import escape
from bacalhau.auth.guard import Guard
from bacalhau.model import errors as model
from bacalhau.testing.served import NOOP, Served, served

JOBS = "/api/v1/orchestrator/jobs"
LIMIT = 100_000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    settings = {"API.MaxBodySize": str(LIMIT)}
    with served(tmp_path_factory.mktemp("data"), settings) as here:
        yield here


def check(answer: Any, status: int) -> Any:
    """The envelope, which must be whole."""
    assert answer.status == status, answer.body
    envelope = answer.json
    assert list(envelope)[:5] == ["Status", "Message", "RequestID", "Code", "Component"]
    assert set(envelope) <= {"Status", "Message", "RequestID", "Code", "Component", "Hint",
                             "Details"}  # fmt: skip
    assert envelope["Status"] == status
    assert envelope["Message"]
    assert envelope["Code"]
    return envelope


def test_every_error_of_the_model_has_a_status_that_is_not_500() -> None:
    def below(kind: type[model.Error]) -> Iterator[type[model.Error]]:
        for each in kind.__subclasses__():
            yield each
            yield from below(each)

    for kind in below(model.Error):
        row = errors.answer(kind.__new__(kind))
        assert row.status != 500, kind
        assert row.code
    assert errors.answer(model.Error("x")).status == 500


def test_what_nobody_foresaw_tells_nothing_of_our_insides() -> None:
    envelope = errors.envelope(KeyError("secret"), "r")
    assert envelope.status == 500
    assert "secret" not in envelope.message + envelope.hint


def test_the_request_id_of_an_error_is_the_clients(server: Served) -> None:
    assert check(server.get("/orchestrator/jobs/x", **{"X-Request-Id": "me"}), 404)[
        "RequestID"
    ] == "me"  # fmt: skip
    assert check(server.get("/orchestrator/jobs/x"), 404)["RequestID"] == ""


@pytest.mark.parametrize(
    "path",
    ["/nothing", "/api/v1/id", "/api/v1/agent/license", "/api/v1/orchestrator/jobs/a/b/c",
     "/api/v1/objects", "//api/v1/agent/alive", "/api/v1/orchestrator/jobs//history"],
)  # fmt: skip
def test_unknown_paths_are_not_found_with_a_hint(server: Served, path: str) -> None:
    envelope = check(server.ask("GET", path), 404)
    assert envelope["Component"] == "APIServer"
    assert envelope["Hint"]
    assert envelope["Details"]["cli_usage"]


def test_a_wrong_method_names_the_right_ones(server: Served) -> None:
    assert "GET" in check(server.ask("PATCH", JOBS), 405)["Hint"]
    options = server.ask("OPTIONS", JOBS)
    assert (options.status, options.headers["allow"]) == (204, "GET, POST, PUT")


@pytest.mark.parametrize(
    "path",
    [
        "/orchestrator/jobs?limit=-1",
        "/orchestrator/jobs?limit=ten",
        "/orchestrator/jobs?limit=99999999999999999999",
        "/orchestrator/jobs?order_by=id",
        "/orchestrator/jobs?labels=a%20b%20c%20=",
        "/orchestrator/jobs?next_token=***",
        "/orchestrator/jobs?next_token=aaaa",
        "/orchestrator/jobs?next_token=Y3JlYXRlZF9hdDpOOjU6fiUlJQ",
        "/orchestrator/jobs?namespace=%ff",
        "/orchestrator/jobs?namespace=%00",
        "/orchestrator/jobs?" + "&".join(f"a{n}=1" for n in range(1000)),
        "/orchestrator/jobs/%ff",
        "/orchestrator/jobs/%00",
        "/orchestrator/jobs/" + "x" * 9000,
    ],
)
def test_queries_and_paths_that_make_no_sense_are_bad_requests(server: Served, path: str) -> None:
    assert check(server.get(path), 400)["Code"] in ("BadRequest", "ValidationError")


@pytest.mark.parametrize(
    "path", ["/history?event_type=some", "/history?since=x", "/history?next_token=?",
             "/executions?next_token=x", "/logs", "/wait?timeout=soon"]
)  # fmt: skip
def test_the_parts_of_a_job_check_their_queries_too(server: Served, path: str) -> None:
    check(server.get(f"/orchestrator/jobs/{server.submit()}{path}"), 400)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"null", b"5", b"[]", b'"text"', b"{", b"{}", b'{"Job":5}', b'{"Job":null}',
        b'{"Job":[]}', b'{"Job":{}}', b'\xff\xfe', b'{"Job":{"Type":"batch"}}',
        b'{"Job":{"Type":"Batch","Tasks":"x"}}', b'{"Force":"yes","Job":{"Type":"batch"}}',
        b"[" * 50_000, b'{"Job":' * 5_000, b'{"Job":{"Name":"\\ud800","Type":"batch"}}',
        b'{"Job":{"Name":"a\\u0000b","Type":"batch"}}', b'{"Job":{"Count":1e400,"Type":"batch"}}',
        b'{"Job":{"Count":' + b"9" * 5_000 + b',"Type":"batch"}}', b'{"Job":NaN}',
        b"\xef\xbb\xbf{}",
    ],
)  # fmt: skip
def test_bodies_that_make_no_sense_are_bad_requests(server: Served, body: bytes) -> None:
    for method, path in (("PUT", JOBS), ("PUT", f"{JOBS}/diff"), ("POST", f"{JOBS}/batch")):
        check(server.ask(method, path, body), 400)


def job(**parts: Any) -> dict[str, Any]:
    return {"Job": {"Type": "batch", "Tasks": [NOOP], **parts}}


def task(**parts: Any) -> dict[str, Any]:
    return job(Tasks=[{**NOOP, **parts}])


INPUT = {"Source": {"Type": "inline", "Params": {"URL": "data:,x"}}, "Target": "/in"}


@pytest.mark.parametrize(
    "body",
    [
        job(Type=5),
        job(Type="nonsense"),
        job(Count=-1),
        job(Count="two"),
        job(Count=1.5),
        job(Tasks=[]),
        job(Tasks=None),
        job(Meta={"a": 1}),
        job(Constraints=[{"Key": "", "Operator": "=", "Values": ["x"]}]),
        task(Name=""),
        task(Engine={}),
        task(Engine={"Type": "  "}),
        task(Timeouts={"ExecutionTimeout": -5}),
        task(Resources={"CPU": "many"}),
        task(Resources={"Memory": "-5mb"}),
        task(Env={"lower": "x"}),
        task(InputSources=[INPUT, INPUT]),
        task(InputSources=[{"Target": "/in"}]),
        task(ResultPaths=[{"Name": "a", "Path": "relative"}]),
        task(Network={"Type": "carrier pigeon"}),
        job(Type="daemon", Count=5),
    ],
)
def test_jobs_that_make_no_sense_name_their_faults(server: Served, body: dict[str, Any]) -> None:
    envelope = check(server.ask("PUT", JOBS, body), 400)
    assert envelope["Code"] == "ValidationError"
    assert len(envelope["Message"]) > 8


def test_all_faults_of_a_job_are_listed_at_once(server: Served) -> None:
    body = job(Count=-1, Tasks=[{"Name": "", "Engine": {"Type": ""}}])
    assert check(server.ask("PUT", JOBS, body), 400)["Message"].count("\n") >= 2


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "x"])
def test_bodies_of_other_types_are_refused(server: Served, kind: str) -> None:
    answer = server.ask("PUT", JOBS, b"{}", {"Content-Type": kind})
    assert "code=415" in check(answer, 400)["Message"]


def test_json_may_carry_a_charset(server: Served) -> None:
    kind = {"Content-Type": "Application/JSON; charset=utf-8"}
    assert server.ask("PUT", JOBS, job(), kind).status == 200


def test_a_body_beyond_the_limit_is_413(server: Served) -> None:
    for size in (LIMIT + 1, 5 * LIMIT, 20 * LIMIT):
        body = json.dumps(job(Meta={"a": "x" * size})).encode()
        assert check(server.ask("PUT", JOBS, body), 413)["Code"] == "RequestTooLarge"


def test_a_chunked_body_beyond_the_limit_is_413(server: Served) -> None:
    chunk = b"8000\r\n" + b"x" * 0x8000 + b"\r\n"
    head = (
        f"PUT {JOBS} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nConnection: close\r\n"
        "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    ).encode()
    assert b" 413 " in server.raw(head + 8 * chunk + b"0\r\n\r\n", finish=False)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /api/v1/agent/alive HTTP/1.1\r\n\r\n",
        b"GET /api/v1/agent/alive HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET " + b"/x" * 100_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: " + b"y" * 200_000 + b"\r\n\r\n",
        b"PUT /api/v1/orchestrator/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99\r\n\r\n{",
        b"PUT /api/v1/orchestrator/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -5\r\n\r\n",
        b"PUT /api/v1/orchestrator/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /api/v1/orchestrator/jobs/x/logs HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"GET /api/v1/agent/alive HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\n"
        b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
    ],
)
def test_bytes_that_are_no_request_leave_the_server_well(server: Served, data: bytes) -> None:
    answer = server.raw(data)
    assert not answer.startswith(b"HTTP/1.1 5"), answer[:300]
    if answer.startswith(b"HTTP/1.1 400") and b"Upgrade" not in data:
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["Code"] == "BadRequest"
    assert server.get("/agent/alive").status == 200


def test_a_connection_that_asks_for_nothing_is_closed(
    server: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bacalhau.api.server.HEAD_S", 0.1)
    assert server.raw(b"GET / HTT", finish=False) == b""
    assert server.raw(b"", finish=False) == b""


def test_signed_urls_are_checked(server: Served) -> None:
    path = f"/api/v1/objects/{server.submit()}/e-1/results.tar.gz"
    for query in ("", "?expires=x&signature=y", "?expires=99999999999&signature=00"):
        check(server.ask("GET", path + query), 403)
        check(server.ask("PUT", path + query, b"x"), 403)
        check(server.ask("GET", f"/api/v1/objects/../../etc/passwd{query}"), 403)


async def test_a_handler_that_takes_too_long_is_503() -> None:
    async def never(*_: object) -> tuple[str, ...]:
        await asyncio.Event().wait()
        return ()

    cluster = SimpleNamespace(store=SimpleNamespace(resolve=never))
    api = Api(cluster, Guard(admin=""), handler_time_s=0.05)  # type: ignore[arg-type]  # enough of it
    envelope = await call(api, f"{JOBS}/x")
    assert (envelope["Status"], envelope["Code"]) == (503, "TimeOut")


async def test_a_fault_of_ours_is_logged_and_the_envelope_says_little(
    caplog: pytest.LogCaptureFixture,
) -> None:
    api = Api(SimpleNamespace(), Guard(admin=""))  # type: ignore[arg-type]  # it has no store
    envelope = await call(api, f"{JOBS}/x")
    assert (envelope["Status"], envelope["Code"]) == (500, "InternalError")
    assert "AttributeError" in caplog.text
    assert "store" not in envelope["Message"]


async def test_others_are_limited_in_how_often_they_ask() -> None:
    api = Api(SimpleNamespace(), Guard(admin=""), rate_per_second=2)  # type: ignore[arg-type]  # unused
    answers = [await call(api, "/api/v1/agent/alive", peer="10.0.0.1") for _ in range(3)]
    assert [answer.get("Status") for answer in answers] == ["OK", "OK", 429]
    assert answers[2]["Message"] == "rate limit exceeded"
    near = [await call(api, "/api/v1/agent/alive") for _ in range(9)]
    assert [answer["Status"] for answer in near] == ["OK"] * 9


async def call(api: Api, path: str, *, peer: str = "127.0.0.1") -> dict[str, Any]:
    """One GET without a socket between."""
    sent: list[Any] = []
    scope = {
        "type": "http", "method": "GET", "path": path, "raw_path": path.encode(),
        "query_string": b"", "headers": [(b"host", b"localhost")], "scheme": "http",
        "client": (peer, 1),
    }  # fmt: skip

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b""}

    async def send(message: Any) -> None:
        sent.append(message)

    await api(scope, receive, send)
    return json.loads(sent[1]["body"])  # type: ignore[no-any-return]  # an object


def test_escaping_leaves_the_meaning(server: Served) -> None:
    text = "<script>&\u2028\u2029</script>"
    escaped = escape(json.dumps({"a": text}, ensure_ascii=False).encode())
    assert json.loads(escaped) == {"a": text}
    assert not set("<>&\u2028\u2029") & set(escaped.decode())


def test_the_rate_limit_lets_through_what_it_promises() -> None:
    rate = Rate(10)
    assert sum(rate.allow("a", 100.0) for _ in range(50)) == 10
    assert rate.allow("b", 100.0)
    assert sum(rate.allow("a", 100.5) for _ in range(50)) == 5
    assert sum(rate.allow("a", 999.0) for _ in range(50)) == 10
    assert all(Rate(0).allow("a", 1.0) for _ in range(10_000))


def test_the_rate_limit_remembers_a_bounded_number_of_addresses() -> None:
    rate = Rate(1)
    assert rate.allow("first", 0.0)
    for number in range(MAX_ADDRESSES - 1):
        rate.allow(str(number), 0.0)
    assert not rate.allow("first", 0.0)
    for number in range(MAX_ADDRESSES + 1):
        rate.allow(f"more {number}", 0.0)
    assert rate.allow("first", 0.0)
    begun = time.perf_counter()
    for number in range(1000):
        rate.allow(f"fast {number}", 0.0)
    assert time.perf_counter() - begun < 0.5

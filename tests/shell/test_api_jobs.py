"""Jobs over HTTP, as Bacalhau's clients see them."""

import base64
import uuid
from collections.abc import Iterator

import pytest

from bacalhau.testing.served import NOOP, Served, served

JOBS = "/api/v1/orchestrator/jobs"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("data")) as here:
        yield here


def name() -> str:
    return f"job-{uuid.uuid1()}"


def test_a_put_job_can_be_fetched_by_id_name_and_prefix(server: Served) -> None:
    wanted = name()
    answer = server.ask("PUT", JOBS, {"Job": {"Name": wanted, "Type": "batch", "Tasks": [NOOP]}})
    assert answer.status == 200
    assert list(answer.json) == ["JobID", "EvaluationID", "Warnings"]
    assert answer.json["Warnings"] is None
    job_id = answer.json["JobID"]
    for key in (wanted, job_id, job_id[:12]):
        found = server.get(f"/orchestrator/jobs/{key}").json["Job"]
        assert (found["ID"], found["Name"], found["Count"]) == (job_id, wanted, 1)


def test_post_is_the_same_as_put(server: Served) -> None:
    answer = server.ask("POST", JOBS, {"Job": {"Type": "batch", "Tasks": [NOOP]}})
    assert answer.status == 200


def test_keys_match_in_any_case_and_nulls_and_unknown_keys_mean_nothing(server: Served) -> None:
    body = {
        "namespace": "", "credential": None, "idempotencyToken": "x", "nonsense": 1,
        "job": {"NAME": name(), "type": "batch", "constraints": None, "tasks": [
            {"name": "main", "engine": {"TYPE": "noop"}, "Publisher": {}, "Network": None}]},
        "force": False,
    }  # fmt: skip
    assert server.ask("PUT", JOBS, body).status == 200


def test_the_keys_of_a_job_come_in_bacalhaus_order(server: Served) -> None:
    job = server.get(f"/orchestrator/jobs/{server.submit()}").json["Job"]
    assert list(job) == [
        "ID", "Name", "Namespace", "Type", "Priority", "Count", "Constraints", "Meta", "Labels",
        "Tasks", "State", "Version", "Revision", "CreateTime", "ModifyTime",
    ]  # fmt: skip


def test_the_same_spec_again_is_refused_unless_forced(server: Served) -> None:
    job = {"Name": name(), "Type": "batch", "Tasks": [NOOP]}
    first = server.ask("PUT", JOBS, {"Job": job})
    again = server.ask("PUT", JOBS, {"Job": job})
    assert (again.status, again.json["Code"]) == (409, "NoChange")
    assert again.json["Message"].startswith("no changes detected for new job spec")
    forced = server.ask("PUT", JOBS, {"Job": job, "Force": True})
    assert forced.json["JobID"] == first.json["JobID"]
    versions = server.get(f"/orchestrator/jobs/{first.json['JobID']}/versions").json["Items"]
    assert [each["Version"] for each in versions] == [1, 2]


def test_what_a_client_may_not_decide_becomes_a_warning(server: Served) -> None:
    job = {"ID": "mine", "Version": 7, "State": {"StateType": "Running"}, "Type": "batch",
           "Tasks": [NOOP]}  # fmt: skip
    answer = server.ask("PUT", JOBS, {"Job": job})
    assert answer.status == 200
    assert len(answer.json["Warnings"]) >= 3
    assert answer.json["JobID"] != "mine"


def test_a_batch_is_answered_item_by_item(server: Served) -> None:
    good = {"Type": "batch", "Tasks": [NOOP]}
    body = {"Jobs": [good, {"Type": "nonsense"}, good, 5]}
    answer = server.ask("POST", f"{JOBS}/batch", body)
    assert answer.status == 200
    items = answer.json["Items"]
    assert [sorted(item) for item in items] == [
        ["EvaluationID", "JobID", "Warnings"], ["Error"],
        ["EvaluationID", "JobID", "Warnings"], ["Error"],
    ]  # fmt: skip
    assert items[1]["Error"]["Code"] == "ValidationError"


def test_a_stopped_job_stops_once_and_an_ended_one_not_at_all(server: Served) -> None:
    sleeper = {"Name": "main", "Engine": {"Type": "noop", "Params": {"Sleep": 600}}}
    job_id = server.submit(Tasks=[sleeper])
    first = server.ask("DELETE", f"{JOBS}/{job_id}?reason=None", {"reason": "enough"})
    assert first.status == 200
    assert first.json["EvaluationID"]
    job = server.finish(job_id)
    assert job["State"] == {"StateType": "Stopped", "Message": "enough"}
    assert server.ask("DELETE", f"{JOBS}/{job_id}").json == {"EvaluationID": ""}
    done = server.submit()
    assert server.finish(done)["State"]["StateType"] == "Completed"
    refused = server.ask("DELETE", f"{JOBS}/{done}")
    assert (refused.status, refused.json["Code"]) == (409, "ConflictJobState")


def test_none_as_a_query_reason_is_no_reason(server: Served) -> None:
    sleeper = {"Name": "main", "Engine": {"Type": "noop", "Params": {"Sleep": 600}}}
    job_id = server.submit(Tasks=[sleeper])
    server.ask("DELETE", f"{JOBS}/{job_id}?reason=None", {})
    assert "None" not in server.finish(job_id)["State"].get("Message", "")


def test_a_rerun_is_a_new_version(server: Served) -> None:
    job_id = server.submit()
    server.finish(job_id)
    answer = server.ask("PUT", f"{JOBS}/{job_id}/rerun", {})
    assert list(answer.json) == ["EvaluationID", "JobID", "JobVersion", "Warnings"]
    assert answer.json["JobVersion"] == 2
    unknown = server.ask("PUT", f"{JOBS}/{job_id}/rerun", {"JobVersion": 9})
    assert (unknown.status, unknown.json["Code"]) == (404, "NotFound")


def test_diff_shows_what_would_change(server: Served) -> None:
    wanted = name()
    server.submit(Name=wanted)
    job = {"Name": wanted, "Type": "batch", "Tasks": [NOOP]}
    assert server.ask("PUT", f"{JOBS}/diff", {"Job": job}).json["Diff"] == ""
    changed = server.ask("PUT", f"{JOBS}/diff", {"Job": {**job, "Priority": 5}})
    assert "Priority" in changed.json["Diff"]
    missing = server.ask("PUT", f"{JOBS}/diff", {"Job": {**job, "Name": "nobody"}})
    assert (missing.status, missing.json["Code"]) == (404, "NotFound")
    assert server.ask("PUT", f"{JOBS}/diff", {}).status == 400


def test_pages_of_jobs_hold_each_job_once(server: Served) -> None:
    mark = uuid.uuid1().hex
    ids = [server.submit(Labels={"mark": mark}) for _ in range(5)]
    seen, token = [], ""
    while True:
        query = f"labels=mark%3D{mark}&limit=2&next_token={token}&order_by=created_at"
        page = server.get(f"/orchestrator/jobs?{query}").json
        assert list(page) == ["NextToken", "Items"]
        seen += [job["ID"] for job in page["Items"]]
        token = page["NextToken"]
        if not token:
            break
    assert seen == ids
    backwards = server.get(f"/orchestrator/jobs?labels=mark%3D{mark}&reverse=True").json
    assert [job["ID"] for job in backwards["Items"]] == ids[::-1]


def test_bacalhaus_own_page_tokens_are_understood(server: Served) -> None:
    mark = uuid.uuid1().hex
    ids = [server.submit(Labels={"mark": mark}) for _ in range(4)]
    token = base64.urlsafe_b64encode(b"created_at:N:2:1").decode().rstrip("=")
    page = server.get(f"/orchestrator/jobs?labels=mark%3D{mark}&next_token={token}").json
    assert [job["ID"] for job in page["Items"]] == ids[1:3]


def test_namespaces_are_listed_together_or_apart(server: Served) -> None:
    space = uuid.uuid1().hex
    job_id = server.submit(Namespace=space)
    listed = server.get(f"/orchestrator/jobs?namespace={space}").json["Items"]
    assert [job["ID"] for job in listed] == [job_id]
    everywhere = server.get("/orchestrator/jobs?namespace=*").json["Items"]
    assert job_id in [job["ID"] for job in everywhere]


def test_included_history_and_executions_come_with_the_job(server: Served) -> None:
    job_id = server.submit()
    server.finish(job_id)
    plain = server.get(f"/orchestrator/jobs/{job_id}?include=&limit=10").json
    assert list(plain) == ["Job"]
    full = server.get(f"/orchestrator/jobs/{job_id}?include=history,executions").json
    assert list(full) == ["Job", "History", "Executions"]
    assert full["Executions"]["Items"][0]["ComputeState"]["StateType"] == 9


def test_an_execution_carries_its_job(server: Served) -> None:
    job_id = server.submit()
    server.finish(job_id)
    query = "namespace=&limit=5&next_token=&reverse=False&order_by="
    page = server.get(f"/orchestrator/jobs/{job_id}/executions?{query}").json
    assert page["NextToken"] == ""
    (execution,) = page["Items"]
    assert execution["Job"]["ID"] == execution["JobID"] == job_id
    assert execution["RunOutput"]["ExitCode"] == 0
    assert server.get(f"/orchestrator/jobs/{job_id}/executions?namespace=*").json["Items"] == []


def test_executions_can_be_paged(server: Served) -> None:
    job_id = server.submit(Count=5)
    server.finish(job_id)
    seen, token = [], ""
    for _ in range(3):
        path = f"/orchestrator/jobs/{job_id}/executions?limit=2&next_token={token}"
        page = server.get(path).json
        seen += [each["ID"] for each in page["Items"]]
        token = page["NextToken"]
    assert token == ""
    assert len(set(seen)) == 5


def test_history_keeps_its_token_until_the_job_has_ended(server: Served) -> None:
    sleeper = {"Name": "main", "Engine": {"Type": "noop", "Params": {"Sleep": 600}}}
    job_id = server.submit(Tasks=[sleeper])
    path = f"/orchestrator/jobs/{job_id}/history"
    assert server.get(path).json["NextToken"]
    server.ask("DELETE", f"{JOBS}/{job_id}")
    server.finish(job_id)
    token, seen = "", []
    for _ in range(50):
        page = server.get(f"{path}?event_type=all&limit=1&next_token={token}").json
        seen += [event["SeqNum"] for event in page["Items"]]
        token = page["NextToken"]
        if not token:
            break
    assert token == ""
    assert seen == list(range(1, len(seen) + 1))


def test_history_can_be_filtered(server: Served) -> None:
    job_id = server.submit()
    server.finish(job_id)
    path = f"/orchestrator/jobs/{job_id}/history"
    jobs = server.get(f"{path}?event_type=job").json["Items"]
    executions = server.get(f"{path}?event_type=execution&node_id=").json["Items"]
    assert {event["Type"] for event in jobs} == {"JobLevel"}
    assert {event["Type"] for event in executions} == {"ExecutionLevel"}
    assert server.get(f"{path}?since=99999999999").json["Items"] == []


def test_waiting_returns_at_once_when_there_is_news(server: Served) -> None:
    job_id = server.submit()
    done = server.finish(job_id)
    path = f"/orchestrator/jobs/{job_id}/wait?revision={done['Revision']}&timeout=1"
    assert server.get(path).json["Job"]["Revision"] == done["Revision"]


def test_pretty_indents_and_html_is_harmless(server: Served) -> None:
    job_id = server.submit(Labels={"tag": "<b>&"})
    answer = server.get(f"/orchestrator/jobs/{job_id}?pretty=1")
    assert b'\n  "Job"' in answer.body
    assert b"\\u003cb\\u003e\\u0026" in answer.body
    assert b"<" not in answer.body
    assert answer.json["Job"]["Labels"] == {"tag": "<b>&"}


def test_a_name_may_hold_any_character_even_a_slash(server: Served) -> None:
    for wanted in ("my job ü", "a/b"):
        job_id = server.submit(Name=wanted)
        quoted = wanted.encode().hex("%", 1)
        found = server.get(f"/orchestrator/jobs/%{quoted}")
        assert found.json["Job"]["ID"] == job_id


def test_head_answers_like_get_without_a_body(server: Served) -> None:
    path = f"{JOBS}/{server.submit()}"
    head = server.ask("HEAD", path)
    assert (head.status, head.body) == (200, b"")
    assert int(head.headers["content-length"]) > 100


def test_nodes_can_be_listed_filtered_and_fetched(server: Served) -> None:
    page = server.get("/orchestrator/nodes?filter-status=connected&order_by=available_cpu").json
    (node,) = page["Nodes"]
    node_id = node["Info"]["NodeID"]
    assert server.get(f"/orchestrator/nodes/{node_id[:10]}").json["Node"]["Info"] == node["Info"]
    assert server.get("/orchestrator/nodes?filter-approval=PENDING").json["Nodes"] == []
    assert server.get("/orchestrator/nodes?filter-approval=maybe").status == 400
    assert server.get("/orchestrator/nodes?labels=nobody").json["Nodes"] == []
    assert server.get("/orchestrator/nodes?order_by=beauty").status == 400
    assert server.get("/orchestrator/nodes/nobody").json["Component"] == "NodesManager"


def test_a_node_already_approved_is_a_conflict_and_an_unknown_action_an_error(
    server: Served,
) -> None:
    node_id = server.get("/orchestrator/nodes").json["Nodes"][0]["Info"]["NodeID"]
    path = f"/api/v1/orchestrator/nodes/{node_id}"
    assert server.ask("PUT", path, {"Action": "approve"}).status == 409
    assert server.ask("PUT", path, {"Action": "praise"}).status == 400


@pytest.mark.parametrize(
    ("path", "keys"),
    [
        ("/agent/alive", ["Status"]),
        ("/agent/config", ["config"]),
        ("/agent/authconfig", ["Version", "Config"]),
        ("/auth", ["NextToken", "Methods"]),
    ],
)
def test_the_agent_answers(server: Served, path: str, keys: list[str]) -> None:
    answer = server.get(path)
    assert answer.status == 200
    assert list(answer.json) == keys


def test_the_agents_version_and_node_are_flat(server: Served) -> None:
    version = server.get("/agent/version").json
    assert (version["Major"], version["Minor"]) == ("1", "9")
    assert "NodeID" in server.get("/agent/node").json


def test_plain_paths_move_to_the_api(server: Served) -> None:
    for path, to in (("/", "version"), ("/version", "version"), ("/livez", "alive")):
        answer = server.ask("GET", path)
        assert (answer.status, answer.headers["location"]) == (301, f"/api/v1/agent/{to}")


def test_answers_tell_the_servers_version_and_the_request(server: Served) -> None:
    answer = server.get("/agent/alive", **{"X-Request-Id": "mine"})
    assert answer.headers["x-request-id"] == "mine"
    assert answer.headers["x-bacalhau-git-version"].startswith("v1.9.")
    assert answer.headers["content-type"] == "application/json"
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    ("version", "status"),
    [("v1.4.0", 200), ("v1.9.3", 200), ("v0.0.0-xxxxxxx", 200), ("v1.3.2", 403), ("two", 400)],
)
def test_clients_that_are_too_old_are_told_so(server: Served, version: str, status: int) -> None:
    answer = server.get("/agent/alive", **{"X-Bacalhau-Git-Version": version})
    assert answer.status == status
    if status == 403:
        assert answer.json == {
            "Error": "Client version is outdated. Update your client",
            "MinVersion": "1.4.0", "ClientVersion": "1.3.2", "ServerVersion": "1.9.3",
        }  # fmt: skip


def test_pythons_and_gos_spelling_of_booleans_is_understood(server: Served) -> None:
    for word in ("1", "t", "T", "TRUE", "true", "True", "0", "f", "F", "FALSE", "false", "False"):
        assert server.get(f"/orchestrator/jobs?reverse={word}&limit=1").status == 200
    assert server.get("/orchestrator/jobs?REVERSE=&Limit=").status == 200
    assert server.get("/orchestrator/jobs?reverse=maybe").status == 400

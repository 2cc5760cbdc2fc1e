"""Client and AsyncClient against a real server."""

import asyncio
import inspect
import json
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bacalhau import AsyncClient, Client
from bacalhau.client import LogLine
from bacalhau.client.endpoint import Endpoint
from bacalhau.model.errors import (
    Conflict,
    Error,
    Limit,
    NoChange,
    NotFound,
    Rejected,
    Unauthenticated,
    Unavailable,
)
from bacalhau.model.execution import Observed
from bacalhau.model.job import Job, JobSpec, JobState, JobType, SpecConfig, Task
from bacalhau.testing.served import NOOP, Served, served


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("data")) as here:
        yield here


@pytest.fixture
def client(server: Served) -> Iterator[Client]:
    with Client(server.url) as client:
        yield client


def spec(**params: Any) -> JobSpec:
    task = Task(engine=SpecConfig(type="noop", params=params))
    return JobSpec(name=f"job-{uuid.uuid1()}", type=JobType.BATCH, tasks=(task,))


def test_a_job_is_submitted_waited_for_and_looked_at(client: Client) -> None:
    wanted = spec()
    done = client.submit(wanted)
    states: list[JobState] = []
    job = client.wait(done.job_id, timeout_s=30, on_change=lambda job: states.append(job.state))
    assert job.state is JobState.COMPLETED
    assert states[-1] is JobState.COMPLETED
    assert job.spec.name == wanted.name
    (execution,) = client.executions(job.id)
    assert execution.observed is Observed.COMPLETED
    messages = [event.message for event in client.history(job.id)]
    assert messages[0] == "Job submitted"
    assert [each.version for each in client.versions(job.id)] == [1]
    assert client.job(wanted.name).id == job.id


def test_a_mapping_is_as_good_as_a_spec(client: Client) -> None:
    done = client.submit({"type": "batch", "tasks": [NOOP]})
    assert client.wait(done.job_id, timeout_s=30).state is JobState.COMPLETED


def test_server_errors_are_the_errors_of_the_model(client: Client) -> None:
    with pytest.raises(NotFound, match="job not found: nobody"):
        client.job("nobody")
    with pytest.raises(Rejected) as bad:
        client.submit({"Type": "batch", "Count": -1, "Tasks": []})
    assert len(bad.value.reasons) >= 2
    same = spec()
    client.submit(same)
    with pytest.raises(NoChange):
        client.submit(same)
    done = client.submit(same, force=True)
    client.wait(done.job_id, timeout_s=30)
    with pytest.raises(Conflict):
        client.stop(done.job_id)


def test_a_body_beyond_the_limit_is_a_limit_error(client: Client) -> None:
    with pytest.raises(Limit, match="larger than"):
        client.submit({"Type": "batch", "Tasks": [NOOP], "Meta": {"a": "x" * 12_000_000}})


def test_many_jobs_are_answered_in_order(client: Client) -> None:
    answers = client.submit_many([spec(), {"Type": "what"}, spec()])
    assert isinstance(answers[1], Rejected)
    ids = [client.job(answer.job_id).id for answer in (answers[0], answers[2])]  # type: ignore[union-attr]  # submitted
    assert len(set(ids)) == 2


def test_stop_and_rerun(client: Client) -> None:
    done = client.submit(spec(Sleep=600))
    assert client.stop(done.job_id, reason="enough")
    job = client.wait(done.job_id, timeout_s=30)
    assert (job.state, job.message) == (JobState.STOPPED, "enough")
    assert client.rerun(done.job_id).version == 2
    client.stop(done.job_id)


def test_waiting_has_an_end(client: Client) -> None:
    done = client.submit(spec(Sleep=600))
    with pytest.raises(TimeoutError, match="has not ended"):
        client.wait(done.job_id, timeout_s=1)
    client.stop(done.job_id)


def test_lists_go_on_over_pages(client: Client) -> None:
    mark = uuid.uuid1().hex
    for _ in range(5):
        client.submit({"Type": "batch", "Tasks": [NOOP], "Labels": {"mark": mark}})
    assert len(list(client.jobs(labels=[f"mark={mark}"], page_size=2))) == 5


def test_nodes_and_the_server_itself(client: Client) -> None:
    (view,) = client.nodes(status="connected")
    assert client.node(view.node.id[:12]).node.id == view.node.id
    assert client.alive()
    assert client.node_info().id
    assert client.version()["Major"] == "1"
    assert "API" in client.config()
    with pytest.raises(Conflict):
        client.update_node(view.node.id, "approve")


def test_a_job_that_printed_nothing_has_an_empty_log(client: Client) -> None:
    done = client.submit(spec())
    client.wait(done.job_id, timeout_s=30)
    assert list(client.logs(done.job_id)) == []


def test_logs_of_an_unknown_job_are_not_found(client: Client) -> None:
    with pytest.raises(NotFound, match="job not found"):
        list(client.logs("nobody"))


def test_results_are_fetched_and_merged(client: Client, tmp_path: Path) -> None:
    done = client.submit(spec())
    client.wait(done.job_id, timeout_s=30)
    seen: list[tuple[int, int]] = []
    found = client.download(
        done.job_id, tmp_path / "out", on_progress=lambda have, total: seen.append((have, total))
    )
    assert [path.name for path in found] == ["exitCode", "stderr", "stdout"]
    assert (tmp_path / "out" / "exitCode").read_text().strip() == "0"
    assert seen[-1][0] == seen[-1][1] > 0
    (raw,) = client.download(done.job_id, tmp_path / "raw", raw=True)
    assert raw.parent == tmp_path / "raw" / "raw"
    assert raw.name.startswith("e-")


def test_one_client_serves_several_threads(server: Served) -> None:
    with Client(server.url) as client:
        failures: list[BaseException] = []

        def work() -> None:
            try:
                for _ in range(20):
                    assert client.alive()
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []


async def test_the_asyncio_client_does_the_same(server: Served, tmp_path: Path) -> None:
    async with AsyncClient(server.url) as client:
        done = await client.submit(spec())
        job = await client.wait(done.job_id, timeout_s=30)
        assert job.state is JobState.COMPLETED
        assert [each.id async for each in client.jobs() if each.id == job.id] == [job.id]
        assert (await client.executions(job.id))[0].observed is Observed.COMPLETED
        assert [event.seq async for event in client.history(job.id)][:1] == [1]
        assert [line async for line in client.logs(job.id)] == []
        names = [path.name for path in await client.download(job.id, tmp_path)]
        assert names == ["exitCode", "stderr", "stdout"]
        with pytest.raises(NotFound):
            await client.job("nobody")
        with pytest.raises(NotFound):
            _ = [line async for line in client.logs("nobody")]
        answers = await client.submit_many([spec(), {"Type": "what"}])
        assert isinstance(answers[1], Rejected)


async def test_asyncio_calls_run_side_by_side(server: Served) -> None:
    async with AsyncClient(server.url) as client:
        assert all(await asyncio.gather(*(client.alive() for _ in range(30))))


async def test_waiting_with_asyncio_has_an_end(server: Served) -> None:
    async with AsyncClient(server.url) as client:
        done = await client.submit(spec(Sleep=600))
        with pytest.raises(TimeoutError):
            await client.wait(done.job_id, timeout_s=0.3)
        await client.stop(done.job_id)


def test_both_clients_offer_the_same_methods_with_the_same_arguments() -> None:
    def offered(kind: type) -> dict[str, list[str]]:
        return {
            name: list(inspect.signature(member).parameters)
            for name, member in vars(kind).items()
            if not name.startswith("_") and callable(member)
        }

    assert offered(Client) == offered(AsyncClient)


def test_a_server_that_is_not_there_is_unavailable_with_a_hint() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(Unavailable) as gone:
        Client(f"127.0.0.1:{port}").alive()
    assert "bacalhau serve" in gone.value.hint
    with pytest.raises(Unavailable):
        list(Client(f"127.0.0.1:{port}").logs("x"))


def test_wrong_credentials_are_unauthenticated(server: Served) -> None:
    with Client(server.url, token="not-the-token") as wrong, pytest.raises(Unauthenticated):
        wrong.job("x")
    with Client(server.url, token=server.token) as right:
        assert list(right.jobs(page_size=1)) is not None


def canned(*answers: bytes) -> tuple[Endpoint, threading.Thread]:
    """A server that gives these answers, one per connection, whatever is asked."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with listener:
            for answer in answers:
                connection, _ = listener.accept()
                with connection:
                    connection.settimeout(10)
                    connection.recv(65536)
                    connection.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    return Endpoint("127.0.0.1", listener.getsockname()[1]), thread


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{oops",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 502 Bad\r\nContent-Length: 6\r\n\r\n<html>",
        b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 1000 + b"\r\n",
    ],
)
def test_a_server_that_talks_nonsense_is_an_error_of_ours(answer: bytes) -> None:
    endpoint, thread = canned(answer)
    with Client(endpoint) as client, pytest.raises(Error) as raised:
        client.version()
    assert raised.value.message
    thread.join()


def test_an_older_server_without_long_poll_is_polled() -> None:
    def reply(status: str, body: str) -> bytes:
        return (
            f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}"
        ).encode()

    missing = reply("404 Not Found", '{"Status":404,"Message":"no route","Code":"NotFound"}')

    def job(state: str, revision: int) -> bytes:
        view = {"ID": "j-1", "Type": "batch", "State": {"StateType": state}, "Revision": revision}
        return reply("200 OK", json.dumps({"Job": view}))

    endpoint, thread = canned(missing, job("Running", 1), job("Running", 2), job("Completed", 3))
    begun = time.monotonic()
    with Client(endpoint) as client:
        assert client.wait("j-1", timeout_s=30).state is JobState.COMPLETED
    assert time.monotonic() - begun < 10
    thread.join()


def test_waiting_outlives_a_restart_of_the_server(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    settings = {"API.Port": port, "Store.Type": "sqlite"}
    running, done = threading.Event(), []

    def watch(job: Job) -> None:
        if job.state is JobState.RUNNING:
            running.set()

    def wait(job_id: str) -> None:
        with Client(f"127.0.0.1:{port}") as client:
            done.append(client.wait(job_id, timeout_s=60, on_change=watch))

    with served(tmp_path, settings) as first:
        task = {"Name": "main", "Engine": {"Type": "noop", "Params": {"Sleep": 2}}}
        thread = threading.Thread(target=wait, args=(first.submit(Tasks=[task]),))
        thread.start()
        assert running.wait(30)
    with served(tmp_path, settings):
        thread.join()
    assert [job.state for job in done] == [JobState.COMPLETED]


def test_a_log_line_is_a_record() -> None:
    assert LogLine(source=1, text="x\n").text == "x\n"

"""Bacalhau's JSON: exact shapes, and the way back."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bacalhau.core import wire
from bacalhau.core.admit import Admitted, Facts, admit
from bacalhau.core.bind import bind_job
from bacalhau.model.base import evolve
from bacalhau.model.errors import Rejected
from bacalhau.model.event import Event, Topic
from bacalhau.model.execution import Desired, Execution, Fault, FaultKind, Observed, RunOutput
from bacalhau.model.job import (
    InputSource,
    Job,
    JobSpec,
    JobState,
    JobType,
    Network,
    NetworkType,
    Port,
    Requirement,
    ResultPath,
    Retry,
    SpecConfig,
    Task,
    Timeouts,
)
from bacalhau.model.node import Connection, Membership, Node, NodeInfo, NodeRole
from bacalhau.model.plan import NodeView
from bacalhau.model.resources import Resources, ResourcesConfig

# The smallest submission and what is shown of it, api.md 3.10; the publisher is ours.
SMALLEST = {
    "Name": "hello",
    "Type": "batch",
    "Tasks": [
        {
            "Name": "main",
            "Engine": {
                "Type": "docker",
                "Params": {"Image": "ubuntu", "Parameters": ["echo", "hi"]},
            },
            "Publisher": {"Type": "noop"},
        }
    ],
}
SHOWN = (
    '{"ID":"j-6e51","Name":"hello","Namespace":"default","Type":"batch","Priority":0,"Count":1,'
    '"Constraints":[],"Meta":{"bacalhau.org/orchestrator.id":"n-0c5f",'
    '"bacalhau.org/requester.id":"n-0c5f"},"Labels":{},'
    '"Tasks":[{"Name":"main","Engine":{"Type":"docker","Params":{"Image":"ubuntu",'
    '"Parameters":["echo","hi"]}},"Publisher":{"Type":"noop"},'
    '"Resources":{"CPU":"500m","Memory":"512mb"},"Network":{"Type":"Default"},"Timeouts":{}}],'
    '"State":{"StateType":"Completed"},"Version":1,"Revision":3,'
    '"CreateTime":1765000000123456789,"ModifyTime":1765000004987654321}'
)


def test_the_smallest_job_is_shown_exactly_like_this():
    spec, given_ = bind_job(SMALLEST)
    facts = Facts(now=1765000000123456789, job_id="j-6e51", node_id="n-0c5f", given=given_)
    admitted = admit(spec, facts)
    assert isinstance(admitted, Admitted)
    done = evolve(
        admitted.job, state=JobState.COMPLETED, revision=3, modify_time=1765000004987654321
    )
    assert json.dumps(wire.job(done), separators=(",", ":")) == SHOWN


def test_a_waiting_job_is_queued_with_the_reason():
    job = Job(id="j", spec=JobSpec(type=JobType.BATCH), message="old")
    assert wire.job(job)["State"] == {"StateType": "Pending", "Message": "old"}
    assert wire.job(job, "no node")["State"] == {"StateType": "Queued", "Message": "no node"}
    ended = evolve(job, state=JobState.STOPPED)
    assert wire.job(ended, "no node")["State"]["StateType"] == "Stopped"
    parsed = wire.parse_job(wire.job(job, "no node"))
    assert (parsed.state, parsed.message) == (JobState.PENDING, "no node")


def test_jobs_without_a_count_are_shown_with_what_it_means():
    assert wire.job(Job(id="j", spec=JobSpec(type=JobType.BATCH)))["Count"] == 1
    assert wire.job(Job(id="j", spec=JobSpec(type=JobType.OPS)))["Count"] == 0


EXECUTION = Execution(
    id="e-78fa",
    job_id="j-6e51",
    job_version=1,
    namespace="default",
    node_id="n-5a1b",
    observed=Observed.COMPLETED,
    result=SpecConfig(type="urlDownload", params={"URL": "http://h/e-78fa.tar.gz"}),
    output=RunOutput(stdout="hi\n"),
    revision=4,
    create_time=1765000001000000000,
    modify_time=1765000004900000000,
)


def test_a_completed_execution_is_shown_exactly_like_this():
    assert json.dumps(wire.execution(EXECUTION), separators=(",", ":")) == (
        '{"ID":"e-78fa","Namespace":"default","EvalID":"","Name":"","NodeID":"n-5a1b",'
        '"JobID":"j-6e51","JobVersion":1,"AllocatedResources":{"Tasks":{}},'
        '"DesiredState":{"StateType":2,"Message":"execution completed"},'
        '"ComputeState":{"StateType":9},'
        '"PublishedResult":{"Type":"urlDownload","Params":{"URL":"http://h/e-78fa.tar.gz"}},'
        '"RunOutput":{"Stdout":"hi\\n","StdoutTruncated":false,"stderr":"",'
        '"StderrTruncated":false,"ExitCode":0,"ErrorMsg":""},'
        '"PreviousExecution":"","NextExecution":"","FollowupEvalID":"","Revision":4,'
        '"CreateTime":1765000001000000000,"ModifyTime":1765000004900000000}'
    )


@pytest.mark.parametrize(
    ("desired", "observed", "numbers"),
    [
        (Desired.BID, Observed.NEW, (0, 1)),
        (Desired.RUN, Observed.NEW, (1, 1)),
        (Desired.BID, Observed.BID, (0, 3)),
        (Desired.BID, Observed.DECLINED, (2, 4)),
        (Desired.RUN, Observed.PREPARING, (1, 5)),
        (Desired.RUN, Observed.RUNNING, (1, 6)),
        (Desired.RUN, Observed.PUBLISHING, (1, 7)),
        (Desired.RUN, Observed.HELD, (1, 7)),
        (Desired.RUN, Observed.FAILED, (2, 10)),
        (Desired.STOP, Observed.RUNNING, (2, 6)),
        (Desired.STOP, Observed.CANCELLED, (2, 11)),
    ],
)
def test_execution_states_are_numbers(desired, observed, numbers):
    shown = wire.execution(evolve(EXECUTION, desired=desired, observed=observed))
    assert (shown["DesiredState"]["StateType"], shown["ComputeState"]["StateType"]) == numbers


def test_a_lost_execution_looks_failed():
    shown = wire.execution(evolve(EXECUTION, observed=Observed.RUNNING, lost=True))
    assert shown["ComputeState"] == {"StateType": 10, "Message": "node lost"}
    assert shown["DesiredState"] == {"StateType": 2, "Message": "execution lost"}
    assert (shown["Lost"], shown["Observed"]) == (True, "running")


def test_the_partition_and_the_job_are_shown_when_there_are_any():
    job = Job(id="j", spec=JobSpec(type=JobType.BATCH, tasks=(Task(name="t"),)))
    resources = Resources(cpu=500, memory=10)
    shown = wire.execution(evolve(EXECUTION, partition=3, resources=resources), job)
    assert shown["PartitionIndex"] == 3
    assert shown["Job"]["ID"] == "j"
    assert shown["AllocatedResources"] == {"Tasks": {"t": {"CPU": 0.5, "Memory": 10}}}
    assert list(shown)[6] == "Job"


def test_an_event_is_shown_exactly_like_this():
    event = Event(
        job_id="j-6e51",
        job_version=1,
        topic=Topic.STATE,
        message="Running",
        time=1767323045123456789,
        details={"NewState": "Running"},
        seq=3,
    )
    assert json.dumps(wire.event(event), separators=(",", ":")) == (
        '{"SeqNum":3,"Type":"JobLevel","JobID":"j-6e51","JobVersion":1,"Event":'
        '{"Message":"Running","Topic":"State Update","Timestamp":"2026-01-02T03:04:05.123456789Z",'
        '"Details":{"NewState":"Running"}},"Time":"2026-01-02T03:04:05.123456789Z"}'
    )
    assert wire.event(evolve(event, execution_id="e"))["Type"] == "ExecutionLevel"


NODE = Node(
    id="n-5a1b",
    info=NodeInfo(
        id="n-5a1b",
        labels={"os_type": "linux", "os_arch": "amd64"},
        engines=("docker", "wasm"),
        sources=("inline",),
        publishers=("local",),
        capacity=Resources(cpu=6400, memory=100, disk=80),
        max_job=Resources(cpu=6400),
        version="1.9.3",
    ),
    connection=Connection.CONNECTED,
    connected_time=1767322800_000000000,
)


def test_a_node_is_shown_exactly_like_this():
    view = NodeView(node=NODE, used=Resources(cpu=500), placed=2)
    shown = wire.node(view, last_heartbeat=1767323045_000000000, running=1, waiting=1)
    assert shown == {
        "Info": {
            "NodeID": "n-5a1b",
            "NodeType": "Compute",
            "Labels": {"os_type": "linux", "os_arch": "amd64"},
            "SupportedProtocols": [wire.PROTOCOL],
            "ComputeNodeInfo": {
                "ExecutionEngines": ["docker", "wasm"],
                "Publishers": ["local"],
                "StorageSources": ["inline"],
                "MaxCapacity": {"CPU": 6.4, "Memory": 100, "Disk": 80},
                "QueueCapacity": {},
                "AvailableCapacity": {"CPU": 5.9, "Memory": 100, "Disk": 80},
                "MaxJobRequirements": {"CPU": 6.4},
                "RunningExecutions": 1,
                "EnqueuedExecutions": 1,
                "address": "",
            },
            "BacalhauVersion": {
                "Major": "1",
                "Minor": "9",
                "GitVersion": "v1.9.3",
                "GitCommit": "",
                "BuildDate": "0001-01-01T00:00:00Z",
                "GOOS": "linux",
                "GOARCH": "amd64",
            },
        },
        "Membership": "APPROVED",
        "Connection": "CONNECTED",
        "ConnectionState": {
            "Status": "CONNECTED",
            "LastHeartbeat": "2026-01-02T03:04:05Z",
            "ConnectedSince": "2026-01-02T03:00:00Z",
            "DisconnectedSince": "0001-01-01T00:00:00Z",
        },
    }


def test_a_silent_node_has_nothing_available_and_an_orchestrator_no_engines():
    gone = evolve(NODE, connection=Connection.DISCONNECTED)
    compute = wire.node(NodeView(node=gone))["Info"]["ComputeNodeInfo"]
    assert compute["AvailableCapacity"] == {}
    orchestrator = NodeInfo(id="n", role=NodeRole.ORCHESTRATOR)
    compute = wire.node_info(orchestrator)["ComputeNodeInfo"]
    assert (compute["ExecutionEngines"], compute["Publishers"]) == (None, None)
    assert wire.parse_node_info(wire.node_info(orchestrator)) == orchestrator


def test_a_page_names_what_follows_first():
    assert list(wire.page([{}], "x")) == ["NextToken", "Items"]
    assert wire.page([], key="Nodes") == {"NextToken": "", "Nodes": []}


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("1970-01-01T00:00:01Z", 1_000_000_000),
        ("1970-01-01T00:00:00.5Z", 500_000_000),
        ("1970-01-01T01:00:00.000000001+01:00", 1),
        ("0001-01-01T00:00:00Z", 0),
        ("", 0),
    ],
)
def test_times_are_read_in_any_zone(text, time):
    assert wire.time_ns(text) == time


@pytest.mark.parametrize("text", ["now", "2026-13-01T00:00:00Z", "2026-01-01", "9" * 50])
def test_what_is_no_time_is_rejected(text):
    with pytest.raises(Rejected):
        wire.time_ns(text)


@given(st.integers(1, 2**63 - 1))
def test_times_survive_the_wire(time):
    assert wire.time_ns(wire.time_text(time)) == time


_text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=5)
_map = st.dictionaries(_text, _text, max_size=2)
_count = st.integers(0, 2**40)
_config = st.builds(
    SpecConfig,
    type=_text,
    params=st.dictionaries(
        _text, _text | st.integers(-9, 9) | st.booleans() | st.lists(_text), max_size=2
    ),
)
_task = st.builds(
    Task,
    name=_text,
    engine=_config,
    publisher=_config,
    env=_map,
    meta=_map,
    input_sources=st.lists(
        st.builds(InputSource, source=_config, target=_text, alias=_text), max_size=2
    ).map(tuple),
    result_paths=st.lists(st.builds(ResultPath, name=_text, path=_text), max_size=2).map(tuple),
    resources=st.builds(ResourcesConfig, cpu=_text, memory=_text, disk=_text, gpu=_text),
    network=st.builds(
        Network,
        type=st.sampled_from(NetworkType),
        domains=st.lists(_text, max_size=2).map(tuple),
        ports=st.lists(
            st.builds(Port, name=_text, static=_count, target=_count, host_network=_text),
            max_size=2,
        ).map(tuple),
    ),
    timeouts=st.builds(
        Timeouts, execution_timeout=_count, queue_timeout=_count, total_timeout=_count
    ),
)
_spec = st.builds(
    JobSpec,
    name=_text,
    namespace=_text,
    type=st.sampled_from(JobType),
    priority=st.integers(-9, 9),
    count=st.integers(0, 9),
    constraints=st.lists(
        st.builds(
            Requirement, key=_text, operator=_text, values=st.lists(_text, max_size=2).map(tuple)
        ),
        max_size=2,
    ).map(tuple),
    meta=_map,
    labels=_map,
    tasks=st.lists(_task, max_size=2).map(tuple),
    retry=st.builds(Retry, attempts=_count, delay=st.floats(0, 9)),
)
_job = st.builds(
    Job,
    id=_text,
    spec=_spec,
    state=st.sampled_from(JobState),
    message=_text,
    version=_count,
    revision=_count,
    create_time=_count,
    modify_time=_count,
)
_resources = st.builds(Resources, cpu=_count, memory=_count, disk=_count, gpu=_count)
_execution = st.builds(
    Execution,
    id=_text,
    job_id=_text,
    job_version=_count,
    namespace=_text,
    node_id=_text,
    partition=_count,
    attempt=_count,
    desired=st.sampled_from(Desired),
    desired_message=_text,
    observed=st.sampled_from(Observed),
    observed_message=_text,
    lost=st.booleans(),
    fault=st.none()
    | st.builds(Fault, kind=st.sampled_from(FaultKind), code=_text, message=_text, hint=_text),
    output=st.none()
    | st.builds(RunOutput, stdout=_text, stderr=_text, exit_code=st.integers(-9, 255)),
    result=_config,
    resources=_resources,
    revision=_count,
    create_time=_count,
    modify_time=_count,
    start_time=_count,
    end_time=_count,
)
_info = st.builds(
    NodeInfo,
    id=_text,
    labels=_map,
    engines=st.lists(_text, max_size=2).map(tuple),
    sources=st.lists(_text, max_size=2).map(tuple),
    publishers=st.lists(_text, max_size=2).map(tuple),
    capacity=_resources,
    max_job=_resources,
    attributes=_map,
    allowed_paths=st.lists(_text, max_size=2).map(tuple),
    local_only=st.booleans(),
    reject_networked=st.booleans(),
    version=st.sampled_from(["", "1.9.3", "0.1.0"]),
    address=_text,
)


def sent(view):
    """What arrives at the other end."""
    return msgspec.json.decode(msgspec.json.encode(view))


@given(_job)
def test_jobs_survive_the_wire(job):
    assert wire.parse_job(sent(wire.job(job))) == job


@given(_spec)
def test_specs_survive_the_wire(spec):
    assert bind_job(sent(wire.spec(spec))) == (spec, {})


@given(_execution)
def test_executions_survive_the_wire(execution):
    expected = execution
    if execution.observed.is_terminal or execution.lost:
        # An ended execution is shown as wanted stopped.
        word = execution.observed if execution.observed.is_terminal else "lost"
        message = execution.desired_message or f"execution {word}"
        expected = evolve(expected, desired=Desired.STOP, desired_message=message)
    if execution.lost and not execution.observed.is_terminal:
        message = execution.observed_message or "node lost"
        expected = evolve(expected, observed_message=message)
    if execution.output in (None, RunOutput()):
        completed = execution.observed is Observed.COMPLETED
        expected = evolve(expected, output=RunOutput() if completed else None)
    assert wire.parse_execution(sent(wire.execution(execution))) == expected


@given(st.builds(Event, job_id=_text, job_version=_count, topic=st.sampled_from(Topic),
                 message=_text, time=_count, execution_id=_text, actor=_text, details=_map,
                 seq=_count))  # fmt: skip
def test_events_survive_the_wire(event):
    assert wire.parse_event(sent(wire.event(event))) == event


@given(_info, st.sampled_from(Membership), _text, _count, _count)
def test_nodes_survive_the_wire(info, membership, message, time, placed):
    node = Node(
        id=info.id,
        info=info,
        membership=membership,
        connection=Connection.CONNECTED,
        message=message,
        connected_time=time,
    )
    used = Resources(cpu=info.capacity.cpu // 2, disk=info.capacity.disk)
    view = NodeView(node=node, used=used, placed=placed)
    assert wire.parse_node(sent(wire.node(view))) == view
    assert wire.parse_node_info(sent(wire.node_info(info))) == info


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2)
    | st.dictionaries(
        st.sampled_from(["ID", "State", "StateType", "Type", "Info", "NodeID", "Event", "Time",
                         "JobID", "ComputeState", "Message", "AllocatedResources", "Tasks"]),
        inner,
    ),
    max_leaves=10,
)  # fmt: skip


@given(_json)
def test_parsers_reject_anything_else(obj):
    parsers = (wire.parse_job, wire.parse_execution, wire.parse_event, wire.parse_node)
    for parse in parsers:
        try:
            parse(obj)
        except Rejected:
            continue

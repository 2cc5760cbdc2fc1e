"""Admission: what gets in, as what, and all reasons why something does not."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bacalhau.core.admit import Admitted, Defaults, Facts, Unchanged, admit, check, rerun, stop
from bacalhau.core.bind import bind, bind_job
from bacalhau.model.base import evolve
from bacalhau.model.event import Topic
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
from bacalhau.model.plan import Change
from bacalhau.model.resources import ResourcesConfig

FACTS = Facts(now=1_000, job_id="j-1", node_id="n-1", actor="alice")


def spec(kind=JobType.BATCH, *, name="hello", count=None, **task):
    task.setdefault("engine", SpecConfig(type="noop"))
    return JobSpec(name=name, type=kind, count=count, tasks=(Task(**task),))


def admitted(given_, facts=FACTS):
    result = admit(given_, facts)
    assert isinstance(result, Admitted), result
    return result


def reasons(given_, facts=FACTS):
    result = admit(given_, facts)
    assert isinstance(result, tuple), result
    return "\n".join(result)


def source(kind, target="/in", alias="", **params):
    return InputSource(source=SpecConfig(type=kind, params=params), target=target, alias=alias)


def test_a_new_job_is_pending_from_now_with_all_defaults():
    result = admitted(JobSpec(type=JobType.BATCH, tasks=(Task(engine=SpecConfig(type=" noop ")),)))
    job = result.job
    assert result.created
    assert (job.id, job.spec.name, job.spec.namespace) == ("j-1", "j-1", "default")
    assert (job.state, job.version, job.revision, job.spec.count) == (JobState.PENDING, 1, 1, 1)
    assert {job.create_time, job.modify_time, job.version_time, job.queued_time} == {1_000}
    assert job.spec.task.engine.type == "noop"
    assert job.spec.task.resources == ResourcesConfig(cpu="500m", memory="512mb")
    assert job.spec.task.publisher == SpecConfig(type="managed")
    assert job.spec.meta == {
        "bacalhau.org/orchestrator.id": "n-1",
        "bacalhau.org/requester.id": "n-1",
    }
    assert result.change.jobs == (job,)
    [event] = result.change.events
    assert (event.topic, event.message, event.actor, event.seq) == (
        Topic.SUBMISSION,
        "Job submitted",
        "alice",
        0,
    )


def test_everything_is_brought_into_its_one_spelling():
    task = admitted(
        spec(
            resources=ResourcesConfig(cpu=" 2 ", memory="1 Gb", disk="10 MiB", gpu="1"),
            input_sources=(source(" urlDownload ", " /a ", " x ", URL="https://h/x"),),
            result_paths=(ResultPath(name=" out ", path=" /out "),),
            network=Network(type=NetworkType.HTTP, domains=(" Example.ORG ",)),
        )
    ).job.spec.task
    assert task.resources == ResourcesConfig(cpu="2", memory="1gb", disk="10mib", gpu="1")
    assert task.input_sources[0].source.type == "urlDownload"
    assert (task.input_sources[0].target, task.input_sources[0].alias) == ("/a", "x")
    assert task.result_paths == (ResultPath(name="out", path="/out"),)
    assert task.network.domains == ("example.org",)


def test_operators_are_normalised():
    wanted = evolve(spec(), constraints=(Requirement(key="region", operator="In", values=("eu",)),))
    assert admitted(wanted).job.spec.constraints[0].operator == "in"


@pytest.mark.parametrize(
    ("kind", "given_", "kept"),
    [
        (JobType.BATCH, None, 1),
        (JobType.BATCH, 0, 0),
        (JobType.SERVICE, None, 1),
        (JobType.OPS, None, 0),
        (JobType.OPS, 1, 0),
        (JobType.DAEMON, 0, 0),
    ],
)
def test_counts_follow_the_type(kind, given_, kept):
    assert admitted(spec(kind, count=given_)).job.spec.count == kept


def test_results_of_long_running_jobs_are_published_only_when_asked_for():
    assert admitted(spec(JobType.SERVICE)).job.spec.task.publisher == SpecConfig()
    kept = spec(JobType.SERVICE, result_paths=(ResultPath(name="o", path="/o"),))
    assert admitted(kept).job.spec.task.publisher.type == "managed"
    noop = spec(publisher=SpecConfig(type="noop"))
    assert admitted(noop).job.spec.task.publisher.type == "noop"


def test_defaults_go_by_type():
    ours = Defaults(
        priority=7,
        resources=ResourcesConfig(cpu="1", memory="1gb", disk="2GB"),
        publisher=SpecConfig(type="s3", params={"Bucket": "b", "Key": "k"}),
        timeouts=Timeouts(execution_timeout=60),
    )
    facts = Facts(now=1, job_id="j", node_id="n", defaults={JobType.OPS: ours})
    job = admitted(spec(JobType.OPS, resources=ResourcesConfig(cpu="2")), facts).job
    assert job.spec.priority == 7
    assert job.spec.task.resources == ResourcesConfig(cpu="2", memory="1gb", disk="2gb")
    assert job.spec.task.publisher == ours.publisher
    assert job.spec.task.timeouts.execution_timeout == 60
    assert admitted(spec(), facts).job.spec.priority == 0


@pytest.mark.parametrize(
    ("task", "part"),
    [
        ({"engine": SpecConfig()}, "Tasks[0].Engine.Type: missing"),
        ({"env": {"lower": "x"}}, "Env: name 'lower'"),
        ({"env": {"BACALHAU_X": "x"}}, "reserved"),
        ({"env": {"A": ""}}, "Env.A: value must not be empty"),
        ({"timeouts": Timeouts(execution_timeout=-1)}, "Timeouts.ExecutionTimeout: -1"),
        ({"timeouts": Timeouts(execution_timeout=5, queue_timeout=6, total_timeout=10)}, "11 s"),
        ({"resources": ResourcesConfig(cpu="-1")}, "Tasks[0].Resources.CPU: CPU '-1'"),
        ({"resources": ResourcesConfig(memory="1qb", gpu="x")}, "Resources.GPU: GPU 'x'"),
        ({"input_sources": (source("", "/a"),)}, "missing source type"),
        ({"input_sources": (source("s3", " ", Bucket="b"),)}, "Target: must not be blank"),
        ({"input_sources": (source("s3", "/a/../b", Bucket="b"),)}, "must not contain '..'"),
        ({"input_sources": (source("s3", "/", Bucket="b"),)}, "root directory"),
        ({"input_sources": (source("s3", "/a", Bucket="b"), source("s3", "a/", Bucket="b"))},
         "Target '/a' occurs more than once"),
        ({"input_sources": (source("s3", "/a", "x", Bucket="b"),
                            source("s3", "/b", "x", Bucket="b"))}, "Alias 'x' occurs"),
        ({"result_paths": (ResultPath(name="", path="/o"),)}, "Name: must not be blank"),
        ({"result_paths": (ResultPath(name="stdout", path="/o"),)}, "cannot be a directory"),
        ({"result_paths": (ResultPath(name="../x", path="/o"),)}, "cannot be a directory"),
        ({"result_paths": (ResultPath(name="o", path="o"),)}, "not absolute"),
        ({"result_paths": (ResultPath(name="o", path="/o"), ResultPath(name="o", path="/p"))},
         "Name 'o' occurs"),
        ({"result_paths": (ResultPath(name="o", path="/in"),),
          "input_sources": (source("s3", "/in", Bucket="b"),)}, "target of an input"),
        ({"network": Network(type=NetworkType.HOST, domains=("a.b",))}, "only with type HTTP"),
        ({"network": Network(type=NetworkType.HTTP, domains=("a b",))}, "neither a domain"),
        ({"network": Network(ports=(Port(name="a"),))}, "only with type Host or Bridge"),
        ({"network": Network(type=NetworkType.HOST, ports=(Port(name="a", target=1),))},
         "Target: only with type Bridge"),
        ({"network": Network(type=NetworkType.BRIDGE, ports=(Port(name="1", static=80),))},
         "Static: 80"),
        ({"network": Network(type=NetworkType.BRIDGE,
                             ports=(Port(name="a"), Port(name="a")))}, "Name 'a' occurs"),
        ({"engine": SpecConfig(type="vroomvroom")},
         "unknown engine 'vroomvroom'; known are: docker, noop, process, wasm"),
        ({"publisher": SpecConfig(type="ftp")}, "unknown publisher 'ftp'"),
        ({"input_sources": (source("git"),)}, "unknown source 'git'"),
        ({"engine": SpecConfig(type="process")}, "Engine.Params.Command: missing"),
        ({"engine": SpecConfig(type="process", params={"Command": "a", "Arguments": [1]})},
         "Arguments[0]: must be a string"),
        ({"engine": SpecConfig(type="process",
                               params={"command": "a", "EnvironmentVariables": ["x"]})},
         "KEY=VALUE"),
        ({"engine": SpecConfig(type="process",
                               params={"Command": "a", "WorkingDirectory": "x"})}, "absolute"),
        ({"engine": SpecConfig(type="docker", params={})}, "Image: missing"),
        ({"engine": SpecConfig(type="docker",
                               params={"Image": "a",
                                       "EnvironmentVariables": ["bacalhau_x=1"]})}, "reserved"),
        ({"engine": SpecConfig(type="wasm", params={})}, "EntryModule: missing"),
        ({"engine": SpecConfig(type="wasm", params={"EntryModule": "main.wasm"})},
         "add an entry to InputSources"),
        ({"input_sources": (source("inline", URL="http://x"),)}, "URL: must be a data: URL"),
        ({"input_sources": (source("local", SourcePath="x"),)}, "must be absolute"),
        ({"input_sources": (source("local", SourcePath="/a/../b"),)}, "must be absolute"),
        ({"input_sources": (source("local", SourcePath="/a", CreateAs="x"),)}, "CreateAs"),
        ({"input_sources": (source("urlDownload", URL="ftp://x/y"),)}, "not a http"),
        ({"input_sources": (source("urlDownload", URL="http:///y"),)}, "not a http"),
        ({"input_sources": (source("s3"),)}, "Bucket: missing"),
        ({"input_sources": (source("s3", Bucket="b", Partition={"type": "x"}),)}, "Partition.Type"),
        ({"input_sources": (source("ipfs"),)}, "CID: missing"),
        ({"publisher": SpecConfig(type="s3", params={"bucket": "b"})}, "Params.Key: missing"),
    ],
)  # fmt: skip
def test_faulty_tasks_are_refused_with_the_reason(task, part):
    assert part in reasons(spec(**task))


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"tasks": ()}, "a job needs a task"),
        ({"tasks": (Task(name=" "),)}, "Tasks[0].Name: must not be blank"),
        ({"count": -1}, "Count: -1 is negative"),
        ({"count": 1_000_001}, "more than 1000000"),
        ({"type": JobType.OPS, "count": 2}, "every fitting node"),
        ({"name": "a\nb"}, "control characters"),
        ({"name": "x" * 257}, "longer than 256"),
        ({"namespace": " "}, "consists of blanks"),
        ({"labels": {" ": "x"}}, "must not be empty"),
        ({"labels": {str(n): "" for n in range(2000)}}, "at most 1024"),
        ({"priority": 2**40}, "Priority"),
        ({"constraints": (Requirement(key="a", operator="~"),)}, "unknown operator '~'"),
        ({"retry": Retry(attempts=-1)}, "Retry.Attempts: -1"),
        ({"retry": Retry(delay=float("nan"))}, "Retry.Delay: nan"),
        ({"retry": Retry(factor=0.5)}, "Retry.Factor: 0.5"),
        ({"tasks": (Task(engine=SpecConfig(type="noop")),) * 17}, "at most 16"),
        ({"labels": {"a": "x" * 9_000_000}}, "at most 8388608 are allowed"),
    ],
)
def test_faulty_jobs_are_refused_with_the_reason(change, part):
    assert part in reasons(evolve(spec(), **change))


def test_all_reasons_are_given_at_once():
    faulty = evolve(spec(env={"a": "b"}, timeouts=Timeouts(queue_timeout=-5)), count=-1)
    assert len(check(faulty)) == 3


@pytest.mark.parametrize(
    "task",
    [
        {"engine": SpecConfig(type="Process", params={"Name": "ls"})},
        {"engine": SpecConfig(type="process",
                              params={"Command": "a", "Arguments": ["b"], "WorkingDirectory": "",
                                      "EnvironmentVariables": {"A": "b"}})},
        {"engine": SpecConfig(type="wasm", params={"EntryModule": "main.wasm"}),
         "input_sources": (source("inline", "/main.wasm", URL="data:,x"),)},
        {"engine": SpecConfig(type="wasm", params={"EntryModule": "/app/a.wasm"}),
         "input_sources": (source("localDirectory", "/app/", SourcePath="/app/"),)},
        {"network": Network(type=NetworkType.HTTP,
                            domains=(".example.org", "10.0.0.1", "::1", "localhost"))},
        {"network": Network(type=NetworkType.BRIDGE,
                            ports=(Port(name="http", static=9090, target=80),))},
        {"input_sources": (source("urlDownload", URL="http://[::1]:80/x?y=z#a"),)},
        {"input_sources": (source("s3", Bucket="b", Partition={"Type": "object"}),)},
        {"publisher": SpecConfig(type="local", params={"TargetPath": "/x"})},
        {"timeouts": Timeouts(execution_timeout=5, queue_timeout=5, total_timeout=10)},
    ],
)  # fmt: skip
def test_what_occurs_in_the_wild_is_admitted(task):
    admitted(spec(**task))


def test_what_is_ignored_is_warned_of():
    sent, given_ = bind_job(
        {
            "ID": "x",
            "Type": "batch",
            "State": {"StateType": "Running"},
            "Version": 3,
            "Revision": 0,
            "CreateTime": 1,
            "Meta": {"bacalhau.org/x": "y", "own": "z"},
            "Tasks": [{"Engine": {"Type": "noop"}}, {"Engine": {"Type": "noop"}}],
        }
    )
    result = admitted(sent, Facts(now=1, job_id="j-1", node_id="n", given=given_))
    assert [warning.partition(":")[0] for warning in result.warnings] == [
        "ID",
        "State",
        "Version",
        "CreateTime",
        "Tasks",
        "Meta",
    ]
    assert result.job.id == "j-1"
    assert "bacalhau.org/x" not in result.job.spec.meta
    assert result.job.spec.meta["own"] == "z"


def test_an_undefined_state_is_no_reason_for_a_warning():
    facts = Facts(now=1, job_id="j", node_id="n", given={"State": {"StateType": "Undefined"}})
    assert admitted(spec(), facts).warnings == ()


def test_services_may_bring_their_own_id():
    facts = Facts(now=1, job_id="j-1", node_id="n", given={"ID": "my.service"})
    result = admitted(spec(JobType.SERVICE), facts)
    assert (result.job.id, result.warnings) == ("my.service", ())
    facts = Facts(now=1, job_id="j-1", node_id="n", given={"ID": "../up"})
    assert "ID: '../up'" in reasons(spec(JobType.SERVICE), facts)


def test_ids_of_clients_and_servers_are_kept_as_meta():
    facts = Facts(
        now=1,
        job_id="j",
        node_id="n",
        client={"installation": "ci", "instance": "cx"},
        server={"installation": "si"},
    )
    meta = admitted(spec(), facts).job.spec.meta
    assert meta["bacalhau.org/client.installation.id"] == "ci"
    assert meta["bacalhau.org/client.instance.id"] == "cx"
    assert meta["bacalhau.org/server.installation.id"] == "si"
    assert "bacalhau.org/server.instance.id" not in meta


def test_a_job_of_that_name_is_updated():
    first = admitted(spec()).job
    done = evolve(first, state=JobState.COMPLETED, revision=9)
    facts = evolve(FACTS, existing=done, now=5_000, job_id="j-2")
    result = admitted(spec(count=3), facts)
    job = result.job
    assert not result.created
    assert (job.id, job.version, job.revision, job.state) == ("j-1", 2, 10, JobState.PENDING)
    assert (job.create_time, job.version_time, job.queued_time) == (1_000, 5_000, 5_000)
    assert job.spec.count == 3
    assert result.change.events[0].job_version == 2


def test_an_equal_spec_changes_nothing_unless_forced():
    facts = evolve(FACTS, existing=admitted(spec()).job)
    assert isinstance(admit(spec(), facts), Unchanged)
    assert admitted(spec(), evolve(facts, force=True)).job.version == 2


def test_an_update_keeps_the_type():
    facts = evolve(FACTS, existing=admitted(spec()).job)
    result = admitted(spec(JobType.OPS, env={"A": "b"}), facts)
    assert result.job.spec.type is JobType.BATCH
    assert "stays of type batch" in result.warnings[0]


def test_old_wasm_forms_are_translated():
    old = bind(
        JobSpec,
        {
            "Type": "batch",
            "Tasks": [
                {
                    "Engine": {
                        "Type": "wasm",
                        "Params": {
                            "EntryModule": {
                                "Source": {"Type": "inline", "Params": {"URL": "data:,x"}}
                            },
                            "Entrypoint": "_start",
                            "ImportModules": [
                                {"source": {"type": "s3", "params": {"Bucket": "b"}}},
                                {
                                    "source": {"type": "s3", "params": {"Bucket": "b"}},
                                    "target": "/own.wasm",
                                },
                            ],
                        },
                    }
                }
            ],
        },
    )
    task = admitted(old).job.spec.task
    assert task.engine.params == {
        "EntryModule": "/wasm/entry.wasm",
        "Entrypoint": "_start",
        "Parameters": [],
        "ImportModules": ["/wasm/imports/module_0.wasm", "/own.wasm"],
    }
    assert [one.target for one in task.input_sources] == [
        "/wasm/entry.wasm",
        "/wasm/imports/module_0.wasm",
        "/own.wasm",
    ]


def test_a_broken_old_wasm_form_is_refused():
    broken = spec(engine=SpecConfig(type="wasm", params={"EntryModule": {"Source": 5}}))
    assert "Params.EntryModule.Source: expected object" in reasons(broken)


@pytest.mark.parametrize("state", list(JobState))
def test_rerun_starts_a_new_version_of_what_has_begun(state):
    job = evolve(admitted(spec()).job, state=state, version=3, revision=7)
    result = rerun(job, job.spec, evolve(FACTS, now=9_000))
    if state in (JobState.PENDING, JobState.HELD):
        assert result == f"cannot rerun job in state {state.title()}"
        return
    assert isinstance(result, Admitted)
    again = result.job
    assert (again.version, again.revision, again.state) == (4, 8, JobState.PENDING)
    assert (again.message, again.create_time, again.version_time) == ("job rerun", 1_000, 9_000)
    assert result.change.events[0].message == "Job rerun requested"


@pytest.mark.parametrize("state", list(JobState))
def test_stopping_ends_what_is_not_ended(state):
    job = evolve(admitted(spec()).job, state=state)
    result = stop(job, "enough", "bob", 2_000)
    if state is JobState.STOPPED:
        assert result == Change()
    elif state.is_terminal:
        assert result == f"cannot stop job in state {state.title()}"
    else:
        assert isinstance(result, Change)
        [row] = result.jobs
        assert (row.state, row.message, row.revision) == (JobState.STOPPED, "enough", 2)
        assert (row.queued_time, row.modify_time) == (0, 2_000)
        assert result.events[0].details == {"Reason": "enough"}


_text = st.text(max_size=6)
_config = st.builds(
    SpecConfig,
    type=st.sampled_from(["noop", " NOOP", "wasm", "process", "docker", "s3", "inline", "", "x"]),
    params=st.dictionaries(
        st.sampled_from(["EntryModule", "ImportModules", "command", "Image", "URL", "Partition",
                         "EnvironmentVariables", "Bucket", "Key", "Source"]),
        st.recursive(_text | st.integers() | st.none() | st.sampled_from(["/a", "data:,x"]),
                     lambda inner: st.lists(inner, max_size=2)
                     | st.dictionaries(st.sampled_from(["Source", "Type", "a"]), inner, max_size=2),
                     max_leaves=3),
        max_size=4,
    ),
)  # fmt: skip
_path = st.sampled_from(["/a", "/b ", "c", "", "/a/../b", "/"]) | _text
_task = st.builds(
    Task,
    name=st.sampled_from(["main", ""]) | _text,
    engine=_config,
    publisher=st.just(SpecConfig()) | _config,
    env=st.dictionaries(st.sampled_from(["A", "B_1", "x"]), _text, max_size=2),
    input_sources=st.lists(
        st.builds(InputSource, source=_config, target=_path, alias=_text), max_size=2
    ).map(tuple),
    result_paths=st.lists(st.builds(ResultPath, name=_text, path=_path), max_size=2).map(tuple),
    resources=st.builds(
        ResourcesConfig,
        cpu=st.sampled_from(["", "1", "500 M", "x", "1e3"]),
        memory=st.sampled_from(["", "1Gb", "2 MiB", "-1"]),
    ),
    network=st.builds(
        Network,
        type=st.sampled_from(NetworkType),
        domains=st.lists(st.sampled_from(["a.b", " X ", "_"]), max_size=2).map(tuple),
        ports=st.lists(
            st.builds(Port, name=_text, static=st.integers(), target=st.integers(0, 90)), max_size=2
        ).map(tuple),
    ),
    timeouts=st.builds(
        Timeouts, execution_timeout=st.integers(-1, 9), total_timeout=st.integers(0, 9)
    ),
)
_good_task = st.builds(
    Task,
    engine=st.sampled_from(
        [SpecConfig(type=" Noop "), SpecConfig(type="process", params={"Command": "x"})]
    ),
    publisher=st.sampled_from([SpecConfig(), SpecConfig(type=" managed")]),
    resources=st.builds(
        ResourcesConfig,
        cpu=st.sampled_from(["", "1", "500 M"]),
        memory=st.sampled_from(["", "1Gb", "2 MiB"]),
    ),
    result_paths=st.sampled_from([(), (ResultPath(name=" o ", path=" /o"),)]),
)
_spec = st.builds(
    JobSpec,
    name=_text,
    namespace=st.sampled_from(["", "team"]),
    type=st.sampled_from(JobType),
    count=st.none() | st.integers(0, 3),
    priority=st.integers(-3, 3),
    constraints=st.lists(
        st.builds(
            Requirement,
            key=st.sampled_from(["a", " b ", "favour_c"]),
            operator=st.sampled_from(["=", "In", "NOTIN", "~"]),
            values=st.lists(_text, max_size=2).map(tuple),
        ),
        max_size=2,
    ).map(tuple),
    meta=st.dictionaries(st.sampled_from(["a", "bacalhau.org/x"]), _text, max_size=2),
    tasks=st.lists(_task | _good_task, max_size=2).map(tuple),
    retry=st.builds(Retry, attempts=st.integers(-1, 5), delay=st.floats()),
)
_good_spec = st.builds(
    JobSpec,
    name=st.sampled_from(["", "x"]),
    type=st.sampled_from(JobType),
    count=st.none() | st.integers(0, 1),
    constraints=st.sampled_from(
        [(), (Requirement(key=" b", operator="NotIn", values=("x", "y")),)]
    ),
    meta=st.dictionaries(st.sampled_from(["a", "bacalhau.org/x"]), _text, max_size=2),
    tasks=st.lists(_good_task, min_size=1, max_size=2).map(tuple),
)


@given(_spec)
def test_any_spec_is_admitted_or_refused_with_reasons(any_spec):
    result = admit(any_spec, FACTS)
    assert isinstance(result, Admitted) or (result and all(result))


@given(_good_spec)
@settings(max_examples=200)
def test_admission_of_an_admitted_spec_changes_nothing(good_spec):
    once = admitted(good_spec).job
    assert admitted(once.spec).job.spec == once.spec
    facts = evolve(FACTS, existing=once)
    assert isinstance(admit(once.spec, facts), Unchanged)


@given(_good_spec, st.lists(st.sampled_from(["update", "rerun", "stop"]), max_size=6))
def test_revisions_and_versions_only_grow_by_one(good_spec, steps):
    job: Job = admitted(good_spec).job
    for at, step in enumerate(steps):
        facts = evolve(FACTS, existing=job, force=True, now=2_000 + at)
        if step == "stop":
            stopped = stop(job, "", "x", facts.now)
            assert isinstance(stopped, Change)
            new = stopped.jobs[0] if stopped.jobs else job
            assert new.version == job.version
        else:
            result = admit(job.spec, facts) if step == "update" else rerun(job, job.spec, facts)
            if isinstance(result, str):
                continue
            assert isinstance(result, Admitted)
            new = result.job
            assert new.version == job.version + 1
        assert new.id == job.id
        assert new is job or new.revision == job.revision + 1
        job = new

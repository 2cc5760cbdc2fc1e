"""Binding: from any JSON-like object to a record, or to a list of all faults."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bacalhau.core import bind as binding
from bacalhau.core.bind import bind, bind_job, bind_noting_unknown
from bacalhau.model.errors import Rejected
from bacalhau.model.job import JobSpec, JobType, NetworkType, Requirement, Retry

SMALL = {"Name": "hello", "Type": "batch", "Tasks": [{"Name": "main", "Engine": {"Type": "noop"}}]}


def faults(kind, obj):
    with pytest.raises(Rejected) as caught:
        bind(kind, obj)
    return caught.value.reasons


def test_keys_are_matched_in_any_case_at_every_level():
    spec = bind(
        JobSpec,
        {
            "NAME": "a",
            "type": "Batch",
            "tasks": [
                {
                    "engine": {"TYPE": "noop", "params": {"KeepCase": 1}},
                    "network": {"type": "http", "DOMAINS": ["x.org"]},
                    "resources": {"cpu": 1, "MEMORY": "1gb", "disk": 0.5},
                }
            ],
            "labels": {"KeepCase": "x"},
        },
    )
    assert (spec.name, spec.type) == ("a", JobType.BATCH)
    assert spec.task.engine.params == {"KeepCase": 1}
    assert spec.task.network.type is NetworkType.HTTP
    assert (spec.task.resources.cpu, spec.task.resources.disk) == ("1", "0.5")
    assert spec.labels == {"KeepCase": "x"}


def test_null_leaves_the_default_and_the_last_duplicate_wins():
    spec = bind(JobSpec, SMALL | {"name": "later", "Labels": None, "Count": None, "NAME": None})
    assert (spec.name, spec.labels, spec.count) == ("later", {}, None)


def test_all_faults_are_listed_with_their_paths():
    assert faults(
        JobSpec,
        {
            "Type": "cron",
            "Priority": "1",
            "Tasks": [None, {"Engine": {"Type": 5}, "Env": {"A": True}, "Resources": {"CPU": []}}],
            "Labels": {"a": 1},
        },
    ) == (
        "Type: unknown word 'cron', use one of batch, service, daemon, ops",
        "Priority: expected integer, got string",
        "Tasks[0]: expected object, got null",
        "Tasks[1].Engine.Type: expected string, got number",
        "Tasks[1].Env.A: expected string, got boolean",
        "Tasks[1].Resources.CPU: expected string, got list",
        "Labels.a: expected string, got number",
    )


def test_what_is_required_is_asked_for():
    assert faults(JobSpec, {}) == (
        "Type: missing job type, use one of batch, service, daemon, ops",
    )
    assert faults(JobSpec, SMALL | {"Constraints": [{}]}) == (
        "Constraints[0].Key: missing",
        "Constraints[0].Operator: missing",
    )


def test_constraint_values_may_be_written_bare():
    bound = bind(Requirement, {"Key": "cores", "Operator": "in", "Values": [4, True, 1.5, "x"]})
    assert bound.values == ("4", "true", "1.5", "x")


def test_unknown_keys_are_noted_with_their_paths():
    obj = SMALL | {"Colour": 1, "Tasks": [{"Engine": {"Type": "noop"}, "Constraits": []}]}
    assert bind_noting_unknown(JobSpec, obj)[1] == ("Tasks[0].Constraits", "Colour")


def test_numbers_are_finite_and_fit_64_bits():
    assert bind(Retry, {"Delay": 2}).delay == 2.0
    assert faults(Retry, {"Delay": math.nan}) == ("Delay: must be a finite number",)
    assert faults(Retry, {"Attempts": 2**63}) == ("Attempts: does not fit 64 bits",)
    assert faults(Retry, {"Attempts": 1.0}) == ("Attempts: expected integer, got number",)
    assert faults(Retry, {"Attempts": True}) == ("Attempts: expected integer, got boolean",)
    huge = SMALL | {"Tasks": [{"Engine": {"Params": {"n": [10**5000]}}}]}
    assert faults(JobSpec, huge) == ("Tasks[0].Engine.Params.n[0]: does not fit 64 bits",)
    huge = SMALL | {"Tasks": [{"Resources": {"CPU": 10**5000}}]}
    assert faults(JobSpec, huge) == ("Tasks[0].Resources.CPU: expected string, got number",)


@pytest.mark.parametrize("text", ["a\0b", "\ud800"])
def test_texts_that_cannot_be_stored_are_refused(text):
    for obj in ({"Name": text}, {"Labels": {"a": text}}, {"Labels": {text: "a"}}):
        assert "not allowed" in faults(JobSpec, SMALL | obj)[0]


def test_depth_and_size_are_bounded(monkeypatch):
    deep: object = "x"
    for _ in range(100):
        deep = [deep]
    assert (
        "levels deep"
        in faults(JobSpec, SMALL | {"Tasks": [{"Engine": {"Params": {"a": deep}}}]})[-1]
    )
    circle: list[object] = []
    circle.append(circle)
    assert faults(JobSpec, SMALL | {"Tasks": [{"Engine": {"Params": {"a": circle}}}]})
    bomb: object = ["x" * 10]
    for _ in range(40):
        bomb = [bomb] * 10
    monkeypatch.setattr(binding, "MAX_WEIGHT", 10_000)
    bombed = faults(JobSpec, SMALL | {"Tasks": [{"Engine": {"Params": {"a": bomb}}}]})
    assert "too much data" in bombed[-1]


def test_the_list_of_faults_ends_somewhere():
    found = faults(JobSpec, SMALL | {"Tasks": [None] * 100_000})
    assert len(found) == binding.MAX_FAULTS + 1


def test_what_the_orchestrator_decides_is_told_apart():
    state = {"StateType": "Undefined"}
    spec, given_ = bind_job(SMALL | {"id": "x", "State": state, "Version": 3, "Revision": None})
    assert spec == bind(JobSpec, SMALL)
    assert given_ == {"ID": "x", "State": state, "Version": 3}
    with pytest.raises(Rejected, match="Version: expected integer, got string"):
        bind_job(SMALL | {"VERSION": "3"})


_keys = st.sampled_from(
    ["Name", "type", "TASKS", "Engine", "Params", "Env", "Resources", "CPU", "Network", "Ports",
     "Constraints", "Key", "Operator", "Values", "Retry", "Delay", "Count", "State", "x"]
) | st.text(max_size=3)  # fmt: skip
_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["batch", "None", "\ud800", "\0", b"bytes", 2**70, -1]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_keys | st.integers(), inner),
    max_leaves=25,
)


@given(_json | st.dictionaries(_keys, _json))
def test_anything_is_bound_or_rejected(obj):
    try:
        spec, _ = bind_job(obj)
    except Rejected:
        return
    assert isinstance(spec, JobSpec)

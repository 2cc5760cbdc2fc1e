"""Job files: the traps of YAML, and errors that say where."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bacalhau.core import jobfile
from bacalhau.core.jobfile import load, read
from bacalhau.model.errors import Rejected
from bacalhau.model.job import JobType, NetworkType

JOB = """\
name: hello
Type: ops
count: 1
Constraints:
- Key: region
  Operator: =
  Values: [eu]
- {Key: version, Operator: in, Values: [1.10, 007, true, no]}
Labels: {}
Tasks:
- Name: main
  Engine:
    type: docker
    params:
      Image: ubuntu:22.04
      Parameters: [bash, -c, 'echo hi', "no"]
      Answers: [no, on, 12:30:45, 2020-01-01, 1_000, 0x10, 0o17, 1e3, ~, yes]
  Env: {A: env:HOME, A: last}
  Resources: {CPU: 1, Memory: 512m, Disk: 1.50}
  Network: {Type: full}
  Publisher: {Type: ""}
  Timeouts: {}
"""


def rejected(text):
    with pytest.raises(Rejected) as caught:
        load(text)
    assert caught.value.message.startswith(jobfile.INVALID)
    return caught.value


def test_a_job_file_with_all_the_traps():
    spec, notes = load(JOB)
    assert notes == ()
    assert (spec.name, spec.type, spec.count) == ("hello", JobType.OPS, 1)
    assert [one.operator for one in spec.constraints] == ["=", "in"]
    assert spec.constraints[1].values == ("1.10", "007", "true", "no")
    assert spec.task.engine.params["Image"] == "ubuntu:22.04"
    assert spec.task.engine.params["Answers"] == [
        "no", "on", "12:30:45", "2020-01-01", "1_000", 16, 15, 1000.0, None, "yes",
    ]  # fmt: skip
    assert spec.task.env == {"A": "last"}
    assert (spec.task.resources.cpu, spec.task.resources.disk) == ("1", "1.50")
    assert spec.task.network.type is NetworkType.FULL


def test_json_is_read_as_well():
    spec, _ = load(json.dumps({"NAME": "a", "type": "batch", "tasks": [{"engine": {"type": "x"}}]}))
    assert (spec.name, spec.task.engine.type) == ("a", "x")
    assert load("{name: a, type: batch, tasks: []}")[0].name == "a"


def test_anchors_and_merges_are_followed():
    spec, _ = load(
        "Type: batch\n"
        "Labels: &l {a: '1', b: '2'}\n"
        "Meta: {<<: *l, b: own}\n"
        "Tasks:\n- {Name: &n one, Engine: {Type: *n}}\n"
    )
    assert spec.meta == {"a": "1", "b": "own"}
    assert spec.task.engine.type == "one"


def test_unknown_keys_below_the_top_are_noted():
    _, notes = load(
        "Type: batch\n"
        "Tasks:\n"
        "- Engine: {Type: x}\n"
        "  Constraints: []\n"
        "  ResultPath: []\n"
        "  annotations: {}\n"
    )
    assert notes == (
        "Tasks[0].Constraints: unknown here and ignored; Constraints belongs to the top level",
        "Tasks[0].ResultPath: unknown and ignored; did you mean ResultPaths?",
        "Tasks[0].annotations: unknown and ignored",
    )


def test_keys_at_the_top_are_refused_when_unknown_or_not_the_users():
    error = rejected("Type: batch\nID: x\nstate: {}\nLable: {}\nTasks: []\n")
    assert error.reasons == (
        jobfile.INVALID + "ID: not allowed in a job file, the orchestrator sets it",
        "state: not allowed in a job file, the orchestrator sets it",
        "unknown key 'Lable', did you mean Labels?",
    )


def test_all_wrong_types_are_listed():
    error = rejected("Type: [x]\nName: 5\nTasks: [{Env: {A: 1}}]\n")
    assert len(error.reasons) == 3
    assert error.hint == jobfile.QUOTES_HINT


def test_other_formats_get_a_hint():
    error = rejected("apiVersion: v1\nkind: BacalhauJob\nspec: {raw: {}}\n")
    assert "another format" in error.hint
    assert len(error.reasons) == 3


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "it is empty"),
        ("---\n", "it is empty"),
        ("# nothing\n", "it is empty"),
        ("hello", "expected keys"),
        ("- a\n- b\n", "expected keys"),
        ("Type: batch\n  Name: x\n", "line 2, column 7: mapping values"),
        ("a: [1, 2", "line 2, column 1: did not find"),
        ("{\"a\": 1,, }", "line 1"),
        ("a: b\n---\nc: d\n", "line 2, column 1: a second document"),
        ("a: !!python/object:os.system x\n", "tag tag:yaml.org,2002:python/object:os.system"),
        ("a: !!int x\n", "'x' is not of type int"),
        ("a: !own [x]\n", "tag !own is not supported"),
        ("? [a]\n: b\n", "a key must be a plain text"),
        ("a: &a [*a]\n", "alias '*a' stands for nothing"),
        ("a: *b\n", "alias '*b' stands for nothing"),
        ("a: {<<: 5}\n", "merges mappings only"),
        ("[" * 100_000, "nested more than 64"),
        ("{\"a\":" * 100_000, "nested more than 64"),
        ("a: " + "- " * 100_000, "line 1"),
        ("a: b\x00c\n", "character"),
        ("a: \ud800\n", "character 3 is no valid Unicode"),
        ("Priority: " + "9" * 24, "does not fit 64 bits"),
        ("Priority: .nan", "expected integer"),
        ("Retry: {Delay: -.inf}", "finite"),
    ],
)  # fmt: skip
def test_broken_files_are_refused_with_the_place(text, part):
    assert part in rejected(text).message


def test_an_unrendered_template_is_recognised():
    assert "-V" in rejected("Count: {{.count}}\n").hint


def test_bombs_are_refused(monkeypatch):
    laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)
    )
    text = laughs + "Type: batch\nTasks: [{Engine: {Type: x, Params: {p: *a11}}}]\n"
    assert any("too much data" in reason for reason in rejected(text).reasons)
    assert "aliases" in rejected("a: &a [x]\nb: [" + "*a, " * 20_000 + "]\n").message
    monkeypatch.setattr(jobfile, "MAX_TEXT_CHARS", 10)
    assert "longer than 10" in rejected("Type: batch").message


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1), ("-1", -1), ("+1", 1), ("1.5", 1.5), (".5", 0.5), ("1.", 1.0), ("1e2", 100.0),
        ("0x1F", 31), ("0b1", "0b1"), ("1.2.3", "1.2.3"), ("+", "+"), (".", "."),
        ("null", None), ("~", None), ("Null", None), ("nULL", "nULL"), ("tRUE", "tRUE"),
        ("TRUE", True), ("false", False), ("y", "y"), ("off", "off"), ("=", "="), ("<<", "<<"),
        ("'5'", "5"), ('"true"', "true"), ("!!str 5", "5"), ("! 5", "5"), ("!!float 5", 5),
        ("9" * 40, 1e40), ("abc==", "abc=="), ("|\n  5\n", "5\n"), ("2020-01-01", "2020-01-01"),
    ],
)  # fmt: skip
def test_plain_scalars_follow_the_core_schema(text, value):
    found = read(f"a: {text}")["a"]
    assert (found, type(found)) == (value, type(value))


_yaml = st.text(st.sampled_from("ab:-[]{}&*!|>'\"%@`,?#~=<.\n \t0") | st.characters(), max_size=40)


@given(_yaml | st.text())
def test_any_text_is_loaded_or_rejected(text):
    try:
        load(text)
    except Rejected as error:
        if not error.message.startswith(jobfile.INVALID):
            raise AssertionError(error.message) from error


_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=20), inner),
    max_leaves=10,
)


@given(st.dictionaries(st.text(max_size=20), _json))
def test_json_means_the_same_when_read_as_yaml(obj):
    text = json.dumps(obj)
    assert read(text) == obj
    expected = json.loads(text)
    # Not YAML: surrogate pairs written as escapes; keys beyond 1024 characters.
    if "\\ud" not in text and "<<" not in obj:
        assert jobfile._read_yaml(text) == expected

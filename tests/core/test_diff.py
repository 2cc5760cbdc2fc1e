"""Differences between specs."""

from hypothesis import given
from hypothesis import strategies as st

from bacalhau.core.diff import MAX_LINES, diff
from bacalhau.model.base import evolve
from bacalhau.model.job import JobSpec, JobType, Requirement, Retry, SpecConfig, Task
from bacalhau.model.resources import ResourcesConfig

BASE = JobSpec(
    name="hello",
    type=JobType.BATCH,
    count=1,
    tasks=(
        Task(
            engine=SpecConfig(type="docker", params={"Image": "a", "Parameters": ["x", "y"]}),
            resources=ResourcesConfig(cpu="500m", memory="512mb"),
        ),
    ),
)


def with_task(**changes):
    return evolve(BASE, tasks=(evolve(BASE.task, **changes),))


def test_equal_specs_have_no_difference():
    assert diff(BASE, BASE) == ""


def test_what_the_orchestrator_adds_is_not_compared():
    assert diff(evolve(BASE, meta={"bacalhau.org/requester.id": "n"}), BASE) == ""
    assert diff(with_task(resources=ResourcesConfig(cpu="500M", memory="512MB")), BASE) == ""


def test_a_difference_is_shown_below_where_it_stands():
    new = evolve(with_task(resources=ResourcesConfig(cpu="1", memory="512mb", gpu="1")), count=3)
    assert diff(BASE, new).splitlines() == [
        "  Job",
        "-   Count: 1",
        "+   Count: 3",
        "  Tasks[0].Resources",
        '-   CPU: "500m"',
        '+   CPU: "1"',
        '+   GPU: "1"',
    ]


def test_params_and_lists_are_compared_in_depth():
    engine = SpecConfig(type="docker", params={"Image": "a", "Parameters": ["x", "z\n-", 5]})
    assert diff(BASE, with_task(engine=engine)).splitlines() == [
        "  Tasks[0].Engine.Params.Parameters",
        '-   [1]: "y"',
        '+   [1]: "z\\n-"',
        "+   [2]: 5",
    ]


def test_additions_of_ours_are_compared_too():
    assert "Retry" in diff(BASE, evolve(BASE, retry=Retry(attempts=5)))


def test_long_differences_are_cut():
    many = SpecConfig(type="docker", params={str(n): n for n in range(5000)})
    lines = diff(BASE, with_task(engine=many)).splitlines()
    assert len(lines) <= MAX_LINES + 2
    assert lines[-1] == "  ... and more"


_any = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
_spec = st.builds(
    lambda params, name, count, keys: JobSpec(
        name=name,
        type=JobType.BATCH,
        count=count,
        constraints=tuple(Requirement(key=key, operator="exists") for key in keys),
        tasks=(Task(engine=SpecConfig(type="x", params=params)),),
    ),
    st.dictionaries(st.text(), _any, max_size=3),
    st.text(max_size=3),
    st.none() | st.integers(0, 2),
    st.lists(st.text(max_size=2), max_size=2),
)


@given(_spec, _spec)
def test_only_equal_specs_have_no_difference(one, other):
    forth, back = diff(one, other), diff(other, one)
    assert bool(forth) == bool(back)
    if one == other:
        assert forth == ""
    lines = forth.splitlines()
    assert all(line[0] in "-+ " for line in lines)
    changed = [line for line in lines if line[0] != " "]
    assert len(changed) == len([line for line in back.splitlines() if line[0] != " "])

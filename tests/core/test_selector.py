"""Selectors: what is read, what holds, and why not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bacalhau.core import selector
from bacalhau.model.job import Requirement

LABELS = {"region": "eu", "cores": "8", "name": "n-1", "odd": "many"}

word = st.text(
    st.characters(exclude_characters="=!<>(),", exclude_categories=("Z", "C")), min_size=1
).filter(lambda text: not text.isspace() and text != "favour_")
requirement = st.one_of(
    st.builds(
        Requirement,
        key=word,
        operator=st.sampled_from(["=", "==", "!="]),
        values=st.tuples(st.just("") | word),
    ),
    st.builds(
        Requirement,
        key=word,
        operator=st.sampled_from(["in", "notin"]),
        values=st.lists(st.just("") | word, min_size=1, max_size=4).map(tuple),
    ),
    st.builds(Requirement, key=word, operator=st.sampled_from(["exists", "!"])),
    st.builds(
        Requirement,
        key=word,
        operator=st.sampled_from(["gt", "lt"]),
        values=st.tuples(st.integers(-(2**62), 2**62).map(str)),
    ),
)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  ",
        "region=eu",
        "region == eu , cores>4",
        "region in (eu, us),cores<9",
        "region notin (us)",
        "region",
        "!gpu",
        "gpu!=a100",
        "gpu notin (a100,h100)",
        "cores>-1",
    ],
)
def test_satisfied_selectors(text):
    assert selector.matches(selector.parse(text), LABELS) == ""


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("region=us", "label region: us wanted, eu found"),
        ("zone=a", "label zone: a wanted, none found"),
        ("region!=eu", "label region: not eu wanted, eu found"),
        ("region in (us,ap)", "label region: us or ap wanted, eu found"),
        ("region notin (eu)", "label region: not eu wanted, eu found"),
        ("gpu", "label gpu: wanted, none found"),
        ("!region", "label region: unwanted, eu found"),
        ("cores>8", "label cores: >8 wanted, 8 found"),
        ("odd<8", "label odd: <8 wanted, many found"),
        ("gpu>0", "label gpu: >0 wanted, none found"),
    ],
)
def test_unsatisfied_selectors_say_why(text, reason):
    assert selector.matches(selector.parse(text), LABELS) == reason


@pytest.mark.parametrize(
    "text",
    [",", "a=b,", "a in b", "a in (b", "a b", "=", "!", "a>x", "a>", "(a)", "a=b c", "a in (b c)",
     "a=" + "x" * 20_000, ",".join(["a"] * 300)],
)  # fmt: skip
def test_broken_selectors_are_value_errors(text):
    with pytest.raises(ValueError, match="selector"):
        selector.parse(text)


def test_wishes_never_exclude():
    assert selector.matches([Requirement(key="favour_x", operator="=", values=("y",))], {}) == ""


@pytest.mark.parametrize(
    ("given_", "operator"),
    [("In", "in"), ("NotIn", "notin"), ("Exists", "exists"), ("DoesNotExist", "!"), ("GT", "gt")],
)
def test_operator_spellings_are_normalised(given_, operator):
    assert selector.normalise(Requirement(key="k", operator=given_)).operator == operator


@pytest.mark.parametrize(
    ("requirement_", "part"),
    [
        (Requirement(key="k", operator="~", values=("a",)), "unknown operator '~'"),
        (Requirement(key=" ", operator="exists"), "key"),
        (Requirement(key="favour_", operator="exists"), "key"),
        (Requirement(key="k", operator="="), "one value"),
        (Requirement(key="k", operator="in"), "at least one"),
        (Requirement(key="k", operator="!", values=("a",)), "no values"),
        (Requirement(key="k", operator="lt", values=("1.5",)), "integer"),
    ],
)
def test_faults_name_what_is_wrong(requirement_, part):
    assert part in selector.fault(requirement_)


@given(st.lists(requirement, max_size=5).map(tuple))
def test_what_is_rendered_is_read_back(requirements):
    assert selector.parse(selector.render(requirements)) == requirements


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text):
    try:
        found = selector.parse(text)
    except ValueError:
        return
    assert all(not selector.fault(one) for one in found)


@given(requirement, st.dictionaries(word, word, max_size=3))
def test_a_requirement_and_its_opposite_never_both_hold(one, labels):
    opposite = {"=": "!=", "==": "!=", "!=": "=", "in": "notin", "notin": "in"}
    opposite |= {"exists": "!", "!": "exists"}
    if one.operator not in opposite or one.key.startswith("favour_"):
        return
    other = Requirement(key=one.key, operator=opposite[one.operator], values=one.values)
    assert bool(selector.matches([one], labels)) != bool(selector.matches([other], labels))

"""Allow-lists of paths: what an owner's globs cover."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bacalhau.core.paths import allowed, escaped, fault, literal_base, matches

NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1)
PATHS = st.lists(NAMES, max_size=4).map(lambda parts: "/" + "/".join(parts))


@pytest.mark.parametrize(
    ("glob", "covered", "others"),
    [
        ("/data", ["/data", "/data/"], ["/", "/data/x", "/database", "/DATA"]),
        ("/data/**", ["/data", "/data/x", "/data/x/y/.z"], ["/", "/database", "/dat"]),
        ("/data/*", ["/data/x", "/data/.hidden"], ["/data", "/data/x/y"]),
        ("/**", ["/", "/x", "/x/y"], []),
        ("/*", ["/x"], ["/", "/x/y"]),
        ("/", ["/"], ["/x"]),
        ("/**/logs", ["/logs", "/a/logs", "/a/b/logs"], ["/a/logs/x", "/a/xlogs"]),
        ("/a/**/z/**", ["/a/z", "/a/b/z/c"], ["/a", "/z", "/a/b"]),
        ("/d?ta", ["/data", "/d.ta"], ["/dta", "/d/ta"]),
        ("/d[a-c]y", ["/day", "/dcy"], ["/ddy", "/dy"]),
        ("/d[!a-c]y", ["/ddy"], ["/day", "/d/y"]),
        ("/d[^/]y", ["/ddy"], ["/d/y"]),
        ("/{a,b/c}/x", ["/a/x", "/b/c/x"], ["/b/x", "/a"]),
        ("/{a/**,b}", ["/a", "/a/x/y", "/b"], ["/b/x"]),
        ("/{a,{b,c}d}", ["/a", "/bd", "/cd"], ["/b", "/d"]),
        ("/a**b", ["/ab", "/axb"], ["/a/b"]),
        ("/a.b+(c)", ["/a.b+(c)"], ["/axb+(c)", "/a.bb(c)"]),
        (r"/\*", ["/*"], ["/x"]),
        ("/a,b}", ["/a,b}"], ["/a"]),
        ("/a/**,b", ["/a/x,b", "/a/,b"], ["/a/x/y,b", "/a"]),
    ],
)
def test_a_glob_covers(glob: str, covered: list[str], others: list[str]) -> None:
    assert fault(glob) == ""
    assert [path for path in covered if not matches(glob, path)] == []
    assert [path for path in others if matches(glob, path)] == []


def test_an_entry_says_whether_jobs_may_write() -> None:
    assert allowed("/a") == allowed("/a:ro") == ("/a", False)
    assert allowed("/a:rw") == ("/a", True)
    assert allowed("/a:b") == ("/a:b", False)


@given(PATHS, PATHS)
def test_an_escaped_path_is_covered_alone(path: str, other: str) -> None:
    assert matches(escaped(path), path)
    assert matches(escaped(path), other) is (path == other)


@given(PATHS, PATHS)
def test_everything_below_is_covered_by_two_stars(path: str, below: str) -> None:
    assert matches(escaped(path).rstrip("/") + "/**", path.rstrip("/") + below)
    assert matches("/**", path)


@given(st.text())
def test_any_text_is_an_entry_or_has_a_fault(text: str) -> None:
    if not fault(text):
        matches(allowed(text).glob, "/a/b")


@pytest.mark.parametrize(
    ("glob", "base", "rest"),
    [("/a/b/**", "/a/b", "**"), ("/**", "/", "**"), ("/a/b", "/a/b", ""), ("/a*/b", "/", "a*/b"),
     ("/a/{b,c}/d", "/a", "{b,c}/d"), (r"/a\b/c", "/", r"a\b/c")],
)  # fmt: skip
def test_the_base_of_a_glob_is_what_is_no_pattern(glob: str, base: str, rest: str) -> None:
    assert literal_base(glob) == (base, rest)

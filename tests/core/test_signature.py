"""Signed URLs open one object, one way, for a while."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bacalhau.core.signature import sign, verify

SECRET = b"s" * 32
NOW = 1_700_000_000
KEY = "j-1/e-1/results.tar.gz"


def test_a_signed_request_is_accepted_until_it_ends() -> None:
    mark = sign(SECRET, "PUT", KEY, NOW)
    assert verify(SECRET, "PUT", KEY, str(NOW), mark, NOW - 1) == ""
    assert "ended" in verify(SECRET, "PUT", KEY, str(NOW), mark, NOW)


def test_head_goes_with_get_and_put_with_neither() -> None:
    mark = sign(SECRET, "GET", KEY, NOW)
    assert verify(SECRET, "HEAD", KEY, str(NOW), mark, 0) == ""
    assert verify(SECRET, "get", KEY, str(NOW), mark, 0) == ""
    assert verify(SECRET, "PUT", KEY, str(NOW), mark, 0)
    assert verify(SECRET, "DELETE", KEY, str(NOW), mark, 0)


@given(
    st.binary(max_size=64),
    st.sampled_from(["GET", "PUT"]),
    st.text(max_size=40),
    st.integers(0, 10**11),
)
def test_nothing_else_is_accepted(secret: bytes, method: str, key: str, expires: int) -> None:
    mark = sign(SECRET, "GET", KEY, NOW)
    same = (secret, method, key, expires) == (SECRET, "GET", KEY, NOW)
    assert (verify(secret, method, key, str(expires), mark, 0) == "") is same


@given(st.text(max_size=80), st.text(max_size=20))
def test_any_text_is_refused_without_a_fault(mark: str, expires: str) -> None:
    assert verify(SECRET, "GET", KEY, expires, mark, NOW)
    assert verify(SECRET, "GET", KEY, str(NOW + 1), mark, NOW)


@pytest.mark.parametrize("expires", ["", "-1", "+5", " 5", "5.0", "1e9", "٣", "9" * 13])
def test_an_end_that_is_no_number_is_refused(expires: str) -> None:
    assert "not signed" in verify(SECRET, "GET", KEY, expires, "00", NOW)


def test_a_known_answer_stays_the_same() -> None:
    assert sign(b"key", "GET", "a/b/c", 1) == (
        "3067d719aabaa91eda4f243ed3b4b51828327d2c95b3fc2e3939c6e757d0862a"
    )

"""Under which name a download is kept: always one file's, in its directory."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bacalhau.core.names import FALLBACK, MAX_BYTES, file_name, safe


@given(st.text(max_size=300))
def test_any_text_becomes_one_name_or_none(text: str) -> None:
    name = safe(text)
    assert len(name.encode()) <= MAX_BYTES
    assert not set("/\\\0\n") & set(name)
    assert name not in (".", "..")


@given(st.text(max_size=100), st.booleans())
def test_any_header_gives_a_name(header: str, redirected: bool) -> None:
    assert file_name("http://host/x", {"content-disposition": header}, redirected)


@pytest.mark.parametrize(
    ("url", "disposition", "redirected", "name"),
    [
        ("http://h/a/b.csv?x=/y", "", False, "b.csv"),
        ("http://h/b.csv", 'attachment; filename="c.csv"', False, "b.csv"),
        ("http://h/b.csv", 'attachment; filename="c.csv"', True, "c.csv"),
        ("http://h/", 'attachment; filename="c.csv"', False, "c.csv"),
        ("http://h/b.csv", "", True, "b.csv"),
        ("http://h", "", True, FALLBACK),
    ],
)
def test_the_users_url_comes_first_and_the_server_after_a_redirect(
    url: str, disposition: str, redirected: bool, name: str
) -> None:
    assert file_name(url, {"content-disposition": disposition}, redirected) == name

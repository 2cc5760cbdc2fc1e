"""Which server a client talks to, and what it shows there."""

from base64 import b64encode

import pytest

from bacalhau.client.endpoint import authorization, parse, resolve


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("example.org", "http://example.org:1234"),
        ("example.org:99", "http://example.org:99"),
        ("http://example.org", "http://example.org:1234"),
        ("https://example.org:443/", "https://example.org:443"),
        ("0.0.0.0", "http://127.0.0.1:1234"),
        ("[::1]:8080", "http://[::1]:8080"),
        ("::1", "http://[::1]:1234"),
        ("[::]", "http://[::1]:1234"),
    ],
)
def test_addresses_come_in_many_spellings(address: str, url: str) -> None:
    assert parse(address).url == url


@pytest.mark.parametrize(
    "address", ["", "http://", "ftp://x", "a b", "x:port", "x:0", "x:70000", "u@host", "h?q"]
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match=r"has no|is not"):
        parse(address)


def test_the_environment_counts_when_nothing_is_asked_for() -> None:
    env = {"BACALHAU_API_HOST": "there", "BACALHAU_API_PORT": "77"}
    assert resolve(env=env).url == "http://there:77"
    assert resolve("here:1", env=env).url == "http://here:1"
    assert resolve(env={}).url == "http://127.0.0.1:1234"


def test_a_bad_port_in_the_environment_is_named() -> None:
    with pytest.raises(ValueError, match="BACALHAU_API_PORT 'x'"):
        resolve(env={"BACALHAU_API_PORT": "x"})


def test_credentials_are_a_key_or_a_pair() -> None:
    assert resolve(env={"BACALHAU_API_KEY": "k"}).authorization == "Bearer k"
    pair = {"BACALHAU_API_USERNAME": "u", "BACALHAU_API_PASSWORD": "p"}
    expected = "Basic " + b64encode(b"u:p").decode()
    assert resolve(env=pair).authorization == expected
    assert resolve(token="mine", env=pair).authorization == "Bearer mine"
    with pytest.raises(ValueError, match="not both"):
        resolve(env={**pair, "BACALHAU_API_KEY": "k"})
    with pytest.raises(ValueError, match="belong together"):
        resolve(env={"BACALHAU_API_USERNAME": "u"})


def test_a_key_cannot_smuggle_headers() -> None:
    with pytest.raises(ValueError, match="printable"):
        authorization("a\r\nX: y")


def test_the_admin_token_goes_to_our_own_server_only() -> None:
    files = {"bacalhau.run": "export BACALHAU_API_PORT=1234\n", "admin.token": "secret\n"}
    assert resolve(env={}, read=files.get).authorization == "Bearer secret"
    assert resolve(port=4321, env={}, read=files.get).authorization == ""
    assert resolve("example.org", env={}, read=files.get).authorization == ""
    assert resolve(env={"BACALHAU_API_KEY": "k"}, read=files.get).authorization == "Bearer k"

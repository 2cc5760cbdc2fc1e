"""Who may do what: every route, every kind of caller."""

import base64
import hashlib
import json
import random
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bacalhau.auth import clientkey, token
from bacalhau.auth.guard import Caller, Guard
from bacalhau.auth.users import Users
from bacalhau.config.keys import Capability, User
from bacalhau.core.authorise import CAPABILITIES, may
from bacalhau.model.errors import Rejected, Unauthenticated
from bacalhau.model.policy import ADMIN, LOCAL, Action, Principal, Resource
from bacalhau.testing.served import Served, served

LOCALHOST = Caller(peer="127.0.0.1", host="127.0.0.1:1234")
KEY = "k" * 24
EXPECTED = {
    ("PUT", "/api/v1/orchestrator/jobs"): "write:job",
    ("POST", "/api/v1/orchestrator/jobs"): "write:job",
    ("GET", "/api/v1/orchestrator/jobs"): "read:job",
    ("POST", "/api/v1/orchestrator/jobs/batch"): "write:job",
    ("PUT", "/api/v1/orchestrator/jobs/diff"): "write:job",
    ("GET", "/api/v1/orchestrator/jobs/{id}"): "read:job",
    ("DELETE", "/api/v1/orchestrator/jobs/{id}"): "write:job",
    ("PUT", "/api/v1/orchestrator/jobs/{id}/rerun"): "write:job",
    ("GET", "/api/v1/orchestrator/jobs/{id}/wait"): "read:job",
    ("GET", "/api/v1/orchestrator/jobs/{id}/history"): "read:job",
    ("GET", "/api/v1/orchestrator/jobs/{id}/executions"): "read:job",
    ("GET", "/api/v1/orchestrator/jobs/{id}/versions"): "read:job",
    ("GET", "/api/v1/orchestrator/jobs/{id}/results"): "read:job",
    ("GET", "/api/v1/orchestrator/jobs/{id}/logs"): "read:job",
    ("GET", "/api/v1/orchestrator/nodes"): "read:node",
    ("GET", "/api/v1/orchestrator/nodes/{id}"): "read:node",
    ("PUT", "/api/v1/orchestrator/nodes/{id}"): "write:node",
    ("GET", "/api/v1/agent/alive"): "",
    ("GET", "/api/v1/agent/version"): "",
    ("GET", "/api/v1/agent/authconfig"): "",
    ("GET", "/api/v1/agent/node"): "read:agent",
    ("GET", "/api/v1/agent/config"): "read:agent",
    ("GET", "/api/v1/agent/debug"): "read:agent",
    ("GET", "/api/v1/auth"): "",
    ("GET", "/api/v1/auth/{method}"): "",
    ("POST", "/api/v1/auth/{method}"): "",
    ("PUT", "/api/v1/objects/{key:path}"): "",
    ("GET", "/api/v1/objects/{key:path}"): "",
    ("GET", "/api/v1/openapi.json"): "",
    ("GET", "/"): "",
    ("GET", "/version"): "",
    ("GET", "/livez"): "",
}
"""What each route asks for; '' is open (objects: the URL's signature decides)."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    users = [
        {"Alias": "reader", "APIKey": KEY, "Capabilities": [{"Actions": ["read:*"]}]},
        {"Username": "worker", "Password": "long-enough-secret",
         "Capabilities": [{"Actions": ["write:job"]}]},
    ]  # fmt: skip
    settings = {"API.Auth.Users": users, "API.Auth.RequireToken": True}
    with served(tmp_path_factory.mktemp("data"), settings) as here:
        yield here


def routes() -> list[tuple[str, str, str]]:
    from bacalhau.api.signin import Signin
    from bacalhau.api.table import routes as table

    guard = Guard(admin="")

    async def document(cluster: object, request: object) -> object:
        raise AssertionError

    found = table(Signin(guard), document)  # type: ignore[arg-type]  # it is never called
    return [
        (route.method, route.path, ":".join(route.access) if route.access else "")
        for route in found
    ]


def test_every_route_asks_for_the_right_it_should() -> None:
    assert {(method, path): wanted for method, path, wanted in routes()} == EXPECTED


@pytest.mark.parametrize(("method", "path"), EXPECTED)
def test_without_credentials_only_open_routes_answer(
    server: Served, method: str, path: str
) -> None:
    url = path.replace("{id}", "x").replace("{method}", "x").replace("{key:path}", "a/b/c")
    answer = server.ask(method, url, {} if method in ("PUT", "POST") else None)
    if EXPECTED[method, path]:
        assert (answer.status, answer.json["Code"]) == (401, "Unauthorized")
        assert answer.json["Component"] == "Authorizer"
        assert "x-bacalhau-git-version" not in answer.headers
    else:
        assert answer.status != 401


@pytest.mark.parametrize(("method", "path"), [key for key, wanted in EXPECTED.items() if wanted])
def test_users_can_do_what_their_capabilities_say_and_no_more(
    server: Served, method: str, path: str
) -> None:
    url = path.replace("{id}", "x")
    body = {} if method in ("PUT", "POST") else None
    reader = server.ask(method, url, body, {"Authorization": f"Bearer {KEY}"})
    assert (reader.status == 403) == EXPECTED[method, path].startswith("write")
    pair = base64.b64encode(b"WORKER:long-enough-secret").decode()
    worker = server.ask(method, url, body, {"Authorization": f"Basic {pair}"})
    assert (worker.status == 403) == (EXPECTED[method, path] != "write:job")


@pytest.mark.parametrize(
    "credentials",
    ["Bearer nonsense", "Bearer ", "Basic !!!", "Basic " + base64.b64encode(b"worker:no").decode(),
     "Digest x", "Bearer bkey.a.b", "Bearer \xff", "Basic " + base64.b64encode(b"\xff").decode()],
)  # fmt: skip
def test_wrong_credentials_are_refused(server: Served, credentials: str) -> None:
    answer = server.get("/orchestrator/jobs", Authorization=credentials)
    assert answer.status == 401
    assert answer.json["Hint"]


def test_the_admin_token_opens_everything(server: Served) -> None:
    answer = server.get("/agent/config", Authorization=f"Bearer {server.token}")
    assert answer.status == 200


def test_no_sign_in_method_is_offered_where_users_are_configured(server: Served) -> None:
    assert server.get("/auth").json == {"NextToken": "", "Methods": {}}


async def identify(caller: Caller, **settings: object) -> Principal:
    return await Guard(admin="a" * 43, **settings).identify(caller)  # type: ignore[arg-type]  # keywords


async def test_a_program_of_this_machine_is_local() -> None:
    for peer, host in (("127.0.0.1", "localhost:1"), ("::1", "[::1]:1"), ("127.8.8.8", "127.0.0.1"),
                       ("::ffff:127.0.0.1", "LOCALHOST")):  # fmt: skip
        assert await identify(Caller(peer=peer, host=host)) == LOCAL


@pytest.mark.parametrize(
    "caller",
    [
        Caller(peer="10.0.0.1", host="127.0.0.1"),
        Caller(peer="", host="127.0.0.1"),
        Caller(peer="127.0.0.1", host="evil.example"),
        Caller(peer="127.0.0.1", host=""),
        Caller(peer="127.0.0.1", host="[half"),
        Caller(peer="127.0.0.1", host="127.0.0.1:1", origin="http://evil.example"),
        Caller(peer="127.0.0.1", host="127.0.0.1:1", origin="http://127.0.0.1:2"),
        Caller(peer="127.0.0.1", host="127.0.0.1:1", origin="null"),
        Caller(peer="127.0.0.1", host="127.0.0.1:1", origin="http://["),
        Caller(peer="127.0.0.1", host="127.0.0.1:1", origin="http://127.0.0.1:99999"),
        Caller(peer="127.0.0.1", host="127.0.0.1:1", site="cross-site"),
        Caller(peer="127.0.0.1", host="127.0.0.1:1", forwarded=True),
    ],
)
async def test_web_pages_proxies_and_other_machines_are_not_local(caller: Caller) -> None:
    with pytest.raises(Unauthenticated):
        await identify(caller)
    right = Caller(**{field: getattr(caller, field) for field in caller.__struct_fields__
                      if field != "authorization"}, authorization="Bearer " + "a" * 43)  # fmt: skip
    assert await identify(right) == ADMIN


async def test_our_own_pages_may_call() -> None:
    caller = Caller(peer="127.0.0.1", host="localhost:8438", origin="http://localhost:8438")
    assert await identify(caller) == LOCAL


@given(st.text(max_size=30), st.text(max_size=30), st.text(max_size=60))
async def test_strange_headers_never_break_the_guard(host: str, origin: str, given: str) -> None:
    guard = Guard(admin="a" * 43, users=Users([User(api_key=KEY, capabilities=[ALL])]))
    try:
        await guard.identify(
            Caller(peer="127.0.0.1", host=host, origin=origin, authorization=given)
        )
    except Unauthenticated:
        return


ALL = Capability(actions=("*",))


@pytest.mark.parametrize(
    "user",
    [
        User(api_key="short", capabilities=[ALL]),
        User(api_key=KEY),
        User(api_key=KEY, username="both", password="0123456789", capabilities=[ALL]),
        User(username="a b", password="0123456789", capabilities=[ALL]),
        User(username="ab", password="short", capabilities=[ALL]),
        User(username="ab", capabilities=[ALL]),
        User(api_key=KEY, capabilities=[Capability(actions=("fly",))]),
    ],
)
def test_users_that_make_no_sense_are_refused_at_start(user: User) -> None:
    with pytest.raises(Rejected, match=r"API\.Auth\.Users"):
        Users([user])


def test_the_same_user_twice_is_refused() -> None:
    one = User(username="Ann", password="0123456789", capabilities=[ALL])
    two = User(username="ann", password="9876543210", capabilities=[ALL])
    with pytest.raises(Rejected, match="twice"):
        Users([one, two])


def test_capabilities_grant_exactly_what_they_say() -> None:
    for word in CAPABILITIES:
        somebody = Principal(name="x", actions=frozenset({word}))
        for action in Action:
            for resource in Resource:
                granted = not may(somebody, action, resource)
                assert granted == (word in ("*", f"{action}:*", f"{action}:{resource}"))


# Client keys


def prime(bits: int, random_: random.Random) -> int:
    """A probable prime with its two top bits set."""
    while True:
        number = random_.getrandbits(bits) | 1 | (0b11 << (bits - 2))
        if all(pow(base, number - 1, number) == 1 for base in (2, 3, 5, 7)):
            return number


def integer(number: int) -> bytes:
    body = number.to_bytes(number.bit_length() // 8 + 1)
    return b"\x02" + length(len(body)) + body


def length(size: int) -> bytes:
    if size < 128:
        return bytes((size,))
    body = size.to_bytes((size.bit_length() + 7) // 8)
    return bytes((0x80 | len(body),)) + body


@pytest.fixture(scope="module")
def rsa() -> tuple[int, int, bytes]:
    """Modulus, private exponent and the public key's DER, made from a fixed seed."""
    random_ = random.Random(7)
    p, q = prime(1024, random_), prime(1024, random_)
    body = integer(p * q) + integer(65537)
    der = b"\x30" + length(len(body)) + body
    return p * q, pow(65537, -1, (p - 1) * (q - 1)), der


def sign(phrase: bytes, modulus: int, private: int) -> bytes:
    digest = bytes.fromhex("3031300d060960864801650304020105000420")
    tail = digest + hashlib.sha256(phrase).digest()
    size = (modulus.bit_length() + 7) // 8
    padded = b"\x00\x01" + b"\xff" * (size - len(tail) - 3) + b"\x00" + tail
    return pow(int.from_bytes(padded), private, modulus).to_bytes(size)


def proof(signature: bytes, der: bytes) -> str:
    encoded = {
        "PhraseSignature": base64.b64encode(signature).decode(),
        "PublicKey": base64.b64encode(der).decode(),
    }
    return base64.b64encode(json.dumps(encoded).encode()).decode()


async def test_a_client_key_gets_a_token_that_works_on_this_machine(
    rsa: tuple[int, int, bytes],
) -> None:
    modulus, private, der = rsa
    now = [1000.0]
    guard = Guard(admin="a" * 43, phrase="n-1", now_s=lambda: now[0])
    phrase = guard.challenges["clientkey"]["params"]["InputPhrase"]  # type: ignore[index]  # JSON
    assert base64.b64decode(phrase) == b"n-1"
    given = guard.answer(proof(sign(b"n-1", modulus, private), der), LOCALHOST)
    caller = Caller(peer="127.0.0.1", host="localhost", authorization=f"Bearer {given}")
    assert (await guard.identify(caller)).name.startswith("client-")
    away = Caller(peer="10.0.0.1", host="localhost", authorization=f"Bearer {given}")
    with pytest.raises(Unauthenticated):
        await guard.identify(away)
    now[0] += 31 * 86400
    with pytest.raises(Unauthenticated):
        await guard.identify(caller)


def test_a_wrong_signature_or_a_far_client_gets_no_token(rsa: tuple[int, int, bytes]) -> None:
    modulus, private, der = rsa
    guard = Guard(admin="a" * 43, phrase="n-1")
    assert guard.answer(proof(sign(b"n-2", modulus, private), der), LOCALHOST) == ""
    right = proof(sign(b"n-1", modulus, private), der)
    with pytest.raises(Unauthenticated):
        guard.answer(right, Caller(peer="10.0.0.1", host="localhost"))


@given(st.binary(max_size=300))
def test_keys_that_are_no_keys_are_refused(der: bytes) -> None:
    with pytest.raises(ValueError, match=r"key|modulus|exponent"):
        clientkey.parse_public_key(der)


@given(st.text(max_size=200))
def test_method_data_that_is_nonsense_is_rejected(text: str) -> None:
    with pytest.raises(Rejected):
        clientkey.identify(text, b"n-1")


def test_weak_keys_are_refused(rsa: tuple[int, int, bytes]) -> None:
    for modulus, exponent in (
        ((1 << 1023) | 1, 65537),
        (rsa[0], 1),
        (rsa[0], 2),
        (rsa[0], 1 << 40),
    ):
        body = integer(modulus) + integer(exponent)
        with pytest.raises(ValueError, match=r"modulus|exponent"):
            clientkey.parse_public_key(b"\x30" + length(len(body)) + body)


@given(st.text(max_size=40), st.integers(0, 2**40), st.integers(0, 2**40))
def test_signed_tokens_name_their_subject_until_they_expire(
    subject: str, expires: int, now: int
) -> None:
    signed = token.sign(subject, expires, "secret")
    assert token.verify(signed, now, "secret") == (subject if expires > now else "")
    assert token.verify(signed, now, "other") == ""
    assert token.verify(signed + "x", now, "secret") == ""

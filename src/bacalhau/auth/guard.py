"""Who is it? From a request's address and headers to a Principal.

1. Credentials, when given, must be right: the admin token, an API key, a user's password,
   or the token of a client key. A wrong one is never excused by a good address.
2. Without credentials, a program of this machine is `local`, unless the configuration says
   otherwise. A web page is not: a foreign Origin or Host (DNS rebinding) is refused, and so
   is what a proxy passed on for somebody else.
"""

import base64
import binascii
import hmac
import time
from collections.abc import Callable, Iterable
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from urllib.parse import urlsplit

import msgspec

from bacalhau.auth import clientkey, token
from bacalhau.auth.users import Users
from bacalhau.model.errors import Unauthenticated
from bacalhau.model.policy import ADMIN, ALL_ACTIONS, LOCAL, Principal

_HINT = (
    "send 'Authorization: Bearer <token>'; the admin token lies in admin.token of the server's "
    "data directory"
)
REMEMBERED = 1024
"""Addresses and Host headers whose meaning is kept: parsing them costs more than the rest."""

_LOCAL_NAMES = frozenset({"localhost", "localhost.localdomain", "ip6-localhost"})


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """What a request says about who sent it. Header texts are '' when absent.

    `peer` is the address of the other end; `forwarded` is true when a proxy passed it on;
    `site` is the browser's Sec-Fetch-Site.
    """

    peer: str
    host: str = ""
    origin: str = ""
    authorization: str = ""
    site: str = ""
    forwarded: bool = False


class Guard:
    """Recognises callers.

    admin       the admin token; '' when there is none
    users       configured users
    require_token  no rights by address
    phrase      what client keys sign: the node's id
    hosts       further host names by which this machine is addressed
    now_s       seconds since the epoch
    """

    def __init__(
        self,
        *,
        admin: str,
        users: Users | None = None,
        require_token: bool = False,
        phrase: str = "",
        hosts: Iterable[str] = (),
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self._admin = admin
        self._users = users or Users(())
        self._require_token = require_token
        self._phrase = phrase.encode()
        self._hosts = _LOCAL_NAMES | {host.lower() for host in hosts if host}
        self._now_s = now_s

    async def identify(self, caller: Caller) -> Principal:
        """Who calls. Raises Unauthenticated."""
        scheme, _, value = caller.authorization.partition(" ")
        value = value.strip()
        match scheme.lower():
            case "":
                return self._by_address(caller)
            case "bearer":
                found = self._by_token(value, caller)
            case "basic":
                found = await self._by_password(value)
            case _:
                found = None
        if found is None:
            raise Unauthenticated("the credentials are not valid", hint=_HINT)
        return found

    @property
    def challenges(self) -> dict[str, dict[str, object]]:
        """The methods by which a client may get a token, as `GET /auth` shows them."""
        if len(self._users) or self._require_token or not self._admin:
            return {}
        phrase = base64.b64encode(self._phrase).decode()
        return {"clientkey": {"type": "challenge", "params": {"InputPhrase": phrase}}}

    def answer(self, method_data: str, caller: Caller) -> str:
        """A token for a client that proves its key; '' when it does not.

        A key that anybody can make proves nothing about who somebody is: this adds a name
        to `local` and no right, so it works on this machine only. Raises Unauthenticated,
        Rejected.
        """
        self._by_address(caller)
        client = clientkey.identify(method_data, self._phrase)
        expires_s = int(self._now_s()) + token.KEY_TOKEN_DAYS * 86400
        return token.sign(client, expires_s, self._admin) if client else ""

    def _by_address(self, caller: Caller) -> Principal:
        reason = self._not_local(caller)
        if reason:
            raise Unauthenticated(reason, hint=_HINT)
        return LOCAL

    def _not_local(self, caller: Caller) -> str:
        """Why this caller needs credentials; '' when it does not."""
        if self._require_token:
            return "this server wants credentials from everybody (API.Auth.RequireToken)"
        if not is_loopback(caller.peer):
            return "requests over the network need credentials"
        if caller.forwarded:
            return "requests through a proxy need credentials"
        if caller.site in ("cross-site", "same-site"):
            return "requests from other web sites need credentials"
        if not self._is_ours(caller.host):
            return f"the Host header '{caller.host[:100]}' is not a name of this machine"
        if caller.origin and not _same_site(caller.origin, caller.host):
            return f"the Origin '{caller.origin[:100]}' is another web site"
        return ""

    def _is_ours(self, host: str) -> bool:
        name = _host_name(host)
        return name in self._hosts or is_loopback(name)

    def _by_token(self, value: str, caller: Caller) -> Principal | None:
        if self._admin and hmac.compare_digest(value.encode(), self._admin.encode()):
            return ADMIN
        user = self._users.by_key(value)
        if user is not None or not self._admin:
            return user
        client = token.verify(value, int(self._now_s()), self._admin)
        if client and not self._not_local(caller):
            return Principal(name=f"client-{client[:12]}", actions=ALL_ACTIONS)
        return None

    async def _by_password(self, value: str) -> Principal | None:
        try:
            name, colon, password = base64.b64decode(value, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError, ValueError):
            return None
        return await self._users.by_password(name, password) if colon else None


@lru_cache(REMEMBERED)
def is_loopback(address: str) -> bool:
    """True for addresses that only this machine can have."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
        return parsed.ipv4_mapped.is_loopback
    return parsed.is_loopback


@lru_cache(REMEMBERED)
def _host_name(host: str) -> str:
    """`[::1]:1234` -> `::1`, `Localhost:80` -> `localhost`; '' when it is no host."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _same_site(origin: str, host: str) -> bool:
    """True when a page of this origin was served by this very host and port."""
    try:
        parts = urlsplit(origin)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
        own = urlsplit(f"{parts.scheme}://{host}")
        return bool(parts.hostname) and (parts.hostname, port) == (
            own.hostname,
            own.port or {"http": 80, "https": 443}.get(parts.scheme),
        )
    except ValueError:
        return False

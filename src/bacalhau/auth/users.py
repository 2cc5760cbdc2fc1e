"""Users from the configuration: API keys, or names with passwords, and what they may do."""

import asyncio
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, cast

from bacalhau.core.authorise import unknown
from bacalhau.model.base import Record
from bacalhau.model.errors import Rejected
from bacalhau.model.policy import Principal

_HASHES = ("$2a$", "$2b$", "$2y$")
_HASH_CHARS = 60


class User(Record, kw_only=True):
    """One configured user: an API key, or a user name with a password."""

    alias: str = ""
    username: str = ""
    password: str = ""
    api_key: str = ""
    actions: tuple[str, ...] = ()

    @property
    def principal(self) -> Principal:
        return Principal(
            name=self.alias or self.username or "user", actions=frozenset(self.actions)
        )


class _Bcrypt(Protocol):
    def checkpw(self, password: bytes, hashed_password: bytes) -> bool: ...


class Users:
    """All configured users. Raises Rejected, listing every fault of the configuration."""

    def __init__(self, users: Sequence[User]) -> None:
        faults = [fault for at, user in enumerate(users) for fault in _faults(at, user)]
        for field in ("alias", "username", "api_key"):
            values = [getattr(user, field).lower() for user in users if getattr(user, field)]
            if len(set(values)) != len(values):
                faults.append(f"API.Auth.Users: the same {field} twice")
        if faults:
            raise Rejected(*faults)
        self._keys = [(user.api_key.encode(), user.principal) for user in users if user.api_key]
        self._names = {user.username.lower(): user for user in users if user.username}
        self._bcrypt = _bcrypt() if any(_is_hash(user.password) for user in users) else None
        self._proven: dict[str, bytes] = {}

    def __len__(self) -> int:
        return len(self._keys) + len(self._names)

    def by_key(self, key: str) -> Principal | None:
        """Whose API key this is. Every key is compared, each in constant time."""
        found = None
        for known, principal in self._keys:
            if hmac.compare_digest(known, key.encode()):
                found = principal
        return found

    async def by_password(self, username: str, password: str) -> Principal | None:
        """The user of that name (in any case) when the password is right."""
        name = username.lower()
        user = self._names.get(name)
        stored = user.password if user else ""
        if self._bcrypt is not None and _is_hash(stored):
            right = await self._is_hashed(self._bcrypt, name, password, stored)
        else:
            right = hmac.compare_digest(stored.encode(), password.encode())
        return user.principal if user and right else None

    async def _is_hashed(self, bcrypt: _Bcrypt, name: str, password: str, stored: str) -> bool:
        """bcrypt is slow on purpose: asked once per password, and off the event loop."""
        digest = hashlib.sha256(password.encode()).digest()
        if hmac.compare_digest(self._proven.get(name, b""), digest):
            return True
        # It looks at 72 bytes at most, and newer releases refuse more.
        given = password.encode()[:72]
        right = await asyncio.to_thread(bcrypt.checkpw, given, stored.encode())
        if right:
            self._proven[name] = digest
        return right


def parse_users(entries: Sequence[Mapping[str, Any]]) -> tuple[User, ...]:
    """Users as the configuration spells them (keys in any case). Raises Rejected."""
    return tuple(_parse(at, entry) for at, entry in enumerate(entries))


def _parse(at: int, entry: Mapping[str, Any]) -> User:
    fields = _any_case(entry)
    texts = {name: fields.get(name, "") for name in ("alias", "username", "password", "apikey")}
    capabilities = fields.get("capabilities", [])
    if not (
        all(isinstance(text, str) for text in texts.values())
        and isinstance(capabilities, list | tuple)
        and all(isinstance(capability, Mapping) for capability in capabilities)
    ):
        raise Rejected(
            f"API.Auth.Users[{at}]: not a user",
            hint='Alias, Username, Password, APIKey are texts; Capabilities: [{Actions: ["*"]}]',
        )
    return User(
        alias=texts["alias"],
        username=texts["username"],
        password=texts["password"],
        api_key=texts["apikey"],
        actions=tuple(
            str(word)
            for capability in capabilities
            for word in _any_case(capability).get("actions", ())
        ),
    )


def _any_case(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {str(key).lower(): value for key, value in entry.items() if value is not None}


def _faults(at: int, user: User) -> list[str]:
    where = f"API.Auth.Users[{at}]"
    faults = []
    if bool(user.api_key) == bool(user.username or user.password):
        faults.append(f"{where}: give an APIKey, or a Username and a Password")
    elif user.api_key and not 20 <= len(user.api_key) <= 255:
        faults.append(f"{where}: an APIKey has 20 to 255 characters")
    elif user.username or user.password:
        if not (user.username.isalnum() and len(user.username) <= 100):
            faults.append(f"{where}: a Username has 1 to 100 letters and digits")
        if not 10 <= len(user.password) <= 255:
            faults.append(f"{where}: a Password has 10 to 255 characters")
    if not user.actions:
        faults.append(f"{where}: give at least one capability")
    faults += [f"{where}: '{word}' is not a capability" for word in unknown(user.actions)]
    return faults


def _is_hash(password: str) -> bool:
    return password.startswith(_HASHES) and len(password) >= _HASH_CHARS


def _bcrypt() -> _Bcrypt:
    try:
        import bcrypt
    except ImportError:
        raise Rejected(
            "API.Auth.Users holds a bcrypt password, but bcrypt is not installed",
            hint="pip install 'bacalhau[auth]', or use an APIKey",
        ) from None
    return cast("_Bcrypt", bcrypt)

"""Users from the configuration: API keys, or names with passwords, and what they may do."""

import asyncio
import hashlib
import hmac
import importlib
from collections.abc import Sequence
from typing import Protocol, cast

from bacalhau.config.keys import User
from bacalhau.core.authorise import unknown
from bacalhau.model.errors import Rejected
from bacalhau.model.policy import Principal

_HASHES = ("$2a$", "$2b$", "$2y$")
_HASH_CHARS = 60


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
        self._keys = [(user.api_key.encode(), _principal(user)) for user in users if user.api_key]
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
        return _principal(user) if user and right else None

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


def _principal(user: User) -> Principal:
    return Principal(name=user.alias or user.username or "user", actions=frozenset(user.actions))


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
        bcrypt = importlib.import_module("bcrypt")
    except ImportError:
        raise Rejected(
            "API.Auth.Users holds a bcrypt password, but bcrypt is not installed",
            hint="pip install 'bacalhau[auth]', or use an APIKey",
        ) from None
    return cast("_Bcrypt", bcrypt)

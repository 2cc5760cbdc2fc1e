"""The admin token of a data directory, and the signed tokens of client keys."""

import base64
import hashlib
import hmac
import os
import re
import secrets
from pathlib import Path

import msgspec

from bacalhau.model.errors import Unavailable

ADMIN_TOKEN_FILE = "admin.token"
KEY_TOKEN_DAYS = 30
"""A client key's token is asked for again by itself; a month keeps that rare."""

_SHAPE = re.compile(r"[A-Za-z0-9_-]{43}")
_PREFIX = "bkey"


class _Claims(msgspec.Struct, frozen=True):
    sub: str
    exp: int


def admin_token(directory: Path) -> str:
    """The admin token of this data directory, made on first use (file mode 0600).

    Raises Unavailable when it can be neither read nor made.
    """
    path = directory / ADMIN_TOKEN_FILE
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            _create(path, secrets.token_urlsafe(32))
        token = path.read_text("ascii").strip()
    except (OSError, ValueError) as error:
        raise Unavailable(f"the admin token {path} cannot be used: {error}") from error
    if not _SHAPE.fullmatch(token):
        raise Unavailable(
            f"the admin token {path} is damaged", hint="delete the file; a new one is made"
        )
    return token


def _create(path: Path, token: str) -> None:
    """Write it whole under its name; when somebody else was faster, theirs counts."""
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(descriptor, "w", encoding="ascii") as file:
            file.write(token + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    except FileExistsError:
        return
    finally:
        draft.unlink()


def sign(subject: str, expires_s: int, secret: str) -> str:
    """A token that says who somebody is until then (seconds since the epoch)."""
    body = _text(msgspec.json.encode(_Claims(sub=subject, exp=expires_s)))
    return f"{_PREFIX}.{body}.{_seal(body, secret)}"


def verify(token: str, now_s: int, secret: str) -> str:
    """Whom a signed token names; '' when it is forged, damaged or past its time."""
    prefix, _, rest = token.partition(".")
    body, _, seal = rest.partition(".")
    if prefix != _PREFIX or not hmac.compare_digest(seal.encode(), _seal(body, secret).encode()):
        return ""
    # The seal is ours, so the body is as we wrote it.
    claims = msgspec.json.decode(base64.urlsafe_b64decode(body + "==="), type=_Claims)
    return claims.sub if claims.exp > now_s else ""


def _seal(body: str, secret: str) -> str:
    key = hmac.digest(secret.encode(), b"bacalhau client key tokens", hashlib.sha256)
    return _text(hmac.digest(key, body.encode(), hashlib.sha256))


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

"""The signed tokens that client keys get: who, until when, sealed with our secret."""

import base64
import hashlib
import hmac

import msgspec

KEY_TOKEN_DAYS = 30
"""A client key's token is asked for again by itself; a month keeps that rare."""

_PREFIX = "bkey"


class _Claims(msgspec.Struct, frozen=True):
    sub: str
    exp: int


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

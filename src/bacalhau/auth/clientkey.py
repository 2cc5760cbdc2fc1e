"""The `clientkey` challenge: a client proves that it holds an RSA key of its own.

Bacalhau's command line does not start without it. Verification needs no library: with the
public key alone, RSA is one `pow`.
"""

import base64
import hashlib
import hmac

import msgspec

from bacalhau.model.errors import Rejected

MIN_BITS, MAX_BITS = 2048, 8192
"""Shorter keys can be broken, longer ones only cost time."""

_MAX_EXPONENT = 2**32
_DIGEST_INFO = bytes.fromhex("3031300d060960864801650304020105000420")
"""RFC 8017, 9.2: what stands before a SHA-256 digest in a PKCS#1 v1.5 signature."""


class _Proof(msgspec.Struct):
    phrase_signature: str = msgspec.field(name="PhraseSignature")
    public_key: str = msgspec.field(name="PublicKey")


def identify(method_data: str, phrase: bytes) -> str:
    """The client's id (hex SHA-256 of its modulus) when the proof holds, else ''.

    `method_data` is base64 of `{"PhraseSignature", "PublicKey"}`. Raises Rejected when it
    cannot be read.
    """
    try:
        document = base64.b64decode(method_data, validate=True)
        proof = msgspec.json.decode(document, type=_Proof)
        signature = base64.b64decode(proof.phrase_signature, validate=True)
        modulus, exponent = parse_public_key(base64.b64decode(proof.public_key, validate=True))
    except (ValueError, msgspec.MsgspecError, RecursionError) as error:
        raise Rejected(f"MethodData cannot be read: {error}") from None
    if not is_signed(phrase, signature, modulus, exponent):
        return ""
    return hashlib.sha256(modulus.to_bytes((modulus.bit_length() + 7) // 8)).hexdigest()


def is_signed(phrase: bytes, signature: bytes, modulus: int, exponent: int) -> bool:
    """True when the signature (PKCS#1 v1.5, SHA-256) over the phrase was made by that key."""
    size = (modulus.bit_length() + 7) // 8
    number = int.from_bytes(signature)
    if len(signature) != size or number >= modulus:
        return False
    tail = _DIGEST_INFO + hashlib.sha256(phrase).digest()
    expected = b"\x00\x01" + b"\xff" * (size - len(tail) - 3) + b"\x00" + tail
    return hmac.compare_digest(pow(number, exponent, modulus).to_bytes(size), expected)


def parse_public_key(der: bytes) -> tuple[int, int]:
    """Modulus and exponent of a PKCS#1 public key. Raises ValueError."""
    body, rest = _element(der, 0x30)
    modulus, after = _element(body, 0x02)
    exponent, end = _element(after, 0x02)
    if rest or end:
        raise ValueError("bytes after the public key")
    key = int.from_bytes(modulus), int.from_bytes(exponent)
    if not MIN_BITS <= key[0].bit_length() <= MAX_BITS or key[0] % 2 == 0:
        raise ValueError(f"the modulus must be odd and of {MIN_BITS} to {MAX_BITS} bits")
    if not 3 <= key[1] < _MAX_EXPONENT or key[1] % 2 == 0:
        raise ValueError("the exponent must be odd, at least 3, and of at most 32 bits")
    return key


def _element(der: bytes, tag: int) -> tuple[bytes, bytes]:
    """The content of the first DER element, and what follows it."""
    if len(der) < 2 or der[0] != tag:
        raise ValueError("not a PKCS#1 public key")
    length, start = der[1], 2
    if length & 0x80:
        start += length & 0x7F
        if not 3 <= start <= 4 or len(der) < start:
            raise ValueError("not a PKCS#1 public key")
        length = int.from_bytes(der[2:start])
    if len(der) < start + length:
        raise ValueError("the public key is cut short")
    return der[start : start + length], der[start + length :]

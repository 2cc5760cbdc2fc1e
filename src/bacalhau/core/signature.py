"""May the bearer of this URL read or write this object? Signed URLs of the managed store.

A signature covers the method, the key and the moment it ends; nothing else opens an object,
and one signature opens nothing else.
"""

import hmac

_DOMAIN = "bacalhau-object-1"
"""Keeps these signatures apart from anything else that may ever be signed with the secret."""
_EXPIRES_DIGITS = 12


def sign(secret: bytes, method: str, key: str, expires: int) -> str:
    """The signature (64 hex digits) for `method` on `key` until `expires` (s since the epoch).

    What may be read may also be asked about: HEAD has the signature of GET.
    """
    verb = "GET" if method.upper() == "HEAD" else method.upper()
    # The key comes last: whatever it holds, no other triple gives the same text.
    text = "\n".join((_DOMAIN, verb, str(expires), key))
    return hmac.new(secret, text.encode(errors="surrogatepass"), "sha256").hexdigest()


def verify(secret: bytes, method: str, key: str, expires: str, signature: str, now: int) -> str:
    """Why the request is refused at `now` (s since the epoch); empty when it is not.

    `expires` and `signature` come as they stood in the URL.
    """
    if not (expires.isascii() and expires.isdigit() and len(expires) <= _EXPIRES_DIGITS):
        return "the URL is not signed: 'expires' is not a time in seconds"
    right = sign(secret, method, key, int(expires))
    if not hmac.compare_digest(right.encode(), signature.encode(errors="surrogatepass")):
        return f"the URL's signature is not valid for {method.upper()} on this object"
    if now >= int(expires):
        return f"the URL ended {now - int(expires)} s ago"
    return ""

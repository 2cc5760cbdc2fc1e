"""Under which name is a download kept? Pure; whatever a server says stays one file name."""

import re
from collections.abc import Mapping
from email.message import Message
from urllib.parse import unquote, urlsplit

FALLBACK = "data"
MAX_BYTES = 200


def file_name(url: str, headers: Mapping[str, str], redirected: bool) -> str:
    """The last part of the final URL's path; after a redirect rather what the server says.

    A URL as the user wrote it gives the name that he expects; one that a server led to
    often ends in something arbitrary. `headers` have names in lower case.
    """
    from_url = safe(unquote(urlsplit(url).path.rpartition("/")[2]))
    from_server = safe(_disposition(headers.get("content-disposition", "")))
    first, second = (from_server, from_url) if redirected else (from_url, from_server)
    return first or second or FALLBACK


def safe(name: str) -> str:
    """The name as one file's, without directories and control characters; maybe empty."""
    last = re.split(r"[/\\]", name)[-1]
    shown = re.sub(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]", "", last).strip()
    cut = shown.encode()[:MAX_BYTES].decode(errors="ignore")
    return "" if cut in (".", "..") else cut


def _disposition(header: str) -> str:
    """The file name in a Content-Disposition header; empty when there is none."""
    message = Message()
    try:
        message["content-disposition"] = header
        return message.get_filename("") or ""
    except (LookupError, ValueError):  # an unknown charset, a line break
        return ""

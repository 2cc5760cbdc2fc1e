"""Results on their way to this machine: fetched, resumed when cut off, then unpacked."""

import os
import re
import tempfile
from collections.abc import Callable, Container, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import unquote, urlsplit

from bacalhau.client import exchange
from bacalhau.client.endpoint import Endpoint, parse
from bacalhau.client.errors import raise_for, unreachable
from bacalhau.client.exchange import Body, Broken
from bacalhau.client.sync import Connection
from bacalhau.client.unpack import RAW, merge, unpack
from bacalhau.model.errors import Conflict, NotFound, Rejected, Unavailable
from bacalhau.model.job import SpecConfig

if TYPE_CHECKING:
    from bacalhau.client.sync import Client

TRIES = 5
"""Of one result; each goes on where the one before broke off."""

Progress = Callable[[int, int], None]


def download(
    client: "Client",
    job_id: str,
    directory: str | Path,
    *,
    raw: bool = False,
    on_progress: Progress | None = None,
) -> list[Path]:
    """See Client.download."""
    found = client.results(job_id)
    if not found:
        raise NotFound(
            f"job {job_id} has no results",
            hint=f"see its output with 'bacalhau job logs {job_id}'",
        )
    urls = [url_of(result) for result in found]
    target = Path(directory)
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".results-", dir=target) as scratch:
        parts: dict[str, Path] = {}
        for number, url in enumerate(urls):
            name = _name(url, number, parts)
            archive = Path(scratch) / f"{number}.tar.gz"
            fetch(client.endpoint, url, archive, on_progress)
            parts[name] = Path(scratch) / RAW / name
            with archive.open("rb") as stream:
                unpack(stream, parts[name])
            archive.unlink()
        if raw:
            return [_keep(part, target / RAW / name) for name, part in parts.items()]
        names = sorted({path.name for part in parts.values() for path in part.iterdir()})
        merge(list(parts.values()), target)
    return [target / name for name in names]


def _name(url: str, number: int, taken: Container[str]) -> str:
    """What a result is called: its execution, as our URLs and those of `local` say it."""
    steps = [step for step in unquote(urlsplit(url).path).split("/") if step]
    last = steps[-1].removesuffix(".tar.gz") if steps else ""
    name = steps[-2] if last == "results" and len(steps) > 1 else last
    usable = re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,200}", name)
    return name if usable and name not in taken else f"result-{number}"


def _keep(part: Path, place: Path) -> Path:
    """Move a whole result to where it stays. Raises Conflict when something is there."""
    place.parent.mkdir(exist_ok=True)
    if place.exists():
        raise Conflict(f"{place} exists", hint="remove it, or choose another directory")
    return part.rename(place)


def url_of(result: SpecConfig) -> str:
    """Where a result can be fetched from. Raises Rejected when it is of another kind."""
    key = {"urldownload": "URL", "s3presigned": "PreSignedURL"}.get(result.type.lower(), "")
    url = result.param(key) if key else None
    if not isinstance(url, str) or not url:
        raise Rejected(
            f"results of type '{result.type}' cannot be downloaded from here",
            hint="use the tools of that storage; 'results' says where they lie",
        )
    return url


def fetch(endpoint: Endpoint, url: str, file: Path, on_progress: Progress | None = None) -> int:
    """Fetch a URL into a file; its size. Goes on where a broken connection ended.

    Our credentials go to nobody: the URL itself is the permission.
    Raises Unavailable, and what the server refuses with.
    """
    with file.open("wb") as out:
        for tries_left in reversed(range(TRIES)):
            try:
                _fetch_on(endpoint, url, out, on_progress or _nobody)
                return out.tell()
            except (OSError, Broken) as error:
                if not tries_left or isinstance(error, ConnectionRefusedError):
                    raise unreachable(_place(endpoint, url)[0], error) from None
    raise AssertionError("the last try returns or raises")


def _fetch_on(endpoint: Endpoint, url: str, out: BinaryIO, on_progress: Progress) -> None:
    """Append what is missing of the URL's content to the file."""
    place, target = _place(endpoint, url)
    have = out.seek(0, os.SEEK_END)
    headers = {"Host": place.authority, "Range": f"bytes={have}-" if have else ""}
    connection = Connection(place)
    try:
        connection.send(exchange.request("GET", target, headers))
        head = connection.run(exchange.read_head())
        body = Body(head, "GET")
        if head.status >= 300:
            raise_for(head, connection.run(body.whole()), place)
        if head.status != 206 and have:
            out.seek(0)
            out.truncate()
            have = 0
        length = head.headers.get("content-length", "")
        total = have + int(length) if length.isdigit() else 0
        for chunk in _chunks(connection, body):
            out.write(chunk)
            have += len(chunk)
            on_progress(have, total)
    finally:
        connection.close()


def _chunks(connection: Connection, body: Body) -> Iterator[bytes]:
    while chunk := connection.run(body.chunk()):
        yield chunk


def _place(endpoint: Endpoint, url: str) -> tuple[Endpoint, str]:
    """The server that has it, and what to ask it for."""
    parts = urlsplit(url)
    try:
        place = parse(f"{parts.scheme}://{parts.netloc}", 443 if parts.scheme == "https" else 80)
    except ValueError as error:
        raise Unavailable(f"the result lies at no address: {error}") from None
    if place.authority == endpoint.authority:
        place.ca_file, place.insecure = endpoint.ca_file, endpoint.insecure
    target = parts.path or "/"
    return place, f"{target}?{parts.query}" if parts.query else target


def _nobody(done: int, total: int) -> None:
    """Progress that nobody watches."""

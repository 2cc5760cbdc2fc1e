"""Data from a web server: streamed, resumed, retried, bounded and checked.

A redirect is followed, a transfer that was cut goes on where it ended (`Range` with
`If-Range`, so that bytes of two versions are never mixed), and the file appears under its
name only when it is complete.
"""

import asyncio
import hashlib
import os
import re
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple
from urllib.parse import urljoin

from bacalhau.core import reach
from bacalhau.core.names import file_name
from bacalhau.model.errors import EngineFailed
from bacalhau.model.execution import Fault, FaultKind
from bacalhau.model.job import SpecConfig
from bacalhau.ports.source import Fetched, Progress
from bacalhau.ports.transfer import Answer, Broken, in_thread, place, request

MAX_SIZE = 10 * 10**9
READ_TIMEOUT_S = 300.0
ATTEMPTS = 3
BACKOFF_S = 1.0
BACKOFF_MAX_S = 30.0
"""Also the longest wait that a server's Retry-After can ask for."""
REDIRECTS = 10
PROGRESS_BYTES = 64 * 1024
"""Fewer than so many in READ_TIMEOUT_S count as silence: a drip must not hold a node."""
SIZE_TIMEOUT_S = 10.0
"""Asking for the size must not delay the decision for long."""

_RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504})
_REDIRECTED = frozenset({301, 302, 303, 307, 308})
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-\d{1,18}/(?:\d{1,18}|\*)")


class UrlSource:
    """Fetches `URL` (http or https) into the target, a directory, as one file.

    `SHA256` (64 hex digits) or `Checksum` (`sha256:` and those) is compared with what came.
    `max_size` in bytes, 0 for no limit. `read_timeout_s` limits the time without progress.
    `attempts` is how many failures in a row end it. Only public addresses are fetched from,
    checked on each connection, unless `allow_private`.
    """

    name = "urldownload"
    in_place = False

    def __init__(
        self,
        *,
        max_size: int = MAX_SIZE,
        read_timeout_s: float = READ_TIMEOUT_S,
        attempts: int = ATTEMPTS,
        backoff_s: float = BACKOFF_S,
        allow_private: bool = False,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._max_size = max_size
        self._read_timeout_s = read_timeout_s
        self._attempts = max(1, attempts)
        self._backoff_s = backoff_s
        self._allow_private = allow_private
        self._tls = tls

    async def probe(self) -> bool:
        return True

    def check(self, source: SpecConfig) -> Sequence[str]:
        url = source.param("URL")
        to = place(url) if isinstance(url, str) else "must be a http:// or https:// URL"
        reasons = [f"URL: {to}"] if isinstance(to, str) else []
        try:
            _checksum(source)
        except ValueError as error:
            reasons.append(str(error))
        return reasons

    async def size(self, source: SpecConfig) -> int:
        """What the server says; 0 when it does not, also when it cannot be asked now."""
        try:
            async with asyncio.timeout(SIZE_TIMEOUT_S), self._open("HEAD", source, {}) as found:
                return (found.answer.length or 0) if found.answer.status == 200 else 0
        except (Broken, TimeoutError, EngineFailed):
            return 0

    async def fetch(self, source: SpecConfig, directory: Path, progress: Progress) -> Fetched:
        """The directory, which then holds the file alone. See ports.source."""
        reasons = self.check(source)
        if reasons:
            raise _failed(FaultKind.PERMANENT, "InputInvalid", "; ".join(reasons))
        try:
            await self._fetch(source, directory, progress)
        except Broken as error:
            hint = "Is the server reachable from the node?"
            raise _failed(FaultKind.TRANSIENT, "FetchFailed", str(error), hint) from error
        except OSError as error:
            message = f"cannot be written: {error}"
            raise _failed(FaultKind.NODE, "DiskFailed", message) from error
        return Fetched(path=str(directory))

    async def _fetch(self, source: SpecConfig, directory: Path, progress: Progress) -> None:
        part = directory / ".part"
        try:
            with part.open("w+b", buffering=0) as file:
                got = _Part(file=file, progress=progress)
                await self._download(source, got)
                await in_thread(os.fsync, file.fileno())
            part.rename(directory / file_name(got.url, got.headers, got.redirected))
        except BaseException:
            part.unlink(missing_ok=True)
            raise

    async def _download(self, source: SpecConfig, got: "_Part") -> None:
        """Fill the part, in as many tries as it takes. Raises Broken and EngineFailed."""
        failures, furthest = 0, 0
        while True:
            try:
                await self._try(source, got)
                break
            except Broken as error:
                # Only new ground counts as progress, so that the tries are bounded.
                failures = 1 if got.size >= furthest + PROGRESS_BYTES else failures + 1
                furthest = max(furthest, got.size)
                if failures >= self._attempts:
                    raise Broken(f"{error}; tried {self._attempts} times") from error
                wait_s = max(self._backoff_s * 2 ** (failures - 1), got.retry_after_s)
                await asyncio.sleep(min(wait_s, BACKOFF_MAX_S))
        wanted = _checksum(source)
        if wanted and wanted != (found := got.digest.hexdigest()):
            raise _failed(
                FaultKind.PERMANENT,
                "ChecksumMismatch",
                f"the content has the SHA-256 {found}, not {wanted}",
                "The file changed, or the checksum belongs to another one.",
            )

    async def _try(self, source: SpecConfig, got: "_Part") -> None:
        """One try; it goes on where the last one ended if the content is still the same."""
        headers = {}
        if got.size and got.validator:
            headers = {"range": f"bytes={got.size}-", "if-range": got.validator}
        async with self._open("GET", source, headers) as found:
            answer = found.answer
            got.retry_after_s = _seconds(answer.headers.get("retry-after", ""))
            if answer.status == 416:  # there is nothing behind what came: begin anew
                await in_thread(got.restart)
            self._check_status(found)
            if not (answer.status == 206 and got.goes_on_with(answer)):
                await in_thread(got.restart)
            if answer.status == 206 and got.size != _start(answer):
                raise Broken("the server sent another range than was asked for")
            got.describe(found)
            total = got.size + answer.length if answer.length is not None else 0
            self._check_size(total)
            await self._receive(answer.body, got, total)

    async def _receive(self, body: AsyncIterator[bytes], got: "_Part", total: int) -> None:
        clock = asyncio.get_running_loop().time
        begun, mark = clock(), got.size
        async for chunk in body:
            self._check_size(got.size + len(chunk))
            await in_thread(got.add, chunk)
            got.progress(got.size, total)
            if got.size - mark >= PROGRESS_BYTES:
                begun, mark = clock(), got.size
            elif clock() - begun > self._read_timeout_s:
                raise Broken(f"only {got.size - mark} bytes came in {self._read_timeout_s:g} s")

    def _check_status(self, found: "_Found") -> None:
        status, where = found.answer.status, found.url
        if status in (200, 206):
            return
        if status in _RETRIED or status == 416:
            raise Broken(f"{where} answered {status}")
        hint = "Is the URL right, and may everybody read it?" if status < 500 else ""
        raise _failed(FaultKind.PERMANENT, "FetchRefused", f"{where} answered {status}", hint)

    def _check_size(self, size: int) -> None:
        if 0 < self._max_size < size:
            raise _failed(
                FaultKind.TRANSIENT,
                "InputTooLarge",
                f"the content has more than the {self._max_size} bytes that this node takes",
                "Its owner can raise InputSources.Types.URL.MaxSize.",
            )

    @asynccontextmanager
    async def _open(
        self, method: str, source: SpecConfig, headers: dict[str, str]
    ) -> "AsyncIterator[_Found]":
        """The answer at the end of all redirects. Raises Broken and EngineFailed."""
        url = str(source.param("URL"))
        for hops in range(REDIRECTS + 1):
            to = place(url)
            if isinstance(to, str):
                raise _failed(FaultKind.PERMANENT, "FetchRefused", f"{url[:200]}: {to}")
            try:
                async with request(
                    method,
                    to,
                    headers={"user-agent": "bacalhau"} | headers,
                    timeout_s=self._read_timeout_s,
                    refuse=lambda address: reach.refusal(address, self._allow_private),
                    tls=self._tls,
                ) as answer:
                    target = answer.headers.get("location", "")
                    if answer.status not in _REDIRECTED or not target:
                        yield _Found(url, answer, redirected=hops > 0)
                        return
            except PermissionError as error:
                raise _failed(
                    FaultKind.TRANSIENT,
                    "AddressRefused",
                    str(error),
                    "The node's owner can allow it with InputSources.Types.URL.AllowPrivate.",
                ) from error
            url = urljoin(url, target)
            if to.secure and url.lower().startswith("http:"):
                message = f"{to.authority} leads from https to {url[:200]}"
                raise _failed(FaultKind.PERMANENT, "FetchRefused", message)
        message = f"more than {REDIRECTS} redirects, the last to {url[:200]}"
        raise _failed(FaultKind.PERMANENT, "FetchRefused", message)


class _Found(NamedTuple):
    url: str
    answer: Answer
    redirected: bool


@dataclass(slots=True)
class _Part:
    """What has come so far, and of which version of the content it is."""

    file: BinaryIO | Any
    progress: Progress
    size: int = 0
    digest: Any = field(default_factory=hashlib.sha256)
    url: str = ""
    headers: Any = field(default_factory=dict)
    redirected: bool = False
    validator: str = ""
    retry_after_s: float = 0.0

    def add(self, chunk: bytes) -> None:
        self.digest.update(chunk)
        view = memoryview(chunk)
        while view:
            view = view[self.file.write(view) :]
        self.size += len(chunk)

    def restart(self) -> None:
        self.file.seek(0)
        self.file.truncate()
        self.size, self.digest = 0, hashlib.sha256()

    def goes_on_with(self, answer: Answer) -> bool:
        """Is the answer's range the next one, of the same content?"""
        return _start(answer) == self.size and _validator(answer) in ("", self.validator)

    def describe(self, found: _Found) -> None:
        self.url, self.headers, self.redirected = found.url, found.answer.headers, found.redirected
        self.validator = _validator(found.answer) or (self.validator if self.size else "")


def _validator(answer: Answer) -> str:
    """What tells this content from any other: a strong ETag, else the time of its change."""
    etag = answer.headers.get("etag", "")
    return etag if etag.startswith('"') else answer.headers.get("last-modified", "")


def _start(answer: Answer) -> int:
    found = _CONTENT_RANGE.fullmatch(answer.headers.get("content-range", "").strip())
    return int(found[1]) if found else -1


def _seconds(text: str) -> float:
    return float(text) if text.isascii() and text.isdigit() and len(text) < 6 else 0.0


def _checksum(source: SpecConfig) -> str:
    """The wanted SHA-256 in lower-case hex; empty when there is none. Raises ValueError."""
    found = ""
    for key, prefix in (("SHA256", ""), ("Checksum", "sha256:")):
        value = source.param(key, "")
        if value == "":
            continue
        text = value.strip().lower().removeprefix(prefix) if isinstance(value, str) else ""
        if not re.fullmatch("[0-9a-f]{64}", text):
            raise ValueError(f"{key}: must be {prefix}<64 hexadecimal digits>")
        if found and found != text:
            raise ValueError("SHA256 and Checksum differ")
        found = text
    return found


def _failed(kind: FaultKind, code: str, message: str, hint: str = "") -> EngineFailed:
    return EngineFailed(Fault(kind=kind, code=code, message=f"URL input: {message}", hint=hint))

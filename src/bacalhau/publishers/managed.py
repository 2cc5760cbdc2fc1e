"""Results and full logs travel to the orchestrator's object store, by signed URLs."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import msgspec

from bacalhau.model.errors import EngineFailed
from bacalhau.model.execution import Execution, Fault, FaultKind
from bacalhau.model.job import SpecConfig
from bacalhau.ports.transfer import CHUNK_BYTES, Answer, Broken, in_thread, place, request
from bacalhau.publishers.archive import pack, survey

RESULTS = "results.tar.gz"
ATTEMPTS = 5
BACKOFF_S = 1.0
"""Doubled from one try to the next: 15 s in all, longer than a restart of the orchestrator."""
TIMEOUT_S = 60.0
"""How long the orchestrator may take nothing, or say nothing."""
ANSWER_BYTES = 64 * 1024
NAMED_LEFT_OUT = 20
"""How many files that could not travel are named in the result."""

_RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504})

RequestUpload = Callable[[str, str], Awaitable[tuple[str, str]]]
"""(execution id, name) -> (signed URL, key); raises EngineFailed when there is none."""
Chunks = Callable[[], Generator[bytes, None, None]]
"""Makes the body anew for each try; its steps may block."""


class Uploaded(NamedTuple):
    """What the other side has now: bytes, and their SHA-256 in hex digits."""

    size: int
    sha256: str


class ManagedPublisher:
    """Packs the results while it uploads them: nothing is doubled, on disk or in memory.

    The result is `managed` with `Key`, `Size`, `SHA256` and, when files could not travel,
    `LeftOut`: the reasons, at most NAMED_LEFT_OUT.
    """

    name = "managed"

    def __init__(self, request_upload: RequestUpload, *, backoff_s: float = BACKOFF_S) -> None:
        self._request_upload = request_upload
        self._backoff_s = backoff_s

    async def probe(self) -> bool:
        return True

    def check(self, publisher: SpecConfig) -> Sequence[str]:
        return ()

    async def publish(
        self, execution: Execution, publisher: SpecConfig, directory: Path
    ) -> SpecConfig:
        """See ports.publisher. Each try asks for a fresh URL, since they end."""
        found = await in_thread(survey, directory)
        key = ""

        async def send() -> Uploaded:
            nonlocal key
            url, key = await self._request_upload(execution.id, RESULTS)
            return await _put(url, lambda: pack(directory, found.items))

        sent = await _with_retries(send, f"the results of {execution.id}", self._backoff_s)
        params: dict[str, object] = {"Key": key, "Size": sent.size, "SHA256": sent.sha256}
        if found.left_out:
            params["LeftOut"] = list(found.left_out[:NAMED_LEFT_OUT])
        return SpecConfig(type="managed", params=params)


async def upload(url: str, path: Path, *, backoff_s: float = BACKOFF_S) -> Uploaded:
    """Upload one file, as it is now, to a signed URL. Raises EngineFailed."""
    try:
        size = (await asyncio.to_thread(path.stat)).st_size
    except OSError as error:
        raise _failed("ResultsUnreadable", f"{path.name} cannot be read: {error}") from error
    return await _with_retries(
        lambda: _put(url, lambda: _file(path, size), size), path.name, backoff_s
    )


async def _with_retries(
    send: Callable[[], Awaitable[Uploaded]], what: str, backoff_s: float
) -> Uploaded:
    failure: OSError | None = None
    for attempt in range(ATTEMPTS):
        if attempt:
            await asyncio.sleep(backoff_s * 2 ** (attempt - 1))
        try:
            return await send()
        except Broken as error:
            failure = error
    raise _failed(
        "UploadFailed",
        f"{what} could not be uploaded in {ATTEMPTS} tries: {failure}",
        hint="Is the orchestrator reachable from this node?",
    )


async def _put(url: str, chunks: Chunks, size: int | None = None) -> Uploaded:
    """One try. Raises Broken when another may work, EngineFailed when none will."""
    to = place(url)
    if isinstance(to, str):
        raise _failed("UploadRefused", f"the upload URL cannot be used: {to}")
    tally = _Tally()
    headers = {"content-type": "application/octet-stream"}
    if size is not None:
        headers["content-length"] = str(size)
    body = tally.stream(chunks())
    async with request("PUT", to, headers=headers, body=body, timeout_s=TIMEOUT_S) as answer:
        said = await _read(answer)
        if answer.status == 413 or (answer.status == 429 and "retry-after" not in answer.headers):
            raise _failed(
                "ResultsTooLarge",
                f"{to.authority} does not take that much: {_text(said)}",
                hint="Keep less, or raise Publishers.Types.Managed.MaxSize there.",
                kind=FaultKind.USER,
            )
        if answer.status in _RETRIED:
            raise Broken(f"{to.authority} answered {answer.status}")
        if answer.status >= 300:
            raise _failed(
                "UploadRefused", f"{to.authority} answered {answer.status}: {_text(said)}"
            )
        kept = _sha256_of(said)
        if kept != tally.sha256:
            raise Broken(f"{to.authority} keeps other bytes than were sent (SHA-256 {kept})")
    return Uploaded(tally.size, tally.sha256)


class _Tally:
    """Counts and hashes a body on its way."""

    def __init__(self) -> None:
        self.size = 0
        self._digest = hashlib.sha256()

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    async def stream(self, chunks: Generator[bytes, None, None]) -> AsyncIterator[bytes]:
        with closing(chunks):
            while chunk := await in_thread(self._next, chunks):
                yield chunk

    def _next(self, chunks: Generator[bytes, None, None]) -> bytes:
        chunk = next(chunks, b"")
        self.size += len(chunk)
        self._digest.update(chunk)
        return chunk


def _file(path: Path, size: int) -> Generator[bytes, None, None]:
    """The first `size` bytes of a file; it may be growing."""
    try:
        with path.open("rb") as file:
            left = size
            while left:
                chunk = file.read(min(CHUNK_BYTES, left))
                if not chunk:
                    raise OSError("became shorter while it was read")
                left -= len(chunk)
                yield chunk
    except OSError as error:
        raise _failed("ResultsUnreadable", f"{path.name}: {error}") from error


async def _read(answer: Answer) -> bytes:
    said = bytearray()
    async for chunk in answer.body:
        said += chunk
        if len(said) > ANSWER_BYTES:
            break
    return bytes(said[:ANSWER_BYTES])


def _text(said: bytes) -> str:
    return said[:300].decode(errors="replace")


def _sha256_of(said: bytes) -> str:
    try:
        return str(SpecConfig(params=msgspec.json.decode(said, type=dict)).param("SHA256", ""))
    except msgspec.MsgspecError:
        return "not told"


def _failed(
    code: str, message: str, hint: str = "", kind: FaultKind = FaultKind.TRANSIENT
) -> EngineFailed:
    return EngineFailed(Fault(kind=kind, code=code, message=message, hint=hint))

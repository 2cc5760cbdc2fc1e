"""What node, zygote and workers say to each other.

Node and worker share two socket pairs. On `work` the node sends batches (lists of Work)
and the worker one Report per run; on `control` the node sends Stop and Look, which a
thread of the worker obeys while a program runs. Frames are a length and MessagePack.
Node and zygote exchange fixed-size ORDERs; socket ends travel beside them.
"""

import struct
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from bacalhau.model.execution import Fault, FaultKind
from bacalhau.ports.executor import Outcome, Work

FRAME_BYTES_MAX = 256 * 1024 * 1024
"""No frame is longer: a spec is at most some tens of megabytes, a batch a few of those."""

_LENGTH = struct.Struct("!I")

ORDER = struct.Struct("!cii")
"""Node <-> zygote: a letter of the four below, a pid, a wait status."""

FORK, BORN, KILL, DEAD = b"f", b"b", b"k", b"d"


STOP_EXIT_CODE = 137
"""What a program ended by force leaves everywhere: 128 + SIGKILL."""

STOPPED_FAULT = Fault(kind=FaultKind.USER, code="Stopped", message="the run was stopped")


class Stop(msgspec.Struct, frozen=True, array_like=True, tag="stop"):
    """Node to worker: end this run, or never begin it."""

    execution_id: str


class Look(msgspec.Struct, frozen=True, array_like=True, tag="look"):
    """Node to worker: the run takes long. Give back what waits, check what it has written."""


class Report(msgspec.Struct, frozen=True, array_like=True, tag="report"):
    """Worker to node: the run ended.

    `recorded`: its outcome is also in its directory. `last`: the worker ends now.
    """

    execution_id: str
    outcome: Outcome
    took_s: float
    recorded: bool = False
    last: bool = False


class Returned(msgspec.Struct, frozen=True, array_like=True, tag="returned"):
    """Worker to node: these were not begun and never will be here."""

    execution_ids: tuple[str, ...]


Control = Stop | Look
Answer = Report | Returned

_encoder = msgspec.msgpack.Encoder()
_answer = msgspec.msgpack.Decoder(Answer)
_control = msgspec.msgpack.Decoder(Control)
_batch = msgspec.msgpack.Decoder(list[Work])
_outcome = msgspec.msgpack.Decoder(Outcome)


def stopped() -> Outcome:
    """The outcome of a run that the node's wish ended."""
    return Outcome(exit_code=STOP_EXIT_CODE, fault=STOPPED_FAULT)


def encode(message: Any) -> bytes:
    """MessagePack. Raises UnicodeEncodeError for text that is not Unicode."""
    return _encoder.encode(message)


def frame(message: Any) -> bytes:
    """The message with its length before it."""
    body = _encoder.encode(message)
    return _LENGTH.pack(len(body)) + body


def frame_batch(works: Sequence[bytes]) -> bytes:
    """A frame of several pieces of work, each already encoded."""
    return frame([msgspec.Raw(work) for work in works])


def decode_answer(body: bytes) -> Answer:
    answer: Answer = _answer.decode(body)
    return answer


def decode_control(body: bytes) -> Control:
    control: Control = _control.decode(body)
    return control


def decode_batch(body: bytes) -> list[Work]:
    return _batch.decode(body)


def decode_outcome(body: bytes) -> Outcome:
    """Raises msgspec.DecodeError."""
    return _outcome.decode(body)


class Frames:
    """Cuts a byte stream into frame bodies. Raises ValueError for an impossible length."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The bodies that `data` completes."""
        self._rest += data
        while len(self._rest) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._rest)
            if length > FRAME_BYTES_MAX:
                raise ValueError(f"a frame of {length} bytes: the pipe is out of step")
            end = _LENGTH.size + length
            if len(self._rest) < end:
                return
            body = bytes(self._rest[_LENGTH.size : end])
            del self._rest[:end]
            yield body

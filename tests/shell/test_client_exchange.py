"""HTTP and WebSocket frames as bytes: read the same however they are cut up."""

import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bacalhau.client.exchange import (
    CLOSE,
    MAX_LINE_BYTES,
    PING,
    PONG,
    Body,
    Broken,
    frame,
    read_head,
    read_message,
    request,
)


def drive(steps: Any, data: bytes, piece: int = 10**9) -> tuple[Any, bytes]:
    """Feed the steps; their result, and what they sent."""
    source, sent = io.BytesIO(data), b""
    try:
        need, amount = next(steps)
        while True:
            if need == "send":
                sent += amount
                part = b""
            elif need == "line":
                part = source.readline(amount)
            elif need == "some":
                part = source.read(min(amount, piece))
            else:
                part = source.read(amount)
                if len(part) < amount:
                    raise Broken("too short")
            need, amount = steps.send(part)
    except StopIteration as end:
        return end.value, sent


def answer(data: bytes, method: str = "GET", piece: int = 10**9) -> tuple[int, bytes]:
    def steps() -> Any:
        head = yield from read_head()
        body = Body(head, method)
        return head.status, (yield from body.whole())

    return drive(steps(), data, piece)[0]  # type: ignore[no-any-return]  # steps are untyped


@given(st.binary(max_size=2000), st.integers(1, 300), st.integers(1, 500))
def test_bodies_are_read_whole_whatever_their_framing(
    content: bytes, piece: int, size: int
) -> None:
    length = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(content)
    assert answer(length + content, piece=piece) == (200, content)
    chunks = b"".join(
        b"%x\r\n%s\r\n" % (len(part), part)
        for part in (content[at : at + size] for at in range(0, len(content), size))
    )
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
    assert answer(chunked, piece=piece) == (200, content)
    assert answer(b"HTTP/1.1 200 OK\r\n\r\n" + content, piece=piece) == (200, content)


@given(st.binary(max_size=200))
def test_nonsense_is_broken_and_nothing_else(data: bytes) -> None:
    try:
        answer(data)
    except Broken:
        return


@pytest.mark.parametrize("status", [204, 304])
def test_some_answers_have_no_body(status: int) -> None:
    assert answer(b"HTTP/1.1 %d X\r\nContent-Length: 5\r\n\r\n" % status) == (status, b"")
    assert answer(b"HTTP/1.1 200 X\r\nContent-Length: 5\r\n\r\n", "HEAD") == (200, b"")


def test_interim_answers_are_skipped() -> None:
    assert answer(b"HTTP/1.1 100 Go\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")[0] == 200


def test_a_body_that_is_cut_short_is_broken() -> None:
    with pytest.raises(Broken):
        answer(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")


def test_an_endless_line_is_broken() -> None:
    with pytest.raises(Broken):
        answer(b"HTTP/1.1 200 OK\r\na: " + b"x" * (2 * MAX_LINE_BYTES))


def test_requests_leave_out_empty_headers() -> None:
    data = request("PUT", "/x", {"Host": "h", "Authorization": ""}, b"{}")
    assert data == (
        b"PUT /x HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n"
        b"Content-Length: 2\r\n\r\n{}"
    )


def sent_frame(opcode: int, payload: bytes, *, last: bool = True) -> bytes:
    """A frame as servers send it: not masked."""
    first = bytes(((0x80 if last else 0) | opcode,))
    if len(payload) < 126:
        return first + bytes((len(payload),)) + payload
    if len(payload) < 65536:
        return first + b"\x7e" + len(payload).to_bytes(2) + payload
    return first + b"\x7f" + len(payload).to_bytes(8) + payload


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=5))
def test_messages_are_joined_from_their_frames(parts: list[bytes]) -> None:
    data = b"".join(
        sent_frame(1 if at == 0 else 0, part, last=at == len(parts) - 1)
        for at, part in enumerate(parts)
    )
    assert drive(read_message(b"mask"), data) == (b"".join(parts), b"")


def test_long_messages_are_read() -> None:
    for size in (125, 126, 65535, 65536):
        assert drive(read_message(b"mask"), sent_frame(1, b"x" * size))[0] == b"x" * size


def test_pings_are_answered_and_a_close_ends_it() -> None:
    data = sent_frame(PING, b"hello") + sent_frame(CLOSE, b"\x03\xe8")
    message, sent = drive(read_message(b"\0\0\0\0"), data)
    assert message is None
    assert sent == frame(PONG, b"hello", b"\0\0\0\0") + frame(CLOSE, b"\x03\xe8", b"\0\0\0\0")


def test_masking_is_undone_by_the_same_mask() -> None:
    data = frame(PONG, b"hello", b"abcd")
    assert bytes(byte ^ b"abcd"[at % 4] for at, byte in enumerate(data[6:])) == b"hello"


def test_a_frame_that_is_too_large_is_broken() -> None:
    with pytest.raises(Broken):
        drive(read_message(b"mask"), b"\x81\x7f" + (2**40).to_bytes(8))

"""A worker process: runs work one by one, in the order of its batches."""

import resource
import socket
import sys
import threading
import time
from typing import Any, Final

from bacalhau.executors.wasm.guard import Guard, Running
from bacalhau.executors.wasm.host import carry_out
from bacalhau.executors.wasm.modules import Modules
from bacalhau.executors.wasm.record import RECORD_AFTER_S, remove_private, write
from bacalhau.executors.wasm.wire import (
    STOP_EXIT_CODE,
    STOPPED_FAULT,
    Frames,
    Report,
    decode_batch,
    frame,
)
from bacalhau.model.base import evolve

GROWTH_BYTES_MAX: Final = 256 * 1024 * 1024
"""A worker whose memory once peaked this far above its start ends: not all comes back."""


class Channel:
    """Sends frames from both threads of the worker."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._lock = threading.Lock()

    def send(self, message: Any) -> None:
        data = frame(message)
        with self._lock:
            self._sock.sendall(data)


def serve(work: socket.socket, control: socket.socket, modules: Modules) -> None:
    """Carry out batches until the node closes the pipe, or memory has grown too much.

    Each run is reported at once, so that the first run without a report is the one that
    a crash of this process ended.
    """
    channel = Channel(work)
    guard = Guard(control, channel.send)
    guard.watch()
    frames = Frames()
    limit = _peak_bytes() + GROWTH_BYTES_MAX
    while data := work.recv(1 << 18):
        for body in frames.feed(data):
            guard.add(decode_batch(body))
            while (running := guard.next()) is not None:
                report = _carry_out(running, modules)
                if _peak_bytes() > limit:
                    guard.give_back()
                    channel.send(evolve(report, last=True))
                    return
                channel.send(report)


def _carry_out(running: Running, modules: Modules) -> Report:
    work = running.work
    started = time.perf_counter()
    outcome = carry_out(running, modules)
    running.close()
    if outcome.fault == STOPPED_FAULT:
        outcome = evolve(outcome, exit_code=STOP_EXIT_CODE)
    remove_private(work.directory)
    took_s = time.perf_counter() - started
    recorded = took_s >= RECORD_AFTER_S and write(work.directory, outcome)
    return Report(work.execution_id, outcome, took_s, recorded)


def _peak_bytes() -> int:
    """The most memory this process ever held."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024

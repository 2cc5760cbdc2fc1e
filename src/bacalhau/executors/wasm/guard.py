"""What a worker does while a program runs: obeys the node, counts bytes, ends the run.

The program keeps the worker's main thread inside wasmtime. A second thread sleeps on the
control socket; it ends the program by moving wasmtime's epoch on, and it ends the process
when the node is gone.
"""

import errno
import os
import socket
import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any

from bacalhau.executors.wasm.mounts import written_bytes
from bacalhau.executors.wasm.wire import (
    STOPPED_FAULT,
    Frames,
    Look,
    Report,
    Returned,
    decode_control,
    stopped,
)
from bacalhau.model.execution import Fault, FaultKind
from bacalhau.ports.executor import Work

STOPS_MAX = 1000
"""How many stops are kept for work that has not been read from the pipe yet."""

NODE_GONE = 0


def output_limit(what: str, limit: int) -> Fault:
    """It wrote more than it may."""
    return Fault(
        kind=FaultKind.USER,
        code="OutputLimit",
        message=f"{what} grew beyond {limit} bytes",
        hint="Write less, or ask for more with the task's Resources.Disk.",
    )


class Log:
    """stdout or stderr: appends to a file, made at the first byte, up to `limit` bytes."""

    def __init__(self, path: str, limit: int, name: str, end: Callable[[Fault], None]) -> None:
        self._path = path
        self._limit = limit
        self._name = name
        self._end = end
        self._file = -1
        self._written = 0

    def write(self, data: bytes) -> int:
        """For wasmtime: the bytes taken, or a negative error number. Never raises."""
        taken = data
        if self._limit and self._written + len(data) > self._limit:
            taken = data[: self._limit - self._written]
            self._end(output_limit(self._name, self._limit))
        try:
            if self._file < 0:
                self._file = self._open()
            done = 0
            while done < len(taken):
                done += os.write(self._file, taken[done:] if done else taken)
        except OSError as error:
            self._end(self._failure(error))
            return -(error.errno or errno.EIO)
        self._written += len(taken)
        return len(data) if len(taken) == len(data) else -errno.ENOSPC

    def _open(self) -> int:
        """The directory is made with the first file in it: most short runs need neither."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        try:
            return os.open(self._path, flags, 0o644)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(self._path), exist_ok=True)
            return os.open(self._path, flags, 0o644)

    def _failure(self, error: OSError) -> Fault:
        if error.errno == errno.EFBIG:  # the kernel's limit counts what was there before
            return output_limit(self._name, self._limit)
        return Fault(
            kind=FaultKind.NODE,
            code="LogFailed",
            message=f"cannot write {self._name}: {error}",
            hint="See whether the node's disk is full.",
        )

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


class Running:
    """The one run that the worker carries out now."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.stdout = Log(work.stdout, work.output_limit, "stdout", self.end)
        self.stderr = Log(work.stderr, work.output_limit, "stderr", self.end)
        self._lock = threading.Lock()
        self._reason: Fault | None = None
        self._engine: Any = None

    def begin(self, store: Any) -> None:
        """From now on `end` interrupts the program in this wasmtime store."""
        with self._lock:
            store.set_epoch_deadline(1)
            self._engine = store.engine
            if self._reason is not None:
                self._engine.increment_epoch()

    def end(self, reason: Fault) -> None:
        """Interrupt the program, now or when it begins. The first reason counts."""
        with self._lock:
            if self._reason is None:
                self._reason = reason
            if self._engine is not None:
                self._engine.increment_epoch()

    def finish(self) -> Fault | None:
        """The program has ended; why it was told to, if it was."""
        with self._lock:
            self._engine = None
            return self._reason

    def close(self) -> None:
        self.stdout.close()
        self.stderr.close()

    def check_outputs(self) -> None:
        """End the run when its outputs have grown too large."""
        work = self.work
        if not (work.outputs and work.output_limit):
            return
        if written_bytes(mount.source for mount in work.outputs) > work.output_limit:
            self.end(output_limit("the outputs", work.output_limit))


class Guard:
    """The worker's list of work, shared by its two threads."""

    def __init__(self, control: socket.socket, send: Callable[[Any], None]) -> None:
        self._control = control
        self._send = send
        self._lock = threading.Lock()
        self._todo: deque[Work] = deque()
        self._current: Running | None = None
        self._stops: OrderedDict[str, None] = OrderedDict()

    def watch(self) -> None:
        """Start the second thread."""
        threading.Thread(target=self._listen, name="guard", daemon=True).start()

    def add(self, batch: list[Work]) -> None:
        with self._lock:
            self._todo.extend(batch)

    def next(self) -> Running | None:
        """Begin the next run of the batch; None when none is left."""
        with self._lock:
            self._current = None
            if not self._todo:
                return None
            work = self._todo.popleft()
            self._current = Running(work)
            if work.execution_id in self._stops:
                self._end_current()
            return self._current

    def _listen(self) -> None:
        frames = Frames()
        while True:
            try:
                data = self._control.recv(65536)
            except OSError:
                data = b""
            if not data:
                os._exit(NODE_GONE)  # the node went away: nobody wants the outcome
            for body in frames.feed(data):
                message = decode_control(body)
                if isinstance(message, Look):
                    self._look()
                else:
                    self._stop(message.execution_id)

    def give_back(self) -> None:
        """Hand back to the node what was not begun."""
        with self._lock:
            back = tuple(work.execution_id for work in self._todo)
            self._todo.clear()
        if back:
            self._send(Returned(back))

    def _look(self) -> None:
        self.give_back()
        current = self._current
        if current is not None:
            current.check_outputs()

    def _stop(self, execution_id: str) -> None:
        with self._lock:
            if self._current is not None and self._current.work.execution_id == execution_id:
                self._end_current()
                return
            waiting = [work for work in self._todo if work.execution_id == execution_id]
            for work in waiting:
                self._todo.remove(work)
            if not waiting:  # not read yet, or just ended
                self._stops[execution_id] = None
                if len(self._stops) > STOPS_MAX:
                    self._stops.popitem(last=False)
        for _ in waiting:
            self._send(Report(execution_id, stopped(), 0.0))

    def _end_current(self) -> None:
        if self._current is not None:
            self._current.end(STOPPED_FAULT)

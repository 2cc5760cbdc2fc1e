"""How the node starts, talks to and ends the zygote and the workers."""

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from bacalhau.executors.wasm.wire import (
    BORN,
    DEAD,
    FORK,
    KILL,
    ORDER,
    Answer,
    Control,
    Frames,
    decode_answer,
    frame,
)

READ_BYTES = 1 << 18
END_S = 5.0
"""How long the zygote may take to end by itself before it is killed."""


class Worker:
    """The node's end of one worker process, born or about to be.

    `on_answers` gets all that one read brought; `on_gone` is called once, when the process
    has ended and all it said has been handed over. `status` is then its wait status, None
    when nobody could tell.
    """

    def __init__(
        self,
        zygote: "Zygote",
        on_answers: Callable[["Worker", list[Answer]], None],
        on_gone: Callable[["Worker"], None],
    ) -> None:
        self.pid = 0
        self.status: int | None = None
        self.batch: dict[str, Any] = {}
        self.progress = 0.0
        self.leaving = False
        self.gone = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._zygote = zygote
        self._on_answers = on_answers
        self._on_gone = on_gone
        self._frames = Frames()
        self._unsent = bytearray()
        self._writing = False
        self._silent = False
        self._buried = False
        self._work, its_work = socket.socketpair()
        self._control, its_control = socket.socketpair()
        for end in (self._work, self._control):
            end.setblocking(False)
        with its_work, its_control:
            zygote.fork(self, (its_work.fileno(), its_control.fileno()))
        self._loop.add_reader(self._work, self._read)

    def send(self, data: bytes) -> None:
        """Send a frame on the work pipe; what does not fit now goes when it does."""
        self._unsent += data
        self._flush()

    def say(self, message: Control) -> None:
        """Send on the control pipe. A full or broken pipe loses it: the caller repeats."""
        with contextlib.suppress(OSError):
            self._control.send(frame(message))

    def kill(self) -> None:
        """End the process: its guard does that when the pipe closes, the kernel in any case."""
        self.leaving = True
        self._control.close()
        self._zygote.kill(self.pid)

    def died(self, status: int | None) -> None:
        """The zygote's word that the process has ended."""
        self.status = status
        self._bury()

    def _read(self) -> None:
        try:
            data = self._work.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            try:
                self._on_answers(self, [decode_answer(body) for body in self._frames.feed(data)])
            except (KeyError, ValueError, msgspec.MsgspecError):
                self.kill()  # it talks nonsense: do not believe it any more
            return
        self._loop.remove_reader(self._work)
        self._silent = True
        self._unsent.clear()
        self._flush()
        self._bury()

    def _flush(self) -> None:
        try:
            if self._unsent:
                del self._unsent[: self._work.send(self._unsent)]
        except BlockingIOError:
            pass
        except OSError:  # it is gone: reading will tell
            self._unsent.clear()
        if self._unsent and not self._silent:
            self._loop.add_writer(self._work, self._flush)
            self._writing = True
        elif self._writing:
            self._loop.remove_writer(self._work)
            self._writing = False

    def _bury(self) -> None:
        if not self._silent or (self.status is None and self._zygote.alive) or self._buried:
            return
        self._buried = True
        self._work.close()
        self._control.close()
        self.gone.set()
        self._on_gone(self)


class Zygote:
    """The node's end of the process that forks workers. Started when made."""

    def __init__(self, cache: Path, on_gone: Callable[["Zygote"], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_gone = on_gone
        self._workers: dict[int, Worker] = {}
        self._unborn: deque[Worker] = deque()
        self._read_so_far = b""
        self.alive = True
        self.forked = 0
        self._socket, its = socket.socketpair()
        self._socket.setblocking(False)
        with its:
            self._process = _start(its.fileno(), cache)
        self._loop.add_reader(self._socket, self._read)

    def fork(self, worker: Worker, ends: tuple[int, int]) -> None:
        """Ask for a worker with these ends of its pipes."""
        self._unborn.append(worker)
        with contextlib.suppress(OSError):  # it is gone: reading will tell
            socket.send_fds(self._socket, [ORDER.pack(FORK, 0, 0)], list(ends))

    def kill(self, pid: int) -> None:
        """Kill a worker of ours; the zygote knows whether the pid is still its child's."""
        if pid and self.alive:
            with contextlib.suppress(OSError):
                self._socket.send(ORDER.pack(KILL, pid, 0))

    async def close(self) -> None:
        """End it, and wait until it has ended."""
        self._mourn()
        try:
            await asyncio.to_thread(self._process.wait, END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            await asyncio.to_thread(self._process.wait)

    def _read(self) -> None:
        try:
            data = self._socket.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._mourn()
            self._process.kill()  # it closed its socket: it has ended, or has no use
            self._process.wait()
            return
        data = self._read_so_far + data
        whole = len(data) - len(data) % ORDER.size
        self._read_so_far = data[whole:]
        for kind, pid, status in ORDER.iter_unpack(data[:whole]):
            if kind == BORN:
                worker = self._unborn.popleft()
                worker.pid = pid
                worker.progress = self._loop.time()
                self.forked += 1
                self._workers[pid] = worker
                if worker.leaving:
                    self.kill(pid)
            elif kind == DEAD:
                self._workers.pop(pid).died(status)

    def _mourn(self) -> None:
        """From now on nobody tells how workers ended."""
        if not self.alive:
            return
        self.alive = False
        self._loop.remove_reader(self._socket)
        self._socket.close()
        self._on_gone(self)
        for worker in (*self._workers.values(), *self._unborn):
            worker.died(None)


def _start(fd: int, cache: Path) -> subprocess.Popen[bytes]:
    """The zygote's process: nothing of the node's environment but where Python code is."""
    path = os.pathsep.join(os.path.abspath(part) for part in sys.path if part)
    command = [sys.executable, "-P", "-m", "bacalhau.executors.wasm.zygote", str(fd), str(cache)]
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        env={"PATH": os.defpath, "PYTHONPATH": path},
        cwd="/",
        pass_fds=(fd,),
        start_new_session=True,  # a Ctrl-C at the node's terminal is the node's affair
    )

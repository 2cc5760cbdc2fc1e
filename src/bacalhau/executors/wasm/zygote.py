"""The zygote: a process that has imported wasmtime, and forks workers that need not.

The node starts it on first use as `python -m bacalhau.executors.wasm.zygote FD CACHE`, and
talks to it over the socket FD. It has one thread and runs no wasm, so forking is safe. It
ends, like the workers, when the node's end of the socket closes.
"""

import contextlib
import ctypes
import gc
import os
import resource
import select
import signal
import socket
import sys
from pathlib import Path
from typing import NoReturn

from bacalhau.executors.wasm.modules import Modules
from bacalhau.executors.wasm.wire import BORN, DEAD, FORK, KILL, ORDER
from bacalhau.executors.wasm.worker import serve

PR_SET_NO_NEW_PRIVS = 38


def main(node: socket.socket, cache: Path) -> None:
    """Obey the node until it is gone."""
    harden()
    modules = Modules(cache)
    modules.runtime(False)
    wake, wake_end = os.pipe()
    for end in (wake, wake_end):
        os.set_blocking(end, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake_end)
    gc.freeze()  # so that collections in workers leave these pages shared
    alive: set[int] = set()
    while True:
        ready, _, _ = select.select([node.fileno(), wake], [], [])
        if wake in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(wake, 4096)
            for pid, status in _reap(alive):
                node.sendall(ORDER.pack(DEAD, pid, status))
        if node.fileno() in ready:
            order, ends = _receive(node)
            if not order:
                return
            kind, pid, _ = ORDER.unpack(order)
            if kind == KILL and pid in alive:  # not reaped yet, so the pid is still its own
                os.kill(pid, signal.SIGKILL)
            elif kind == FORK:
                child = os.fork()
                if child == 0:
                    for fd in (wake, wake_end):
                        os.close(fd)
                    node.close()
                    _work(ends, modules)
                for fd in ends:
                    os.close(fd)
                alive.add(child)
                node.sendall(ORDER.pack(BORN, child, 0))


def harden() -> None:
    """Give up what neither zygote nor workers need. They run as the node's user."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError):  # Linux: the node must outlive its workers
        Path("/proc/self/oom_score_adj").write_text("500")
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def _work(ends: list[int], modules: Modules) -> NoReturn:
    """The life of a worker."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    status = 1
    try:
        serve(socket.socket(fileno=ends[0]), socket.socket(fileno=ends[1]), modules)
        status = 0
    except OSError:
        status = 0  # the node went away in the middle of a message
    except BaseException:
        sys.excepthook(*sys.exc_info())
    os._exit(status)


def _receive(node: socket.socket) -> tuple[bytes, list[int]]:
    """One order and the socket ends that came with it; empty when the node is gone."""
    data, ends, _, _ = socket.recv_fds(node, ORDER.size, 2)
    while data and len(data) < ORDER.size:
        more = node.recv(ORDER.size - len(data))
        if not more:
            return b"", []
        data += more
    return data, ends


def _reap(alive: set[int]) -> list[tuple[int, int]]:
    """The children that ended, with their wait status."""
    ended = []
    while alive:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            break
        alive.discard(pid)
        ended.append((pid, status))
    return ended


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])), Path(sys.argv[2]))

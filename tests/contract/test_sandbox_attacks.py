"""What a hostile program tries, and what becomes of it: real programs in the real sandbox."""

import asyncio
import os
import shutil
import socket
import stat
import textwrap
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from bacalhau.executors.process import ProcessExecutor
from bacalhau.executors.process.executor import NOBODY
from bacalhau.executors.process.status import holders
from bacalhau.model.errors import EngineFailed
from bacalhau.model.execution import FaultKind
from bacalhau.model.job import Network, NetworkType, SpecConfig
from bacalhau.model.resources import Resources
from bacalhau.ports.executor import Mount, Outcome, Work
from bacalhau.testing.contracts.executor import until

pytestmark = pytest.mark.sandbox
MIB = 1024**2
HOME = os.path.expanduser("~")


@dataclass
class Attack:
    """How it went."""

    outcome: Outcome
    stdout: str
    stderr: str

    @property
    def code(self) -> str:
        return self.outcome.fault.code if self.outcome.fault else ""


@dataclass
class Prison:
    """Runs programs, one after the other, each as an execution of its own."""

    place: Path
    executor: ProcessExecutor = field(default_factory=ProcessExecutor)
    made: list[str] = field(default_factory=list)

    async def close(self) -> None:
        for id in self.made:
            await self.executor.release(id)
        await self.executor.close()

    def work(self, engine: SpecConfig, **fields: Any) -> Work:
        number = len(self.made)
        id = f"{self.place.name[:40]}-{os.getpid()}-{number}"
        self.made.append(id)
        cell = self.place / str(number)
        (cell / "results").mkdir(parents=True)
        output = Mount(source=str(cell / "results"), target="/outputs", read_only=False)
        return Work(
            execution_id=id,
            engine=engine,
            directory=str(cell / "engine"),
            stdout=str(cell / "stdout"),
            stderr=str(cell / "stderr"),
            outputs=(output,),
            **fields,
        )

    async def run(self, command: str, *arguments: str, **fields: Any) -> Attack:
        params = {"Command": command, "Arguments": list(arguments)}
        work = self.work(SpecConfig(type="process", params=params), **fields)
        await self.executor.start(work)
        outcome = await asyncio.wait_for(self.executor.wait(work.execution_id), 60)
        await self.executor.release(work.execution_id)
        stdout, stderr = (text(path) for path in (work.stdout, work.stderr))
        return Attack(outcome, stdout, stderr)

    async def python(self, script: str, *arguments: str, **fields: Any) -> Attack:
        return await self.run("python3", "-c", textwrap.dedent(script), *arguments, **fields)

    async def refuses(self, expression: str, *arguments: str, error: str = "OSError") -> None:
        """Asserts that the expression raises that error inside (sys.argv holds arguments)."""
        script = f"""
            import ctypes, os, signal, socket, sys
            try:
                found = {expression}
            except {error} as refusal:
                print("refused:", refusal)
            else:
                print("GOT", repr(found)[:200])
        """
        attack = await self.python(script, *arguments)
        assert attack.stdout.startswith("refused:"), attack


def text(path: str) -> str:
    with open(path, errors="replace") as file:
        return file.read(MIB)


@pytest.fixture
async def prison(tmp_path: Path) -> AsyncIterator[Prison]:
    made = Prison(tmp_path)
    yield made
    await made.close()


# -- looking around ------------------------------------------------------------------------------


@pytest.mark.parametrize("root", ["", "/proc/1/root", "/proc/self/root", "/proc/self/cwd/../.."])
async def test_the_shadow_file_of_the_host_is_not_there(prison: Prison, root: str) -> None:
    await prison.refuses("open(sys.argv[1]).read()", f"{root}/etc/shadow")


async def test_the_passwd_file_is_made_up(prison: Prison) -> None:
    attack = await prison.python("print(open('/etc/passwd').read())")
    assert [line.split(":")[0] for line in attack.stdout.split()] == ["task", "nobody"]


async def test_the_homes_of_the_node_are_not_there(prison: Prison) -> None:
    script = """
        import os, sys
        for top, directories, files in os.walk(sys.argv[1]):
            for name in directories + files:
                print(os.path.join(top, name))
    """
    attack = await prison.run("/usr/bin/python3", "-c", textwrap.dedent(script), HOME)
    assert attack.stdout == ""


async def test_a_file_of_the_host_that_everybody_may_read_is_not_there(prison: Prison) -> None:
    secret = prison.place / "secret"
    secret.write_text("of the host")
    secret.chmod(0o644)
    await prison.refuses("open(sys.argv[1]).read()", str(secret))
    await prison.refuses("open(sys.argv[1]).read()", f"/proc/1/root{secret}")


async def test_the_files_of_another_job_and_of_the_node_are_not_there(prison: Prison) -> None:
    other = prison.work(
        SpecConfig(
            type="process",
            params={
                "Command": "sh",
                "Arguments": ["-c", "echo secret >/outputs/mine; echo up; exec sleep 60"],
            },
        )
    )
    await prison.executor.start(other)
    mine = Path(other.outputs[0].source, "mine")
    await until(mine.exists, "the other job's output")
    for path in (str(mine), other.stdout, other.directory + "/status"):
        await prison.refuses("open(sys.argv[1]).read()", path)
    await prison.executor.release(other.execution_id)


async def test_the_variables_of_the_node_are_not_seen(
    prison: Prison, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NODE_SECRET", "topsecret")
    script = """
        import glob, os
        print(os.environ)
        for path in glob.glob("/proc/[0-9]*/environ"):
            print(path, open(path).read())
    """
    attack = await prison.python(script)
    assert attack.outcome.exit_code == 0
    assert "secret" not in attack.stdout.lower()


async def test_the_variables_of_a_job_are_not_on_any_command_line(prison: Prison) -> None:
    params = {"Command": "sleep", "Arguments": ["61.25"]}
    work = prison.work(SpecConfig(type="process", params=params), env={"TOKEN": "topsecret"})
    await prison.executor.start(work)
    await until(lambda: any("61.25" in line for line in command_lines()), "the program")
    lines = command_lines()
    await prison.executor.release(work.execution_id)
    assert not any("topsecret" in line for line in lines)


def command_lines() -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_text(errors="replace").replace("\0", " "))
        except OSError:  # it ended
            continue
    return found


async def test_no_descriptor_of_the_node_is_inherited(prison: Prison) -> None:
    secret = prison.place / "secret"
    secret.write_text("of the host")
    leak = os.open(secret, os.O_RDONLY)
    os.set_inheritable(leak, True)
    try:
        attack = await prison.python("import os; print(sorted(os.listdir('/proc/self/fd')))")
        init = await prison.python("import os; print(sorted(os.listdir('/proc/1/fd'), key=int))")
    finally:
        os.close(leak)
    assert attack.stdout.strip() == "['0', '1', '2', '3']"  # 3 lists the directory
    assert len(init.stdout.split(",")) <= 4  # its streams, and one to wake up bubblewrap


async def test_neither_sys_nor_the_devices_of_the_host_are_there(prison: Prison) -> None:
    attack = await prison.python("import os; print(os.path.exists('/sys'), os.listdir('/dev'))")
    known = "full null zero random urandom tty pts ptmx shm console core fd stdin stdout stderr"
    exists, _, names = attack.stdout.partition(" ")
    assert exists == "False"
    assert set(names.strip(" []\n").replace("'", "").split(", ")) <= set(known.split())


# -- other processes -----------------------------------------------------------------------------


async def test_only_its_own_processes_are_listed(prison: Prison) -> None:
    script = "import os; print([n for n in os.listdir('/proc') if n.isdigit()])"
    assert (await prison.python(script)).stdout.strip() == "['1', '2']"


async def test_processes_of_the_host_cannot_be_signalled(prison: Prison) -> None:
    await prison.refuses(
        "os.kill(int(sys.argv[1]), 0)", str(os.getpid()), error="ProcessLookupError"
    )
    attack = await prison.python("import os, signal; os.kill(-1, signal.SIGKILL)")
    assert attack.outcome.exit_code in (0, 1, 137)  # and whoever reads this is still alive


async def test_processes_of_the_host_cannot_be_traced(prison: Prison) -> None:
    attach, no_such_process = 16, 3
    attack = await prison.python(CALL, "ptrace", str(attach), str(os.getpid()), "0", "0")
    assert attack.stdout.split() == ["-1", str(no_such_process)]


async def test_what_a_program_leaves_in_the_background_dies_with_it(prison: Prison) -> None:
    script = """
        import os, time
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                open("/outputs/daemon", "w").close()
                time.sleep(71.5)
                os._exit(0)
            os._exit(0)
        while not os.path.exists("/outputs/daemon"):
            time.sleep(0.01)
    """
    attack = await prison.python(script)
    assert attack.outcome.exit_code == 0
    assert not any("71.5" in line for line in command_lines())


CALL = """
import ctypes, sys
libc = ctypes.CDLL(None, use_errno=True)
arguments = [int(a) if a.lstrip("-").isdigit() else a.encode() for a in sys.argv[2:]]
print(getattr(libc, sys.argv[1])(*arguments), ctypes.get_errno())
"""
NOT_PERMITTED = 1


# -- powers --------------------------------------------------------------------------------------


async def test_it_has_no_capabilities_and_cannot_gain_any(prison: Prison) -> None:
    attack = await prison.python("print(open('/proc/self/status').read())")
    facts = dict(line.split(":\t", 1) for line in attack.stdout.splitlines() if ":\t" in line)
    assert {facts[name] for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    assert (facts["NoNewPrivs"], facts["Seccomp"]) == ("1", "2")
    assert facts["Uid"].split() == ["1000"] * 4


async def test_even_the_launcher_outside_has_no_rights_of_root(prison: Prison) -> None:
    params = {"Command": "sleep", "Arguments": ["62.75"]}
    work = prison.work(SpecConfig(type="process", params=params))
    await prison.executor.start(work)
    await until(lambda: any("62.75" in line for line in command_lines()), "the program")
    launchers = holders(work.directory)
    facts = [text(f"/proc/{pid}/status") for pid in launchers]
    await prison.executor.release(work.execution_id)
    assert len(facts) == 1
    fields = dict(line.split(":\t", 1) for line in facts[0].splitlines() if ":\t" in line)
    assert {int(uid) for uid in fields["Uid"].split()} == {
        NOBODY if os.getuid() == 0 else os.getuid()
    }
    assert "0" not in fields["Gid"].split()
    assert fields["Groups"].strip() == "" or os.getuid() != 0
    assert fields["CapPrm"] == fields["CapEff"] == "0" * 16


async def test_programs_with_the_setuid_bit_gain_nothing(prison: Prison) -> None:
    script = """
        import glob, os, stat, subprocess
        found = [p for p in glob.glob("/usr/*bin/*") if os.stat(p).st_mode & stat.S_ISUID]
        print(len(found))
        print(subprocess.run(["su", "-c", "id -u"], capture_output=True, text=True).stdout)
        print([line for line in open("/proc/self/mounts") if " /usr " in line and "nosuid" in line])
    """
    attack = await prison.python(script)
    _, identity, mounted = attack.stdout.split("\n", 2)
    assert identity == ""
    assert "nosuid" in mounted


@pytest.mark.parametrize(
    "call",
    [
        ["mount", "none", "/tmp", "tmpfs", "0", "0"],
        ["chroot", "/tmp"],
        ["mknod", "/tmp/disk", str(stat.S_IFBLK | 0o600), str(os.makedev(8, 0))],
        ["unshare", str(0x10000000)],  # CLONE_NEWUSER
        ["sethostname", "other", "5"],
        ["setuid", "0"],
        ["init_module", "0", "0", ""],
        ["keyctl"],
    ],
    ids=lambda call: call[0],
)
async def test_what_needs_a_power_is_refused(prison: Prison, call: list[str]) -> None:
    if call[0] == "keyctl":  # glibc has no function for it; -3 is the session's keyring
        call = ["syscall", {"x86_64": "250", "aarch64": "219"}[os.uname().machine], "0", "-3", "0"]
    attack = await prison.python(CALL, *call)
    result, _ = attack.stdout.split()
    assert result == "-1", attack


async def test_characters_cannot_be_typed_into_a_terminal(prison: Prison) -> None:
    script = """
        import errno, fcntl, os
        control, terminal = os.openpty()
        for request in (0x5412, 0x541C):  # TIOCSTI, TIOCLINUX
            try:
                fcntl.ioctl(terminal, request, b"x")
            except OSError as refusal:
                print(errno.errorcode[refusal.errno])
        try:
            os.open("/dev/tty", os.O_RDWR)
        except OSError as refusal:
            print(errno.errorcode[refusal.errno])
    """
    assert (await prison.python(script)).stdout.split() == ["EPERM", "EPERM", "ENXIO"]


# -- writing -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/planted",
        "/usr/planted",
        "/etc/planted",
        "/etc/passwd",
        "/bin/planted",
        "/dev/planted",
        "/run/planted",
        "/home/planted",
        "/proc/sys/kernel/core_pattern",
        "/proc/sysrq-trigger",
    ],
)
async def test_the_system_cannot_be_written(prison: Prison, path: str) -> None:
    await prison.refuses("open(sys.argv[1], 'w')", path)


async def test_the_devices_that_all_share_cannot_be_changed(prison: Prison) -> None:
    before = os.stat(os.devnull).st_mode
    await prison.refuses("os.chmod('/dev/null', 0o600)")
    assert os.stat(os.devnull).st_mode == before


async def test_links_planted_in_the_outputs_lead_nowhere(prison: Prison, tmp_path: Path) -> None:
    """The node measures outputs, and must neither follow links nor change what they lead to."""
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o700)
    (outside / "large").write_bytes(bytes(3 * MIB))
    script = """
        import os, sys
        os.symlink(sys.argv[1], "/outputs/directory")
        os.symlink(sys.argv[1] + "/large", "/outputs/file")
        os.symlink("/etc/shadow", "/outputs/shadow")
        os.mkfifo("/outputs/pipe")
        os.mkdir("/outputs/closed", 0)
    """
    attack = await prison.python(script, str(outside), output_limit=MIB)
    assert (attack.outcome.exit_code, attack.code) == (0, "")
    assert stat.S_IMODE(outside.stat().st_mode) == 0o700
    assert outside.stat().st_uid == os.getuid()


# -- the network ---------------------------------------------------------------------------------


async def test_a_port_of_the_host_cannot_be_reached(prison: Prison) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        await prison.refuses(
            "socket.create_connection(('127.0.0.1', int(sys.argv[1])), 2).getpeername()", port
        )


async def test_no_address_beyond_its_own_loopback_can_be_reached(prison: Prison) -> None:
    await prison.refuses("socket.create_connection(('192.0.2.1', 80), 2)")
    attack = await prison.python("import socket; print(socket.if_nameindex())")
    assert attack.stdout.strip() == "[(1, 'lo')]"


async def test_an_abstract_socket_of_the_host_cannot_be_reached(prison: Prison) -> None:
    name = f"bacalhau-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("\0" + name)
        server.listen()
        await prison.refuses(
            "socket.socket(socket.AF_UNIX).connect(chr(0) + sys.argv[1])",
            name,
        )


async def test_the_network_of_the_host_is_shared_only_when_asked_for(prison: Prison) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        script = "import socket, sys; socket.create_connection(('127.0.0.1', int(sys.argv[1])), 2)"
        attack = await prison.python(script, port, network=Network(type=NetworkType.HOST))
    assert attack.outcome.exit_code == 0, attack.stderr


async def test_a_node_that_gives_no_network_refuses_such_jobs(tmp_path: Path) -> None:
    prison = Prison(tmp_path, ProcessExecutor(host_network=False))
    with pytest.raises(EngineFailed) as caught:
        await prison.run("true", network=Network(type=NetworkType.FULL))
    assert caught.value.fault.code == "NetworkRefused"


@pytest.mark.parametrize("kind", [NetworkType.HTTP, NetworkType.BRIDGE])
async def test_networks_that_the_engine_lacks_are_a_permanent_fault(
    prison: Prison, kind: NetworkType
) -> None:
    with pytest.raises(EngineFailed) as caught:
        await prison.run("true", network=Network(type=kind))
    assert caught.value.fault.kind is FaultKind.PERMANENT


# -- eating --------------------------------------------------------------------------------------


async def test_forking_without_end_is_stopped(prison: Prison) -> None:
    script = """
        import os
        while True:
            try:
                os.fork()
            except OSError:
                pass
    """
    attack = await prison.python(script)
    assert attack.outcome.fault is not None
    assert attack.code == "ProcessLimit"
    assert "256 processes" in attack.outcome.fault.message


async def test_a_program_that_gives_up_when_it_may_not_fork_is_told_why(prison: Prison) -> None:
    script = """
        import os, time
        while True:
            if os.fork() == 0:
                time.sleep(60)
    """
    attack = await prison.python(script)
    assert attack.outcome.exit_code in (1, 137)  # rlimits: the watch may be faster
    assert attack.code == "ProcessLimit"


async def test_eating_memory_is_stopped(prison: Prison) -> None:
    attack = await prison.python("x = bytearray(10**9)", resources=Resources(memory=64 * MIB))
    assert attack.code == "MemoryLimit"


async def test_eating_memory_through_tmp_is_stopped(prison: Prison) -> None:
    script = """
        with open("/tmp/large", "wb") as file:
            while True:
                file.write(bytes(2**20))
    """
    attack = await prison.python(script, resources=Resources(memory=64 * MIB))
    assert attack.outcome.exit_code != 0
    assert attack.code == "MemoryLimit" or "No space left" in attack.stderr  # rlimits: it is small


async def test_tmp_and_home_have_a_size(tmp_path: Path) -> None:
    prison = Prison(tmp_path, ProcessExecutor(scratch_bytes=4 * MIB))
    script = """
        import os, sys
        for place in ("/tmp", os.environ["HOME"], "/dev/shm"):
            try:
                with open(place + "/large", "wb") as file:
                    for _ in range(8):
                        file.write(bytes(2**20))
            except OSError as refusal:
                print(refusal.strerror)
    """
    attack = await prison.python(script)
    assert attack.stdout.splitlines() == ["No space left on device"] * 3
    await prison.close()


FILLERS = {
    "one file": """
        with open("/outputs/large", "wb") as file:
            while True:
                file.write(bytes(2**16))
    """,
    "many files": """
        import itertools
        for number in itertools.count():
            open(f"/outputs/{number}", "wb").write(bytes(2**14))
    """,
    "a file without a name": """
        import os, time
        for number in range(64):
            fd = os.open("/outputs/hidden", os.O_CREAT | os.O_RDWR)
            os.unlink("/outputs/hidden")
            os.write(fd, bytes(2**15))
        time.sleep(60)
    """,
    "a closed directory": """
        import os, time
        os.mkdir("/outputs/closed")
        for number in range(64):
            open(f"/outputs/closed/{number}", "wb").write(bytes(2**15))
        os.chmod("/outputs/closed", 0)
        time.sleep(60)
    """,
    "a deep tree": """
        import os, time
        os.chdir("/outputs")
        for number in range(500):
            os.mkdir("d")
            os.chdir("d")
        time.sleep(60)
    """,
    "stdout": """
        while True:
            print("x" * 4000)
    """,
    "stderr": """
        import sys
        while True:
            print("x" * 4000, file=sys.stderr)
    """,
}


@pytest.mark.parametrize("script", FILLERS.values(), ids=FILLERS)
async def test_eating_disk_is_stopped(prison: Prison, script: str) -> None:
    attack = await prison.python(script, output_limit=MIB)
    assert attack.code == "OutputLimit", attack
    for cell in prison.place.iterdir():
        await asyncio.to_thread(shutil.rmtree, cell, True)


async def test_burning_cpu_time_is_stopped(tmp_path: Path) -> None:
    prison = Prison(tmp_path, ProcessExecutor(cpu_time_s=1))
    attack = await prison.python("while True: pass")
    assert attack.code == "CpuLimit"
    await prison.close()


async def test_opening_files_without_end_is_refused(prison: Prison) -> None:
    await prison.refuses("[os.dup(0) for _ in range(2000)]")


# -- the owner's list ----------------------------------------------------------------------------


@dataclass
class Tools:
    """A node whose owner allows `good` and what lies in one directory."""

    prison: Prison
    directory: Path


@pytest.fixture
async def tools(tmp_path: Path) -> AsyncIterator[Tools]:
    directory = tmp_path / "tools"
    directory.mkdir()
    good = directory / "good"
    good.write_text("#!/bin/sh\necho good\n")
    good.chmod(0o755)
    (directory / "link").symlink_to("/bin/sh")
    executor = ProcessExecutor(
        allow=("good", f"{tmp_path}/tools/*"), search=f"{directory}:/usr/bin:/bin"
    )
    tools = Tools(Prison(tmp_path / "runs", executor), directory)
    yield tools
    await tools.prison.close()


async def test_an_allowed_command_runs(tools: Tools) -> None:
    for command in ("good", str(tools.directory / "good")):
        attack = await tools.prison.run(command)
        assert (attack.stdout, attack.stderr) == ("good\n", "")


@pytest.mark.parametrize(
    "command", ["sh", "/bin/sh", "link", "{tools}/link", "{tools}/../../bin/x"]
)
async def test_another_command_is_refused_links_or_not(tools: Tools, command: str) -> None:
    with pytest.raises(EngineFailed) as caught:
        await tools.prison.run(command.format(tools=tools.directory))
    assert caught.value.fault.code in ("CommandRefused", "CommandNotFound")


async def test_a_file_of_ones_own_called_like_a_good_one_is_refused(tools: Tools) -> None:
    source = tools.directory.parent / "mine"
    source.mkdir()
    shutil.copy("/bin/sh", source / "good")
    for target in ("/inputs", str(tools.directory)):
        with pytest.raises(EngineFailed) as caught:
            await tools.prison.run(
                f"{target}/good", inputs=(Mount(source=str(source), target=target),)
            )
        assert caught.value.fault.code == "CommandRefused"
    with pytest.raises(EngineFailed) as caught:
        await tools.prison.run(
            "good", inputs=(Mount(source=str(source), target=str(tools.directory)),)
        )
    assert caught.value.fault.code == "BadTarget"


async def test_an_allowed_command_cannot_be_made_to_load_other_code(tools: Tools) -> None:
    with pytest.raises(EngineFailed) as caught:
        await tools.prison.run("good", env={"LD_PRELOAD": "/inputs/evil.so"})
    assert caught.value.fault.code == "CommandRefused"

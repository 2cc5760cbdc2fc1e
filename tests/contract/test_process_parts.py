"""The pure parts of the process engine: params, commands, limits, status, filter, verdicts."""

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bacalhau.executors.process import command, limits, params, sandbox, seccomp, status
from bacalhau.executors.process.outcome import Ended, Taken, judge
from bacalhau.model.execution import Fault, FaultKind
from bacalhau.model.job import SpecConfig
from bacalhau.ports.executor import Mount, Work

LIMITS = limits.Limits(
    memory_bytes=1 << 20, cpu=1500, processes=9, file_bytes=1 << 16, output_bytes=1 << 16
)


def spec(**params_: object) -> SpecConfig:
    return SpecConfig(type="process", params=dict(params_))


# -- params --------------------------------------------------------------------------------------


def test_params_are_read_in_any_case_and_either_form() -> None:
    listed = params.read(spec(NAME="ls", arguments=["-l", 3], environmentvariables=["A=b=c"]))
    mapped = params.read(
        spec(Command="ls", Arguments=["-l", "3"], EnvironmentVariables={"A": "b=c"})
    )
    assert listed == mapped == params.Params("ls", ("-l", "3"), {"A": "b=c"})


@pytest.mark.parametrize(
    "given_params",
    [
        {},
        {"Command": ""},
        {"Command": ["ls"]},
        {"Command": "a", "Name": "b"},
        {"Command": "a\0b"},
        {"Command": "a", "Arguments": "text"},
        {"Command": "a", "Arguments": [{"x": 1}]},
        {"Command": "a", "Arguments": ["x" * 131_072]},
        {"Command": "a", "EnvironmentVariables": ["NOVALUE"]},
        {"Command": "a", "EnvironmentVariables": {"A=B": "c"}},
        {"Command": "a", "EnvironmentVariables": {"A": ["b"]}},
        {"Command": "a", "WorkingDirectory": "relative"},
        {"Command": "a", "Image": "ubuntu"},
    ],
    ids=lambda given: str(given)[:40],
)
def test_each_bad_param_has_one_reason(given_params: dict[str, object]) -> None:
    assert len(params.check(spec(**given_params))) == 1


@given(st.dictionaries(st.text(), st.recursive(st.none() | st.text() | st.integers(), st.lists)))
def test_no_params_make_check_fail(given_params: dict[str, object]) -> None:
    if not params.check(SpecConfig(type="process", params=given_params)):
        params.read(SpecConfig(type="process", params=given_params))


# -- commands ------------------------------------------------------------------------------------


def program(path: Path, text: str = "#!/bin/sh\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def node(home: Path, *search: Path) -> command.Node:
    system = ("/usr", "/bin", "/lib", "/lib64")
    return command.Node(tuple(map(str, search)), system, str(home))


def test_a_tool_in_a_home_shows_itself_and_nothing_beside_it(tmp_path: Path) -> None:
    tool = program(tmp_path / ".local/bin/tool")
    (tmp_path / ".local/share/keys").mkdir(parents=True)
    found = command.look_up(node(tmp_path, tool.parent), "tool")
    assert found is not None
    assert (found.path, found.shown) == (str(tool), (str(tool),))


def test_a_python_of_a_venv_shows_its_prefix_and_that_of_its_base(tmp_path: Path) -> None:
    base = program(tmp_path / "pythons/3.x/bin/python3.99", "")
    program(tmp_path / "pythons/3.x/lib/python3.99/os.py")
    (tmp_path / "venv/bin").mkdir(parents=True)
    (tmp_path / "venv/pyvenv.cfg").touch()
    (tmp_path / "venv/bin/python").symlink_to(base)
    script = program(tmp_path / "venv/bin/tool", f"#!{tmp_path}/venv/bin/python\n")
    found = command.look_up(node(tmp_path / "home", script.parent), "tool")
    assert found is not None
    assert set(found.shown) == {str(tmp_path / "venv"), str(tmp_path / "pythons/3.x")}


def test_a_home_that_is_a_prefix_itself_is_never_shown(tmp_path: Path) -> None:
    tool = program(tmp_path / "home/bin/tool")
    (tmp_path / "home/pyvenv.cfg").touch()
    found = command.look_up(node(tmp_path / "home", tool.parent), "tool")
    assert found is not None
    assert found.shown == (str(tool),)


def test_a_shim_is_followed_to_what_its_manager_names(tmp_path: Path) -> None:
    real = program(tmp_path / "env/versions/1/bin/tool")
    program(tmp_path / "env/bin/someenv", f'#!/bin/sh\n[ "$1 $2" = "which tool" ] && echo {real}\n')
    shim = program(tmp_path / "env/shims/tool")
    found = command.look_up(node(tmp_path / "home", shim.parent), "tool")
    assert found is not None
    assert found.path == str(real)


def test_what_is_no_program_is_not_found(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("not executable")
    (tmp_path / "directory").mkdir()
    for name in ("data", "directory", "missing", str(tmp_path / "data")):
        assert command.look_up(node(tmp_path, tmp_path), name) is None


# -- targets -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "good"),
    [
        ("/inputs", True),
        ("/data/deep/down", True),
        ("/tmp/data", True),
        ("/", False),
        ("relative", False),
        ("/inputs/../etc", False),
        ("/usr/local/x", False),
        ("/proc/1", False),
        ("/opt/tool", False),
        ("/opt", False),
        ("/opt/tool/lib", False),
    ],
)
def test_targets_may_hide_neither_the_system_nor_the_program(target: str, good: bool) -> None:
    work = Work(
        execution_id="e",
        engine=spec(Command="x"),
        inputs=(Mount(source="/x", target=target),),
        directory="",
        stdout="",
        stderr="",
    )
    assert (sandbox.wrong_mounts(work, ["/opt/tool"]) == ()) is good


@given(st.text(alphabet="ab/.", max_size=12))
def test_a_path_inside_never_leads_out_of_its_mount(rest: str) -> None:
    found = sandbox.host_path("/inputs/" + rest, [Mount(source="/host/data", target="/inputs")])
    assert found is None or found == "/host/data" or found.startswith("/host/data/")
    assert found is None or ".." not in found.split("/")


# -- limits --------------------------------------------------------------------------------------

LINE = "3{n} 25 0:26 {root} {place} rw - cgroup cgroup rw,{options}\n"


def test_cgroup_v1_needs_all_three_hierarchies(tmp_path: Path) -> None:
    for name in ("memory", "cpu", "pids"):
        (tmp_path / name / "own").mkdir(parents=True)
    rows = [("/", "memory", "memory"), ("/", "cpu", "cpu,cpuacct"), ("/docker/x", "pids", "pids")]
    mounts = [
        LINE.format(n=n, root=root, place=tmp_path / name, options=options)
        for n, (root, name, options) in enumerate(rows)
    ]
    own = "4:memory:/own\n3:cpu,cpuacct:/own\n2:pids:/docker/x/own\n0::/\n"
    found = limits.find("".join(mounts), own)
    assert found is not None
    assert found.parents == {name: str(tmp_path / name / "own") for name in found.parents}
    (memory, pids, cpu) = found.make("bacalhau-e-1", LIMITS)
    assert Path(memory, "memory.limit_in_bytes").read_text() == str(1 << 20)
    assert Path(pids, "pids.max").read_text() == "9"
    assert Path(cpu, "cpu.cfs_quota_us").read_text() == "150000"
    assert limits.find("".join(mounts[:2]), own) is None


def test_cgroup_v2_gets_a_leaf_for_the_node_and_one_cgroup_per_run(tmp_path: Path) -> None:
    """On a directory that looks like a delegated cgroup: the files, not the kernel's answer."""
    own = tmp_path / "user.slice/node.service"
    own.mkdir(parents=True)
    (own / "cgroup.controllers").write_text("cpu memory pids\n")
    (own / "cgroup.subtree_control").write_text("\n")
    found = limits.find(f"30 25 0:26 / {tmp_path} rw - cgroup2 cgroup2 rw\n",
                        "0::/user.slice/node.service\n")  # fmt: skip
    assert found is not None
    assert found.kind == "cgroup v2"
    assert (own / "cgroup.subtree_control").read_text() == "+memory +pids +cpu"
    (run,) = found.make("bacalhau-e-1", LIMITS)
    values = {file.name: file.read_text() for file in Path(run).iterdir()}
    assert values == {
        "memory.max": str(1 << 20),
        "memory.swap.max": "0",
        "pids.max": "9",
        "cpu.max": "150000 100000",
    }


def test_a_node_that_was_restarted_in_its_leaf_finds_its_parent_again(tmp_path: Path) -> None:
    (tmp_path / "svc/bacalhau-node").mkdir(parents=True)
    (tmp_path / "svc/cgroup.controllers").write_text("memory pids")
    (tmp_path / "svc/cgroup.subtree_control").write_text("memory pids")
    found = limits.find(f"30 25 0:26 / {tmp_path} rw - cgroup2 cgroup2 rw\n",
                        "0::/svc/bacalhau-node\n")  # fmt: skip
    assert found is not None
    assert found.parents == {"": str(tmp_path / "svc")}


def test_without_delegated_controllers_there_are_no_cgroups(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("hugetlb")
    assert limits.find(f"30 25 0:26 / {tmp_path} rw - cgroup2 cgroup2 rw\n", "0::/\n") is None
    assert limits.find("", "") is None


def test_the_counters_of_both_versions_are_read(tmp_path: Path) -> None:
    (tmp_path / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 2\n")
    (tmp_path / "pids.events").write_text("max 5\n")
    (tmp_path / "memory.peak").write_text("4096\n")
    assert limits.events([str(tmp_path)]) == limits.Events(2, 5, 4096)


# -- status --------------------------------------------------------------------------------------


@given(st.text())
def test_no_text_breaks_the_status(text: str) -> None:
    status.parse(text)


def test_a_status_cut_by_a_crash_keeps_its_whole_lines() -> None:
    text = '{"boot": "b", "cgroups": ["/x"]}\n{ "child-pid": 7, "pid-namespace": 9 }\n{ "exit-co'
    assert status.parse(text) == status.Status("b", ("/x",), 7, 9)


@pytest.mark.parametrize("line", ['{"child-pid": "x"}', '{"fault": 3}', '{"cgroups": 7}', "[]"])
def test_lines_of_a_wrong_shape_are_left_out(line: str) -> None:
    assert status.parse('{"boot": "b"}\n' + line) == status.Status("b")


# -- the filter ----------------------------------------------------------------------------------


def answer(program: bytes, number: int, arch: int, second: int = 0) -> int:
    """What the kernel would do: runs a classic BPF program over seccomp data."""
    data = struct.pack("=iIQ6Q", number, arch, 0, 0, second, 0, 0, 0, 0)
    steps = [struct.unpack_from("=HBBI", program, at) for at in range(0, len(program), 8)]
    here = value = 0
    while True:
        code, yes, no, k = steps[here]
        here += 1
        if code == 0x06:
            return k
        if code == 0x20:
            (value,) = struct.unpack_from("=I", data, k)
        else:
            hit = value == k if code == 0x15 else value >= k
            here += yes if hit else no


@pytest.mark.parametrize(
    ("machine", "arch", "column", "ioctl"),
    [("x86_64", 0xC000003E, 0, 16), ("aarch64", 0xC00000B7, 1, 29)],
)
def test_the_filter_denies_its_calls_and_foreign_ones_and_no_others(
    machine: str, arch: int, column: int, ioctl: int
) -> None:
    program = seccomp.program(machine)
    denied = {numbers[column] for numbers in seccomp.DENIED.values()}
    for number in range(500):
        allowed = answer(program, number, arch) == 0x7FFF0000
        assert allowed == (number not in denied), number
    assert answer(program, 0, 0x40000003) != 0x7FFF0000
    assert answer(program, ioctl, arch, 0x5401) == 0x7FFF0000
    assert answer(program, ioctl, arch, 0x5412) != 0x7FFF0000


def test_a_machine_without_known_numbers_has_no_filter() -> None:
    assert seccomp.program("riscv64") == b""


# -- verdicts ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ended", "code"),
    [
        (Ended(status.Status(exit_code=0), LIMITS), ""),
        (Ended(status.Status(exit_code=3), LIMITS), ""),
        (Ended(status.Status(exit_code=0), LIMITS, events=limits.Events(oom_kills=1)), ""),
        (Ended(status.Status(exit_code=1), LIMITS, events=limits.Events(oom_kills=1)),
         "MemoryLimit"),
        (Ended(status.Status(exit_code=1), LIMITS, events=limits.Events(forks_refused=1)),
         "ProcessLimit"),
        (Ended(status.Status(exit_code=153), LIMITS), "OutputLimit"),
        (Ended(status.Status(exit_code=0), LIMITS, taken=Taken(outputs=1 << 17)), "OutputLimit"),
        (Ended(status.Status(exit_code=1), LIMITS, taken=Taken(stdout=1 << 16)), "OutputLimit"),
        (Ended(status.Status(exit_code=152), LIMITS), "CpuLimit"),
        (Ended(status.Status(exit_code=1), LIMITS, has_cgroups=False, last_words="MemoryError"),
         "MemoryLimit"),
        (Ended(status.Status(exit_code=1), LIMITS, last_words="MemoryError"), ""),
        (Ended(status.Status(), LIMITS, was_stopped=True), ""),
        (Ended(status.Status(), LIMITS), "Interrupted"),
        (Ended(status.Status(), LIMITS, complaint="bwrap: Can't chdir to /x: No such file"),
         "WorkingDirectoryMissing"),
        (Ended(status.Status(), LIMITS, complaint="bwrap: execvp /x: No such file"),
         "CommandNotFound"),
        (Ended(status.Status(), LIMITS, complaint="bwrap: No permissions"), "SandboxFailed"),
    ],
)  # fmt: skip
def test_a_verdict_names_the_limit_that_ended_the_run(ended: Ended, code: str) -> None:
    outcome = judge(ended)
    assert (outcome.fault.code if outcome.fault else "") == code


def test_the_recorded_fault_wins_over_guesses() -> None:
    fault = Fault(kind=FaultKind.USER, code="OutputLimit", message="recorded")
    assert judge(Ended(status.Status(exit_code=137, fault=fault), LIMITS)).fault == fault

"""The wasm engine keeps the executor contract; what its programs see and what they say."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from modules import NOOP, TOOL, module, tool, work

from bacalhau.executors.wasm import WasmExecutor
from bacalhau.model.base import evolve
from bacalhau.model.errors import EngineFailed, NotFound
from bacalhau.model.execution import FaultKind
from bacalhau.model.job import Network, NetworkType, SpecConfig
from bacalhau.ports.executor import Executor, Mount, Outcome, Work
from bacalhau.testing.contracts.executor import ExecutorContract, children, read


class TestWasmExecutor(ExecutorContract):
    plugin = "bacalhau.executors.wasm:WasmExecutor"
    settings = {"cache": "", "workers": 2}

    @pytest.fixture(autouse=True)
    def cache(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(type(self), "settings", {"cache": str(tmp_path / "c"), "workers": 2})

    def work(self, place: Path, engine: SpecConfig, *, id: str = "e-1", **fields: Any) -> Work:
        made = super().work(place, engine, id=id, **fields)
        module = Mount(source=str(TOOL), target="/tool.wasm")
        return evolve(made, inputs=(*made.inputs, module))

    def traces(self, executor: Executor) -> list[str]:
        """The zygote stays, by design; close() ends it."""
        return [pid for pid in super().traces(executor) if not is_zygote(pid)]

    def exits(self, code: int) -> SpecConfig:
        return tool("exit", str(code))

    def loops(self) -> SpecConfig:
        return tool("loop")

    def prints(self, out: str, err: str) -> SpecConfig:
        return tool("print", out, err)

    def prints_env(self, name: str) -> SpecConfig:
        return tool("env", name)

    def copies(self, source: str, target: str) -> SpecConfig:
        return tool("copy", source, target)


def is_zygote(pid: str) -> bool:
    """True for the process that forks workers."""
    try:
        return b"wasm.zygote" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[WasmExecutor]:
    made = WasmExecutor(tmp_path / "cache", workers=1)
    yield made
    await made.close()


async def run(engine: WasmExecutor, work: Work) -> Outcome:
    await engine.start(work)
    return await engine.wait(work.execution_id)


def code(outcome: Outcome) -> str:
    return outcome.fault.code if outcome.fault else ""


def test_importing_the_engine_does_not_import_wasmtime() -> None:
    script = "import sys, bacalhau.executors.wasm as w; w.WasmExecutor('/tmp/c')"
    check = "; assert 'wasmtime' not in sys.modules"
    subprocess.run([sys.executable, "-c", script + check], check=True)


async def test_nothing_is_started_before_the_first_run(tmp_path: Path) -> None:
    engine = WasmExecutor(tmp_path / "cache")
    before = children(os.getpid())
    facts = await engine.probe()
    assert facts is not None
    assert facts["wasm.runtime"].startswith("wasmtime ")
    assert children(os.getpid()) == before
    assert not (tmp_path / "cache").exists()
    await engine.close()


# -- what a program sees -----------------------------------------------------------------


async def test_arguments_come_after_an_empty_name(engine: WasmExecutor, tmp_path: Path) -> None:
    given = work(tmp_path, tool("args", "two words", "", "\u00fc"))
    await run(engine, given)
    assert read(given.stdout) == "[]\n[args]\n[two words]\n[]\n[\u00fc]\n"


async def test_the_environment_is_the_works_alone_and_sorted(
    engine: WasmExecutor, tmp_path: Path
) -> None:
    spec = tool("env", EnvironmentVariables={"B": "engine", "C": "engine"})
    given = work(tmp_path, spec, env={"Z": "1", "A": "", "C": "task"})
    await run(engine, given)
    assert read(given.stdout).splitlines() == ["A=", "B=engine", "C=task", "Z=1"]


async def test_variables_may_be_an_older_list(engine: WasmExecutor, tmp_path: Path) -> None:
    given = work(tmp_path, tool("env", EnvironmentVariables=["A=1", "B=x=y"]))
    await run(engine, given)
    assert read(given.stdout).splitlines() == ["A=1", "B=x=y"]


async def test_param_names_are_matched_in_any_case(engine: WasmExecutor, tmp_path: Path) -> None:
    params = {"entrymodule": "/tool.wasm", "PARAMETERS": ["exit", "7"], "entryPoint": "_start"}
    assert (
        await run(engine, work(tmp_path, SpecConfig(type="wasm", params=params)))
    ).exit_code == 7


async def test_a_run_reports_its_usage(engine: WasmExecutor, tmp_path: Path) -> None:
    usage = (await run(engine, work(tmp_path, tool("take", "8")))).usage
    assert usage["memory_bytes_max"] > 8 << 20
    assert usage["cpu_s"] > 0


# -- modules ---------------------------------------------------------------------------


async def test_a_directory_with_one_module_is_enough(engine: WasmExecutor, tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    module(tmp_path / "app", NOOP, "only.wasm")
    (tmp_path / "app" / "README").write_text("not a module")
    mount = Mount(source=str(tmp_path / "app"), target="/app")
    spec = SpecConfig(type="wasm", params={"EntryModule": "app"})
    assert (await run(engine, work(tmp_path, spec, inputs=[mount]))).fault is None
    module(tmp_path / "app", NOOP, "second.wasm")
    outcome = await run(engine, work(tmp_path, spec, inputs=[mount], id="e-2"))
    assert outcome.fault is not None
    assert (outcome.fault.code, outcome.fault.kind) == ("ModuleNotFound", FaultKind.PERMANENT)
    assert "only.wasm, second.wasm" in outcome.fault.message
    spec = SpecConfig(type="wasm", params={"EntryModule": "app/only.wasm"})
    assert (await run(engine, work(tmp_path, spec, inputs=[mount], id="e-3"))).fault is None


async def test_a_module_is_not_found_through_a_link_that_leads_out(
    engine: WasmExecutor, tmp_path: Path
) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "main.wasm").symlink_to(TOOL)
    mount = Mount(source=str(tmp_path / "app"), target="/app")
    spec = SpecConfig(type="wasm", params={"EntryModule": "app/main.wasm"})
    assert code(await run(engine, work(tmp_path, spec, inputs=[mount]))) == "ModuleNotFound"


async def test_a_missing_module_names_the_inputs_there_are(
    engine: WasmExecutor, tmp_path: Path
) -> None:
    spec = SpecConfig(type="wasm", params={"EntryModule": "/elsewhere.wasm"})
    fault = (await run(engine, work(tmp_path, spec))).fault
    assert fault is not None
    assert (fault.code, fault.kind) == ("ModuleNotFound", FaultKind.PERMANENT)
    assert "/elsewhere.wasm" in fault.message
    assert "/tool.wasm" in fault.message


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "not a WebAssembly binary"),
        (b"#!/bin/sh\n", "not a WebAssembly binary"),
        (NOOP.encode(), "not a WebAssembly binary"),
        (b"\0asm\x01\0\0\0junk", "unexpected end-of-file"),
        (b"\0asm\x0d\0\x01\0", "component"),
    ],
    ids=["empty", "script", "text", "cut", "component"],
)
async def test_what_is_no_module_is_named(
    engine: WasmExecutor, tmp_path: Path, content: bytes, word: str
) -> None:
    (tmp_path / "main.wasm").write_bytes(content)
    mount = Mount(source=str(tmp_path / "main.wasm"), target="/main.wasm")
    fault = (await run(engine, work(tmp_path, inputs=[mount]))).fault
    assert fault is not None
    assert (fault.code, fault.kind) == ("InvalidModule", FaultKind.PERMANENT)
    assert word in fault.message


async def test_a_missing_entrypoint_names_the_exports(engine: WasmExecutor, tmp_path: Path) -> None:
    main = module(tmp_path, '(module (func (export "other")) (func (export "f") (param i32)))')
    fault = (await run(engine, work(tmp_path, inputs=[main]))).fault
    assert fault is not None
    assert fault.code == "EntrypointNotFound"
    assert "f, other" in fault.hint
    spec = SpecConfig(type="wasm", params={"EntryModule": "main.wasm", "Entrypoint": "f"})
    fault = (await run(engine, work(tmp_path, spec, inputs=[main], id="e-2"))).fault
    assert fault is not None
    assert "takes parameters" in fault.message


async def test_another_entrypoint_runs_after_initialisation(
    engine: WasmExecutor, tmp_path: Path
) -> None:
    main = module(
        tmp_path,
        """(module (global $ready (mut i32) (i32.const 0))
             (func (export "_initialize") (global.set $ready (i32.const 1)))
             (func (export "go") (result i32)
               (if (i32.eqz (global.get $ready)) (then unreachable)) (i32.const 5)))""",
    )
    spec = SpecConfig(type="wasm", params={"EntryModule": "main.wasm", "Entrypoint": "go"})
    outcome = await run(engine, work(tmp_path, spec, inputs=[main]))
    assert (outcome.exit_code, outcome.fault) == (0, None)


async def test_missing_imports_are_all_named(engine: WasmExecutor, tmp_path: Path) -> None:
    main = module(
        tmp_path,
        """(module (import "env" "foo" (func)) (import "wasi:http/requests" "get" (func))
             (func (export "_start")))""",
    )
    fault = (await run(engine, work(tmp_path, inputs=[main]))).fault
    assert fault is not None
    assert (fault.code, fault.kind) == ("ImportNotFound", FaultKind.PERMANENT)
    assert "env.foo" in fault.message
    assert "wasi:http/requests.get" in fault.message


@pytest.mark.parametrize("name", ["/lib/double.wasm", "lib/double.wasm", "double"])
async def test_import_modules_are_linked_under_their_path_and_stem(
    engine: WasmExecutor, tmp_path: Path, name: str
) -> None:
    library = module(
        tmp_path,
        """(module (memory 1) (func (export "double") (param i32) (result i32)
             (i32.mul (local.get 0) (i32.const 2))))""",
        "double.wasm",
    )
    main = module(
        tmp_path,
        f"""(module (import "{name}" "double" (func $double (param i32) (result i32)))
              (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
              (memory (export "memory") 1)
              (func (export "_start") (call $exit (call $double (i32.const 21)))))""",
    )
    spec = SpecConfig(
        type="wasm",
        params={"EntryModule": "main.wasm", "ImportModules": ["/lib/double.wasm"]},
    )
    mounts = [main, evolve(library, target="/lib/double.wasm")]
    outcome = await run(engine, work(tmp_path, spec, inputs=mounts))
    assert (outcome.exit_code, outcome.fault) == (42, None)


# -- the cache -------------------------------------------------------------------------


async def test_a_module_is_compiled_once_for_all_workers(tmp_path: Path) -> None:
    first = WasmExecutor(tmp_path / "cache", workers=2)
    works = [work(tmp_path, tool("exit", "0"), id=f"e-{n}") for n in range(20)]
    outcomes = await asyncio.gather(*(run(first, one) for one in works))
    await first.close()
    assert sum("compile_s" in outcome.usage for outcome in outcomes) == 1
    second = WasmExecutor(tmp_path / "cache", workers=1)
    assert "compile_s" not in (await run(second, works[0])).usage
    await second.close()
    assert (tmp_path / "cache").stat().st_mode & 0o077 == 0


async def test_a_changed_module_is_compiled_anew(engine: WasmExecutor, tmp_path: Path) -> None:
    exits = '(module (import "wasi_snapshot_preview1" "proc_exit" (func $x (param i32)))'
    exits += '(func (export "_start") (call $x (i32.const %d))))'
    for number in (3, 4, 3):
        main = module(tmp_path, exits % number)
        outcome = await run(engine, work(tmp_path, inputs=[main], id=f"e-{number}"))
        assert outcome.exit_code == number
        await engine.release(f"e-{number}")


async def test_a_damaged_cache_file_is_compiled_again(tmp_path: Path) -> None:
    for number in (1, 2):
        engine = WasmExecutor(tmp_path / "cache", workers=1)
        outcome = await run(engine, work(tmp_path, tool("exit", "0"), id=f"e-{number}"))
        assert (outcome.exit_code, "compile_s" in outcome.usage) == (0, True)
        await engine.close()
        for file in (tmp_path / "cache").glob("*.cwasm"):
            file.write_bytes(b"")


async def test_a_cache_that_others_can_write_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache").chmod(0o777)
    engine = WasmExecutor(tmp_path / "cache")
    with pytest.raises(EngineFailed) as caught:
        await engine.start(work(tmp_path, tool("exit", "0")))
    assert caught.value.fault.code == "CacheUnusable"
    await engine.close()


# -- bad params --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"EntryModule": ""},
        {"EntryModule": 3},
        {"EntryModule": {"Source": {}}},
        {"EntryModule": "m", "Entrypoint": 1},
        {"EntryModule": "m", "Parameters": "a b"},
        {"EntryModule": "m", "Parameters": [1]},
        {"EntryModule": "m", "Parameters": ["a\0b"]},
        {"EntryModule": "m", "ImportModules": {"a": "b"}},
        {"EntryModule": "m", "EnvironmentVariables": ["A"]},
        {"EntryModule": "m", "EnvironmentVariables": {"A=": "b"}},
        {"EntryModule": "m", "Fuel": -1},
        {"EntryModule": "m", "Fuel": True},
        {"EntryModule": "m", "Paramters": []},
    ],
    ids=str,
)
async def test_each_bad_param_is_named(
    engine: WasmExecutor, tmp_path: Path, params: dict[str, Any]
) -> None:
    spec = SpecConfig(type="wasm", params=params)
    reasons = engine.check(spec)
    assert len(reasons) == 1
    assert list(params or {"EntryModule": 0})[-1] in reasons[0] or "variable" in reasons[0]
    with pytest.raises(EngineFailed) as caught:
        await engine.start(work(tmp_path, spec))
    assert caught.value.fault.kind is FaultKind.PERMANENT


@pytest.mark.parametrize("env", [{"A": "x\0y"}, {"": "x"}, {"A": "\ud800"}], ids=ascii)
async def test_an_impossible_environment_is_refused(
    engine: WasmExecutor, tmp_path: Path, env: dict[str, str]
) -> None:
    with pytest.raises(EngineFailed) as caught:
        await engine.start(work(tmp_path, tool("exit", "0"), env=env))
    assert caught.value.fault.code == "BadParams"


async def test_a_wish_for_a_network_is_refused(engine: WasmExecutor, tmp_path: Path) -> None:
    network = Network(type=NetworkType.HTTP, domains=("example.com",))
    with pytest.raises(EngineFailed) as caught:
        await engine.start(work(tmp_path, tool("exit", "0"), network=network))
    assert "no network" in caught.value.fault.message


async def test_waiting_for_the_unknown_is_not_found(engine: WasmExecutor) -> None:
    with pytest.raises(NotFound):
        await engine.wait("nobody")

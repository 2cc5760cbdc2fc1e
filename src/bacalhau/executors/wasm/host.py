"""One run in this process: find the modules, link, limit, call, judge.

Nothing of the node is in reach of the program: no network, no variables but its own, no
files but its inputs and outputs, no more memory, table and stack space than allowed.
"""

import os
import resource
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import wasmtime

from bacalhau.executors.wasm.guard import Running, output_limit
from bacalhau.executors.wasm.modules import WASI, ExitCalled, Loaded, Modules
from bacalhau.executors.wasm.mounts import (
    find_module,
    guest_path,
    preopens,
    written_bytes,
)
from bacalhau.executors.wasm.params import Params, read
from bacalhau.executors.wasm.wire import STOPPED_FAULT
from bacalhau.model.errors import EngineFailed
from bacalhau.model.execution import Fault, FaultKind
from bacalhau.ports.executor import Outcome

MEMORY_BYTES_MAX = 4 * 1024**3
"""The limit of a run that asks for no memory: all that 32-bit addresses reach."""

TABLE_ENTRIES_MAX = 1_000_000
TABLES_PER_MODULE = 4
"""Tables live outside the memory limit: at most 4 x 16 MB for each module."""

MEMORY_NEARLY_ALL = 0.9
"""A program that failed with this share of its memory in use is said to have run out."""

TRACE_LINES_MAX = 8


def carry_out(running: Running, modules: Modules) -> Outcome:
    """Run the work to its end. Never raises for what the program or the spec does."""
    cpu_s = time.thread_time()
    try:
        outcome = _run(running, modules)
    except EngineFailed as failure:
        outcome = Outcome(exit_code=1, fault=failure.fault)
    except OSError as error:
        fault = Fault(
            kind=FaultKind.NODE,
            code="EngineFailed",
            message=f"cannot prepare the run: {error}",
            hint="See whether the node's disk is full, and the rights of its data directory.",
        )
        outcome = Outcome(exit_code=1, fault=fault)
    outcome.usage["cpu_s"] = time.thread_time() - cpu_s
    return outcome


def _run(running: Running, modules: Modules) -> Outcome:
    work = running.work
    params = read(work.engine)
    if not isinstance(params, Params):
        fault = Fault(kind=FaultKind.PERMANENT, code="BadParams", message="; ".join(params))
        raise EngineFailed(fault)
    fueled = params.fuel > 0
    names = (params.entry_module, *params.import_modules)
    found = [find_module(name, work.inputs) for name in names]
    loaded = [
        modules.load(path, name, fueled) for name, (path, _) in zip(names, found, strict=True)
    ]
    memories = sum(one.source.memories for one in loaded)
    limit = work.resources.memory or MEMORY_BYTES_MAX
    runtime = modules.runtime(fueled)
    store = wasmtime.Store(runtime.engine)
    try:
        store.set_limits(
            memory_size=limit // max(1, memories),
            table_elements=TABLE_ENTRIES_MAX,
            instances=len(loaded),
            tables=TABLES_PER_MODULE * len(loaded),
            memories=max(1, memories),
        )
        if fueled:
            store.set_fuel(params.fuel)
        wasi = wasmtime.WasiConfig()
        wasi.argv = ["", *params.parameters]
        wasi.env = sorted({**params.env, **work.env}.items())
        wasi.stdout_custom = running.stdout.write
        wasi.stderr_custom = running.stderr.write
        for source, target, writable in preopens(work, [mount for _, mount in found]):
            _preopen(wasi, source, target, writable)
        store.set_wasi(wasi)
        outcome = _call(running, store, runtime.new_linker, params, loaded, limit)
    finally:
        store.close()
    compile_s = sum(one.compile_s for one in loaded)
    if compile_s:
        outcome.usage["compile_s"] = compile_s
    return outcome


def _preopen(wasi: wasmtime.WasiConfig, source: str, target: str, writable: bool) -> None:
    try:
        wasi.preopen_dir(source, target, writable)
    except wasmtime.WasmtimeError:
        raise OSError(f"'{target}' is at {source}, which is not a directory to open") from None


def _call(
    running: Running,
    store: wasmtime.Store,
    new_linker: Any,
    params: Params,
    loaded: Sequence[Loaded],
    limit: int,
) -> Outcome:
    """Instantiate and call, from here on under the guard's eyes."""
    exports: Any = {}
    running.begin(store)
    try:
        with _file_size_limit(running):
            entry = loaded[0]
            if entry.ready is not None:
                instance = entry.ready.instantiate(store)
            else:
                instance = _link(store, new_linker(), params, loaded)
            exports = instance.exports(store)
            _entrypoint(store, exports, params)(store)
            code, fault = 0, None
    except ExitCalled as end:
        code, fault = end.code, None
    except wasmtime.Trap as trap:
        code, fault = 1, _trapped(trap.trap_code, str(trap), params)
    except wasmtime.WasmtimeError as error:
        code, fault = 1, _refused(str(error), limit)
    memory = exports.get("memory")
    used = memory.data_len(store) if isinstance(memory, wasmtime.Memory) else 0
    reason = running.finish()
    if reason is not None and (code or reason != STOPPED_FAULT):
        fault = reason  # a program that made it to its end was not stopped
    fault = fault or _too_much_written(running)
    failed = code != 0 and (fault is None or fault.code == "WasmTrap")
    if failed and used >= limit * MEMORY_NEARLY_ALL:
        fault = _out_of_memory(f"the program failed with {used} of {limit} bytes in use")
    return Outcome(exit_code=code, fault=fault, usage={"memory_bytes_max": float(used)})


def _link(
    store: wasmtime.Store, linker: wasmtime.Linker, params: Params, loaded: Sequence[Loaded]
) -> wasmtime.Instance:
    """Instantiate the import modules in their order, then the entry module."""
    known = {WASI}
    for name, module in zip(params.import_modules, loaded[1:], strict=True):
        instance = _instantiate(store, linker, module, name, known)
        start = instance.exports(store).get("_initialize")
        if isinstance(start, wasmtime.Func):
            start(store)
        path = guest_path(name)
        stem = os.path.splitext(os.path.basename(path))[0]
        for alias in (stem, path.lstrip("/"), path, name):
            linker.define_instance(store, alias, instance)
            known.add(alias)
    return _instantiate(store, linker, loaded[0], params.entry_module, known)


def _instantiate(
    store: wasmtime.Store, linker: wasmtime.Linker, loaded: Loaded, name: str, known: set[str]
) -> wasmtime.Instance:
    try:
        return linker.instantiate(store, loaded.module)
    except wasmtime.WasmtimeError as error:
        if "import" not in str(error):
            raise
        absent = sorted(
            {
                f"{item.module}.{item.name}"
                for item in loaded.module.imports
                if item.module not in known
            }
        )
        wanted = f"it imports {', '.join(absent)}" if absent else _one_line(str(error))
        raise EngineFailed(
            Fault(
                kind=FaultKind.PERMANENT,
                code="ImportNotFound",
                message=f"module '{name}': {wanted}, which nothing here provides",
                hint="This engine gives WASI preview 1 (wasi_snapshot_preview1), without a "
                "network; list other modules in ImportModules, each before those that need it.",
            )
        ) from None


def _entrypoint(store: wasmtime.Store, exports: Any, params: Params) -> wasmtime.Func:
    """The function to call; a library is initialised first, as WASI wants it."""
    function = exports.get(params.entrypoint)
    if not isinstance(function, wasmtime.Func) or function.type(store).params:
        there = sorted(n for n in exports if isinstance(exports[n], wasmtime.Func))
        why = "takes parameters" if isinstance(function, wasmtime.Func) else "is not exported"
        raise EngineFailed(
            Fault(
                kind=FaultKind.PERMANENT,
                code="EntrypointNotFound",
                message=f"module '{params.entry_module}': function '{params.entrypoint}' {why}",
                hint=f"Exported functions: {', '.join(there[:20]) or 'none'}.",
            )
        )
    if params.entrypoint != "_start":
        start = exports.get("_initialize")
        if isinstance(start, wasmtime.Func):
            start(store)
    return function


@contextmanager
def _file_size_limit(running: Running) -> Iterator[None]:
    """Let the kernel refuse a file beyond the output limit; the byte more shows it was hit."""
    work = running.work
    if not (work.outputs and work.output_limit):
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    wanted = work.output_limit + 1
    resource.setrlimit(resource.RLIMIT_FSIZE, (_lower(wanted, hard), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def _lower(one: int, hard: int) -> int:
    return one if hard == resource.RLIM_INFINITY else min(one, hard)


def _too_much_written(running: Running) -> Fault | None:
    work = running.work
    if not (work.outputs and work.output_limit):
        return None
    written = written_bytes(mount.source for mount in work.outputs)
    return output_limit("the outputs", work.output_limit) if written > work.output_limit else None


def _trapped(code: wasmtime.TrapCode | None, text: str, params: Params) -> Fault:
    if code is wasmtime.TrapCode.OUT_OF_FUEL:
        return Fault(
            kind=FaultKind.USER,
            code="FuelExhausted",
            message=f"the program used up its fuel of {params.fuel}",
            hint="Raise the engine's parameter Fuel.",
        )
    return Fault(kind=FaultKind.USER, code="WasmTrap", message=_trace(text))


def _refused(text: str, limit: int) -> Fault:
    """wasmtime ended it without a trap: a limit, or a broken call into WASI."""
    if "exceeds memory limits" in text or "out of memory" in text:
        return _out_of_memory(f"{_one_line(text)} (limit {limit} bytes)")
    if "resource limit exceeded" in text or "exceeds table limits" in text:
        return Fault(kind=FaultKind.PERMANENT, code="ModuleLimit", message=_one_line(text))
    return Fault(kind=FaultKind.USER, code="WasmTrap", message=_trace(text))


def _trace(text: str) -> str:
    """The cause first, then where: `wasm trap: unreachable ... at boom, _start`."""
    trace, _, cause = text.partition("Caused by:")
    lines = [line.strip() for line in trace.splitlines() if "!" in line]
    where = [line.rpartition("!")[2] for line in lines]
    if len(where) > TRACE_LINES_MAX:
        where = [*where[:TRACE_LINES_MAX], "..."]
    message = _one_line(cause or text)
    return f"{message}; in {' < '.join(where)}" if where and cause else message


def _one_line(text: str) -> str:
    return " ".join(text.split())[:500]


def _out_of_memory(message: str) -> Fault:
    return Fault(
        kind=FaultKind.USER,
        code="MemoryLimit",
        message=message,
        hint="Raise the task's Resources.Memory.",
    )

"""The engine `wasm`: WebAssembly programs (WASI preview 1) on wasmtime.

executor     the door: what is accepted, what became of it   (the node's process)
pool         the queue, and the workers that carry it out
processes    how the node starts, talks to and ends workers
wire         what goes over the pipes
params       the engine's parameters
zygote       imports wasmtime once, then forks workers   (its own process)
worker       carries out work one by one                 (a process each)
guard        obeys the node while the program runs       (a thread in each worker)
host         one run: link, limit, call, judge
modules      digests, compiled modules, the cache
mounts       where modules and inputs are found, and what is pre-opened
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bacalhau.executors.wasm.executor import WasmExecutor

__all__ = ["WasmExecutor"]


def __getattr__(name: str) -> Any:
    """Import the executor on first use: the zygote and its workers live without asyncio."""
    if name == "WasmExecutor":
        from bacalhau.executors.wasm.executor import WasmExecutor

        return WasmExecutor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""Modules and work for the tests of the wasm engine."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bacalhau.model.job import SpecConfig
from bacalhau.ports.executor import Mount, Work

TOOL = Path(__file__).parent.parent / "wasm_modules" / "tool.wasm"
"""A C program with many commands: see tool.c beside it."""

NOOP = '(module (memory (export "memory") 1) (func (export "_start")))'


def tool(*parameters: str, **params: Any) -> SpecConfig:
    """An engine spec that runs TOOL, mounted at /tool.wasm."""
    params = {"EntryModule": "tool.wasm", "Parameters": list(parameters), **params}
    return SpecConfig(type="wasm", params=params)


def module(place: Path, wat: str, name: str = "main.wasm") -> Mount:
    """A module from its text, as an input at `/<name>`."""
    import wasmtime

    path = place / name
    path.write_bytes(bytes(wasmtime.wat2wasm(wat)))
    return Mount(source=str(path), target=f"/{name}")


def work(
    place: Path,
    engine: SpecConfig | None = None,
    *,
    id: str = "e-1",
    inputs: Sequence[Mount] = (),
    **fields: Any,
) -> Work:
    """Work in a fresh directory; TOOL is among its inputs."""
    home = place / id
    (home / "engine").mkdir(parents=True, exist_ok=True)
    return Work(
        execution_id=id,
        engine=engine or SpecConfig(type="wasm", params={"EntryModule": "/main.wasm"}),
        directory=str(home / "engine"),
        stdout=str(home / "stdout"),
        stderr=str(home / "stderr"),
        inputs=(Mount(source=str(TOOL), target="/tool.wasm"), *inputs),
        **fields,
    )

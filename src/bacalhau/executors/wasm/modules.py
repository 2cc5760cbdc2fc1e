"""Compiled modules: found by the digest of their bytes, in memory first, then on disk.

Machine code from the cache runs outside every sandbox, so the cache is a directory of the
node's own user that nobody else can write, and never one that a job sees.
"""

import fcntl
import hashlib
import os
import time
from collections import OrderedDict
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import wasmtime

from bacalhau.model.errors import EngineFailed
from bacalhau.model.execution import Fault, FaultKind

MODULE_BYTES_MAX = 256 * 1024 * 1024
"""A larger module is refused: compiling needs many times its size in memory."""

MODULES_MAX = 32
"""How many compiled modules a worker keeps in memory."""

FILES_MAX = 4096
"""How many files' digests a worker remembers."""

CACHE_BYTES_MAX = 2 * 1024 * 1024 * 1024
"""The cache on disk forgets its oldest modules beyond this."""

MEMORY_SECTION = 5
VERSION = version("wasmtime")
"""Machine code fits one version alone."""

WASI = "wasi_snapshot_preview1"

FileKey = tuple[int, int, int, int, int]


class Source(NamedTuple):
    """A module file: the SHA-256 of its bytes, and how many memories it makes."""

    digest: str
    memories: int


class Loaded(NamedTuple):
    """A module ready to run. `ready` is linked with WASI alone, None if it imports more.

    `compile_s` is the time that compiling took, 0 when it came from a cache.
    """

    module: wasmtime.Module
    ready: wasmtime.InstancePre | None
    source: Source
    compile_s: float


class ExitCalled(Exception):
    """The program called proc_exit."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Runtime:
    """One way of compiling, with WASI linked: `fueled` code counts its instructions."""

    def __init__(self, fueled: bool) -> None:
        config = wasmtime.Config()
        config.epoch_interruption = True
        config.parallel_compilation = False  # no threads before a fork, one core per worker
        config.shared_memory = False  # it would escape the memory limit
        config.consume_fuel = fueled
        self.fueled = fueled
        self.engine = wasmtime.Engine(config)
        self.linker = self.new_linker()

    def new_linker(self) -> wasmtime.Linker:
        """A linker that knows WASI preview 1."""
        linker = wasmtime.Linker(self.engine)
        linker.allow_shadowing = True
        linker.define_wasi()
        code = wasmtime.FuncType([wasmtime.ValType.i32()], [])
        # wasmtime's own proc_exit refuses codes from 126 on; programs use up to 255.
        linker.define_func(WASI, "proc_exit", code, _exit)
        return linker


class Modules:
    """The compiled modules of one worker, and the cache that all workers share."""

    def __init__(self, cache: Path) -> None:
        self._cache = cache
        self._runtimes: dict[bool, Runtime] = {}
        self._digests: OrderedDict[FileKey, Source] = OrderedDict()
        self._loaded: OrderedDict[tuple[str, bool], Loaded] = OrderedDict()

    def runtime(self, fueled: bool) -> Runtime:
        """The runtime for such code; made on first use."""
        if fueled not in self._runtimes:
            self._runtimes[fueled] = Runtime(fueled)
        return self._runtimes[fueled]

    def load(self, path: str, name: str, fueled: bool) -> Loaded:
        """The module in the file `path`, which the user calls `name`. Raises EngineFailed."""
        key = _file_key(os.stat(path))
        source = self._digests.get(key)
        if source is not None:
            self._digests.move_to_end(key)
            known = self._loaded.get((source.digest, fueled))
            if known is not None:
                self._loaded.move_to_end((source.digest, fueled))
                return known
        code = _read(path, name)
        source = Source(hashlib.sha256(code).hexdigest(), count_memories(code))
        self._digests[key] = source
        if len(self._digests) > FILES_MAX:
            self._digests.popitem(last=False)
        known = self._loaded.get((source.digest, fueled))
        if known is None:
            known = self._compile(code, source, name, fueled)
            self._loaded[source.digest, fueled] = known._replace(compile_s=0.0)
            if len(self._loaded) > MODULES_MAX:
                self._loaded.popitem(last=False)
        return known

    def _compile(self, code: bytes, source: Source, name: str, fueled: bool) -> Loaded:
        """From the disk, or compiled now and put there. One worker compiles, others wait."""
        runtime = self.runtime(fueled)
        kind = "fuel" if fueled else "plain"
        place = self._cache / f"{source.digest}-{VERSION}-{kind}.cwasm"
        module = _from_disk(runtime.engine, place)
        compile_s = 0.0
        if module is None:
            with (self._cache / f"{source.digest[0]}.lock").open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                module = _from_disk(runtime.engine, place)
                if module is None:
                    started = time.perf_counter()
                    module = _compile_now(runtime.engine, code, name)
                    compile_s = time.perf_counter() - started
                    _keep(module, place)
        try:
            alone = all(item.module == WASI for item in module.imports)
            ready = runtime.linker.instantiate_pre(module) if alone else None
        except wasmtime.WasmtimeError:
            ready = None  # it wants what this WASI lacks; linking will say what
        return Loaded(module, ready, source, compile_s)


def count_memories(code: bytes) -> int:
    """How many linear memories a binary module makes itself. 0 for anything malformed."""
    position = 8
    try:
        while position < len(code):
            section = code[position]
            length, position = _number(code, position + 1)
            if section == MEMORY_SECTION:
                return _number(code, position)[0]
            position += length
    except IndexError:
        return 0
    return 0


def _number(code: bytes, position: int) -> tuple[int, int]:
    """An unsigned LEB128 number, and the position after it."""
    value = shift = 0
    while True:
        byte = code[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7


def _exit(code: int) -> None:
    """Like a shell sees it: eight bits, and never 0 for what was not 0."""
    raise ExitCalled(code & 0xFF or (1 if code else 0))


def _file_key(stat: os.stat_result) -> FileKey:
    """Changes whenever the file's bytes may have; a program cannot set ctime back."""
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


def _read(path: str, name: str) -> bytes:
    with open(path, "rb") as file:
        code = file.read(MODULE_BYTES_MAX + 1)
    if len(code) > MODULE_BYTES_MAX:
        raise invalid(name, f"larger than {MODULE_BYTES_MAX} bytes")
    if not code.startswith(b"\0asm"):
        raise invalid(
            name,
            "not a WebAssembly binary (it does not begin with \\0asm)",
            "Compile it, for instance with `clang --target=wasm32-wasi` or wat2wasm.",
        )
    if code[4:8] == b"\x0d\0\1\0":
        raise invalid(
            name,
            "a WebAssembly component, which needs WASI preview 2",
            "Build a core module for WASI preview 1 (target wasm32-wasip1).",
        )
    return code


def _compile_now(engine: wasmtime.Engine, code: bytes, name: str) -> wasmtime.Module:
    try:
        return wasmtime.Module(engine, code)
    except wasmtime.WasmtimeError as error:
        raise invalid(name, " ".join(str(error).split())[:500]) from None


def _from_disk(engine: wasmtime.Engine, place: Path) -> wasmtime.Module | None:
    """The cached module; None when there is none that this engine accepts."""
    if not place.exists():
        return None
    try:
        module = wasmtime.Module.deserialize_file(engine, str(place))
    except wasmtime.WasmtimeError:
        return None
    os.utime(place)
    return module


def _keep(module: wasmtime.Module, place: Path) -> None:
    """Put it into the cache, whole or not at all; a full disk only costs the next compile."""
    partial = place.with_suffix(f".{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            file.write(module.serialize())
            file.flush()
            os.fsync(file.fileno())  # machine code must never be half there after a power cut
        partial.replace(place)
        _forget_oldest(place.parent)
    except OSError:
        partial.unlink(missing_ok=True)


def _forget_oldest(cache: Path) -> None:
    found = [(path.stat(), path) for path in cache.iterdir() if path.suffix != ".lock"]
    total = sum(stat.st_size for stat, _ in found)
    for stat, path in sorted(found, key=lambda item: item[0].st_mtime):
        if total <= CACHE_BYTES_MAX:
            break
        path.unlink(missing_ok=True)
        total -= stat.st_size


def invalid(name: str, why: str, hint: str = "") -> EngineFailed:
    """The module cannot be used at all."""
    return EngineFailed(
        Fault(
            kind=FaultKind.PERMANENT,
            code="InvalidModule",
            message=f"module '{name}': {why}",
            hint=hint,
        )
    )

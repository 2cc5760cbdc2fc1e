"""`bacalhau wasm run`: run a WebAssembly module."""

import os

from bacalhau.cli.call import Call
from bacalhau.cli.command import Command, Flag, Problem
from bacalhau.cli.flags import DRY_RUN, RUN_TIME, TASK

TYPE_CHECKING = False  # typing is slow to import, see command.py
if TYPE_CHECKING:
    from bacalhau.model.job import InputSource

DEFAULT_TARGET = "main.wasm"

COMMANDS = (
    Command(
        "wasm run", "bacalhau.cli.wasm:run", "Run a WebAssembly module (WASI preview 1).",
        arguments="MODULE [ARG...]", least=1, most=-1,
        flags=(
            *RUN_TIME,
            DRY_RUN,
            *TASK,
            Flag("entry-point", "text", "Exported function to call.", default="_start",
                 word="name"),
            Flag("import-modules", "list", "Modules that the main one imports, with targets.",
                 short="I", word="module:path,..."),
        ),
        details="MODULE is a URI (as for -i), a file of this machine, which travels with the job,\n"
        "or the path at which an input (-i) provides the module. Write -- before arguments\n"
        "that start with a dash.\n\n"
        "  bacalhau wasm run hello.wasm\n"
        "  bacalhau wasm run -o out:/outputs https://example.org/tool.wasm -- --size 10",
    ),
)  # fmt: skip


def run(call: Call) -> int:
    from bacalhau.cli.run import submit_built
    from bacalhau.cli.spec import build
    from bacalhau.model.job import SpecConfig

    module, *arguments = call.arguments
    entry, source = _module(module, DEFAULT_TARGET)
    sources = [source] if source else []
    imports = []
    for text in call.flags["import-modules"]:
        path, source = _module(text, "")
        if not path:
            raise Problem(
                f"--import-modules: {text} has no target",
                "write module:path, path being the name under which it is imported",
            )
        imports.append(path)
        sources += [source] if source else []
    if not sources and not call.flags["input"]:
        raise Problem(
            f"module {module}: there is no such file on this machine",
            "give a file, a URI, or the path at which an input (-i) provides the module",
        )
    params = {
        "EntryModule": entry,
        "Entrypoint": call.flags["entry-point"],
        "Parameters": arguments,
        "ImportModules": imports,
    }
    return submit_built(call, build(call, SpecConfig(type="wasm", params=params), tuple(sources)))


def _module(text: str, default_target: str) -> "tuple[str, InputSource | None]":
    """The module's path in the sandbox, and the input that brings it there, if any is needed."""
    from bacalhau.cli.pack import pack_module
    from bacalhau.cli.values import split_storage, to_input
    from bacalhau.model.job import InputSource

    try:
        storage = split_storage(text)
        if not storage.is_local:
            found = to_input(storage, default_target, pack_module)
            return found.target, found
        for path, target in ((text, ""), (storage.uri, storage.target)):
            if os.path.isfile(path):
                target = target or default_target
                return target, InputSource(source=pack_module(path), target=target, alias=path)
    except ValueError as error:
        raise Problem(f"module {text}: {error}") from None
    return text, None

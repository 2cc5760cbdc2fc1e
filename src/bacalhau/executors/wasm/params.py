"""The engine's parameters: read once, every fault named in the user's words."""

from collections.abc import Mapping
from typing import Any

from bacalhau.model.base import Record
from bacalhau.model.job import SpecConfig

KEYS = (
    "EntryModule",
    "Entrypoint",
    "Parameters",
    "ImportModules",
    "EnvironmentVariables",
    "Fuel",
)
_KNOWN = frozenset(key.lower() for key in KEYS)
FUEL_MAX = 2**63 - 1


class Params(Record, kw_only=True):
    """What to run. `fuel` is roughly a number of instructions; 0 means no such bound."""

    entry_module: str
    entrypoint: str = "_start"
    parameters: tuple[str, ...] = ()
    import_modules: tuple[str, ...] = ()
    env: dict[str, str] = {}
    fuel: int = 0


def read(engine: SpecConfig) -> Params | tuple[str, ...]:
    """The parameters, or everything that is wrong with them."""
    given = {key.lower(): value for key, value in engine.params.items() if value is not None}
    faults = [
        f"unknown parameter '{key}' of engine wasm: it has {', '.join(KEYS)}"
        for key in engine.params
        if key.lower() not in _KNOWN
    ]
    entry = given.get("entrymodule", "")
    if not isinstance(entry, str) or not entry.strip("/"):
        faults.append(
            "EntryModule is missing: give the path of the module, "
            "which is the Target of one of the task's InputSources"
        )
    entrypoint = given.get("entrypoint") or "_start"
    if not isinstance(entrypoint, str):
        faults.append(f"Entrypoint is {entrypoint!r}: give the name of an exported function")
    fuel = given.get("fuel", 0)
    if isinstance(fuel, bool) or not isinstance(fuel, int) or not 0 <= fuel <= FUEL_MAX:
        faults.append(f"Fuel is {fuel!r}: give a whole number of instructions, 0 for no bound")
    parameters = _texts(given, "Parameters", faults)
    imports = _texts(given, "ImportModules", faults)
    env = _env(given.get("environmentvariables", {}), faults)
    if faults:
        return tuple(faults)
    return Params(
        entry_module=entry,
        entrypoint=entrypoint,
        parameters=parameters,
        import_modules=imports,
        env=env,
        fuel=fuel,
    )


def check_env(env: Mapping[str, str]) -> list[str]:
    """What a program could not be given of these variables."""
    faults = []
    for name, value in env.items():
        if not name or "=" in name or "\0" in name:
            faults.append(f"environment variable {name!r}: not a name")
        if "\0" in value:
            faults.append(f"environment variable {name}: its value holds a NUL character")
    return faults


def _texts(given: Mapping[str, Any], key: str, faults: list[str]) -> tuple[str, ...]:
    items = given.get(key.lower(), ())
    if not isinstance(items, list | tuple):
        faults.append(f"{key} is {items!r}: give a list of strings")
        return ()
    for number, item in enumerate(items):
        if not isinstance(item, str):
            faults.append(f"{key}[{number}] is {item!r}: give a string")
        elif "\0" in item:
            faults.append(f"{key}[{number}] holds a NUL character")
    return tuple(items)


def _env(given: Any, faults: list[str]) -> dict[str, str]:
    """A map, or the older list of `NAME=value`."""
    if isinstance(given, list | tuple):
        pairs = [item.partition("=") for item in given if isinstance(item, str)]
        if len(pairs) != len(given) or not all(sign for _, sign, _ in pairs):
            faults.append("EnvironmentVariables: every item must look like NAME=value")
            return {}
        given = {name: value for name, _, value in pairs}
    if not isinstance(given, dict) or not all(
        isinstance(name, str) and isinstance(value, str) for name, value in given.items()
    ):
        faults.append("EnvironmentVariables: give a map of names to strings")
        return {}
    faults.extend(check_env(given))
    return given

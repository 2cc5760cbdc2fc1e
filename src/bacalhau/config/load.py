"""From the sources to one Config. Strongest first: `-c Key=value`, flags, environment, files.

`load` decides, given texts; `read_here` acts: it gives it this process's environment and files.
"""

import os
from collections.abc import Callable, Mapping, Sequence

from bacalhau.config.keys import INERT, Config
from bacalhau.config.section import Key, convert, parse, walk

KEYS: dict[str, Key] = {key.name.lower(): key for key in walk(Config)}
"""Every key by its lower-case name."""

ALIASES = {"DataDir": "BACALHAU_DIR", "Logging.Level": "LOG_LEVEL"}
"""Second names of variables; the regular one wins."""

_SECTIONS = frozenset(
    ".".join(name.split(".")[:depth]) for name in KEYS for depth in range(1, name.count(".") + 1)
) | {"featureflags"}


class Loaded:
    """A configuration and how it came about.

    `origins` says for each key that was set (documented spelling) where: `-c`, a flag,
    a variable or a file. `warnings` are lines for the user. `file` is the last file read.
    """

    __slots__ = ("config", "file", "origins", "warnings")

    def __init__(
        self, config: Config, origins: dict[str, str], warnings: tuple[str, ...], file: str
    ) -> None:
        self.config = config
        self.origins = origins
        self.warnings = warnings
        self.file = file


class _Sheet:
    """Values found so far; a later source overwrites an earlier one."""

    def __init__(self) -> None:
        self.values: dict[str, object] = {}
        self.origins: dict[str, str] = {}
        self.warnings: list[str] = []

    def put(self, key: Key, value: object, origin: str) -> None:
        self.values[key.name] = value
        self.origins[key.name] = origin


def read_here(settings: Sequence[str] = (), flags: Mapping[str, str] | None = None) -> Loaded:
    """The configuration of this process: `settings` as given to -c, `flags` by key name.

    Raises Rejected naming the source, the key and what is expected.
    """
    return load(settings, flags or {}, os.environ, read_file, os.getcwd())


def read_file(path: str) -> str | None:
    """The text of a configuration file; None when there is no such file. Raises Rejected."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return None
    except IsADirectoryError:
        raise _rejected(f"{path} is a directory, not a configuration file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise _rejected(f"cannot read configuration file {path}: {error}") from None


def load(
    settings: Sequence[str],
    flags: Mapping[str, str],
    environ: Mapping[str, str],
    read: Callable[[str], str | None],
    cwd: str = "/",
) -> Loaded:
    """Decide every key. `read` gives a file's text, or None when it does not exist."""
    files, assigned = _split(settings, read)
    sheet = _Sheet()
    strong: list[tuple[Key, object, str]] = [*_environment(environ)]
    for name, given in flags.items():
        key = KEYS[name.lower()]
        strong.append((key, _parsed(key, given, f"flag for {key.name}"), "flag"))
    strong += [(key, value, "-c") for key, value in assigned]
    home = environ.get("HOME", "")
    directory = Config().data_dir
    for key, value, _ in strong:
        if key.name == "DataDir":
            directory = str(value)
    if not files:
        path = os.path.join(_absolute(directory, home, cwd), "config.yaml")
        files = [(path, found)] if (found := read(path)) is not None else []
    for path, content in files:
        _file(sheet, path, content)
    if files and "DataDir" in sheet.values:
        _check_file_directory(str(sheet.values["DataDir"]), sheet.origins["DataDir"])
    for key, value, origin in strong:
        sheet.put(key, value, origin)
    sheet.values["DataDir"] = _absolute(
        str(sheet.values.get("DataDir", Config().data_dir)), home, cwd
    )
    sheet.warnings += [
        f"{name} is set ({origin}), but has no effect in this version"
        for name, origin in sheet.origins.items()
        if is_inert(name)
    ]
    config = Config.of({KEYS[name.lower()].path: value for name, value in sheet.values.items()})
    return Loaded(config, sheet.origins, tuple(sheet.warnings), files[-1][0] if files else "")


def configure(values: Mapping[str, object], base: Config | None = None) -> Config:
    """A Config with these values, by key (any case), over `base` or the defaults.

    Texts are read as on the command line, numbers for durations are seconds. Raises Rejected.
    """
    state = {key.path: lookup(base, key) for key in KEYS.values()} if base else {}
    for name, given in values.items():
        key = find(name)
        try:
            if key.kind == "duration" and isinstance(given, int | float):
                value: object = float(given)
            elif isinstance(given, str):
                value = parse(key, given)
            else:
                value = convert(key, given)
        except ValueError as error:
            raise _refused(key.name, given, "configure", error) from None
        state[key.path] = value
    return Config.of(state)


def is_inert(name: str) -> bool:
    """Is this a key (in its documented spelling) that does nothing yet?"""
    return name in INERT or name.startswith(tuple(one for one in INERT if one.endswith(".")))


def lookup(config: Config, key: Key) -> object:
    """The value of a key in a config."""
    value: object = config
    for attribute in key.path:
        value = getattr(value, attribute)
    return value


def find(name: str) -> Key:
    """The key of that name, whatever its case. Raises Rejected with the nearest names."""
    key = KEYS.get(name.strip().lower())
    if key is None:
        raise _unknown(name)
    return key


def _split(
    settings: Sequence[str], read: Callable[[str], str | None]
) -> tuple[list[tuple[str, str]], list[tuple[Key, object]]]:
    """What each -c says: files with their text, and keys with their values."""
    files: list[tuple[str, str]] = []
    assigned: list[tuple[Key, object]] = []
    for given in settings:
        name, equals, value = given.partition("=")
        if equals:
            key = find(name)
            assigned.append((key, _parsed(key, value, f"-c {key.name}")))
        elif given.endswith((".yaml", ".yml")):
            content = read(given)
            if content is None:
                raise _rejected(
                    f"configuration file {given} does not exist",
                    "give the path of a .yaml file, or Key=value",
                )
            files.append((given, content))
        else:
            assigned.append((_switch(given, read), True))
    return files, assigned


def _switch(given: str, read: Callable[[str], str | None]) -> Key:
    key = KEYS.get(given.strip().lower())
    if key is None:
        if read(given) is not None:
            raise _rejected(
                f"{given} is not taken as a configuration file",
                "its name must end in .yaml or .yml",
            )
        raise _unknown(given)
    if key.kind != "bool":
        raise _rejected(f"{key.name} needs a value", f"write -c {key.name}=VALUE")
    return key


def _environment(environ: Mapping[str, str]) -> list[tuple[Key, object, str]]:
    found = []
    for key in KEYS.values():
        for variable in (key.variable, ALIASES.get(key.name, "")):
            if given := environ.get(variable, ""):
                value = _parsed(key, given, f"environment variable {variable}", strict=False)
                found.append((key, value, variable))
                break
    return found


def _file(sheet: _Sheet, path: str, content: str) -> None:
    """Merge one file over what is there: leaf by leaf, maps name by name."""
    data = _yaml(path, content)
    if data is None:
        sheet.warnings.append(f"configuration file {path} is empty")
        return
    if not isinstance(data, Mapping):
        raise _rejected(f"{path}: a configuration file holds a mapping of sections")
    _merge(sheet, data, "", path)


def _merge(sheet: _Sheet, data: Mapping[object, object], prefix: str, path: str) -> None:
    for name, value in data.items():
        full = f"{prefix}.{name}" if prefix else str(name)
        key = KEYS.get(full.lower())
        if key is not None:
            if value is not None:
                _merge_key(sheet, key, value, path)
        elif full.lower() in _SECTIONS and isinstance(value, Mapping):
            _merge(sheet, value, full, path)
        elif full.lower() in _SECTIONS and value is None:
            continue
        elif full.lower() in _SECTIONS:
            raise _rejected(f"{path}: {full} is a section, so it needs keys below it")
        else:
            sheet.warnings.append(f"{path}: unknown key {full} is ignored{_nearest(full)}")


def _merge_key(sheet: _Sheet, key: Key, value: object, path: str) -> None:
    try:
        converted = convert(key, value)
    except ValueError as error:
        raise _refused(key.name, value, path, error) from None
    if isinstance(converted, dict):
        before = sheet.values.get(key.name, {})
        converted = {**before, **converted} if isinstance(before, dict) else converted
    sheet.put(key, converted, path)


def _yaml(path: str, content: str) -> object:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return yaml.load(content, Loader=loader)
    except (yaml.YAMLError, ValueError) as error:
        raise _rejected(f"{path} is not valid YAML: {error}") from None


def _absolute(directory: str, home: str, cwd: str) -> str:
    if directory == "~" or directory.startswith("~/"):
        directory = (home or "/root") + directory[1:]
    return os.path.normpath(os.path.join(cwd, directory))


def _check_file_directory(directory: str, path: str) -> None:
    if "$" in directory or not directory.startswith(("/", "~")):
        raise _rejected(
            f"{path}: DataDir '{directory}' is not an absolute path",
            "write the whole path; ~ is understood, variables are not",
        )


def _parsed(key: Key, given: str, source: str, *, strict: bool = True) -> object:
    try:
        return parse(key, given, strict=strict)
    except ValueError as error:
        raise _refused(key.name, given, source, error) from None


def _refused(name: str, given: object, source: str, error: ValueError) -> Exception:
    if KEYS[name.lower()].record or KEYS[name.lower()].secret:  # may hold a password
        return _rejected(f"{source}: {name} is not as it should be: {error}")
    return _rejected(f"{source}: {name} is {given!r}, but should be {error}")


def _unknown(name: str) -> Exception:
    return _rejected(
        f"unknown configuration key '{name}'{_nearest(name)}",
        "`bacalhau config list` shows all keys",
    )


def _nearest(name: str) -> str:
    import difflib

    near = difflib.get_close_matches(name.lower(), KEYS, n=1, cutoff=0.6)
    return f"; did you mean {KEYS[near[0]].name}?" if near else ""


def _rejected(message: str, hint: str = "") -> Exception:
    from bacalhau.model.errors import Rejected  # only when needed: it brings in msgspec

    return Rejected(message, hint=hint)

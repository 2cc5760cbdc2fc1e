"""What the values of -i, -o, -p and -l mean. Pure; ValueError says what is expected."""

import re
from collections.abc import Callable
from typing import NamedTuple

from bacalhau.cli.command import fields
from bacalhau.model.job import InputSource, ResultPath, SpecConfig

DEFAULT_TARGET = "/inputs"

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_PORT = re.compile(r"\d{1,5}(?:/|$)")
_OPTIONS = {
    "s3": {
        "endpoint": "Endpoint",
        "region": "Region",
        "versionid": "VersionID",
        "checksum256": "ChecksumSHA256",
        "filter": "Filter",
    },
    "file": {"rw": "ReadWrite", "readwrite": "ReadWrite"},
}
_SCHEMES = ("s3", "http", "https", "ipfs", "file")
_TRUE = frozenset(("1", "t", "true"))
_FALSE = frozenset(("0", "f", "false"))
_BARE_PUBLISHERS = ("managed", "ipfs", "local", "noop", "s3managed")


class Storage(NamedTuple):
    """A value of -i taken apart: `uri` may be a local path; `target` '' when none was given."""

    uri: str
    target: str
    options: dict[str, str]

    @property
    def is_local(self) -> bool:
        """A path of this machine rather than a URI."""
        return not _SCHEME.match(self.uri)


def split_storage(text: str) -> Storage:
    """`URI[:destination]`, or `src=URI,dst=PATH,opt=key=value`, as one CSV record."""
    uri, target = "", ""
    options: dict[str, str] = {}
    for at, field in enumerate(fields(text)):
        key, equals, value = field.partition("=")
        name = key.strip().lower()
        if at == 0 and (not equals or _SCHEME.match(field) or "/" in key):
            uri, target = _split_target(field)
        elif name in ("src", "source") and equals:
            uri = value
        elif name in ("dst", "target", "destination") and equals:
            target = value
        elif name in ("opt", "option") and equals:
            option, equals, setting = value.partition("=")
            if not equals:
                raise ValueError(f"option {value} must look like opt=key=value")
            options[option] = setting
        else:
            raise ValueError(f"{field} is not one of src=, dst=, opt=; write src=URI,dst=PATH")
    if not uri:
        raise ValueError(f"'{text}' has no source; write URI[:PATH] or src=URI,dst=PATH")
    return Storage(uri, target, options)


def _split_target(field: str) -> tuple[str, str]:
    """Divide at the last colon, unless that one belongs to the scheme or to a port."""
    scheme = _SCHEME.match(field)
    start = scheme.end() if scheme else 0
    at = field.rfind(":", start)
    if at < 0 or (scheme and _PORT.match(field, at + 1)):
        return field, ""
    return field[:at], field[at + 1 :]


def parse_input(text: str, pack: Callable[[str], SpecConfig]) -> InputSource:
    """An input. `pack` makes a source of a path of this machine, or raises ValueError."""
    return to_input(split_storage(text), DEFAULT_TARGET, pack)


def to_input(
    storage: Storage, default_target: str, pack: Callable[[str], SpecConfig]
) -> InputSource:
    source = pack(storage.uri) if storage.is_local else _source(storage)
    return InputSource(source=source, target=storage.target or default_target, alias=storage.uri)


def _source(storage: Storage) -> SpecConfig:
    scheme, _, rest = storage.uri.partition("://")
    scheme = scheme.lower()
    if scheme not in _SCHEMES:
        raise ValueError(
            f"{scheme}:// is not a kind of input; there are "
            + ", ".join(f"{known}://" for known in _SCHEMES)
        )
    options = dict(_named(scheme, storage.options))
    if scheme in ("http", "https"):
        return SpecConfig(type="urlDownload", params={"URL": storage.uri})
    if scheme == "ipfs":
        return SpecConfig(type="ipfs", params={"CID": rest.strip("/")})
    if scheme == "s3":
        bucket, _, key = rest.partition("/")
        if not bucket:
            raise ValueError(f"{storage.uri} names no bucket; write s3://bucket/key")
        return SpecConfig(type="s3", params={"Bucket": bucket, "Key": key, **options})
    if not rest.startswith("/"):
        raise ValueError(f"{storage.uri} is not absolute; write file:///path/on/the/node")
    params: dict[str, object] = {"SourcePath": rest}
    if "ReadWrite" in options:
        params["ReadWrite"] = _boolean("rw", options["ReadWrite"])
    return SpecConfig(type="local", params=params)


def _named(scheme: str, options: dict[str, str]) -> list[tuple[str, str]]:
    """The options in the spelling of the source's parameters."""
    known = _OPTIONS.get(scheme, {})
    found = []
    for key, value in options.items():
        name = known.get(key.lower().replace("-", "").replace("_", ""))
        if name is None:
            there = f"; it has {', '.join(known)}" if known else ""
            raise ValueError(f"{scheme}:// has no option {key}{there}")
        found.append((name, value))
    return found


def _boolean(name: str, word: str) -> bool:
    if word.lower() not in _TRUE | _FALSE:
        raise ValueError(f"{name}={word} must be true or false")
    return word.lower() in _TRUE


def parse_publisher(text: str) -> SpecConfig:
    """`managed`, `local`, `ipfs` ..., or `s3://bucket/key,opt=region=...`."""
    target, options = "", {}
    for at, field in enumerate(fields(text)):
        key, equals, value = field.partition("=")
        name = key.strip().lower()
        if at == 0 and (not equals or _SCHEME.match(field)):
            target = field
        elif name in ("dst", "target", "destination") and equals:
            target = value
        elif name in ("opt", "option") and value.partition("=")[1]:
            option, _, setting = value.partition("=")
            options[option] = setting
        else:
            raise ValueError(f"{field} is not one of dst=, opt=key=value")
    kind, separator, rest = target.partition("://")
    kind = kind.lower()
    if kind == "s3" and separator:
        bucket, _, prefix = rest.partition("/")
        if not bucket or not prefix:
            raise ValueError(f"{target} must look like s3://bucket/key")
        return SpecConfig(type="s3", params={**options, "bucket": bucket, "key": prefix})
    if kind in _BARE_PUBLISHERS and not rest:
        if options:
            raise ValueError(f"publisher {kind} takes no options")
        return SpecConfig(type="s3managed" if kind == "s3managed" else kind)
    raise ValueError(
        f"'{target}' is not a publisher; there are {', '.join(_BARE_PUBLISHERS)}, s3://bucket/key"
    )


def parse_output(text: str) -> ResultPath:
    """`name:path`."""
    name, colon, path = text.partition(":")
    if not colon or not name or not path or ":" in path:
        raise ValueError(f"{text} must look like name:/path")
    return ResultPath(name=name, path=path)


def parse_label(text: str) -> tuple[str, str]:
    """`key=value`, or `key` with an empty value; the server checks the words."""
    key, _, value = text.partition("=")
    if not key:
        raise ValueError(f"{text} must look like key=value")
    return key, value

"""The configuration as others see it: Bacalhau's JSON, rows for `config list`, reference docs."""

from bacalhau.config.keys import Config
from bacalhau.config.load import KEYS, is_inert, lookup
from bacalhau.config.section import Section, show, spelling


def redacted(config: Config) -> dict[str, object]:
    """What `/agent/config` shows, in Bacalhau's shape, with secrets masked.

    Sections always appear; values only when they are not empty, false or zero.
    """
    return tree(config, mask=True)


def tree(config: Config, *, mask: bool) -> dict[str, object]:
    """The nested JSON form; durations in Go's syntax."""
    shown = _section(config, mask)
    api = shown["API"]
    assert isinstance(api, dict)
    api["TLS"].setdefault("Insecure", False)  # Bacalhau always shows this one
    if config.job_admission_control.locality == "local":
        admission = shown["JobAdmissionControl"]
        assert isinstance(admission, dict)
        admission.pop("Locality")  # its zero value, hence absent
    return shown


def _section(section: Section, mask: bool) -> dict[str, object]:
    state = vars(section)
    shown: dict[str, object] = {
        spelling(name): show(key, state[name], mask=mask)
        for name, key in section._keys.items()
        if state[name]
    }
    for name in section._sections:
        shown[spelling(name)] = _section(state[name], mask)
    return shown


def rows(config: Config) -> list[dict[str, object]]:
    """Key, Value and Description of every key, by key. Secrets are not masked."""
    found: list[dict[str, object]] = [
        {"Key": key.name, "Value": show(key, lookup(config, key)), "Description": key.doc}
        for key in KEYS.values()
    ]
    return sorted(found, key=lambda row: str(row["Key"]))


def reference() -> str:
    """The table of all keys, in Markdown; a star marks those that Bacalhau does not have."""
    lines = [
        "| Key | Type | Default | Variable | Meaning |",
        "|---|---|---|---|---|",
    ]
    for key in sorted(KEYS.values(), key=lambda key: key.name):
        default = show(key, key.default)
        shown = f"`{default}`" if default not in ("", [], {}, None) else "none"
        meaning = key.doc + (f" One of: {', '.join(key.one_of)}." if key.one_of else "")
        meaning += " No effect in this version." if is_inert(key.name) else ""
        mark = " *" if key.ours else ""
        lines.append(
            f"| `{key.name}`{mark} | {key.kind} | {shown} | `{key.variable}` | {meaning} |"
        )
    return "\n".join(lines) + "\n"

"""One frozen Config: defaults, sources (flag > environment > file), documentation.

    config = read_here(["config.yaml", "API.Port=1235"]).config
    config.orchestrator.node_manager.disconnect_timeout   # seconds, as float

Durations are seconds, sizes are texts that parse_bytes() reads, lists are tuples. In code,
`configure({"API.Port": 0})` makes one. The table of all keys is keys.py.
"""

from bacalhau.config.keys import Config
from bacalhau.config.load import KEYS, Loaded, configure, find, load, read_file, read_here

__all__ = ["KEYS", "Config", "Loaded", "configure", "find", "load", "read_file", "read_here",
           "redacted"]  # fmt: skip


def redacted(config: Config) -> dict[str, object]:
    """What `/agent/config` shows: Bacalhau's shape, secrets masked."""
    from bacalhau.config.show import redacted

    return redacted(config)

"""Which server, and with which credentials: decided from values that are handed in."""

from collections.abc import Callable, Mapping

DEFAULT_PORT = 1234
_LOOPBACK = ("localhost", "::1")


class Endpoint:
    """A server's address and the `Authorization` that goes to it ('' for none)."""

    __slots__ = ("authorization", "ca_file", "host", "insecure", "port", "tls")

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = DEFAULT_PORT,
        *,
        tls: bool = False,
        authorization: str = "",
        ca_file: str = "",
        insecure: bool = False,
    ) -> None:
        self.host = host
        self.port = port
        self.tls = tls
        self.authorization = authorization
        self.ca_file = ca_file
        self.insecure = insecure

    @property
    def authority(self) -> str:
        """`127.0.0.1:1234`, `[::1]:1234`: what goes into the Host header."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.authority}"

    @property
    def is_loopback(self) -> bool:
        return self.host in _LOOPBACK or self.host.startswith("127.")

    def with_authorization(self, authorization: str) -> "Endpoint":
        return Endpoint(
            self.host,
            self.port,
            tls=self.tls,
            authorization=authorization,
            ca_file=self.ca_file,
            insecure=self.insecure,
        )


def parse(address: str, port: int = 0, *, tls: bool = False) -> Endpoint:
    """The endpoint of `host`, `host:port` or a URL; `port` counts where the text has none.

    A server that listens everywhere (0.0.0.0) is contacted on this machine. Raises ValueError.
    """
    scheme, separator, rest = address.strip().rpartition("://")
    if separator and scheme not in ("http", "https"):
        raise ValueError(f"'{address}' is not an http or https address")
    host, own_port = _split(rest.partition("/")[0])
    if not host or any(char.isspace() or char in "@?#\\" for char in host):
        raise ValueError(f"'{address}' has no host name")
    if own_port and not (own_port.isascii() and own_port.isdigit() and 0 < int(own_port) < 65536):
        raise ValueError(f"'{address}' has no valid port")
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return Endpoint(host, int(own_port or port or DEFAULT_PORT), tls=tls or scheme == "https")


def _split(authority: str) -> tuple[str, str]:
    """Host and port of `host:port`, `[v6]:port`, or an address without a port."""
    if authority.startswith("["):
        host, _, rest = authority[1:].partition("]")
        return host, rest.removeprefix(":")
    if authority.count(":") > 1:
        return authority, ""
    host, _, port = authority.partition(":")
    return host, port


def resolve(
    address: str = "",
    port: int = 0,
    *,
    token: str = "",
    username: str = "",
    password: str = "",
    tls: bool = False,
    ca_file: str = "",
    insecure: bool = False,
    env: Mapping[str, str],
    read: Callable[[str], str | None] = lambda name: None,
) -> Endpoint:
    """The endpoint for these wishes, else the environment's, else this machine's default.

    `read` gives the content of a file of the data directory, None when there is none: the
    admin token there is used for our own server only, which `bacalhau.run` names.
    Raises ValueError with what contradicts what.
    """
    found = parse(
        address or env.get("BACALHAU_API_HOST") or "127.0.0.1",
        port or _port(env.get("BACALHAU_API_PORT", "")),
        tls=tls or env.get("BACALHAU_API_TLS_USETLS", "").lower() in ("1", "t", "true"),
    )
    found.ca_file, found.insecure = ca_file, insecure
    if not (token or username or password):
        token = env.get("BACALHAU_API_KEY", "")
        username = env.get("BACALHAU_API_USERNAME", "")
        password = env.get("BACALHAU_API_PASSWORD", "")
    found.authorization = authorization(token, username, password) or _own(found, read)
    return found


def authorization(token: str = "", username: str = "", password: str = "") -> str:
    """The header for these credentials. Raises ValueError for half a pair or too many."""
    if token and (username or password):
        raise ValueError("give an API key or a user name with a password, not both")
    if bool(username) != bool(password):
        raise ValueError("a user name and a password belong together; one is missing")
    value = token
    if username:
        from base64 import b64encode

        value = b64encode(f"{username}:{password}".encode()).decode()
    if not all(32 < ord(char) < 127 for char in value):
        raise ValueError("an API key consists of printable ASCII characters")
    if username:
        return f"Basic {value}"
    return f"Bearer {value}" if value else ""


def _port(text: str) -> int:
    if not text:
        return 0
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 65536):
        raise ValueError(f"BACALHAU_API_PORT '{text}' is not a port")
    return int(text)


def _own(endpoint: Endpoint, read: Callable[[str], str | None]) -> str:
    """The admin token's header when this is the server of the data directory itself."""
    if not endpoint.is_loopback:
        return ""
    running = (read("bacalhau.run") or "").split()
    if f"BACALHAU_API_PORT={endpoint.port}" not in running:
        return ""
    return authorization((read("admin.token") or "").strip())

"""The composition root: config -> plug-ins -> roles -> one task group."""

import asyncio
import fcntl
import logging
import os
import platform
import secrets
import signal
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from bacalhau import __version__
from bacalhau.api import create_app
from bacalhau.api.server import Server, listen
from bacalhau.compute import agent
from bacalhau.compute.capacity import detect, share
from bacalhau.compute.node import Node
from bacalhau.compute.upload import request_upload
from bacalhau.config import Config, configure
from bacalhau.model.errors import Conflict, Error, Rejected
from bacalhau.model.node import NodeInfo, NodeRole
from bacalhau.model.resources import parse_bytes
from bacalhau.orchestrator.facts import defaults
from bacalhau.orchestrator.role import Orchestrator
from bacalhau.orchestrator.state import State
from bacalhau.ports.plugins import find
from bacalhau.ports.store import Journal, Store
from bacalhau.ports.transport import ORCHESTRATOR
from bacalhau.stores.objects import DiskObjects
from bacalhau.transports.memory import MemoryNetwork

log = logging.getLogger("bacalhau")


class SystemClock:
    """The clock of the machine."""

    def now(self) -> int:
        return time.time_ns()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class UuidIds:
    """Random identities and seeds."""

    def new(self, prefix: str) -> str:
        return prefix + str(uuid.UUID(bytes=os.urandom(16), version=4))

    def seed(self) -> int:
        return secrets.randbits(64)


@dataclass(frozen=True, slots=True)
class Running:
    """A running process: where its API listens, and the roles inside."""

    url: str
    port: int
    orchestrator: Orchestrator
    nodes: tuple[Node, ...]
    network: MemoryNetwork


@asynccontextmanager
async def running(
    config: Config, *, name: str = "", nodes: Mapping[str, Config] | None = None
) -> AsyncIterator[Running]:
    """Start what the config asks for, yield when the API answers, end everything after.

    `nodes` are compute nodes by name, each with a config and a directory of its own, instead
    of the one that the config asks for. Raises Conflict when the data directory is in use.
    """
    data = _directory(config.data_dir)
    async with AsyncExitStack() as stack:
        stack.enter_context(_only_process(data))
        node_id = _node_name(data, name, config)
        clock, ids, network = SystemClock(), UuidIds(), MemoryNetwork()
        store = _open_store(config, _directory(data / "orchestrator"))
        stack.push_async_callback(store.close)
        sockets = listen(config.api.host, config.api.port)
        port = sockets[0].getsockname()[1]
        host = "127.0.0.1" if config.api.host in ("", "0.0.0.0") else config.api.host
        url = f"{'https' if config.api.tls.cert_file else 'http'}://{host}:{port}"
        state = State(
            info=NodeInfo(
                id=node_id,
                role=NodeRole.ORCHESTRATOR,
                labels=_labels(config, node_id),
                version=__version__,
            ),
            config=config,
            store=store,
            objects=DiskObjects(data / "orchestrator" / "objects"),
            transport=network.endpoint(ORCHESTRATOR),
            clock=clock,
            ids=ids,
            object_key=_secret(data / "orchestrator" / "objects.key"),
            defaults=defaults(config),
            base_url=url,
        )
        orchestrator = Orchestrator(state)
        if nodes is None:
            nodes = {node_id: config} if config.compute.enabled else {}
        members = []
        for member, own in nodes.items():
            place = data / "compute" if member == node_id else data / "nodes" / member
            node = _open_node(own, member, _directory(place), network, clock, ids)
            stack.push_async_callback(node.journal.close)
            members.append(node)
        token = _token(data / "admin.token")
        app = create_app(orchestrator, config, token=token)
        tls = config.api.tls
        server = Server(app, sockets, cert_file=tls.cert_file, key_file=tls.key_file)
        failure: Exception | None = None
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(orchestrator.serve(), name="orchestrator"),
                group.create_task(server.serve(), name="api"),
                *(group.create_task(agent.serve(node), name=node.info.id) for node in members),
            ]
            await server.started()
            try:
                yield Running(
                    url=url,
                    port=port,
                    orchestrator=orchestrator,
                    nodes=tuple(members),
                    network=network,
                )
            except Exception as error:
                failure = error  # the caller's own, not one of our loops'
            finally:
                for task in reversed(tasks):
                    task.cancel()
        if failure is not None:
            raise failure


def _directory(path: str | Path) -> Path:
    directory = Path(path)
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def _open_store(config: Config, directory: Path) -> Store:
    kind = config.store.type.lower()
    opener = find("stores").get(kind)
    if opener is None:
        raise Rejected(
            f"Store.Type '{config.store.type}' is not installed",
            hint=f"Known: {', '.join(sorted(find('stores')))}.",
        )
    open_ = opener.load()
    if kind == "memory":
        return cast("Store", open_())
    return cast("Store", open_(directory / "state.db", config.store.synchronous.upper()))


def _open_node(
    config: Config,
    node_id: str,
    directory: Path,
    network: MemoryNetwork,
    clock: SystemClock,
    ids: UuidIds,
) -> Node:
    from bacalhau.publishers.managed import upload
    from bacalhau.stores.journal import MemoryJournal, SqliteJournal

    part = config.compute.allocated_capacity
    capacity = share(
        detect(directory), cpu=part.cpu, memory=part.memory, disk=part.disk, gpu=part.gpu
    )
    if config.store.type.lower() == "memory":
        journal: Journal = MemoryJournal()
    else:
        synchronous: Any = config.store.synchronous.upper()
        journal = SqliteJournal(directory / "journal.db", synchronous)
    admission = config.job_admission_control
    holder: list[Node] = []

    async def ask(execution_id: str, name: str) -> tuple[str, str]:
        return await request_upload(holder[0], execution_id, name)

    node = Node(
        info=NodeInfo(
            id=node_id,
            labels=_labels(config, node_id),
            capacity=capacity,
            max_job=capacity,
            allowed_paths=tuple(config.compute.allow_listed_local_paths),
            allowed_env=tuple(config.compute.env.allow_list),
            allowed_commands=tuple(config.engines.types.process.allow),
            local_only=admission.locality.lower() == "local",
            reject_stateless=admission.reject_stateless_jobs,
            reject_networked=admission.reject_networked_jobs,
            version=__version__,
        ),
        boot_id=ids.new("b-"),
        config=config,
        directory=directory,
        journal=journal,
        transport=network.endpoint(node_id),
        clock=clock,
        ids=ids,
        executors=_executors(config, directory),
        sources=_sources(config),
        publishers=_publishers(config, directory, ask),
        environ=dict(os.environ),
        upload=upload,
    )
    holder.append(node)
    return node


def _plug_ins(
    group: str, disabled: tuple[str, ...], settings: Mapping[str, Callable[[Any], Any]]
) -> dict[str, Any]:
    """The installed plug-ins of a group that are not disabled; ours get their settings."""
    off = {name.lower() for name in disabled}
    made = {}
    for name, entry in find(group).items():
        if name in off:
            continue
        plug_in = entry.load()
        made[name] = settings[name](plug_in) if name in settings else plug_in()
    return made


def _executors(config: Config, directory: Path) -> dict[str, Any]:
    process, wasm = config.engines.types.process, config.engines.types.wasm
    return _plug_ins(
        "executors",
        config.engines.disabled,
        {
            "process": lambda make: make(
                sandbox=process.sandbox,
                allow=process.allow,
                read_only_paths=process.read_only_paths,
                max_processes=process.max_processes,
                host_network=process.host_network,
            ),
            "wasm": lambda make: make(directory / "wasm-cache", max_workers=wasm.max_workers),
        },
    )


def _sources(config: Config) -> dict[str, Any]:
    allow = tuple(config.compute.allow_listed_local_paths)
    url = config.input_sources.types.url
    return _plug_ins(
        "sources",
        config.input_sources.disabled,
        {
            "local": lambda make: make(allow=allow),
            "localdirectory": lambda make: make(allow=allow),
            "urldownload": lambda make: make(
                max_size=parse_bytes(url.max_size),
                allow_private=url.allow_private,
                read_timeout_s=config.input_sources.read_timeout,
                attempts=config.input_sources.max_retry_count,
            ),
        },
    )


def _publishers(config: Config, directory: Path, ask: Any) -> dict[str, Any]:
    local = config.publishers.types.local
    return _plug_ins(
        "publishers",
        config.publishers.disabled,
        {
            "managed": lambda make: make(ask),
            "local": lambda make: make(
                directory / "results", address=local.address, port=local.port
            ),
        },
    )


def _labels(config: Config, node_id: str) -> dict[str, str]:
    machine = platform.machine().lower()
    arch = {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)
    system = platform.system().lower()
    automatic = {
        "name": node_id,
        "os_type": system,
        "os_arch": arch,
        "Operating-System": system,
        "Architecture": arch,
    }
    return {**config.labels, **automatic}


def _only_process(data: Path) -> IO[str]:
    """Hold the data directory for this process. Raises Conflict when another has it."""
    lock = (data / "bacalhau.lock").open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise Conflict(
            f"another bacalhau serves from {data}",
            hint="Stop it, or choose another directory with --data-dir.",
        ) from None
    return lock


def _node_name(data: Path, name: str, config: Config) -> str:
    """The name of this node: kept in system_metadata.yaml from the first start on."""
    path = data / "system_metadata.yaml"
    known = ""
    if path.exists():
        for line in path.read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "NodeName":
                known = value.strip().strip("'\"")
    if known:
        if name and name != known:
            log.warning("this data directory belongs to node %s; --name %s is ignored", known, name)
        return known
    provider = config.name_provider.lower()
    fresh = (
        name
        or {
            "puuid": lambda: UuidIds().new("n-"),
            "uuid": lambda: UuidIds().new(""),
            "hostname": lambda: platform.node().replace(".", "-"),
        }.get(provider, lambda: config.name_provider)()
    )
    if not fresh or any(char in fresh for char in " .*>/\\\n\0"):
        raise Rejected(
            f"'{fresh}' cannot be a node's name",
            hint="Use letters, digits, dashes and underscores.",
        )
    _write_private(
        path,
        f"RepoVersion: 5\nInstanceID: {UuidIds().new('')}\nNodeName: {fresh}\n".encode(),
    )
    return fresh


def _write_private(path: Path, data: bytes) -> None:
    """Create a file that only its owner can read; complete or not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def _secret(path: Path) -> bytes:
    """32 random bytes, made once."""
    if not path.exists():
        _write_private(path, secrets.token_bytes(32))
    return path.read_bytes()


def _token(path: Path) -> str:
    """The administrator's token, made once."""
    if not path.exists():
        _write_private(path, secrets.token_urlsafe(32).encode() + b"\n")
    return path.read_text().strip()


def run_serve(config: Config, name: str) -> int:
    """Serve until a signal; the exit status."""
    _set_up_logging(config)
    if config.compute.enabled and not config.orchestrator.enabled:
        raise Rejected(
            "a compute node that joins a remote orchestrator is not offered yet",
            hint="Run both roles here: bacalhau serve --orchestrator --compute.",
        )
    if not config.compute.enabled and not config.orchestrator.enabled:
        log.warning("neither --orchestrator nor --compute was given: serving an orchestrator")
    return _run(_serve(config, name))


async def _serve(config: Config, name: str) -> None:
    async with running(config, name=name) as here:
        run_file = Path(config.data_dir) / "bacalhau.run"
        _announce(run_file, here.port)
        log.info("bacalhau node running: %s, API at %s", here.orchestrator.state.info.id, here.url)
        print(f"Bacalhau is ready at {here.url}", flush=True)
        try:
            await _signalled()
        finally:
            run_file.unlink(missing_ok=True)
        log.info("shutting down")


def _announce(path: Path, port: int) -> None:
    lines = f"export BACALHAU_API_HOST=127.0.0.1\nexport BACALHAU_API_PORT={port}\n"
    for target in filter(None, (str(path), os.environ.get("DEVSTACK_ENV_FILE", ""))):
        Path(target).write_text(lines)


async def _signalled() -> None:
    """Return at SIGINT or SIGTERM."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await stop.wait()


def run_devstack(
    config: Config,
    *,
    computes: int,
    orchestrators: int,
    hybrids: int,
    bad_computes: int,
    stack_repo: str,
    random_ports: bool,
) -> int:
    """Serve a cluster of several nodes in this process until a signal; the exit status."""
    import tempfile

    _set_up_logging(config)
    if orchestrators + hybrids != 1:
        raise Rejected(
            f"{orchestrators + hybrids} orchestrators asked for, this version runs exactly one",
            hint="Use --orchestrators 1, or --orchestrators 0 --hybrids 1.",
        )
    if bad_computes:
        raise Rejected("--bad-computes is not offered", hint="Faults are simulated by make sim.")
    port = config.publishers.types.local.port
    members = {
        f"node-{number}": configure(
            {
                "Labels": {**config.labels, "id": f"node-{number}", "env": "devstack"},
                # One machine, one port each; 0 takes a free one anyway.
                "Publishers.Types.Local.Port": port and port + number,
            },
            config,
        )
        for number in range(computes + hybrids)
    }
    if random_ports:
        config = configure({"API.Port": 0}, config)
    with tempfile.TemporaryDirectory(prefix="bacalhau-devstack-") as scratch:
        config = configure({"DataDir": stack_repo or scratch}, config)
        return _run(_devstack(config, members))


async def _devstack(config: Config, members: Mapping[str, Config]) -> None:
    async with running(config, name="orchestrator", nodes=members) as here:
        _announce(Path(config.data_dir) / "bacalhau.run", here.port)
        print(
            f"Devstack is ready!\n"
            f"No. of requester only nodes: 1\n"
            f"No. of compute only nodes: {len(members)}\n"
            f"No. of hybrid nodes: 0\n"
            f"To use the devstack, run the following commands in your shell:\n\n"
            f"export BACALHAU_API_HOST=127.0.0.1\n"
            f"export BACALHAU_API_PORT={here.port}",
            flush=True,
        )
        await _signalled()


def _run(main: Any) -> int:
    try:
        asyncio.run(main)
    except Error:
        raise
    except BaseExceptionGroup as group:
        reason: BaseException = group
        while isinstance(reason, BaseExceptionGroup):
            reason = reason.exceptions[0]
        if isinstance(reason, Error):
            raise reason from None
        log.critical("a loop failed, the process ends so that nothing runs half", exc_info=reason)
        return 1
    return 0


def _set_up_logging(config: Config) -> None:
    levels = {"trace": logging.DEBUG, "warn": logging.WARNING, "fatal": logging.CRITICAL}
    level = config.logging.level.lower()
    logging.basicConfig(
        stream=sys.stderr,
        level=levels.get(level, getattr(logging, level.upper(), logging.INFO)),
        format="%(asctime)s %(levelname)-7s %(name)s: %(message)s",
    )

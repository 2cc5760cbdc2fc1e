"""Every setting there is: its name, default and documentation. The one table.

Names are the attributes in Bacalhau's spelling (`web_ui.listen` is `WebUI.Listen`). Groups
follow the reference: top level, API, orchestrator, compute, back ends, job defaults, limits.
"""

from bacalhau.config.section import (
    Section,
    duration,
    named,
    number,
    pairs,
    records,
    size,
    switch,
    text,
    words,
)

LEVELS = ("trace", "debug", "info", "warn", "error", "fatal", "panic")
HOUR, DAY = 3600, 86400
PORT_MAX = 65535


class Logging(Section):
    level = text("info", "How much is logged.", one_of=LEVELS)
    mode = text("default", "How log lines look.", one_of=("default", "json", "cmd"))
    log_debug_info_interval = duration(30, "How often a compute node logs its debug summary.")


class UpdateConfig(Section):
    interval = duration(DAY, "Accepted: nothing looks for updates.", low=-float(DAY))


class FeatureFlags(Section):
    """Exists so that files which have the section load; it has no keys."""


# The API, as listener and as target


class ApiTls(Section):
    cert_file = text("", "Server: file of the certificate.")
    key_file = text("", "Server: file of the certificate's key.")
    ca_file = text("", "Client: file of the authority to trust.")
    use_tls = switch(False, "Client: talk https.")
    insecure = switch(False, "Client: do not verify the server's certificate.")
    self_signed = switch(False, "Server: generate a self-signed certificate.")
    auto_cert = text("", "Server: domain for which a certificate is fetched (ACME).")
    auto_cert_cache_path = text("", "Server: directory where fetched certificates are kept.")


class Method(Section):
    type = text("", "Kind of authenticator: challenge or ask.")
    policy_path = text("", "File of its policy.")


class Capability(Section):
    actions = words((), "What the holder may do, such as read:job, write:job, *.")


class User(Section):
    alias = text("", "Name shown in logs and events.")
    username = text("", "Name given with basic authentication.")
    password = text("", "Password, plain or as a bcrypt hash.", secret=True)
    api_key = text("", "Key given as a Bearer token instead of name and password.", secret=True)
    capabilities = records(Capability, "What the user may do.")

    @property
    def actions(self) -> tuple[str, ...]:
        """All actions of all capabilities."""
        return tuple(action for capability in self.capabilities for action in capability.actions)


class Oauth2(Section):
    provider_id = text("", "Single sign-on: the provider's id.")
    provider_name = text("", "Single sign-on: the provider's name for people.")
    token_endpoint = text("", "Single sign-on: URL that gives tokens.")
    device_authorization_endpoint = text("", "Single sign-on: URL of the device code flow.")
    jwks_uri = text("", "Single sign-on: URL of the keys that sign tokens.")
    issuer = text("", "Single sign-on: expected issuer of tokens.")
    device_client_id = text("", "Single sign-on: client id of the device code flow.")
    audience = text("", "Single sign-on: expected audience of tokens.")
    scopes = words((), "Single sign-on: scopes to ask for.")
    polling_interval = number(0, "Single sign-on: seconds between polls; 0: the provider's.")


class ApiAuth(Section):
    methods = named(
        {"ClientKey": Method(type="challenge")}, Method, "Legacy authenticators by name."
    )
    access_policy_path = text("", "File or directory of the legacy access policy.")
    users = records(User, "Users who may call the API from other machines.")
    oauth2: Oauth2
    require_token = switch(False, "Ask for credentials on the loopback interface too.", ours=True)


class Api(Section):
    host = text(
        "127.0.0.1",
        "Address to listen on: an IP address or one of private, public, loopback, linklocal, "
        "multicast, any. For clients: the server's host name or URL.",
    )
    port = number(1234, "Port to listen on, and to talk to.", high=PORT_MAX)
    tls: ApiTls
    auth: ApiAuth
    max_body_size = size("10MB", "Largest request body, uploads of results aside.", ours=True)
    rate_limit = number(1000, "Requests per second and client address; 0: no limit.", ours=True)
    handler_timeout = duration(30, "Longest time for answering one request.", ours=True)


class WebUI(Section):
    enabled = switch(False, "Serve the web pages.")
    listen = text("127.0.0.1:8438", "Address and port of the web pages.")
    backend = text("", "API that the pages talk to; empty: this server's.")


# The orchestrator


class OrchestratorAuth(Section):
    token = text("", "Secret that compute nodes must present.", secret=True)


class OrchestratorTls(Section):
    server_cert = text("", "File of the certificate for compute nodes' connections.")
    server_key = text("", "File of that certificate's key.")
    ca_cert = text("", "File of the authority that compute nodes should trust.")
    server_timeout = number(0, "Seconds for a TLS handshake; 0: the transport's own.")


class Cluster(Section):
    name = text("", "Name of the cluster of orchestrators.")
    host = text("", "Address to listen on for other orchestrators.")
    port = number(0, "Port to listen on for other orchestrators; 0: none.", high=PORT_MAX)
    advertise = text("", "Address announced to other orchestrators.")
    peers = words((), "Other orchestrators to connect to.")


class NodeManager(Section):
    disconnect_timeout = duration(
        10, "Silence after which a node counts as disconnected and its work as lost.", low=0.001
    )
    manual_approval = switch(False, "New nodes wait for `bacalhau node approve`.")


class Scheduler(Section):
    worker_count = number(0, "Workers that place jobs; 0: as many as fit the machine.")
    queue_backoff = duration(60, "Longest wait before a queued job is looked at again.")
    housekeeping_interval = duration(30, "Time between looks at time-outs and retention.",
                                     low=0.001)  # fmt: skip
    housekeeping_timeout = duration(
        120, "Grace beyond an execution's time-out before the orchestrator acts itself.",
        low=0.001,
    )  # fmt: skip


class EvaluationBroker(Section):
    visibility_timeout = duration(60, "Longest time for one scheduling decision.")
    max_retry_count = number(10, "How often a failed decision is tried again.")


class Orchestrator(Section):
    enabled = switch(False, "Run the control plane on this node.")
    host = text("127.0.0.1", "Address to listen on for compute nodes.")
    port = number(4222, "Port to listen on for compute nodes.", high=PORT_MAX)
    advertise = text("", "URL announced to other servers.")
    auth: OrchestratorAuth
    tls: OrchestratorTls
    support_reverse_proxy = switch(False, "Accept connections whose TLS ended at a proxy.")
    cluster: Cluster
    node_manager: NodeManager
    scheduler: Scheduler
    evaluation_broker: EvaluationBroker


# The compute node


class ComputeAuth(Section):
    token = text("", "Secret of the orchestrator.", secret=True)


class ComputeTls(Section):
    ca_cert = text("", "File of the authority to trust for the orchestrator.")
    require_tls = switch(False, "Refuse an orchestrator without TLS.")


class Heartbeat(Section):
    interval = duration(2, "Time between signs of life.", low=0.001)
    info_update_interval = duration(60, "Time between updates of the node's facts.")
    resource_update_interval = duration(0, "Accepted: nothing reads it, as in Bacalhau.")


class Capacity(Section):
    cpu = text("80%", "CPU for jobs: share of the machine's or an amount such as 4 or 500m.")
    memory = text("80%", "Memory for jobs: share of the machine's or an amount such as 16GB.")
    disk = text("80%", "Disk for jobs: share of what is free or an amount such as 100GB.")
    gpu = text("100%", "GPUs for jobs: share (rounded up) or a count.")


class ComputeEnv(Section):
    allow_list = words((), "Which variables of the node jobs may ask for.")


class ComputeNetwork(Section):
    advertised_address = text("", "Address told to others; empty: discovered.")
    port_range_start = number(20000, "First port given to jobs.", high=PORT_MAX)
    port_range_end = number(32000, "Last port given to jobs.", high=PORT_MAX)


class Compute(Section):
    enabled = switch(False, "Run jobs on this node.")
    orchestrators = words(("nats://127.0.0.1:4222",), "Orchestrators to join.")
    auth: ComputeAuth
    tls: ComputeTls
    heartbeat: Heartbeat
    allocated_capacity: Capacity
    allow_listed_local_paths = words(
        (), "Local paths that jobs may read, as globs; with :rw they may write there."
    )
    env: ComputeEnv
    network: ComputeNetwork
    max_executions = number(1000, "Executions at one time, waiting ones included.", low=1,
                            ours=True)  # fmt: skip
    output_limit = size(
        "1GB", "Bytes of stdout, stderr (each) and outputs of one execution when the job asks for "
        "no disk; 0: no limit.", ours=True,
    )  # fmt: skip
    stop_grace = duration(5, "Time between asking a program to end and ending it.", ours=True)


# Engines, inputs, publishers


class ManifestCache(Section):
    size = number(1000, "Image manifests kept.")
    ttl = duration(HOUR, "How long one is kept.")
    refresh = duration(HOUR, "How often the cache is refreshed.")


class Docker(Section):
    manifest_cache: ManifestCache


class Process(Section):
    sandbox = switch(
        True, "Run programs in a sandbox. Without one the node announces that it has none.",
        ours=True,
    )  # fmt: skip
    allow = words((), "Commands that jobs may run, as globs; empty: any.", ours=True)
    read_only_paths = words(
        (), "More paths of this machine that every job sees, read-only.", ours=True
    )
    max_processes = number(256, "Processes and threads of one execution.", low=1, ours=True)
    host_network = switch(
        False, "Give jobs that ask for it this machine's network. They then reach all that "
        "listens here, this API included: set API.Auth.RequireToken with it.", ours=True,
    )  # fmt: skip


class Wasm(Section):
    max_workers = number(32, "Worker processes for wasm modules, at most.", low=1, ours=True)


class EngineTypes(Section):
    docker: Docker
    wasm: Wasm
    process: Process


class Engines(Section):
    disabled = words((), "Engines that this node does not offer.")
    types: EngineTypes


class Ipfs(Section):
    endpoint = text("", "Multi-address of the IPFS node; empty: no IPFS.")


class UrlSource(Section):
    max_size = size("10GB", "Largest download; 0: no limit.", ours=True)
    allow_private = switch(
        False, "Let jobs fetch from loopback, private and link-local addresses.", ours=True
    )


class InputTypes(Section):
    ipfs: Ipfs
    url: UrlSource


class InputSources(Section):
    disabled = words((), "Input sources that this node does not offer.")
    read_timeout = duration(300, "Longest time for fetching one input.")
    max_retry_count = number(3, "How often a failed fetch is tried again.")
    types: InputTypes


class S3(Section):
    pre_signed_url_disabled = switch(False, "Do not sign URLs of results.")
    pre_signed_url_expiration = duration(0, "How long signed URLs work; 0: the default.")


class S3Managed(Section):
    bucket = text("", "Bucket for results.")
    key = text("", "Prefix of keys in the bucket.")
    region = text("", "Region of the bucket.")
    endpoint = text("", "Endpoint of another S3 service.")
    pre_signed_url_expiration = duration(HOUR, "How long signed URLs work.")


class LocalPublisher(Section):
    address = text("127.0.0.1", "Address in the URLs of results.")
    port = number(6001, "Port of the server for results.", high=PORT_MAX)


class Managed(Section):
    max_size = size("10GB", "Largest result of one execution; 0: no limit.", ours=True)
    url_expiration = duration(HOUR, "How long signed URLs work.", low=1, ours=True)


class PublisherTypes(Section):
    ipfs: Ipfs
    s3: S3
    s3_managed: S3Managed
    local: LocalPublisher
    managed: Managed


class Publishers(Section):
    disabled = words((), "Publishers that this node does not offer.")
    types: PublisherTypes


class DownloaderTypes(Section):
    ipfs: Ipfs


class ResultDownloaders(Section):
    disabled = words((), "Ways of fetching results that the client does not use.")
    timeout = duration(0, "Longest time for one download; 0: no limit.")
    types: DownloaderTypes


# Defaults of jobs, and what a node refuses


class DefaultResources(Section):
    cpu = text("500m", "CPU when the task names none.")
    memory = text("512Mb", "Memory when the task names none.")
    disk = text("", "Disk when the task names none.")
    gpu = text("", "GPUs when the task names none.")


class DefaultPublisher(Section):
    type = text("", "Publisher when the task names none.")
    params = pairs("Its parameters.")


class DefaultTimeouts(Section):
    total_timeout = duration(0, "Time-out of the whole job when the task names none; 0: none.")
    execution_timeout = duration(0, "Time-out of one execution when the task names none; 0: none.")


class FiniteTask(Section):
    resources: DefaultResources
    publisher: DefaultPublisher
    timeouts: DefaultTimeouts


class FiniteDefaults(Section):
    priority = number(0, "Priority when the job names none.")
    task: FiniteTask


class LastingTask(Section):
    resources: DefaultResources


class LastingDefaults(Section):
    priority = number(0, "Priority when the job names none.")
    task: LastingTask


class JobDefaults(Section):
    batch: FiniteDefaults
    ops: FiniteDefaults
    daemon: LastingDefaults
    service: LastingDefaults


class JobAdmissionControl(Section):
    locality = text(
        "anywhere", "`local`: take only jobs whose inputs are here.", one_of=("anywhere", "local")
    )
    reject_stateless_jobs = switch(False, "Refuse jobs without inputs.")
    reject_networked_jobs = switch(False, "Refuse jobs that ask for a network.")
    probe_http = text("", "URL that is asked about every job.")
    probe_exec = text("", "Command that is asked about every job.")


# State, retention, limits: ours


class Store(Section):
    type = text("sqlite", "Where state is kept.", one_of=("sqlite", "memory"), ours=True)
    synchronous = text(
        "full", "`normal` is faster; a power cut may then lose the last moments.",
        one_of=("full", "normal"), ours=True,
    )  # fmt: skip


class Retention(Section):
    results = duration(30 * DAY, "How long results and logs are kept; 0: for ever.", ours=True)
    jobs = duration(30 * DAY, "How long ended jobs are kept; 0: for ever.", ours=True)


class Limits(Section):
    max_count = number(1_000_000, "Largest Count of a job.", low=1, ours=True)
    max_jobs = number(1_000_000, "Jobs that have not ended, at one time.", low=1, ours=True)
    max_spec_size = size("1MB", "Largest job specification.", ours=True)


class Config(Section):
    """All settings of one process, frozen. `config.api.port` is `API.Port`."""

    data_dir = text("~/.bacalhau", "Directory of all state.")
    name_provider = text(
        "puuid", "Where a node's name comes from: hostname, aws, gcp, uuid, puuid or a fixed name."
    )
    labels = pairs("Labels of this node. Keys keep their case.")
    strict_version_match = switch(False, "Accepted: nothing reads it, as in Bacalhau.")
    disable_analytics = switch(False, "Accepted: nothing is ever reported anywhere.")
    api: Api
    orchestrator: Orchestrator
    compute: Compute
    web_ui: WebUI
    input_sources: InputSources
    publishers: Publishers
    engines: Engines
    result_downloaders: ResultDownloaders
    job_defaults: JobDefaults
    job_admission_control: JobAdmissionControl
    logging: Logging
    update_config: UpdateConfig
    feature_flags: FeatureFlags
    store: Store
    retention: Retention
    limits: Limits


INERT = (
    "API.Auth.AccessPolicyPath",
    "API.Auth.Oauth2.",
    "API.TLS.AutoCert",
    "API.TLS.AutoCertCachePath",
    "API.TLS.SelfSigned",
    "Compute.Auth.",
    "Compute.Heartbeat.InfoUpdateInterval",
    "Compute.Network.",
    "Compute.Orchestrators",
    "Compute.TLS.",
    "Engines.Types.Docker.",
    "InputSources.Types.IPFS.",
    "JobAdmissionControl.ProbeExec",
    "JobAdmissionControl.ProbeHTTP",
    "Logging.LogDebugInfoInterval",
    "Logging.Mode",
    "Orchestrator.Advertise",
    "Orchestrator.Auth.",
    "Orchestrator.Cluster.",
    "Orchestrator.EvaluationBroker.",
    "Orchestrator.Host",
    "Orchestrator.Port",
    "Orchestrator.Scheduler.",
    "Orchestrator.SupportReverseProxy",
    "Orchestrator.TLS.",
    "Publishers.Types.IPFS.",
    "Publishers.Types.S3.",
    "Publishers.Types.S3Managed.",
    "ResultDownloaders.",
    "WebUI.",
)
"""Keys (or, with a dot at the end, sections) that are read and checked but do nothing yet.

Who sets one is told so: a certificate that is silently not used would be worse than none.
"""


__all__ = ["INERT", "Config", "Section", "User"]

"""Configuration: which source wins, how values are read, what errors say."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import bacalhau
from bacalhau.config import KEYS, Config, Loaded, configure, find, load, redacted
from bacalhau.config.keys import INERT
from bacalhau.config.load import ALIASES, is_inert, lookup
from bacalhau.config.section import Key, convert, go_duration, parse, seconds, show
from bacalhau.config.show import reference, rows, tree
from bacalhau.model.errors import Rejected
from bacalhau.model.resources import parse_bytes


def read(
    settings: Sequence[str] = (),
    flags: Mapping[str, str] | None = None,
    environ: Mapping[str, str] | None = None,
    files: Mapping[str, str] | None = None,
) -> Loaded:
    """Load with these texts as all the world there is."""
    return load(
        settings, flags or {}, {"HOME": "/home/u", **(environ or {})}, (files or {}).get, "/place"
    )


HOME_FILE = "/home/u/.bacalhau/config.yaml"


# Which source wins


PORT = [
    ("-c", {"settings": ["API.Port=1"]}, 1),
    ("flag", {"flags": {"API.Port": "2"}}, 2),
    ("variable", {"environ": {"BACALHAU_API_PORT": "3"}}, 3),
    ("later file", {"settings": ["b.yaml"], "files": {"b.yaml": "API: {Port: 4}"}}, 4),
    ("first file", {"settings": ["a.yaml"], "files": {"a.yaml": "API: {Port: 5}"}}, 5),
    ("default", {}, 1234),
]


@pytest.mark.parametrize("strongest", range(len(PORT)))
def test_the_strongest_source_that_is_given_wins(strongest: int) -> None:
    settings: list[str] = []
    given_: dict[str, dict[str, str]] = {"flags": {}, "environ": {}, "files": {}}
    for _, source, _ in reversed(PORT[strongest:]):  # weakest first: the order of the files
        settings += source.get("settings", [])  # type: ignore[arg-type]  # lists there
        for part in given_:
            given_[part].update(source.get(part, {}))  # type: ignore[call-overload]  # maps there
    loaded = read(settings, given_["flags"], given_["environ"], given_["files"])
    assert loaded.config.api.port == PORT[strongest][2]


def test_the_file_of_the_data_dir_is_read_only_when_no_file_is_named() -> None:
    files = {HOME_FILE: "API: {Port: 7}", "other.yaml": "Labels: {a: b}"}
    assert read(files=files).config.api.port == 7
    assert read(["other.yaml"], files=files).config.api.port == 1234


def test_the_data_dir_is_decided_before_its_file_is_read() -> None:
    files = {"/place/here/config.yaml": "API: {Port: 8}", "/env/config.yaml": "API: {Port: 9}"}
    assert read(flags={"DataDir": "here"}, files=files).config.api.port == 8
    by_alias = read(environ={"BACALHAU_DIR": "/env"}, files=files)
    assert by_alias.config.api.port == 9
    assert by_alias.config.data_dir == "/env"
    assert read(["DataDir=/env"], {"DataDir": "here"}, files=files).config.data_dir == "/env"


def test_the_data_dir_is_absolute_and_a_tilde_is_the_home() -> None:
    assert read().config.data_dir == "/home/u/.bacalhau"
    assert read(["DataDir=x/../y"]).config.data_dir == "/place/y"
    assert read(["f.yaml"], files={"f.yaml": "DataDir: ~/b"}).config.data_dir == "/home/u/b"


@pytest.mark.parametrize("path", ["relative", "$HOME/x"])
def test_a_file_cannot_name_a_relative_data_dir(path: str) -> None:
    with pytest.raises(Rejected, match="not an absolute path"):
        read(["f.yaml"], files={"f.yaml": f"DataDir: {path}"})


def test_files_merge_leaf_by_leaf_and_lists_are_replaced() -> None:
    files = {
        "a.yaml": "API: {Host: a, Port: 1}\nCompute: {AllowListedLocalPaths: [/a, /b]}",
        "b.yaml": "api: {port: 2}\ncompute: {allowlistedlocalpaths: [/c]}",
    }
    config = read(["a.yaml", "b.yaml"], files=files).config
    assert (config.api.host, config.api.port) == ("a", 2)
    assert config.compute.allow_listed_local_paths == ("/c",)


def test_labels_merge_between_files_and_keep_their_case() -> None:
    files = {"a.yaml": "Labels: {Region: EU, x: 1}", "b.yaml": "labels: {x: 2, gpu: true}"}
    config = read(["a.yaml", "b.yaml"], files=files).config
    assert config.labels == {"Region": "EU", "x": "2", "gpu": "true"}


def test_labels_on_the_command_line_replace_those_of_files() -> None:
    files = {"a.yaml": "Labels: {region: eu, zone: a}"}
    config = read(["a.yaml", "LABELS=region=us,SATELLITE=x"], files=files).config
    assert config.labels == {"region": "us", "SATELLITE": "x"}


def test_a_variable_with_its_regular_name_beats_the_alias() -> None:
    both = {"BACALHAU_LOGGING_LEVEL": "debug", "LOG_LEVEL": "error"}
    assert read(environ=both).config.logging.level == "debug"
    assert read(environ={"LOG_LEVEL": "error"}).config.logging.level == "error"
    assert read(
        environ={"BACALHAU_LOGGING_LEVEL": "", "LOG_LEVEL": "warn"}
    ).config.logging.level == ("warn")


def test_variables_split_lists_and_maps() -> None:
    config = read(
        environ={
            "BACALHAU_COMPUTE_ORCHESTRATORS": "nats://a:1, nats://b:2",
            "BACALHAU_LABELS": "Region=EU,gpu=a100",
            "BACALHAU_UPDATECONFIG_INTERVAL": "0",
        }
    ).config
    assert config.compute.orchestrators == ("nats://a:1", "nats://b:2")
    assert config.labels == {"Region": "EU", "gpu": "a100"}
    assert config.update_config.interval == 0


def test_origins_tell_where_a_value_came_from() -> None:
    loaded = read(
        ["f.yaml", "API.Port=1"],
        {"API.Host": "h"},
        {"BACALHAU_DIR": "/d"},
        {"f.yaml": "Labels: {a: b}"},
    )
    assert loaded.origins == {
        "Labels": "f.yaml",
        "DataDir": "BACALHAU_DIR",
        "API.Host": "flag",
        "API.Port": "-c",
    }
    assert loaded.file == "f.yaml"


# What -c may say


def test_a_bare_key_switches_a_bool_on() -> None:
    config = read(["orchestrator.enabled", "COMPUTE.ENABLED"]).config
    assert config.orchestrator.enabled
    assert config.compute.enabled


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (["API.Port"], "API.Port needs a value"),
        (["API.Prot=1"], "unknown configuration key 'API.Prot'; did you mean API.Port?"),
        (["Nonsense"], "unknown configuration key 'Nonsense'"),
        (["JobDefaults=1"], "unknown configuration key 'JobDefaults'"),
        (["gone.yaml"], "configuration file gone.yaml does not exist"),
        (["here.conf"], "here.conf is not taken as a configuration file"),
        (["API.Port=x"], "API.Port is 'x', but should be a whole number"),
        (["API.Port=70000"], "should be at most 65535"),
        (["API.Port=-1"], "should be at least 0"),
        (["Compute.Enabled=yes"], "should be true or false"),
        (["Compute.Heartbeat.Interval=5"], "should be a duration such as 30s"),
        (["Compute.Heartbeat.Interval=0s"], "should be at least 1ms"),
        (["Compute.Orchestrators=a b"], "without spaces or semicolons"),
        (["Compute.Orchestrators=a,,b"], "without empty elements"),
        (["Labels=a"], "pairs such as key=value"),
        (["Labels=a=b=c"], "pairs such as key=value"),
        (["Labels=a="], "pairs such as key=value"),
        (["Store.Type=paper"], "one of sqlite, memory"),
        (["API.MaxBodySize=many"], "a size such as 512MB"),
        (["API.Auth.Users=x"], "only be given in a configuration file"),
        (["API.Auth.Methods=x"], "only be given in a configuration file"),
    ],
)
def test_what_is_wrong_on_the_command_line_is_said(settings: list[str], says: str) -> None:
    with pytest.raises(Rejected) as raised:
        read(settings, files={"here.conf": ""})
    assert says in raised.value.message


def test_an_error_in_a_variable_names_the_variable() -> None:
    with pytest.raises(Rejected, match="environment variable BACALHAU_API_PORT"):
        read(environ={"BACALHAU_API_PORT": "http"})


# What files may say


def test_unknown_keys_in_files_are_warned_about_and_ignored() -> None:
    loaded = read(["f.yaml"], files={"f.yaml": "API: {Prot: 1}\nNode: {Type: x}\nFeatureFlags:"})
    assert loaded.config == read().config
    assert loaded.warnings == (
        "f.yaml: unknown key API.Prot is ignored; did you mean API.Port?",
        "f.yaml: unknown key Node is ignored",
    )


def test_scalars_in_files_are_read_weakly() -> None:
    text = """
    API: {Port: "99", TLS: {UseTLS: "true"}}
    UpdateConfig: {Interval: 0}
    Compute:
      Heartbeat: {Interval: 1500000000, InfoUpdateInterval: 1m}
      AllocatedCapacity: {CPU: 4, Memory: 1.5}
      Orchestrators: nats://a,nats://b
    Orchestrator: {NodeManager: {DisconnectTimeout: }}
    """
    config = read(["f.yaml"], files={"f.yaml": text}).config
    assert config.api.port == 99
    assert config.api.tls.use_tls
    assert config.update_config.interval == 0
    assert config.compute.heartbeat.interval == 1.5
    assert config.compute.heartbeat.info_update_interval == 60
    assert config.compute.allocated_capacity.cpu == "4"
    assert config.compute.allocated_capacity.memory == "1.5"
    assert config.compute.orchestrators == ("nats://a,nats://b",)
    assert config.orchestrator.node_manager.disconnect_timeout == 10


def test_users_come_from_files() -> None:
    text = """
    API:
      Auth:
        Users:
          - {Alias: Ann, username: ann, PASSWORD: secret-word, Capabilities: [{Actions: [read:*]}]}
          - {APIKey: 12345678901234567890, Capabilities: [{Actions: ["*"]}, {Actions: [x]}]}
        Methods:
          Mine: {Type: ask, PolicyPath: /p}
    """
    auth = read(["f.yaml"], files={"f.yaml": text}).config.api.auth
    assert [user.username for user in auth.users] == ["ann", ""]
    assert auth.users[0].actions == ("read:*",)
    assert auth.users[1].actions == ("*", "x")
    assert auth.methods["Mine"].policy_path == "/p"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("- a", "holds a mapping of sections"),
        ("API: 3", "API is a section, so it needs keys below it"),
        ("API: {Port: [1]}", "API.Port is [1], but should be a whole number"),
        ("API: {Port: 1.5}", "should be a whole number"),
        ("Labels: [a]", "should be a mapping of names to texts"),
        ("Compute: {Heartbeat: {Interval: 1.5}}", "a duration such as 30s"),
        ("a: [", "is not valid YAML"),
        ("a: \x00", "is not valid YAML"),
    ],
)
def test_what_is_wrong_in_a_file_is_said_with_its_name(text: str, says: str) -> None:
    with pytest.raises(Rejected) as raised:
        read(["f.yaml"], files={"f.yaml": text})
    assert says in raised.value.message
    assert "f.yaml" in raised.value.message


def test_errors_about_users_do_not_repeat_their_passwords() -> None:
    text = "API: {Auth: {Users: [{Username: a, Password: [hunter2]}]}}"
    with pytest.raises(Rejected) as raised:
        read(["f.yaml"], files={"f.yaml": text})
    assert "hunter2" not in str(raised.value)


def test_who_sets_what_does_nothing_yet_is_told_so() -> None:
    loaded = read(["API.TLS.SelfSigned"], environ={"BACALHAU_WEBUI_ENABLED": "1"})
    assert loaded.warnings == (
        "WebUI.Enabled is set (BACALHAU_WEBUI_ENABLED), but has no effect in this version",
        "API.TLS.SelfSigned is set (-c), but has no effect in this version",
    )


def test_every_key_is_read_somewhere_or_listed_as_inert() -> None:
    source = Path(bacalhau.__file__).parent
    text = "".join(
        path.read_text() for path in source.rglob("*.py") if source / "config" not in path.parents
    )
    unread = {
        key.name
        for key in KEYS.values()
        if not re.search(rf"\.{key.path[-1]}\b", text) and not key.doc.startswith("Accepted: ")
    }
    assert {name for name in unread if not is_inert(name)} == set()
    names = [key.name for key in KEYS.values()]
    for one in INERT:  # no key was renamed or removed
        assert any(name == one or name.startswith(one) for name in names), one


def test_an_empty_file_only_warns() -> None:
    assert read(["f.yaml"], files={"f.yaml": "\n# nothing\n"}).warnings == (
        "configuration file f.yaml is empty",
    )


# The table


def test_every_key_has_a_type_a_default_of_that_type_and_a_sentence() -> None:
    types: dict[str, type | tuple[type, ...]] = {
        "string": str, "bool": bool, "int": int, "duration": float, "size": str,
        "list": tuple, "map": dict, "records": tuple, "record map": dict,
    }  # fmt: skip
    for key in KEYS.values():
        assert isinstance(key.default, types[key.kind]), key.name
        assert re.fullmatch(r"[A-Z`].*[.]", key.doc, re.DOTALL), f"{key.name}: {key.doc}"
        if key.kind in ("string", "bool", "int", "duration", "size", "list"):
            assert convert(key, show(key, key.default)) == key.default, key.name
        if key.kind == "size":
            parse_bytes(str(key.default))


def test_variables_are_unique() -> None:
    variables = [key.variable for key in KEYS.values()] + list(ALIASES.values())
    assert len(set(variables)) == len(variables)


def test_the_defaults_that_differ_from_bacalhau() -> None:
    config = Config()
    assert config.api.host == "127.0.0.1"
    assert config.compute.heartbeat.interval == 2
    assert config.orchestrator.node_manager.disconnect_timeout == 10
    assert config.web_ui.listen == "127.0.0.1:8438"
    assert config.orchestrator.host == "127.0.0.1"


BACALHAU_KEYS = """
DataDir NameProvider Labels StrictVersionMatch DisableAnalytics UpdateConfig.Interval
Logging.Level Logging.Mode Logging.LogDebugInfoInterval
API.Host API.Port API.TLS.CertFile API.TLS.KeyFile API.TLS.CAFile API.TLS.UseTLS
API.TLS.Insecure API.TLS.SelfSigned API.TLS.AutoCert API.TLS.AutoCertCachePath
API.Auth.Methods API.Auth.AccessPolicyPath API.Auth.Users
API.Auth.Oauth2.ProviderID API.Auth.Oauth2.ProviderName API.Auth.Oauth2.TokenEndpoint
API.Auth.Oauth2.DeviceAuthorizationEndpoint API.Auth.Oauth2.JWKSUri API.Auth.Oauth2.Issuer
API.Auth.Oauth2.DeviceClientID API.Auth.Oauth2.Audience API.Auth.Oauth2.Scopes
API.Auth.Oauth2.PollingInterval
Orchestrator.Enabled Orchestrator.Host Orchestrator.Port Orchestrator.Advertise
Orchestrator.Auth.Token Orchestrator.TLS.ServerCert Orchestrator.TLS.ServerKey
Orchestrator.TLS.CACert Orchestrator.TLS.ServerTimeout Orchestrator.SupportReverseProxy
Orchestrator.Cluster.Name Orchestrator.Cluster.Host Orchestrator.Cluster.Advertise
Orchestrator.Cluster.Port Orchestrator.Cluster.Peers
Orchestrator.NodeManager.DisconnectTimeout Orchestrator.NodeManager.ManualApproval
Orchestrator.Scheduler.WorkerCount Orchestrator.Scheduler.QueueBackoff
Orchestrator.Scheduler.HousekeepingInterval Orchestrator.Scheduler.HousekeepingTimeout
Orchestrator.EvaluationBroker.VisibilityTimeout Orchestrator.EvaluationBroker.MaxRetryCount
Compute.Enabled Compute.Orchestrators Compute.Auth.Token Compute.TLS.CACert
Compute.TLS.RequireTLS Compute.Heartbeat.Interval Compute.Heartbeat.InfoUpdateInterval
Compute.Heartbeat.ResourceUpdateInterval Compute.AllocatedCapacity.CPU
Compute.AllocatedCapacity.Memory Compute.AllocatedCapacity.Disk Compute.AllocatedCapacity.GPU
Compute.AllowListedLocalPaths Compute.Env.AllowList Compute.Network.AdvertisedAddress
Compute.Network.PortRangeStart Compute.Network.PortRangeEnd
Engines.Disabled Engines.Types.Docker.ManifestCache.Size Engines.Types.Docker.ManifestCache.TTL
Engines.Types.Docker.ManifestCache.Refresh
InputSources.Disabled InputSources.ReadTimeout InputSources.MaxRetryCount
InputSources.Types.IPFS.Endpoint
Publishers.Disabled Publishers.Types.IPFS.Endpoint Publishers.Types.Local.Address
Publishers.Types.Local.Port Publishers.Types.S3.PreSignedURLDisabled
Publishers.Types.S3.PreSignedURLExpiration Publishers.Types.S3Managed.Bucket
Publishers.Types.S3Managed.Region Publishers.Types.S3Managed.Key
Publishers.Types.S3Managed.Endpoint Publishers.Types.S3Managed.PreSignedURLExpiration
ResultDownloaders.Disabled ResultDownloaders.Timeout ResultDownloaders.Types.IPFS.Endpoint
JobDefaults.Batch.Priority JobDefaults.Ops.Priority JobDefaults.Service.Priority
JobDefaults.Daemon.Priority JobDefaults.Batch.Task.Resources.CPU
JobDefaults.Ops.Task.Resources.Memory JobDefaults.Service.Task.Resources.Disk
JobDefaults.Daemon.Task.Resources.GPU JobDefaults.Batch.Task.Publisher.Type
JobDefaults.Ops.Task.Publisher.Params JobDefaults.Batch.Task.Timeouts.TotalTimeout
JobDefaults.Ops.Task.Timeouts.ExecutionTimeout
JobAdmissionControl.Locality JobAdmissionControl.RejectStatelessJobs
JobAdmissionControl.RejectNetworkedJobs JobAdmissionControl.ProbeHTTP
JobAdmissionControl.ProbeExec WebUI.Enabled WebUI.Listen WebUI.Backend
"""


@pytest.mark.parametrize("name", BACALHAU_KEYS.split())
def test_every_key_of_bacalhau_is_known_in_its_spelling(name: str) -> None:
    assert find(name.upper()).name == name


def test_the_reference_has_a_row_for_every_key() -> None:
    text = reference()
    assert text.count("\n") == len(KEYS) + 2
    assert "| `API.Port` | int | `1234` | `BACALHAU_API_PORT` |" in text


def test_rows_are_sorted_and_complete() -> None:
    found = [row["Key"] for row in rows(Config())]
    assert found == sorted(found)
    assert len(found) == len(KEYS)


# Shown to others


def test_secrets_are_masked_for_others_and_plain_for_the_owner() -> None:
    text = """
    Orchestrator: {Auth: {Token: t0ken}}
    API: {Auth: {Users: [{Username: ann, Password: secret, Capabilities: [{Actions: ["*"]}]}]}}
    """
    config = read(["f.yaml"], files={"f.yaml": text}).config
    shown = json.dumps(redacted(config))
    assert "t0ken" not in shown
    assert "secret" not in shown
    assert shown.count("********") == 2
    assert "t0ken" in json.dumps(tree(config, mask=False))


def test_the_shown_form_has_bacalhaus_shape() -> None:
    shown = redacted(configure({"DataDir": "/d", "Orchestrator.Enabled": True}))
    assert shown["DataDir"] == "/d"
    assert shown["UpdateConfig"] == {"Interval": "24h0m0s"}
    assert shown["FeatureFlags"] == {}
    assert shown["API"]["TLS"] == {"Insecure": False}  # type: ignore[index]  # a nested dict
    assert shown["API"]["Auth"] == {  # type: ignore[index]  # a nested dict
        "Methods": {"ClientKey": {"Type": "challenge"}},
        "Oauth2": {},
    }
    assert shown["JobDefaults"]["Ops"] == {  # type: ignore[index]  # a nested dict
        "Task": {"Resources": {"CPU": "500m", "Memory": "512Mb"}, "Publisher": {}, "Timeouts": {}}
    }
    local = configure({"JobAdmissionControl.Locality": "local"})
    assert redacted(local)["JobAdmissionControl"] == {}


# Frozen records


def test_a_config_cannot_be_changed_but_copied_with_changes() -> None:
    config = Config()
    with pytest.raises(AttributeError, match="never changed"):
        config.data_dir = "/x"
    with pytest.raises(TypeError, match="has no colour"):
        Config(colour="red")
    changed = config.but(data_dir="/x", api=config.api.but(port=0))
    assert (changed.data_dir, changed.api.port, config.api.port) == ("/x", 0, 1234)
    assert changed != config
    assert Config() == config


def test_configure_takes_python_values_over_a_base() -> None:
    base = configure({"api.port": 0, "Compute.Heartbeat.Interval": 0.25, "Labels": {"a": "b"}})
    config = configure({"Compute.Enabled": True}, base)
    assert config.api.port == 0
    assert config.compute.heartbeat.interval == 0.25
    assert config.labels == {"a": "b"}
    assert config.compute.enabled
    with pytest.raises(Rejected, match=r"did you mean API\.Port"):
        configure({"API.Prt": 1})


# Durations


@pytest.mark.parametrize(
    ("text", "expected"),
    [("30s", 30), ("1h30m", 5400), ("100ms", 0.1), ("0", 0), ("-1.5h", -5400), ("1.5s", 1.5),
     ("1µs", 1e-6), ("2us", 2e-6), ("+3ns", 3e-9), (".5s", 0.5), ("1m0.5s", 60.5)],
)  # fmt: skip
def test_durations_in_gos_syntax(text: str, expected: float) -> None:
    assert seconds(text) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    "text", ["", "5", "s", ".", "1x", "1h 3m", "1hh", "--1s", "9999999h", "1.s.s"]
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        seconds(text)


@pytest.mark.parametrize(
    ("given_s", "expected"),
    [(60, "1m0s"), (3600, "1h0m0s"), (0, "0s"), (0.1, "100ms"), (1.5, "1.5s"), (90061, "25h1m1s"),
     (-60, "-1m0s"), (2e-6, "2µs"), (5e-9, "5ns"), (0.0015, "1.5ms")],
)  # fmt: skip
def test_durations_are_shown_as_go_shows_them(given_s: float, expected: str) -> None:
    assert go_duration(given_s) == expected


@given(st.integers(-(10**16), 10**16))
def test_a_shown_duration_reads_back(nanoseconds: int) -> None:
    value = nanoseconds / 1e9
    assert seconds(go_duration(value)) == pytest.approx(value, abs=1e-9)


# Properties


NAMES = st.sampled_from(sorted(KEYS))
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=20)
)


@given(
    st.lists(st.one_of(st.text(max_size=30), st.tuples(NAMES, st.text(max_size=20)).map("=".join)))
)
def test_any_command_line_gives_a_config_or_a_reason(settings: list[str]) -> None:
    try:
        read(settings)
    except Rejected as rejected:
        reason = rejected.message
    else:
        reason = "none needed"
    assert reason


@given(
    NAMES, SCALARS | st.lists(SCALARS, max_size=3) | st.dictionaries(st.text(max_size=5), SCALARS)
)
def test_any_value_in_a_file_gives_a_config_or_a_reason(name: str, value: object) -> None:
    nested: object = value
    for part in reversed(KEYS[name].name.split(".")):
        nested = {part: nested}
    try:
        config = read(["f.yaml"], files={"f.yaml": json.dumps(nested)}).config
    except Rejected as rejected:
        is_answered = KEYS[name].name in rejected.message or "YAML" in rejected.message
    else:
        is_answered = isinstance(lookup(config, KEYS[name]), type(KEYS[name].default))
    assert is_answered


@given(
    st.dictionaries(st.sampled_from(["API.Port", "Limits.MaxCount", "API.RateLimit"]),
                    st.integers(1, 60000)),
    st.dictionaries(st.sampled_from(["API.Port", "Limits.MaxCount", "API.RateLimit"]),
                    st.integers(1, 60000)),
)  # fmt: skip
def test_a_stronger_source_overrides_and_leaves_the_rest(
    strong: dict[str, int], weak: dict[str, int]
) -> None:
    environ = {find(name).variable: str(value) for name, value in weak.items()}
    settings = [f"{name}={value}" for name, value in strong.items()]
    config = read(settings, environ=environ).config
    for name in ("API.Port", "Limits.MaxCount", "API.RateLimit"):
        expected = strong.get(name, weak.get(name, find(name).default))
        assert lookup(config, find(name)) == expected


@given(st.lists(st.text("abcXYZ/._-*:", min_size=1, max_size=10), min_size=1, max_size=5))
def test_a_list_that_is_joined_reads_back(items: list[str]) -> None:
    assert parse(Key("list", (), ""), ",".join(items)) == tuple(items)

"""The configuration: go-zero's manner, exact error texts, the rules after loading."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from skyeim_ws.config.check import load, warnings
from skyeim_ws.config.errors import ConfigError
from skyeim_ws.config.redis import RedisConf
from skyeim_ws.config.rpc import EtcdConf
from skyeim_ws.config.tree import Auth, Config, EmbeddedConf
from skyeim_ws.config.web_socket import WebSocketConf
from skyeim_ws.contract.names import LONGEST_FRAME

EXAMPLE_SECRET = "example-secret-for-trying-out-only--never-in-production"
GO_FILE = Path(__file__).parents[1] / "data" / "go_gateway.yaml"
ETC = Path(__file__).parents[2] / "etc"
SECRET = "a-secret-of-more-than-thirty-two-bytes"

GO_GATEWAY = """
Name: ws.rpc
Host: 0.0.0.0
Port: 10300
Mode: dev
Timeout: 3000
Verbose: true
MaxBytes: 1048576
CpuThreshold: 900
Middlewares:
  Log: true
Telemetry:
  Name: ws
  Endpoint: http://127.0.0.1:14268/api/traces
Auth:
  AccessSecret: your-secret
  AccessExpire: 604800
MessageRpc:
  Etcd:
    Hosts: [127.0.0.1:2379]
    Key: message.rpc
  NonBlock: true
FriendRpc:
  Etcd:
    Hosts:
      - 127.0.0.1:2379
    Key: friend.rpc
GroupRpc:
  Etcd:
    Hosts:
      - 127.0.0.1:2379
    Key: group.rpc
WebSocket:
  PingInterval: 54
  PongTimeout: 60
  WriteTimeout: 10
  ReadBufferSize: 1024
Redis:
  Host: "127.0.0.1:6379"
  Type: node
  Pass: ""
PushEvent:
  Secret: push-secret
Log:
  ServiceName: ws
  Mode: console
  Encoding: plain
  TimeFormat: "2006-01-02 15:04:05"
  Level: info
  Stat: false
  KeepDays: 7
"""


def minimal(**more: Any) -> dict[str, Any]:
    """Return the smallest configuration that is valid, and what is added to it."""
    return {
        "Name": "ws",
        "Port": 10300,
        "Mode": "dev",
        "Auth": {"AccessSecret": SECRET},
        "Embedded": {},
    } | more


def write(folder: Path, content: str | dict[str, Any]) -> str:
    path = folder / "ws.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return str(path)


def loaded(folder: Path, content: str | dict[str, Any]) -> Config:
    return load(write(folder, content)).config


def refused(folder: Path, content: str | dict[str, Any]) -> str:
    """Return what is said about a file, without the file's own name."""
    path = write(folder, content)
    with pytest.raises(ConfigError) as caught:
        load(path)
    text = str(caught.value)
    assert text.startswith(f"config file {path}, ")
    return text.removeprefix(f"config file {path}, ")


class TestReading:
    def test_defaults_are_those_of_the_contract(self, tmp_path: Path) -> None:
        config = loaded(tmp_path, minimal())
        assert (config.host, config.timeout, config.max_conns) == ("0.0.0.0", 3000, 10000)
        assert config.web_socket == WebSocketConf()
        assert config.web_socket.offline_ttl == 720 * 3600
        assert config.embedded == EmbeddedConf(data_dir="data")
        assert (config.shutdown.wrap_up_time, config.shutdown.wait_time) == (1.0, 5.5)
        assert (config.dev_server.enabled, config.dev_server.health_path) == (False, "/healthz")
        assert [config.redis, config.message_rpc, config.database] == [None, None, None]

    def test_a_file_of_the_go_gateway_loads_unchanged(self, tmp_path: Path) -> None:
        found = load(write(tmp_path, GO_GATEWAY))
        config = found.config
        assert config.redis == RedisConf(host="127.0.0.1:6379")
        assert config.message_rpc is not None
        assert config.message_rpc.etcd == EtcdConf(hosts=("127.0.0.1:2379",), key="message.rpc")
        assert config.log.keep_days == 7
        assert found.unknown == ("WebSocket.WriteTimeout", "WebSocket.ReadBufferSize")

    def test_keys_of_go_zero_without_an_effect_are_told_apart_from_unknown_ones(self) -> None:
        found = load(str(GO_FILE))
        assert found.unknown == ()
        assert {"CpuThreshold", "Middlewares", "MessageRpc.KeepaliveTime"} <= set(found.ignored)
        assert not {"Log.KeepDays", "WebSocket.PingInterval"} & set(found.ignored)

    @pytest.mark.parametrize("name", ["ws.yaml", "ws-cluster.yaml"])
    def test_the_files_in_etc_load_and_hold_no_unknown_key(
        self, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for variable in ("ACCESS_SECRET", "REDIS_PASSWORD", "PUSH_SECRET"):
            monkeypatch.setenv(f"SKYEIM_{variable}", SECRET)
        found = load(str(ETC / name), env=True)
        assert found.unknown == ()
        assert warnings(found.config) == []

    def test_what_the_default_file_comments_out_is_the_default(self, tmp_path: Path) -> None:
        lines = (ETC / "ws.yaml").read_text().splitlines()
        start = lines.index("WebSocket:")
        shown = [line.replace("# ", "", 1) for line in lines[start : lines.index("Log:")]]
        keys = [line for line in shown if ": " in line.split("#")[0] and "//" not in line]
        config = loaded(tmp_path, yaml.safe_dump(minimal()) + "\n".join(["WebSocket:", *keys]))
        assert len(keys) > 15
        assert config.web_socket == WebSocketConf()

    @settings(max_examples=50)
    @given(data=st.data())
    def test_keys_are_matched_in_any_case(self, tmp_path: Path, data: st.DataObject) -> None:
        def recased(key: str) -> str:
            upper = data.draw(st.lists(st.booleans(), min_size=len(key), max_size=len(key)))
            return "".join(c.upper() if up else c.lower() for c, up in zip(key, upper, strict=True))

        def walk(value: Any) -> Any:
            if isinstance(value, dict):
                return {recased(key): walk(item) for key, item in value.items()}
            return value

        plain = minimal(WebSocket={"OfflineTTL": "1h"}, Redis={"Host": "h", "Pass": "p"})
        assert loaded(tmp_path, walk(plain)) == loaded(tmp_path, plain)

    def test_unknown_keys_are_named_with_their_section(self, tmp_path: Path) -> None:
        path = write(tmp_path, minimal(Foo=1, Log={"Bar": 2}))
        assert load(path).unknown == ("Log.Bar", "Foo")

    def test_a_bare_embedded_block_counts_and_a_bare_redis_does_not(self, tmp_path: Path) -> None:
        config = loaded(tmp_path, minimal(Embedded=None, Redis=None))
        assert config.embedded == EmbeddedConf()
        assert config.redis is None

    def test_secrets_stay_out_of_the_repr(self, tmp_path: Path) -> None:
        secret = {"Host": "h", "Pass": "hush"}
        config = loaded(
            tmp_path,
            minimal(
                Auth={"AccessSecret": "hush", "PrevSecret": "hush"},
                Redis=secret,
                MessageRpc={"Etcd": {"Pass": "hush"}, "Target": "dns:///m:1"},
                PushEvent={"Secret": "hush"},
                Database={"DataSource": "mysql://u:hush@h/im"},
            ),
        )
        assert "hush" not in repr(config)

    @pytest.mark.parametrize(
        ("written", "seconds"), [(5, 5.0), (0.5, 0.5), ("500ms", 0.5), ("1m30s", 90.0)]
    )
    def test_numbers_are_seconds(self, tmp_path: Path, written: Any, seconds: float) -> None:
        config = loaded(tmp_path, minimal(WebSocket={"CloseTimeout": written}))
        assert config.web_socket.close_timeout == seconds


class TestRefusals:
    @pytest.mark.parametrize("key", ["Name", "Port"])
    def test_a_missing_key_is_named(self, tmp_path: Path, key: str) -> None:
        content = minimal()
        del content[key]
        assert refused(tmp_path, content) == f'field "{key}" is not set'

    def test_a_missing_key_of_a_missing_section_is_named(self, tmp_path: Path) -> None:
        content = minimal()
        del content["Auth"]
        assert refused(tmp_path, content) == 'field "Auth.AccessSecret" is not set'

    @pytest.mark.parametrize(
        ("more", "said"),
        [
            ({"Port": "10300"}, '"Port" must be an integer, found "10300" (a string)'),
            ({"Port": True}, '"Port" must be an integer, found true (a boolean)'),
            ({"Port": 1.5}, '"Port" must be an integer, found 1.5 (a number)'),
            (
                {"WebSocket": {"MaxMessageSize": 2**24 + 1}},
                '"WebSocket.MaxMessageSize" must be an integer from 1 to 16777216',
            ),
            ({"Port": 70000}, '"Port" must be an integer from 0 to 65535, found 70000 (an'),
            ({"Name": ""}, '"Name" must be a string that is not empty, found ""'),
            ({"Name": 7}, '"Name" must be a string, found 7 (an integer)'),
            ({"Mode": "prod"}, '"Mode" must be one of dev, test, rt, pre, pro, found "prod"'),
            ({"Auth": "x"}, '"Auth" must be a section, found a string'),
            ({"Auth": {"AccessSecret": 123}}, '"Auth.AccessSecret" must be a string, found an int'),
            ({"Auth": {"AccessSecret": " "}}, '"Auth.AccessSecret" must not be empty'),
            ({"DevServer": {"Enabled": 1}}, '"DevServer.Enabled" must be a boolean, found 1'),
            ({"Trace": {"Sampler": 2}}, '"Trace.Sampler" must be a number from 0 to 1, found 2'),
            ({"Trace": {"Sampler": "1"}}, '"Trace.Sampler" must be a number, found "1" (a'),
            ({"Trace": {"Users": [0]}}, '"Trace.Users" must be a list of integers above 0'),
            ({"WebSocket": {"Origins": "*"}}, '"WebSocket.Origins" must be a list of strings'),
            ({"WebSocket": {"Origins": [1]}}, '"WebSocket.Origins" must be a list of strings'),
            ({"WebSocket": {"PongTimeout": 0}}, '"WebSocket.PongTimeout" must be a time above 0'),
            ({"WebSocket": {"PongTimeout": "1 s"}}, '"WebSocket.PongTimeout" must be a time above'),
            ({"WebSocket": {"PongTimeout": True}}, '"WebSocket.PongTimeout" must be a time above'),
            ({"WebSocket": {"PongTimeout": 9}}, '"WebSocket.PongTimeout" must be more than Ping'),
            ({"WebSocket": {"RateLimit": -1}}, '"WebSocket.RateLimit" must be an integer of 0 or'),
            ({"Shutdown": {"WaitTime": "-5s"}}, '"Shutdown.WaitTime" must be a time, in seconds'),
            ({"CertFile": "c.pem"}, '"KeyFile" is not set: TLS needs both files'),
            ({"Services": {"KeyFile": "k"}}, '"Services.CertFile" is not set: TLS needs both'),
            ({"Services": {"ClientCAFile": "c"}}, '"Services.CertFile" is not set: only over TLS'),
            (
                {"GroupRpc": {"Endpoints": ["h:1"], "Tls": {"CertFile": "c"}}},
                '"GroupRpc.Tls.KeyFile" is not set: TLS needs both files',
            ),
            ({"MessageRpc": {}}, '"MessageRpc.Endpoints" is not set'),
            (
                {"MessageRpc": {"Endpoints": ["a:1"], "Target": "dns:///a:1"}},
                '"MessageRpc" has both Endpoints and Target',
            ),
        ],
    )
    def test_a_wrong_value_says_what_was_wanted_and_found(
        self, tmp_path: Path, more: dict[str, Any], said: str
    ) -> None:
        assert refused(tmp_path, minimal(**more)).startswith(f"field {said}")

    @pytest.mark.parametrize("name", ["Redis", "MessageRpc", "FriendRpc", "GroupRpc"])
    def test_without_the_embedded_block_every_section_is_needed(
        self, tmp_path: Path, name: str
    ) -> None:
        content = yaml.safe_load(GO_GATEWAY)
        del content[name]
        assert refused(tmp_path, content) == f'field "{name}" is not set'

    @pytest.mark.parametrize(
        ("redis", "said"),
        [
            ({}, 'field "Redis.Host" is not set'),
            ({"Host": ""}, 'field "Redis.Host" is not set'),
            ({"Type": "ring"}, 'field "Redis.Type" must be one of node, cluster'),
            ({"Sentinel": {"Hosts": ["a:1"]}}, 'field "Redis.Sentinel.Master" is not set'),
            ({"Sentinel": {"Master": "m"}}, 'field "Redis.Sentinel.Hosts" is not set'),
            (
                {"Sentinel": {"Hosts": [], "Master": "m"}},
                'field "Redis.Sentinel.Hosts" must be a list of host:port',
            ),
            (
                {"Sentinel": {"Hosts": ["a:b"], "Master": "m"}},
                'field "Redis.Sentinel.Hosts" must be a list of host:port',
            ),
            ({"Host": "a:1,b:2"}, 'field "Redis.Host" must be host:port, or the path'),
            ({"Host": "redis://a:1"}, 'field "Redis.Host" must be host:port, or the path'),
            ({"Host": "a:1,", "Type": "cluster"}, 'field "Redis.Host" must be host:port of some'),
            ({"Host": "/s", "Type": "cluster"}, 'field "Redis.Host" must be host:port of some'),
            (
                {"Type": "cluster", "Sentinel": {"Hosts": ["a:1"], "Master": "m"}},
                'field "Redis.Type" is cluster, which has no sentinels',
            ),
        ],
    )
    def test_which_redis_is_meant_has_to_be_clear(
        self, tmp_path: Path, redis: dict[str, Any], said: str
    ) -> None:
        assert refused(tmp_path, minimal(Redis=redis)).startswith(said)

    @pytest.mark.parametrize(
        ("url", "secret", "said"),
        [
            ("push.example/away", "x" * 16, "Url"),
            ("ftp://push.example/away", "x" * 16, "Url"),
            ("https:///away", "x" * 16, "Url"),
            ("https://me:pass@push.example/away", "x" * 16, "Url"),
            ("https://push.example:port/away", "x" * 16, "Url"),
            ("https://push.example/a b", "x" * 16, "Url"),
            ("https://push.example/away", "", "Secret"),
            ("https://push.example/away", "x" * 15, "Secret"),
        ],
    )
    def test_a_webhook_needs_a_url_and_a_secret(
        self, tmp_path: Path, url: str, secret: str, said: str
    ) -> None:
        more: Any = {"Offline": {"Webhook": {"Url": url, "Secret": secret}}}
        problem = refused(tmp_path, minimal(**more))
        assert problem.startswith(f'field "Offline.Webhook.{said}" must ')
        assert "pass" not in problem.replace("a password", "")

    @pytest.mark.parametrize(
        ("rpc", "targets"),
        [
            ({"Endpoints": ["a:1", "b:2"]}, ("a:1", "b:2")),
            ({"Target": "dns:///a:1"}, ("dns:///a:1",)),
            ({"Target": "direct:///a:1,b:2"}, ("a:1", "b:2")),
            ({"Endpoints": ["a:1"], "Etcd": {"Hosts": ["e:1"], "Key": "k"}}, ("a:1",)),
            ({"Target": "a:1", "Etcd": {"Hosts": ["e:1"], "Key": "k"}}, ("a:1",)),
        ],
    )
    def test_services_that_are_listed(
        self, tmp_path: Path, rpc: dict[str, Any], targets: tuple[str, ...]
    ) -> None:
        config = loaded(tmp_path, minimal(MessageRpc=rpc))
        assert config.message_rpc is not None
        assert (config.message_rpc.targets, config.message_rpc.registry) == (targets, None)

    def test_services_that_etcd_knows(self, tmp_path: Path) -> None:
        etcd = {"Hosts": ["e:1", "https://f:2"], "Key": "m", "User": "u", "Pass": "p", "ID": 7}
        tls = {"CertFile": "c", "CertKeyFile": "k", "CACertFile": "a", "InsecureSkipVerify": True}
        config = loaded(
            tmp_path,
            minimal(
                MessageRpc={"Etcd": {**etcd, **tls}},
                FriendRpc={"Target": "etcd://e:1,f:2/friend.rpc", "Etcd": {"User": "u"}},
            ),
        )
        assert config.message_rpc is not None
        assert config.friend_rpc is not None
        assert config.message_rpc.registry == EtcdConf(
            hosts=("e:1", "https://f:2"),
            key="m",
            instance=7,
            user="u",
            password="p",
            cert_file="c",
            cert_key_file="k",
            ca_cert_file="a",
            insecure_skip_verify=True,
        )
        assert config.friend_rpc.registry == EtcdConf(
            hosts=("e:1", "f:2"), key="friend.rpc", user="u"
        )
        assert config.message_rpc.targets == config.friend_rpc.targets == ()

    @pytest.mark.parametrize(
        ("rpc", "said"),
        [
            ({"Etcd": {"Hosts": ["e:1"]}}, 'field "MessageRpc.Etcd.Key" is not set'),
            ({"Etcd": {"Key": "k"}}, 'field "MessageRpc.Etcd.Hosts" is not set'),
            (
                {"Etcd": {"Hosts": ["e"], "Key": "k"}},
                'field "MessageRpc.Etcd.Hosts" must be a list of host:port, found "e"',
            ),
            (
                {"Etcd": {"Hosts": ["e:1"], "Key": "k", "CertFile": "c"}},
                'field "MessageRpc.Etcd.CertKeyFile" is not set',
            ),
            ({"Target": "etcd://e:1"}, 'field "MessageRpc.Target.Key" is not set'),
            ({"Target": "k8s://a/b:1"}, 'field "MessageRpc.Target" has a scheme'),
        ],
    )
    def test_it_has_to_be_clear_where_a_service_is(
        self, tmp_path: Path, rpc: dict[str, Any], said: str
    ) -> None:
        assert refused(tmp_path, minimal(MessageRpc=rpc)).startswith(said)

    def test_the_gateway_can_be_announced(self, tmp_path: Path) -> None:
        etcd = {"Hosts": ["e:1"], "Key": "ws.api"}
        config = loaded(tmp_path, minimal(Etcd=etcd, AdvertiseHost="10.0.0.7"))
        assert (config.etcd, config.advertise_host) == (
            EtcdConf(hosts=("e:1",), key="ws.api"),
            "10.0.0.7",
        )
        said = refused(tmp_path, minimal(Etcd={"Hosts": ["e:1"]}))
        assert said.startswith('field "Etcd.Key" is not set')

    def test_syntax_errors_name_the_line(self, tmp_path: Path) -> None:
        assert refused(tmp_path, "Name: ws\nMode: dev\nPort: ]\n").startswith("line 3: ")
        assert refused(tmp_path, "Name: ws\n\tPort: 1\n").startswith("line 2: ")

    def test_a_key_that_stands_twice_is_refused_in_any_case(self, tmp_path: Path) -> None:
        assert refused(tmp_path, "Name: a\nPort: 1\nname: b\n") == 'line 3: "name" is set twice'

    @pytest.mark.parametrize("content", ["- a\n", "text\n"])
    def test_a_file_that_is_no_mapping_is_refused(self, tmp_path: Path, content: str) -> None:
        assert "must be a mapping" in refused(tmp_path, content)

    def test_an_empty_file_lacks_its_first_key(self, tmp_path: Path) -> None:
        assert refused(tmp_path, "# nothing\n") == 'field "Name" is not set'

    @pytest.mark.parametrize(
        "content", [b"\xff\xfe", b"Name: \x01", b"[" * 2000, b"Name: 2024-99-99", b"a: !!x 1"]
    )
    def test_rubbish_is_refused_like_anything_else(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "ws.yaml"
        path.write_bytes(content)
        with pytest.raises(ConfigError):
            load(str(path))

    def test_a_file_that_is_not_there_is_named(self) -> None:
        with pytest.raises(ConfigError, match=r"^config file no/ws.yaml, cannot be read: No such"):
            load("no/ws.yaml")


class TestEnvironment:
    def test_names_are_replaced_only_when_asked(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("WS_PORT", "10301")
        monkeypatch.setenv("WS_NAME", "a: b # c")
        path = write(tmp_path, minimal(Name="x-${WS_NAME}", Port=1).__repr__())
        assert load(path).config.name == "x-${WS_NAME}"
        assert load(path, env=True).config.name == "x-a: b # c"

    def test_an_unquoted_value_takes_its_type_and_a_quoted_one_stays_text(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("WS_DIGITS", "12345")
        content = yaml.safe_dump(minimal()).replace("10300", "${WS_DIGITS}")
        content += 'Redis: {Host: h, Pass: "${WS_DIGITS}"}\n# ${WS_NOT_SET}\n'
        config = load(write(tmp_path, content), env=True).config
        assert config.port == 12345
        assert config.redis is not None
        assert config.redis.password == "12345"

    def test_a_variable_that_is_not_set_is_named(self, tmp_path: Path) -> None:
        path = write(tmp_path, "Port: 1\nName: ${WS_NOT_SET}\n")
        with pytest.raises(ConfigError, match="line 2: environment variable WS_NOT_SET is not set"):
            load(path, env=True)


class TestSecrets:
    @pytest.mark.parametrize("mode", ["rt", "pre", "pro"])
    @pytest.mark.parametrize(
        ("section", "key"),
        [("Auth", "AccessSecret"), ("Auth", "PrevSecret"), ("PushEvent", "Secret")],
    )
    @pytest.mark.parametrize(
        "secret", [EXAMPLE_SECRET, "Skylm-im-secret-key", "skyim-push-secret666", "${SECRET}"]
    )
    def test_only_a_trial_may_use_an_example_secret(
        self, tmp_path: Path, mode: str, section: str, key: str, secret: str
    ) -> None:
        content = minimal(PushEvent={})
        content[section][key] = secret
        loaded(tmp_path, content)
        said = refused(tmp_path, content | {"Mode": mode})
        assert said.startswith(f'field "{section}.{key}" ')
        assert secret not in said

    def test_the_example_secret_is_long_enough_not_to_be_warned_about(self) -> None:
        assert len(EXAMPLE_SECRET) >= 32

    def test_a_frame_that_cannot_hold_every_message_is_warned_about(self, tmp_path: Path) -> None:
        section = {"MaxMessageSize": LONGEST_FRAME}
        content = minimal(Mode="dev", Auth={"AccessSecret": SECRET}, WebSocket=section)
        assert warnings(loaded(tmp_path, content)) == []
        section["MaxMessageSize"] -= 1
        [said] = warnings(loaded(tmp_path, content))
        assert said.startswith('field "WebSocket.MaxMessageSize" is less than 212992')

    def test_weak_spots_are_warned_about(self, tmp_path: Path) -> None:
        content = minimal(Mode="pro", Auth={"AccessSecret": "short"}, PushEvent={})
        first, second = warnings(loaded(tmp_path, content))
        assert first.startswith('field "Auth.AccessSecret" is shorter than 32 bytes')
        assert second.startswith('field "PushEvent.Secret" is not set')
        content |= {"Mode": "dev", "PushEvent": {"Secret": "${X}"}}
        assert [text.split()[1] for text in warnings(loaded(tmp_path, content))] == [
            '"Auth.AccessSecret"',
            '"PushEvent.Secret"',
            '"PushEvent.Secret"',
        ]


@pytest.mark.parametrize(
    ("host", "cert", "url"),
    [
        ("0.0.0.0", "", "ws://127.0.0.1:7"),
        ("::", "", "ws://127.0.0.1:7"),
        ("::1", "", "ws://[::1]:7"),
        ("chat.example.com", "cert.pem", "wss://chat.example.com:7"),
    ],
)
def test_the_address_is_one_that_this_machine_reaches(host: str, cert: str, url: str) -> None:
    config = Config(name="ws", host=host, port=7, cert_file=cert, auth=Auth(access_secret=SECRET))
    assert config.local_url("ws") == url

"""What `check --strict` refuses: what loads and will not work, named by its key."""

import importlib.util
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from skyeim_ws.config.check import load
from skyeim_ws.config.strict import problems

BASE: dict[str, Any] = {
    "Name": "ws",
    "Port": 10300,
    "Mode": "test",
    "Auth": {"AccessSecret": "a secret for tests, longer than 32 bytes"},
    "Embedded": None,
}


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with two certificates and their keys."""
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    for name in ("one", "two"):
        files = f"-keyout {name}.key -out {name}.pem -subj /CN={name}.example.com"
        subprocess.run(
            [*command.split(), *files.split()], cwd=tmp_path, check=True, capture_output=True
        )
    return tmp_path


def refused(folder: Path, **more: Any) -> list[str]:
    """Return what is refused, without the name of the file."""
    file = folder / "ws.yaml"
    file.write_text(yaml.safe_dump(BASE | more))
    return [str(each).removeprefix(f"config file {file}, ") for each in problems(load(str(file)))]


def test_a_file_that_works_is_not_refused(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(files)
    rpc = {
        "Endpoints": ["message:10400", "unix:/run/x.sock", "[::1]:10400", "dns:///message:10400"],
        "Tls": {"CACertFile": "one.pem", "CertFile": "two.pem", "KeyFile": "two.key"},
    }
    more = {"CertFile": "one.pem", "KeyFile": "one.key", "MessageRpc": rpc}
    assert refused(files, **more, Log={"Mode": "file", "Path": "a/b"}) == []


def test_certificates_that_do_not_fit_their_keys(files: Path) -> None:
    pair = {"CertFile": f"{files}/one.pem", "KeyFile": f"{files}/two.key"}
    [port, services, rpc] = refused(
        files, **pair, Services=pair, FriendRpc={"Endpoints": ["friend:1"], "Tls": pair}
    )
    words = f"{files}/one.pem and the key {files}/two.key cannot be used together"
    assert port.startswith(f'field "CertFile" {words}: ')
    assert services.startswith(f'field "Services.CertFile" {words}: ')
    assert rpc.startswith(f'field "FriendRpc.Tls.CertFile" {words}: ')


def test_files_that_are_missing_or_no_certificates(files: Path) -> None:
    (files / "ws.txt").write_text("no certificate")
    tls = {"CACertFile": f"{files}/ws.txt"}
    etcd = {"Hosts": ["etcd:2379"], "Key": "k", "CACertFile": f"{files}/nothing.pem"}
    [first, second] = refused(files, GroupRpc={"Endpoints": ["group:1"], "Tls": tls}, Etcd=etcd)
    assert first.startswith(f'field "GroupRpc.Tls.CACertFile" {files}/ws.txt cannot be used: ')
    assert second == (
        f'field "Etcd.CACertFile" {files}/nothing.pem cannot be used: No such file or directory'
    )


def test_folders_that_cannot_be_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "taken").write_text("")
    log = {"Mode": "file", "Path": f"{tmp_path}/taken/logs"}
    [said] = refused(tmp_path, Log=log)
    assert said == f'field "Log.Path" cannot be used: {tmp_path}/taken is no folder'
    assert refused(tmp_path, Log=log | {"Mode": "console"}) == []
    # Root may write anywhere, so that no folder would say no to the tests.
    monkeypatch.setattr(os, "access", lambda *_: False)
    [said] = refused(tmp_path, Embedded={"DataDir": f"{tmp_path}/data"})
    assert said == (
        f'field "Embedded.DataDir" cannot be used: this user may not write to {tmp_path}'
    )


def test_keys_that_are_unknown_or_have_no_effect(tmp_path: Path) -> None:
    more: dict[str, Any] = {"Foo": 1, "Timeout": 3000, "Verbose": True}
    rpc = {"Endpoints": ["message:10400"], "nonblock": True}
    assert sorted(refused(tmp_path, MessageRpc=rpc, **more)) == [
        'field "Foo" is not known',
        'field "MessageRpc.nonblock" has no effect: leave it out',
        'field "Timeout" has no effect: leave it out',
        'field "Verbose" has no effect: leave it out',
    ]


@pytest.mark.parametrize("address", ["message", "consul:message", "http://message:1"])
def test_addresses_that_nobody_resolves(tmp_path: Path, address: str) -> None:
    [said] = refused(tmp_path, MessageRpc={"Endpoints": [address]})
    assert said == (
        f'field "MessageRpc.Endpoints" has "{address}", which is neither host:port nor unix:/path'
    )


def test_spans_that_nobody_would_get_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert refused(tmp_path, Telemetry={"Endpoint": "otel:4317"}) == []
    assert refused(tmp_path, Telemetry={"Sampler": 0.1}) == []
    [said] = refused(tmp_path, Telemetry={"Endpoint": "otel:4317", "Batcher": "zipkin"})
    assert said.startswith('field "Telemetry.Batcher" "zipkin" is not supported: use otlpgrpc')
    [said] = refused(tmp_path, Telemetry={"Endpoint": "http://otel:9411/api/v2/spans"})
    assert said.startswith('field "Telemetry.Endpoint" must be host:port')
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    [said] = refused(tmp_path, Telemetry={"Endpoint": "otel:4317"})
    assert said.endswith("nothing is exported without the exporters: pip install 'skyeim_ws[otel]'")

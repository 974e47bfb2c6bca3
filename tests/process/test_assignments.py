"""What the parts of a gateway of several processes are told, and how they share a port."""

import os
import socket
from contextlib import ExitStack
from dataclasses import replace

import pytest
from tornado.netutil import bind_sockets

from skyeim_ws.config.redis import RedisConf
from skyeim_ws.config.rpc import RpcConf as Rpc
from skyeim_ws.config.tree import Auth, Backends, Config, DatabaseConf, DevServerConf, EmbeddedConf
from skyeim_ws.process import workers

SECRET = "a secret for tests, longer than 32 bytes"
CONFIG = Config(
    name="ws",
    port=0,
    workers=3,
    auth=Auth(access_secret=SECRET),
    embedded=EmbeddedConf(data_dir="data"),
    database=DatabaseConf(data_source="im:pw@tcp(h)/im"),
)
WHERE = Backends(
    redis=RedisConf(host="/run/valkey.sock", password="pw"),
    message_rpc=Rpc(endpoints=("unix:/m",)),
    friend_rpc=Rpc(endpoints=("unix:/f",)),
    group_rpc=Rpc(target="dns:///g"),
    private_redis=True,
)


def test_a_worker_is_told_of_backends_that_it_need_not_start() -> None:
    for index, told in enumerate(workers.assignments(CONFIG, WHERE, 7000, 7001)):
        config = told.config
        assert (told.index, config.name) == (index, f"ws-{index}")
        assert (config.port, told.push_port) == (7000, 7001)
        assert (config.redis, config.message_rpc) == (WHERE.redis, WHERE.message_rpc)
        assert (config.friend_rpc, config.group_rpc) == (WHERE.friend_rpc, WHERE.group_rpc)
        assert (config.embedded, config.database) == (None, None)


def test_workers_answer_their_parent_and_leave_the_ports_for_operators_to_it() -> None:
    config = replace(CONFIG, dev_server=DevServerConf(enabled=True))
    told = workers.assignments(config, WHERE, 7000, 0, folder="/f")
    assert [each.config.operators_socket for each in told] == [
        *("/f/worker-0", "/f/worker-1", "/f/worker-2")
    ]
    assert {each.config.shows_metrics for each in told} == {False}
    assert {each.config.dev_server.ready_path for each in told} == {"/readyz"}


def test_what_is_told_arrives_and_does_not_stay_in_the_environment() -> None:
    (told, *_) = workers.assignments(CONFIG, WHERE, 7000, 7001)
    environment = workers.environment(told)
    assert workers.receive(environment) == told
    assert environment == {}


def test_zero_workers_are_one_for_each_core() -> None:
    cores = len(os.sched_getaffinity(0))
    assert workers.count(replace(CONFIG, workers=0)) == cores
    assert workers.count(CONFIG) == 3


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", ""])
def test_a_reserved_port_is_for_workers_alone(host: str) -> None:
    """Also while none of them listens; the same port for all addresses of the host."""
    with ExitStack() as stack:
        reserved = workers.reserve(host, 0)
        for bound in reserved:
            stack.enter_context(bound)
        (port,) = {bound.getsockname()[1] for bound in reserved}
        with pytest.raises(OSError, match="in use"):
            workers.reserve(host, port)
        with pytest.raises(OSError, match="in use"):
            socket.create_server((host, port))
        for _ in range(2):
            for listening in bind_sockets(port, host, reuse_port=True):
                stack.enter_context(listening)
        with pytest.raises(OSError, match="in use"):
            workers.reserve(host, port)
        for _ in range(5):
            stack.enter_context(socket.create_connection((host or "localhost", port)))


def test_a_port_that_is_in_use_cannot_be_reserved() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        workers.reserve("127.0.0.1", taken.getsockname()[1])


def test_a_host_that_is_not_here_cannot_be_reserved() -> None:
    with pytest.raises(OSError, match="assign requested address"):
        workers.reserve("192.0.2.1", 0)

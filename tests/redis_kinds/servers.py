"""A real Redis Cluster and a real sentinel set on loopback ports, whose servers can be killed."""

import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import redis

from skyeim_ws.config.redis import RedisConf, SentinelConf
from skyeim_ws.process import valkey
from tests.ports import free_port
from tests.waiting import wait_for

HOST = "127.0.0.1"
MASTER = "skyeim"
NODE_TIMEOUT_MS = 1500
"""After this a node is missed; a failover takes about twice as long."""


class Node:
    """One server process; its data is gone when it is killed."""

    def __init__(
        self, folder: Path, port: int, *options: str, bus_port: int = 0, sentinel: bool = False
    ) -> None:
        self.port = port
        self.bus_port = bus_port
        folder.mkdir()
        conf = folder / "conf"
        lines = [f"port {port}", f"bind {HOST}", f"dir {folder}", "daemonize no", *options]
        if bus_port:
            lines += ["cluster-enabled yes", f"cluster-port {bus_port}"]
        if not sentinel:
            lines += ['save ""', "appendonly no", "repl-diskless-sync-delay 0"]
        conf.write_text("\n".join(lines) + "\n")
        self._command = [str(valkey.find_server()), str(conf), *(["--sentinel"] * sentinel)]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        return self._process is not None

    def start(self) -> None:
        self._process = subprocess.Popen(
            self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_for(self._answers, "Redis")

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def ask(self, *command: Any) -> Any:
        """Send one command, and return what the server says."""
        with redis.Redis(host=HOST, port=self.port, socket_timeout=5, protocol=2) as client:
            return client.execute_command(*command)

    def info(self, section: str) -> dict[str, Any]:
        found: dict[str, Any] = self.ask("INFO", section)
        return found

    def empty(self) -> None:
        """Delete all; also from the file that a copy to a replica has left, for the next start."""
        self.ask("FLUSHALL")
        self.ask("SAVE")

    def _answers(self) -> bool:
        try:
            return bool(self.ask("PING"))
        except redis.ConnectionError:
            return False


class ClusterServers:
    """Three masters, each with a replica."""

    def __init__(self, nodes: list[Node]) -> None:
        self.nodes = nodes

    @property
    def conf(self) -> RedisConf:
        return RedisConf(
            host=",".join(f"{HOST}:{node.port}" for node in self.nodes), type="cluster"
        )

    def masters(self) -> list[Node]:
        return [node for node in self.nodes if node.running and _is_master(node)]

    def owner(self, key: str) -> Node:
        """Return the master that has a key."""
        asked = next(node for node in self.nodes if node.running)
        slot = asked.ask("CLUSTER", "KEYSLOT", key)
        for first, last, (_, port, *_), *_ in asked.ask("CLUSTER", "SLOTS"):
            if first <= slot <= last:
                return next(node for node in self.nodes if node.port == port)
        raise AssertionError(f"nobody has {key}")

    def at(self, port: int) -> Node:
        """Return the server with this port."""
        return next(node for node in self.nodes if node.port == port)

    def move(self, key: str, to: Node) -> None:
        """Move the slot of a key to another master, with all its keys."""
        slot, owner = to.ask("CLUSTER", "KEYSLOT", key), self.owner(key)
        if owner is to:
            return
        names = {node: _text(node.ask("CLUSTER", "MYID")) for node in (owner, to)}
        to.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", names[owner])
        owner.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", names[to])
        while keys := owner.ask("CLUSTER", "GETKEYSINSLOT", slot, 100):
            owner.ask("MIGRATE", HOST, to.port, "", 0, 5000, "KEYS", *keys)
        for node in (to, owner):
            node.ask("CLUSTER", "SETSLOT", slot, "NODE", names[to])

    def heal(self) -> None:
        """Start what was killed, wait until each master has a replica again, and empty all."""
        for node in self.nodes:
            if not node.running:
                node.start()
        wait_for(self.is_well, "Redis")
        for node in self.masters():
            node.empty()

    def is_whole(self) -> bool:
        """Say if there is a master for each slot."""
        return len(self.masters()) == 3

    def is_well(self) -> bool:
        """Say if each master has a replica too."""
        masters = self.masters()
        return (
            self.is_whole()
            and all("cluster_state:ok" in str(_text(n.ask("CLUSTER", "INFO"))) for n in self.nodes)
            and all(_online_replicas(master) == 1 for master in masters)
        )

    def set_up(self) -> None:
        masters, replicas = self.nodes[:3], self.nodes[3:]
        for number, node in enumerate(self.nodes):
            node.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for number, node in enumerate(masters):
            bounds = (number * 16384 // 3, (number + 1) * 16384 // 3 - 1)
            node.ask("CLUSTER", "ADDSLOTSRANGE", *bounds)
        for node in self.nodes[1:]:
            self.nodes[0].ask("CLUSTER", "MEET", HOST, node.port, node.bus_port)
        wait_for(
            lambda: all(_known(node) == len(self.nodes) for node in self.nodes),
            "the servers do not come up",
        )
        for master, replica in zip(masters, replicas, strict=True):
            replica.ask("CLUSTER", "REPLICATE", _text(master.ask("CLUSTER", "MYID")))
        wait_for(self.is_well, "Redis")


class SentinelServers:
    """A master, two replicas and three sentinels."""

    def __init__(self, nodes: list[Node], sentinels: list[Node]) -> None:
        self.nodes = nodes
        self.sentinels = sentinels

    @property
    def conf(self) -> RedisConf:
        hosts = tuple(f"{HOST}:{node.port}" for node in self.sentinels)
        return RedisConf(sentinel=SentinelConf(hosts=hosts, master=MASTER))

    def master(self) -> Node:
        _, port = self.sentinels[0].ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER)
        return next(node for node in self.nodes if node.port == int(port))

    def heal(self) -> None:
        """Start what was killed, wait until the master has its replicas again, and empty it."""
        for node in (*self.sentinels, *self.nodes):
            if not node.running:
                node.start()
        master = self.master()
        for node in self.nodes:
            if node is not master and _is_master(node):
                # The sentinels would do it too, some ten seconds later.
                node.ask("REPLICAOF", HOST, master.port)
        wait_for(self.is_well, "Redis")
        self.master().empty()

    def masters(self) -> list[Node]:
        """Return the master, if it runs."""
        master = self.master()
        return [master] if master.running and _is_master(master) else []

    def is_whole(self) -> bool:
        """Say if there is a master."""
        return bool(self.masters())

    def is_well(self) -> bool:
        """Say if the master has its replicas too."""
        master = self.master()
        sentinels = [s.ask("SENTINEL", "CKQUORUM", MASTER) for s in self.sentinels]
        return _is_master(master) and _online_replicas(master) == 2 and all(sentinels)


@contextmanager
def cluster_servers(folder: Path, *more: str) -> Iterator[ClusterServers]:
    """Run a cluster; each server has `more` lines in its configuration."""
    with ExitStack() as stack:
        nodes = []
        for number in range(6):
            options = (
                f"cluster-node-timeout {NODE_TIMEOUT_MS}",
                "cluster-replica-validity-factor 0",
                "cluster-allow-replica-migration no",
                *more,
            )
            node = Node(folder / f"c{number}", free_port(), *options, bus_port=free_port())
            nodes.append(_started(stack, node))
        cluster = ClusterServers(nodes)
        cluster.set_up()
        yield cluster


@contextmanager
def sentinel_servers(folder: Path, *more: str) -> Iterator[SentinelServers]:
    """Run a sentinel set; each server has `more` lines in its configuration."""
    with ExitStack() as stack:
        first = free_port()
        nodes = [_started(stack, Node(folder / "r0", first, *more))]
        for number in (1, 2):
            follows = f"replicaof {HOST} {first}"
            replica = Node(folder / f"r{number}", free_port(), follows, *more)
            nodes.append(_started(stack, replica))
        wait_for(lambda: _online_replicas(nodes[0]) == 2, "Redis")
        watch = (
            f"sentinel monitor {MASTER} {HOST} {first} 2",
            f"sentinel down-after-milliseconds {MASTER} {NODE_TIMEOUT_MS}",
            f"sentinel failover-timeout {MASTER} 5000",
        )
        sentinels = [
            _started(stack, Node(folder / f"s{number}", free_port(), *watch, sentinel=True))
            for number in range(3)
        ]
        # All have to know of one another, and of the replicas, before they can agree.
        wait_for(
            lambda: all(_knows_all(sentinel) for sentinel in sentinels),
            "the servers do not come up",
        )
        yield SentinelServers(nodes, sentinels)


def _started(stack: ExitStack, node: Node) -> Node:
    stack.callback(node.kill)
    node.start()
    return node


def _is_master(node: Node) -> bool:
    return bool(node.info("replication")["role"] == "master")


def _online_replicas(node: Node) -> int:
    found = node.info("replication")
    return sum(
        name.startswith("slave") and isinstance(value, dict) and value.get("state") == "online"
        for name, value in found.items()
    )


def _known(node: Node) -> int:
    return len(str(_text(node.ask("CLUSTER", "NODES"))).strip().splitlines())


def _knows_all(sentinel: Node) -> bool:
    state = [_text(item) for item in sentinel.ask("SENTINEL", "MASTER", MASTER)]
    found = dict(zip(state[::2], state[1::2], strict=True))
    return (found["num-slaves"], found["num-other-sentinels"]) == ("2", "2")


def _text(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value

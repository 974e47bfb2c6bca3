"""The gateway as in production: `skyeim_ws serve`, with Valkey and services of its own."""

import asyncio
import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.services import seed
from skyeim_ws.handler import tokens
from skyeim_ws.process import embedded, pdeathsig, valkey

START_DEADLINE = 90.0
STOP_DEADLINE = 15.0
_POLL = 0.02

FIRST_USER = 1_000_001
"""Users are numbered from here, so that all ids have the same length."""

NEVER = 1e9
"""As a PingInterval: no heartbeat, not even in the random phase that each connection begins with.

Where bytes are counted there must be no pings among them.
"""

_TOKEN_SECONDS = 7 * 86_400.0
_LISTENING = ("gateway_listening", "workers_listening")
_KINDS = {"valkey-server": "valkey", "skyeim_ws.services.server": "services"}


@dataclass(frozen=True, slots=True)
class Gateway:
    """Where it listens, whom it lets in, and its processes: `gateway`, `valkey`, `services`."""

    port: int
    secret: str
    pids: Mapping[str, Sequence[int]]
    folder: Path
    certificate: str = ""
    """The file of whom to trust, if it speaks TLS."""

    @property
    def redis(self) -> Path:
        """Return the socket of its Redis."""
        return valkey.runtime_dir(self.folder) / valkey.SOCKET_NAME

    @property
    def resident(self) -> int:
        """Return the bytes that the gateway has in memory."""
        return resident_bytes(self.pids["gateway"][0])

    def tokens(self, users: Iterable[int]) -> list[str]:
        """Return a token for each user."""
        return [tokens.issue(self.secret, user, ttl=_TOKEN_SECONDS) for user in users]


def users(count: int, start: int = 0) -> range:
    """Return the ids of so many users, from one of them on."""
    return range(FIRST_USER + start, FIRST_USER + start + count)


@contextmanager
def gateway(
    *,
    groups: Mapping[str, Sequence[int]] | None = None,
    friends: Sequence[tuple[int, int]] = (),
    workers: int = 1,
    ping_interval: float = NEVER,
    limited: bool = False,
    tls: bool = False,
    patience: float = 60.0,
    more: str = "",
) -> Iterator[Gateway]:
    """Run a gateway, in a new folder, with these groups and friends in its database.

    Where it is not `limited`, its clients may send as fast as they can. `patience`: for so many
    seconds after a ping a load may be busy elsewhere. `more` is YAML for the end of the
    configuration.
    """
    with tempfile.TemporaryDirectory(prefix="skyeim-bench-") as name:
        folder = Path(name)
        asyncio.run(seed(str(folder / "skyeim.db"), groups or {}, friends))
        backends = f'Embedded: {{DataDir: "{folder}"}}\n'
        backends += f'Database: {{DataSource: "{folder}/skyeim.db"}}\n'
        certificate = ""
        if tls:
            certificate, key = certify(folder)
            backends += f'CertFile: "{certificate}"\nKeyFile: "{key}"\n'
        secret = secrets.token_hex(32)
        pings = ping_interval, ping_interval + patience
        config = _config(secret, workers, pings, limited) + backends + more
        with _running(folder, config, secret, certificate) as started:
            yield started


@contextmanager
def node(first: Gateway) -> Iterator[Gateway]:
    """Run another gateway on the Redis and the services of the first one."""
    with tempfile.TemporaryDirectory(prefix="skyeim-bench-") as name:
        config = _config(first.secret, 1, (NEVER, NEVER + 60), limited=False)
        config += f'Redis: {{Host: "{first.redis}"}}\n'
        for service in ("MessageRpc", "FriendRpc", "GroupRpc"):
            config += f'{service}: {{Endpoints: ["{embedded.services_address(first.folder)}"]}}\n'
        with _running(Path(name), config, first.secret) as started:
            yield started


@contextmanager
def _running(folder: Path, config: str, secret: str, certificate: str = "") -> Iterator[Gateway]:
    (folder / "ws.yaml").write_text(config)
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(
            [
                *(sys.executable, "-I", "-S", pdeathsig.__file__, str(os.getpid()), "--"),
                *(sys.executable, "-m", "skyeim_ws", "serve", "-f", str(folder / "ws.yaml")),
            ],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    started: dict[str, list[int]] = {}
    try:
        port = _wait_for_port(process, folder / "output")
        started = _processes(process.pid)
        yield Gateway(port, secret, started, folder, certificate)
    finally:
        _end(process, [pid for pids in started.values() for pid in pids])


def certify(folder: Path) -> tuple[str, str]:
    """Make a certificate for localhost and its key; return their files."""
    certificate, key = str(folder / "cert.pem"), str(folder / "key.pem")
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    command += " -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    subprocess.run(
        [*command.split(), "-keyout", key, "-out", certificate], check=True, capture_output=True
    )
    return certificate, key


def resident_bytes(pid: int) -> int:
    """Return how much memory of a process is in RAM."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Rss:"):
            return 1024 * int(line.split()[1])
    raise ValueError("smaps_rollup has no Rss")


def _config(secret: str, workers: int, pings: tuple[float, float], limited: bool) -> str:
    # A production mode and its log; only what would limit the load is out of the way.
    return f"""
Name: bench
Host: 127.0.0.1
Port: 0
Mode: pro
MaxConns: 0
Workers: {workers}
Auth: {{AccessSecret: "{secret}"}}
WebSocket:
  {"" if limited else "RateLimit: 0"}
  LoginBurst: 0
  MaxConnsPerIp: 0
  CallRate: 0
  PingInterval: {pings[0]:.1f}
  PongTimeout: {pings[1]:.1f}
Log: {{Encoding: json, Level: info}}
"""


def _wait_for_port(process: subprocess.Popen[bytes], output: Path) -> int:
    deadline = time.monotonic() + START_DEADLINE
    while time.monotonic() < deadline and process.poll() is None:
        for line in output.read_text().splitlines():
            if line.startswith("{") and any(f'"{event}"' in line for event in _LISTENING):
                entry = json.loads(line)
                # A worker logs a line of its own; the parent's comes when all of them listen.
                if entry["content"] == _LISTENING[1] or not _is_worker(entry):
                    return int(entry["port"])
        time.sleep(_POLL)
    raise RuntimeError(f"the gateway has not started:\n{output.read_text()[-3000:]}")


def _is_worker(entry: Mapping[str, object]) -> bool:
    return str(entry["process"]).startswith("worker-")


def _processes(parent: int) -> dict[str, list[int]]:
    """Return the processes of a gateway by what they are; workers count as gateway."""
    found: dict[str, list[int]] = {"gateway": [parent], "valkey": [], "services": []}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            status = (entry / "stat").read_text().rpartition(")")[2].split()
            command = (entry / "cmdline").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(status[1]) == parent:
            kinds = [kind for part, kind in _KINDS.items() if part in command]
            found[kinds[0] if kinds else "gateway"].append(int(entry.name))
    return found


def _end(process: subprocess.Popen[bytes], pids: Sequence[int]) -> None:
    """Kill it, since nothing is to be kept; its children die with it, which is waited for."""
    process.kill()
    process.wait(STOP_DEADLINE)
    deadline = time.monotonic() + STOP_DEADLINE
    while any(map(_is_alive, pids)):
        if time.monotonic() > deadline:
            raise TimeoutError("a child of the gateway has outlived it")
        time.sleep(_POLL)


def _is_alive(pid: int) -> bool:
    try:
        # The text before holds the name of the command, which may be anything. A dead process
        # that nobody has asked for stays as a zombie.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False

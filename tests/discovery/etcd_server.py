"""A real etcd that tests can stop, compact and lock, spoken to over its HTTP API."""

import asyncio
import base64
import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from skyeim_ws.config.rpc import EtcdConf
from skyeim_ws.process import pdeathsig
from tests.ports import free_port
from tests.waiting import until_async

PASSWORD = "a password of the tests"

needs_etcd = pytest.mark.skipif(shutil.which("etcd") is None, reason="no etcd server is installed")


def _encode(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


class Etcd:
    """One server on loopback, with its data on disk; with certificate and key it speaks TLS."""

    def __init__(self, folder: Path, certificate: tuple[Path, Path] | None = None) -> None:
        self._folder = folder
        self._certificate = certificate
        self._process: subprocess.Popen[bytes] | None = None
        self._token = ""
        self.port, self._peer_port = free_port(), free_port()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def conf(self, key: str, **more: Any) -> EtcdConf:
        return EtcdConf(hosts=(self.address,), key=key, **more)

    async def start(self) -> None:
        """Start with the data there is, and wait until it answers."""
        client = f"{'https' if self._certificate else 'http'}://{self.address}"
        peer = f"http://127.0.0.1:{self._peer_port}"
        command = ["etcd", "--data-dir", str(self._folder / "data"), "--log-level", "warn"]
        command += ["--listen-client-urls", client, "--advertise-client-urls", client]
        command += ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer]
        command += ["--initial-cluster", f"default={peer}"]
        if self._certificate:
            certificate, key = map(str, self._certificate)
            command += ["--cert-file", certificate, "--key-file", key]
            command += ["--client-cert-auth", "--trusted-ca-file", certificate]
        tied = [sys.executable, "-I", "-S", pdeathsig.__file__, str(os.getpid()), "--", *command]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(tied, stdout=log, stderr=log)  # noqa: ASYNC220
        await until_async(self._answers)

    async def _answers(self) -> bool:
        try:
            await self.ask("cluster/member/list")
        except OSError:
            assert self._process is not None
            assert self._process.poll() is None, (self._folder / "log").read_text()
            return False
        return True

    def stop(self) -> None:
        """Kill it; its data stays."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """Have it stand still, with its connections open, for the rest of its life."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def clear(self) -> None:
        """Throw the data of a stopped server away."""
        shutil.rmtree(self._folder / "data")

    async def ask(self, path: str, **fields: Any) -> dict[str, Any]:
        """Make a call of the HTTP API; raises OSError."""
        scheme, context = "http", None
        if self._certificate:
            scheme, context = "https", ssl.create_default_context()
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            context.load_cert_chain(*self._certificate)
        request = urllib.request.Request(
            f"{scheme}://{self.address}/v3/{path}",
            json.dumps(fields).encode(),
            {"Authorization": self._token} if self._token else {},
        )

        def call() -> dict[str, Any]:
            with urllib.request.urlopen(request, timeout=10, context=context) as answer:
                found: dict[str, Any] = json.load(answer)
                return found

        return await asyncio.to_thread(call)

    async def put(self, key: str, value: str) -> None:
        await self.ask("kv/put", key=_encode(key), value=_encode(value))

    async def delete(self, key: str) -> None:
        await self.ask("kv/deleterange", key=_encode(key))

    async def keys(self, prefix: str) -> dict[str, str]:
        """Return what stands under a prefix."""
        end = prefix[:-1] + chr(ord(prefix[-1]) + 1)
        found = await self.ask("kv/range", key=_encode(prefix), range_end=_encode(end))
        return {
            base64.b64decode(pair["key"]).decode(): base64.b64decode(pair["value"]).decode()
            for pair in found.get("kvs", ())
        }

    async def compact(self) -> None:
        """Forget all revisions but the present one."""
        answer = await self.ask("kv/put", key=_encode("another key"))
        revision = answer["header"]["revision"]
        await self.ask("kv/compaction", revision=revision, physical=True)

    async def log_in(self) -> None:
        """Take a token; a server that was started anew knows none of before."""
        self._token = ""
        answer = await self.ask("auth/authenticate", name="root", password=PASSWORD)
        self._token = answer["token"]

    async def lock(self, user: str, prefix: str) -> None:
        """Let nobody in without a password; the user may use what is under the prefix."""
        end = prefix[:-1] + chr(ord(prefix[-1]) + 1)
        permission = {"permType": "READWRITE", "key": _encode(prefix), "range_end": _encode(end)}
        await self.ask("auth/role/add", name="root")
        await self.ask("auth/role/add", name="service")
        await self.ask("auth/role/grant", name="service", perm=permission)
        for name, role in (("root", "root"), (user, "service")):
            await self.ask("auth/user/add", name=name, password=PASSWORD)
            await self.ask("auth/user/grant", user=name, role=role)
        await self.ask("auth/enable")
        await self.log_in()


@asynccontextmanager
async def running_etcd(certificate: tuple[Path, Path] | None = None) -> AsyncIterator[Etcd]:
    """Run a server that dies with this process at the latest."""
    with tempfile.TemporaryDirectory(prefix="skyeim-") as folder:
        server = Etcd(Path(folder), certificate)
        await server.start()
        try:
            yield server
        finally:
            server.stop()

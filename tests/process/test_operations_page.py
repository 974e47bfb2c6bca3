"""docs/operations.md, followed to the letter: its commands are run, in order, in a clean clone.

The folders of the system lie in a temporary one, and what would change the machine is a stub that
writes down how it was called. Only the long form installs from the net.
"""

import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.long import LONG
from tests.ports import free_port
from tests.process.conftest import running

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/operations.md").read_text()
BLOCKS: list[str] = re.findall(r"^```sh\n(.+?)^```$", PAGE, re.MULTILINE | re.DOTALL)

STUBS = ("systemctl", "nginx", "redis-cli", "etcdctl")
FOLDERS = ("/opt/skyeim-ws", "/etc/skyeim-ws", "/etc/systemd/system", "/etc/nginx/conf.d")
SECRET = "the-secret-of-services-has-over-32-bytes"


class Machine:
    """A clean clone, and the folders and programs that the page takes for granted."""

    def __init__(self, folder: Path) -> None:
        self.root = folder
        self.clone = folder / "clone"
        subprocess.run(["git", "clone", "-q", str(ROOT), str(self.clone)], check=True)
        programs = folder / "bin"
        programs.mkdir()
        for name in STUBS:
            stub = programs / name
            stub.write_text(f'#!/bin/sh\necho {name} "$@" >> {folder}/called\n')
            stub.chmod(0o755)
        for name in FOLDERS[2:]:
            Path(f"{folder}{name}").mkdir(parents=True)
        (folder / "usr/local/bin").mkdir(parents=True)
        self.path = f"{programs}:{folder}/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

    def run(self, block: str, port: int = 10300, **environment: str) -> str:
        """Run a block as a person would, and return what it says; it must not fail."""
        text = block.replace("127.0.0.1:10300", f"127.0.0.1:{port}")
        for name in (*FOLDERS, "/usr/local/bin"):
            text = text.replace(name, f"{self.root}{name}")
        done: subprocess.CompletedProcess[str] = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text],
            cwd=self.clone,
            env=os.environ | {"PATH": self.path} | environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        said = str(done.stdout)
        assert done.returncode == 0, f"{text}\n{said}"
        return said


def block(*words: str) -> str:
    """Return the one block of the page that has all of these words."""
    [found] = [each for each in BLOCKS if all(word in each for word in words)]
    return found


@pytest.mark.gen_test
async def test_the_commands_of_the_page_work_in_a_clean_clone(folder: Path) -> None:
    machine = Machine(folder)
    ran = []

    def run(*words: str, port: int = 10300, **environment: str) -> str:
        ran.append(block(*words))
        return machine.run(ran[-1], port, **environment)

    if not LONG:
        # What `pip install` would bring is here already.
        installed = folder / "opt/skyeim-ws/bin"
        installed.mkdir(parents=True)
        (installed / "skyeim-ws").symlink_to(Path(sys.executable).parent / "skyeim-ws")
        for name in ("pip", "python3"):
            (folder / "bin" / name).symlink_to("/bin/true")
        (installed / "pip").symlink_to("/bin/true")
    assert "is valid" in run("pip install")
    if not LONG:
        (folder / "bin/python3").unlink()
    run("/dev/null /etc/skyeim-ws/secrets.env")
    secrets = folder / "etc/skyeim-ws/secrets.env"
    names = set(re.findall(r"\$\{(\w+)\}", (folder / "etc/skyeim-ws/ws.yaml").read_text()))
    secrets.write_text("".join(f'{name}="{SECRET}"\n' for name in sorted(names)))
    assert "is valid" in run("systemctl daemon-reload")
    run("nginx -t")
    run("redis-cli ACL", "a-long-password")
    run("redis-cli ACL", "+spublish")
    run("etcdctl")

    port = free_port()
    # The one that the page has installed names machines that are not here.
    text = (machine.clone / "etc/ws.yaml").read_text()
    text = text.replace("Port: 10300", f"Port: {port}")
    (folder / "etc/skyeim-ws/ws.yaml").write_text(f"{text}\nPushEvent: {{Secret: {SECRET}}}\n")
    program = str(folder / "opt/skyeim-ws/bin/skyeim-ws")
    demo = (program, "demo", "-f", str(folder / "etc/skyeim-ws/ws.yaml"))
    async with running(machine.clone, *demo) as gateway:
        await gateway.line("To chat in terminals")
        pushed = run("curl", "/api/push", port=port, SECRET=SECRET)
        assert pushed.count('{"code":0,"message":"success"}') == 2
        assert "1001" in run("admin group members")
        run("sqlite3", "backup.db")
        assert (machine.clone / "backup.db").stat().st_size > 0
        gateway.process.send_signal(signal.SIGTERM)
        assert await gateway.exit_code() == 0
    assert ran == BLOCKS, "a block of the page was left out, or stands elsewhere now"
    called = (folder / "called").read_text().splitlines()
    # The rights that it gives are tried by the tests of the gateway, which have no others.
    rights = [called.pop(4), called.pop(4)]
    assert all(line.startswith("redis-cli ACL SETUSER skyeim") for line in rights)
    assert called == [
        "systemctl daemon-reload",
        "systemctl enable --now skyeim-ws",
        "nginx -t",
        "systemctl reload nginx",
        "etcdctl role grant-permission chat --prefix=true readwrite message.rpc/",
    ]


def test_each_unit_runs_what_the_page_installs() -> None:
    for unit in (ROOT / "systemd").glob("*.service"):
        for line in re.findall(r"^ExecStart\w*=(.+)$", unit.read_text(), re.MULTILINE):
            assert shlex.split(line)[0].lstrip("-+!@:") == "/opt/skyeim-ws/bin/skyeim-ws"

"""The units for systemd fit the program and please systemd: commands, notifications, times."""

import argparse
import shlex
import shutil
import subprocess
from configparser import ConfigParser, SectionProxy
from pathlib import Path

import pytest
import yaml

from skyeim_ws.cli import main as cli
from skyeim_ws.config.loader import parse_duration
from skyeim_ws.config.tree import ShutdownConf
from skyeim_ws.process import workers
from skyeim_ws.process.embedded import STOP_GRACE
from skyeim_ws.process.listening import CLIENTS
from skyeim_ws.services.server import STOP_SECONDS

ANALYZE = shutil.which("systemd-analyze")
UNITS = Path(__file__).resolve().parents[2] / "systemd"


def service(name: str, kind: str = "Service") -> SectionProxy:
    """Return what a unit says about its service or socket."""
    # Not strict: a list may be written in several lines.
    unit = ConfigParser(
        interpolation=None, delimiters=("=",), comment_prefixes=("#",), strict=False
    )
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string((UNITS / name).read_text())
    assert set(unit) == {"DEFAULT", "Unit", kind, "Install"}
    return unit[kind]


@pytest.mark.parametrize(
    ("name", "command"),
    [("skyeim-ws.service", "_serve"), ("skyeim-ws-services.service", "_services")],
)
def test_what_a_unit_starts_is_a_command_of_ours(name: str, command: str) -> None:
    assert started_by(service(name)["ExecStart"]).run.__name__ == command


def started_by(line: str) -> argparse.Namespace:
    """Return what a command line of a unit means to our program."""
    program, *arguments = shlex.split(line)
    assert Path(program).name == "skyeim-ws"
    parsed = cli.make_parser().parse_args(arguments)
    assert (parsed.env, parsed.file) == (True, "/etc/skyeim-ws/ws.yaml")
    return parsed


def test_the_configuration_is_checked_before_the_gateway_starts() -> None:
    parsed = started_by(service("skyeim-ws.service")["ExecStartPre"])
    assert parsed.run.__name__ == "_check"
    assert parsed.strict


@pytest.mark.parametrize("name", ["skyeim-ws.service", "skyeim-ws-services.service"])
def test_a_unit_confines_the_program_to_its_own_folder(name: str) -> None:
    said = service(name)
    assert said["DynamicUser"] == said["NoNewPrivileges"] == "yes"
    assert said["ProtectSystem"] == "strict"
    assert said["WorkingDirectory"] == f"%S/{said['StateDirectory']}"
    assert said["StateDirectory"] == Path(name).stem
    # The gateway's children are its own to stop.
    assert said["KillMode"] == "mixed"


def test_the_gateway_has_the_time_it_needs_to_stop() -> None:
    said = service("skyeim-ws.service")
    shutdown = ShutdownConf()
    clients = shutdown.pre_stop + shutdown.wrap_up_time + shutdown.wait_time
    needed = clients + workers.STOP_MARGIN + 2 * STOP_GRACE
    assert parse_duration(said["TimeoutStopSec"]) > needed
    assert said["Type"] == "notify"
    assert said["ExecReload"] == "/bin/kill -HUP $MAINPID"


def test_the_services_have_the_time_they_need_to_stop() -> None:
    said = service("skyeim-ws-services.service")
    assert parse_duration(said["TimeoutStopSec"]) > STOP_SECONDS
    assert said["Type"] == "notify"


def test_the_socket_is_the_one_that_the_program_takes() -> None:
    said = service("skyeim-ws.socket", "Socket")
    assert said["FileDescriptorName"] == CLIENTS
    host, _, port = said["ListenStream"].rpartition(":")
    config = yaml.safe_load((UNITS.parent / "etc" / "ws-cluster.yaml").read_text())
    assert (host, int(port)) == (config["Host"], config["Port"])


@pytest.fixture
def installed(tmp_path: Path) -> list[str]:
    """The units as they would be installed, with a program that is there."""
    paths = []
    for unit in sorted(UNITS.iterdir()):
        copy = tmp_path / unit.name
        copy.write_text(unit.read_text().replace("/opt/skyeim-ws/bin/skyeim-ws", "/bin/true"))
        paths.append(str(copy))
    return paths


needs_systemd = pytest.mark.skipif(ANALYZE is None, reason="systemd is not installed")


@needs_systemd
def test_systemd_finds_no_fault_in_the_units(installed: list[str]) -> None:
    assert ANALYZE is not None
    found = subprocess.run(
        [ANALYZE, "verify", "--man=no", *installed], capture_output=True, text=True, check=False
    )
    assert (found.returncode, found.stdout + found.stderr) == (0, "")


@needs_systemd
def test_the_services_are_little_exposed(installed: list[str]) -> None:
    assert ANALYZE is not None
    for path in installed:
        if path.endswith(".service"):
            command = [ANALYZE, "security", "--offline=true", "--threshold=15", path]
            # The threshold is in tenths: with more than that the exit code is 1.
            found = subprocess.run(command, capture_output=True, text=True, check=False)
            assert found.returncode == 0, found.stdout[-200:]

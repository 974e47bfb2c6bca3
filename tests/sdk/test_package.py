"""The SDK as it is shipped: its own tests, what is published, what the gateway's package has."""

import gzip
import json
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from skyeim_ws import __version__
from tests.node import node, npm
from tests.sdk.people import ROOT

SDK = ROOT / "clients/js"
SOURCES = sorted([*SDK.glob("*.js"), *(ROOT / "skyeim_ws/web").glob("*.js")])
MODULES = {path.name for path in SDK.glob("*.js")}
README = (ROOT / "README.md").read_text()


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command and return what it says; fail with that if it fails."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_what_decides_is_right() -> None:
    """Without sockets and clocks, in JavaScript, with hardly a line that is not walked."""
    tests = sorted((SDK / "test").glob("*.test.js"))
    said = run(node(), "--test", "--experimental-test-coverage", *tests, cwd=SDK)
    lines = {
        found["module"]: float(found["lines"])
        for found in re.finditer(r"^# (?P<module>\w+\.js) +\| +(?P<lines>[\d.]+) ", said, re.M)
    }
    shell = {"skyeim.js", "api.js"}
    assert set(lines) >= MODULES - shell, said
    told = re.search(r"cover at least (\d+) % of the lines", README)
    assert told is not None
    assert min(lines[module] for module in MODULES - shell) >= int(told[1]), said


def test_the_readme_says_how_large_the_clients_are() -> None:
    """To a kilobyte or two: the figures are there to be compared with those of others."""
    script = b"".join(path.read_bytes() for path in sorted(SDK.glob("*.js")))
    python = b"".join(path.read_bytes() for path in (ROOT / "skyeim_ws/client").glob("*.py"))
    sizes = [len(script), len(gzip.compress(script, mtime=0)), len(python)]
    told = re.search(r"has (\d+) KB, (\d+) KB compressed.*?has (\d+) KB\.", README, re.S)
    assert told is not None
    differences = [size / 1000 - int(said) for size, said in zip(sizes, told.groups(), strict=True)]
    assert max(map(abs, differences)) < 2, differences


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_a_module_is_one_small_idea(path: Path) -> None:
    """As the modules in Python are."""
    lines = path.read_text().splitlines()
    assert lines[0].startswith("// ")
    assert len(lines) <= 350
    assert max(map(len, lines)) <= 100


def test_it_can_be_published_and_installed(tmp_path: Path) -> None:
    (packed,) = json.loads(run(*npm(), "pack", "--json", "--pack-destination", tmp_path, cwd=SDK))
    assert {each["path"] for each in packed["files"]} == MODULES | {
        "README.md",
        "package.json",
        "skyeim.d.ts",
    }
    assert (packed["name"], packed["version"]) == ("skyeim", __version__)
    with tarfile.open(tmp_path / packed["filename"]) as archive:
        archive.extractall(tmp_path, filter="data")
    (tmp_path / "node_modules").mkdir()
    (tmp_path / "package").rename(tmp_path / "node_modules/skyeim")
    script = (
        'import { SkyeIM } from "skyeim"; import { Core } from "skyeim/core";'
        'console.log(typeof SkyeIM, new Core().state, typeof (await import("skyeim")).newMsgId)'
    )
    said = run(node(), "--input-type=module", "-e", script, cwd=tmp_path)
    assert said.split() == ["function", "idle", "function"]


def test_the_types_declare_what_there_is() -> None:
    types = (SDK / "skyeim.d.ts").read_text()
    declared = set(re.findall(r"^export (?:class|function|const) (\w+)", types, re.M))
    script = 'console.log(Object.keys(await import("./skyeim.js")).join(" "))'
    exported = set(run(node(), "--input-type=module", "-e", script, cwd=SDK).split())
    assert declared == exported
    for name, module in (("class SkyeIM", "skyeim.js"), ("interface Api", "api.js")):
        body = types.partition(f"{name} {{")[2].partition("\n}")[0]
        public = set(re.findall(r"^  (?:readonly )?(\w+)[(<:]", body, re.M)) - {"constructor"}
        source = (SDK / module).read_text()
        methods = set(re.findall(r"^  (?:async |get )?(\w+)\(.*\{$", source, re.M))
        assert public - methods - {"api", "base"} == set()


def test_the_gateways_package_has_the_same_files(tmp_path: Path) -> None:
    """The page's files are in a wheel, and those of the SDK are those that are published."""
    tree = tmp_path / "tree"
    for name in ("skyeim_ws", "clients", "docs"):
        ignored = shutil.ignore_patterns("__pycache__", "node_modules")
        shutil.copytree(ROOT / name, tree / name, symlinks=True, ignore=ignored)
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    pip = (sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation")
    run(*pip, "--wheel-dir", tmp_path, tree, cwd=tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    web = ROOT / "skyeim_ws/web"
    with zipfile.ZipFile(wheel) as archive:
        for module in MODULES:
            assert archive.read(f"skyeim_ws/web/skyeim/{module}") == (SDK / module).read_bytes()
        shipped = {Path(name).name for name in archive.namelist() if "/web/" in name}
    assert shipped == {
        path.name for path in [*web.iterdir(), *web.glob("skyeim/*.js")] if path.is_file()
    }

"""Runs the Autobahn testsuite, plain and with TLS, and says which of its cases are not passed."""

import argparse
import asyncio
import json
import logging
import sys
import tempfile
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import structlog

from tests.autobahn.echo import echo_servers

_NOT_OURS = {
    "1.2.*": "binary messages, which are refused with 1003",
    "9.2.*": "large binary messages",
    "9.4.*": "large binary messages in fragments",
    "9.6.*": "large binary messages in small pieces",
    "9.8.*": "many binary messages",
    "12.*": "compression, which is not offered",
    "13.*": "compression, which is not offered",
}
"""Cases that are left out, and of what they are."""

_PASSED = ("OK", "NON-STRICT", "INFORMATIONAL")


async def run(suite: Path, folder: Path, cases: list[str]) -> int:
    """Run the suite, which leaves its report in the folder; return its exit code."""
    async with echo_servers() as (plain, secure):
        spec = {
            "outdir": str(folder),
            "servers": [{"agent": "plain", "url": plain}, {"agent": "TLS", "url": secure}],
            "cases": cases,
            "exclude-cases": list(_NOT_OURS),
            "exclude-agent-cases": {},
        }
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump(spec, file)
            file.flush()
            process = await asyncio.create_subprocess_exec(
                suite, "-m", "fuzzingclient", "-s", file.name, cwd=folder
            )
            return await process.wait()


def report(index: dict[str, Any]) -> tuple[str, list[str]]:
    """Return a table by sections, and a line for each case that is not passed."""
    failed = []
    sections: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for server, cases in sorted(index.items()):
        for case, result in cases.items():
            section = case.split(".")[0]
            sections[section]["cases"] += 1
            sections[section][result["behavior"]] += 1
            closing = result["behaviorClose"]
            if result["behavior"] not in _PASSED or closing not in _PASSED:
                failed.append(f"{server} {case}: {result['behavior']}, close {closing}")
    columns = ["cases", *_PASSED]
    lines = [["section", *columns], ["---"] * (len(columns) + 1)]
    for section in sorted(sections, key=int):
        lines.append([section, *(str(sections[section][name]) for name in columns)])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines), failed


def main() -> int:
    """Run what the command line names."""
    parser = argparse.ArgumentParser(prog="python -m tests.autobahn", description=__doc__)
    parser.add_argument("--suite", type=Path, required=True, help="its program, wstest")
    parser.add_argument("--folder", type=Path, default=Path("autobahn-results"))
    parser.add_argument("--cases", nargs="*", default=["*"])
    arguments = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    folder = arguments.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    code = asyncio.run(run(arguments.suite.resolve(), folder, arguments.cases))
    if code:
        return code
    table, failed = report(json.loads((folder / "index.json").read_text()))
    sys.stdout.write(table + "".join(f"{line}\n" for line in failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

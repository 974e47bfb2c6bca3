"""Users of an SDK, as a test sees them: what they were shown, in which order, and what they do."""

import asyncio
import itertools
import json
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

from tests.node import node
from tests.waiting import DEADLINE, until

ROOT = Path(__file__).resolve().parent.parent.parent
SDK = ROOT / "clients/js/skyeim.js"


MakePerson = Callable[..., AbstractAsyncContextManager["Person"]]


def javascript(settings: str) -> tuple[str | Path, ...]:
    """Return the command that runs the SDK in JavaScript for a user."""
    flags = ("--no-warnings", "--experimental-websocket")
    return (node(), *flags, Path(__file__).with_name("person.mjs"), SDK, settings)


def python(settings: str) -> tuple[str | Path, ...]:
    """Return the command that runs the SDK in Python for a user."""
    return (sys.executable, "-X", "dev", "-W", "error", "-m", "tests.sdk.person", settings)


SDKS: dict[str, Callable[[str], tuple[str | Path, ...]]] = {
    "javascript": javascript,
    "python": python,
}
"""Each takes commands and tells events as `person.mjs` does, and so is put to the same tests."""


class Person:
    """A process in which an SDK runs for one user."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._ids = itertools.count()
        self._answers: dict[int, dict[str, Any]] = {}
        self._events: list[tuple[str, dict[str, Any]]] = []

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return the data of all events of this name, in order."""
        return [data for event, data in self._events if event == name]

    def shown(self, key: str = "content") -> list[Any]:
        """Return what the user was shown."""
        return [message[key] for message in self.events("message")]

    @property
    def states(self) -> list[str]:
        """All states so far, in order."""
        return [data["state"] for data in self.events("state")]

    def begin(self, name: str, **data: Any) -> int:
        """Give a command, and return its number."""
        assert self._process.stdin is not None
        number = next(self._ids)
        line = json.dumps({"id": number, "name": name, "data": data})
        self._process.stdin.write(line.encode() + b"\n")
        return number

    async def answer(self, number: int) -> dict[str, Any]:
        """Return what became of a command: `result`, or `reason` and `code`."""
        await self.until(lambda: number in self._answers)
        return self._answers[number]

    async def ask(self, name: str, **data: Any) -> Any:
        """Give a command and return its result."""
        answer = await self.answer(self.begin(name, **data))
        assert "reason" not in answer, answer
        return answer.get("result")

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait for a condition on what was shown; fail with the events where it never comes."""
        try:
            await until(condition, DEADLINE)
        except TimeoutError:
            raise AssertionError(str(self._events[-40:])[-6000:]) from None

    async def until_shown(self, count: int) -> None:
        """Wait until so many messages were shown."""
        await self.until(lambda: len(self.events("message")) >= count)

    async def read(self) -> None:
        """Take what the process says, until it ends."""
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            said = json.loads(line)
            if said["event"] == "answer":
                self._answers[said["data"]["id"]] = said["data"]
            else:
                self._events.append((said["event"], said["data"]))


@asynccontextmanager
async def person(
    sdk: str, url: str, *tokens: str, connect: bool = True, **options: Any
) -> AsyncIterator[Person]:
    """Run an SDK for the user of the tokens: each fresh one is the next, the last for ever."""
    settings = json.dumps({"url": url, "tokens": tokens, "pingInterval": 1000} | options)
    command = SDKS[sdk](settings)
    process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, cwd=ROOT)
    someone = Person(process)
    reader = asyncio.create_task(someone.read())
    try:
        if connect:
            await someone.ask("connect")
        yield someone
        assert process.stdin is not None
        process.stdin.close()
        async with asyncio.timeout(DEADLINE):
            # The end of its input closes the client, and then nothing may keep the process.
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        await reader

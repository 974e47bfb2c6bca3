"""The first run: `demo` says what to type, people chat, everything stops and is there again."""

import shlex
import signal
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from tests.cli.pty_screen import Terminal, terminal
from tests.process.conftest import (
    Program,
    children,
    get,
    gone,
    offline,
    queued,
    running,
    skyeim,
    user,
)


async def refused(folder: Path, *arguments: str) -> Program:
    """Run a command that must not start."""
    async with running(folder, *skyeim(*arguments)) as program:
        assert await program.exit_code() == 1
    return program


def typed(folder: Path, line: str) -> AbstractAsyncContextManager[Terminal]:
    """Type a line that runs a command of the program, into a terminal in that folder."""
    words = shlex.split(line)
    return terminal(*words[words.index("chat") :], folder=folder)


@pytest.mark.gen_test
async def test_people_chat_and_it_is_all_there_after_a_restart(folder: Path) -> None:
    demo = ("demo", "--port", "0", "--data-dir", "data")
    async with running(folder, *skyeim(*demo)) as program:
        port = await program.port()
        async with user(port, 1001) as alice, user(port, 1002) as bob:
            assert await offline(alice) == await offline(bob) == []
            sent = await alice.chat(1002, "hello", msgId="m-1")
            message = await bob.expect("chat")
            assert (message["id"], message["content"]) == (sent["id"], "hello")
            await bob.send("ack", msgId="m-1", status="delivered")
            await alice.expect("ack", msgId="m-1", status="delivered")
            await bob.send("group_chat", groupId="g_demo", content="to all")
            assert (await alice.expect("group_chat"))["seq"] == 1
            await alice.chat(1003, "for later")
            await queued(folder, 1003, 1)
            pids = children(program.process.pid)
            assert len(pids) == 2
            program.process.send_signal(signal.SIGTERM)
            assert (await alice.close_code(), await bob.close_code()) == (1001, 1001)
            reason = alice.connection.close_reason
            assert reason is not None
            assert reason.startswith("retry_after_ms=")
        assert await program.exit_code() == 0
        await gone(*pids)
    async with running(folder, *skyeim(*demo)) as program:
        port = await program.port()
        synced = await get(port, "/message/group/sync?groupId=g_demo&seq=0", 1003)
        assert [(each["seq"], each["content"]) for each in synced] == [(1, "to all")]
        unread = await get(port, "/message/offline", 1002)
        assert [each["content"] for each in unread] == ["hello"]
        async with user(port, 1003) as carol:
            # Nobody knows what she had: she gets all that is unread, not a window of the queue.
            assert (await carol.expect("chat"))["content"] == "for later"
        program.process.send_signal(signal.SIGINT)
        assert await program.exit_code() == 0


@pytest.mark.gen_test
async def test_what_it_says_to_type_is_a_chat_between_two_terminals(folder: Path) -> None:
    """The lines are typed as they are printed, into two terminals."""
    async with running(folder, *skyeim("demo", "--port", "0", "--data-dir", "data")) as program:
        port = await program.port()
        assert (await program.line("listening on")).endswith(f"ws://127.0.0.1:{port}/ws")
        await program.line("Ctrl-C stops everything; the messages stay in data.")
        printed = [line.split() for line in program.lines if line.startswith("  100")]
        assert [(line[0], len(line)) for line in printed] == [
            ("1001", 2),
            ("1002", 2),
            ("1003", 2),
        ]
        first, second = (line for line in program.lines if line.endswith(("1002", "1001")))
        async with typed(folder, first) as ann, typed(folder, second) as ben:
            await ann.shows("to Ben Okafor")
            await ben.shows("to Anna Berg")
            await ann.enter("hello")
            await ben.shows("Anna Berg  hello")
            await ann.shows("✓✓ you → Ben Okafor  hello")
            await ben.enter("/group g_demo")
            await ben.enter("hello all")
            await ann.shows("Ben Okafor", "hello all")
            for each in (ann, ben):
                await each.enter("/quit")
                assert await each.end() == 0

        same_folder = await refused(folder, "demo", "--port", "0", "--data-dir", "data")
        assert same_folder.errors == ["error: the data folder data is in use by another process"]
        same_port = await refused(folder, "demo", "--port", str(port), "--data-dir", "other")
        assert same_port.errors == [
            f"error: cannot listen on 127.0.0.1:{port}: Address already in use"
        ]
        program.process.send_signal(signal.SIGTERM)
        assert await program.exit_code() == 0

"""The chat on a terminal, as a person sees it."""

from contextlib import AbstractAsyncContextManager

import pytest

from skyeim_ws.cli.chat.lines import Line
from skyeim_ws.cli.chat.screen import KEPT, Lines
from tests.cli.pty_screen import Terminal, terminal
from tests.sdk.conftest import MakeWorld, make_world, shared_redis  # noqa: F401
from tests.sdk.network import network
from tests.waiting import until
from tests.world import World


def chat(
    world: World, user: int, *target: str, port: int = 0, rows: int = 24
) -> AbstractAsyncContextManager[Terminal]:
    url = f"ws://127.0.0.1:{port or world.port}/ws"
    arguments = ("--user", str(user), "--token", world.token(user), "--url", url)
    return terminal("chat", *arguments, *target, rows=rows)


@pytest.mark.gen_test
async def test_two_people_chat(make_world: MakeWorld) -> None:  # noqa: F811
    """Names, ticks at their message, presence, typing; what comes does not tear what is typed."""
    async with make_world() as world, chat(world, 1001, "--to", "1002") as anna:
        await anna.shows("Ben Okafor: no messages yet", "to Ben Okafor ○ away")
        await anna.enter("Hello Ben")
        await anna.shows("✓  you → Ben Okafor  Hello Ben")
        async with chat(world, 1002, "--to", "1001") as ben:
            await ben.shows("earlier with Anna Berg", "Anna Berg  Hello Ben", "● online")
            assert ben.text.count("Hello Ben") == 1
            await anna.shows("✓✓ you → Ben Okafor  Hello Ben", "● online")
            await ben.type("I am typ")
            await anna.shows("Ben Okafor is typing…")
            await anna.enter("While you type")
            await ben.shows("Anna Berg  While you type", "Anna Berg > I am typ")
            await ben.enter("ing")
            await anna.shows("Ben Okafor  I am typing")
            await until(lambda: "is typing" not in anna.text)
            await ben.enter("/read")
            await anna.shows(
                "✔✔ you → Ben Okafor  Hello Ben", "✔✔ you → Ben Okafor  While you type"
            )
            await ben.type("\x1b[A\x1b[A")  # up, twice: what was typed before
            await ben.shows("Anna Berg > I am typing")
            await ben.type("\x15\x04")  # the line is emptied; then Ctrl-D leaves
            assert await ben.end() == 0
        await anna.shows("○ away")
        await anna.enter("/quit")
        assert await anna.end() == 0


@pytest.mark.gen_test
async def test_commands(make_world: MakeWorld) -> None:  # noqa: F811
    async with make_world() as world, chat(world, 1001, rows=40) as anna:
        carol = await world.login(1003)
        await anna.enter("hello")
        await anna.shows("whom to? choose with /to N or /group G")
        await anna.enter("/who")
        await anna.shows("Mei Chen  /to 1003  ● online", "Ben Okafor  /to 1002  ○ away")
        await anna.enter("/group g_demo")
        await anna.shows("writing to Demo group", "Demo group: no messages yet", "Demo group >")
        await carol.send("group_chat", groupId="g_demo", content="Hello all")
        await anna.shows("Mei Chen → Demo group  Hello all")
        await anna.enter("/read")
        await anna.shows("Demo group: marked as read")
        await anna.enter("/search hello")
        await anna.shows("1 found", "Mei Chen: Hello all")
        await anna.enter("/to 4711")
        await anna.shows("writing to 4711")
        await anna.enter("hello?")
        await anna.shows("✗  you → 4711  hello?", "not sent: you are not friends with this user")
        await anna.enter("/fly")
        await anna.shows("there is no such command; /help lists the commands")
        await anna.enter("/help")
        await anna.shows("/search X    messages that have X in them")


@pytest.mark.gen_test
async def test_long_lines_and_pastes_are_whole(make_world: MakeWorld) -> None:  # noqa: F811
    """More than a line of a terminal takes; and a paste of several lines is one message."""
    async with make_world() as world, chat(world, 1001, "--to", "1002") as anna:
        bob = await world.login(1002)
        await anna.shows("no messages yet")
        text = "".join(chr(ord("a") + index % 26) for index in range(16_000))
        await anna.enter(text)
        assert (await bob.expect("chat"))["content"] == text
        await anna.type("\x1b[200~one\ntwo 👨\u200d👩\u200d👧\n\u3000three\u200f\x1b[201~")
        await anna.enter("!")
        assert (await bob.expect("chat"))[
            "content"
        ] == "one\ntwo 👨\u200d👩\u200d👧\n\u3000three\u200f!"
        await until(lambda: "👨\u200d👩\u200d👧".encode() in anna.raw)
        await bob.chat(1001, "\x1b]0;title\x07 and \u202e")
        await anna.shows("Ben Okafor  �]0;title� and �")


@pytest.mark.gen_test
async def test_what_was_missed_comes_and_one_can_scroll(
    make_world: MakeWorld,  # noqa: F811
) -> None:
    """More offline messages than a window, a group, and the history before them."""
    async with make_world() as world:
        bob, carol = await world.login(1002), await world.login(1003)
        for number in range(130):
            await bob.chat(1001, f"private {number}.")
        for number in range(30):
            await carol.send("group_chat", groupId="g_demo", content=f"group {number}.")
        async with chat(world, 1001, "--to", "1002", rows=200) as anna:
            await anna.shows("private 0.", "private 129.", "group 0.", "group 29.")
            await until(lambda: len(anna.found(r"private (\d+)\.")) == 130)
            assert anna.found(r"private (\d+)\.") == [str(number) for number in range(130)]
        async with chat(world, 1001, "--to", "1002", rows=100) as anna:
            await anna.shows("private 129.", "now")
            await anna.enter("/history")
            await anna.shows("private 109.")
            await anna.type("\x1b[5~\x1b[5~")
            await anna.shows("newer lines below")
            await anna.type("\x1b[6~" * 20)
            await until(lambda: "newer lines below" not in anna.text)


@pytest.mark.gen_test
async def test_a_lost_connection_is_told_in_words(make_world: MakeWorld) -> None:  # noqa: F811
    """What is typed meanwhile goes out later; a newer login is the end."""
    async with make_world() as world, network(world.port) as between:
        bob = await world.login(1002)
        async with chat(world, 1001, "--to", "1002", port=between.port) as anna:
            await anna.shows("no messages yet", "● online")
            between.cut()
            await anna.shows("the connection was lost; trying …")
            await anna.enter("while away")
            await anna.shows("…  you → Ben Okafor  while away")
            between.mend()
            await bob.expect("chat", content="while away")
            await anna.shows("✓✓ you → Ben Okafor  while away")
            assert "trying" not in anna.text
            await world.login(1001)
            assert await anna.end() == 1
            await anna.shows("✗ you have logged in elsewhere")


@pytest.mark.gen_test
async def test_without_a_gateway_it_says_so_and_can_be_left() -> None:
    """With Ctrl-C at once; /quit would wait for what is not sent."""
    nowhere = ("--user", "1001", "--token", "T", "--url", "ws://127.0.0.1:9/ws", "--to", "1002")
    async with terminal("chat", *nowhere) as anna:
        await anna.shows("the gateway cannot be reached; trying …")
        await anna.enter("hello")
        await anna.shows("…  you → 1002  hello")
        await anna.type("\x03")
        assert await anna.end() == 130


def test_what_is_read_stays_in_its_place_while_more_comes() -> None:
    lines = Lines()
    for number in range(KEPT + 10):
        lines.add(Line(str(number)))
    lines.scroll(5)
    shown = lines.fragments()[-1]
    lines.add(Line("more"))
    assert lines.fragments()[-1] == shown
    lines.scroll(-KEPT)
    assert lines.fragments()[-1][1].strip() == "more"
    lines.scroll(10 * KEPT)
    assert lines.scrolled
    assert len(lines.fragments()) == 1

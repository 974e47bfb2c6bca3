"""People chat in the browser: nothing lost or doubled, the order kept, whatever happens."""

import re
import signal
from argparse import Namespace
from pathlib import Path

import pytest
from playwright.async_api import expect
from sqlalchemy import delete, insert

from skyeim_ws.cli.admin.cluster import gateways
from skyeim_ws.cli.admin.nodes import broadcast
from skyeim_ws.services.tables import friends, messages
from tests.ports import free_port
from tests.process.conftest import running, skyeim
from tests.sdk.conftest import MakeWorld
from tests.sdk.network import network
from tests.waiting import until
from tests.web.windows import browser

INITIALS = "async (names) => names.map((await import('/web/text.js')).initials)"
NAMES = {
    "Anna Berg": "AB",
    "anna": "A",
    "王小明": "王",
    "محمد عبد الرحمن": "م",
    "👩‍👩‍👧‍👦 Family 🎉": "👩‍👩‍👧‍👦",
    "User 1234": "34",
    "": "",
}

DEMO = {"settings": {"demo": True}}


def url(port: int) -> str:
    return f"http://127.0.0.1:{port}/"


def numbered(prefix: str, count: int) -> list[str]:
    return [f"{prefix} {index}." for index in range(count)]


@pytest.mark.gen_test
async def test_two_people_chat_and_one_reloads(make_world: MakeWorld) -> None:
    async with make_world(**DEMO) as world, browser() as chromium:
        anna = await chromium.window(url(world.port), 1001)
        await anna.open("Ben Okafor")
        await expect(anna.state).to_have_text("offline")
        await anna.say("hello <b>Ben</b>")
        await anna.expect_tick("hello", "Sent")
        ben = await chromium.window(url(world.port), 1002)
        await expect(anna.state).to_have_text("online")
        await anna.expect_tick("hello", "Delivered")
        await expect(ben.conversation("Anna Berg")).to_contain_text("1 unread")
        await expect(ben.page).to_have_title("(1) SkyeIM")
        await ben.open("Anna Berg")
        await anna.expect_tick("hello", "Read")
        await expect(ben.page).to_have_title("SkyeIM")
        await ben.field.press_sequentially("see")
        await expect(anna.state).to_have_text("typing…")
        await ben.say("see https://example.com/a_(b), please")
        await expect(anna.state).to_have_text("online")
        link = anna.log.get_by_role("link", name="https://example.com/a_(b", exact=True)
        await expect(link).to_have_attribute("rel", "noopener noreferrer")
        await anna.say("one", "two", "three")
        await anna.page.reload()
        shown = ["hello <b>Ben</b>", "see https://example.com/a_(b), please", "one", "two", "three"]
        await anna.expect_texts(*shown)
        await ben.expect_texts(*shown)
        await anna.say("four", "🎉 👩‍👩‍👧‍👦")
        await ben.expect_texts(*shown, "four", "🎉 👩‍👩‍👧‍👦")
        await anna.expect_texts(*shown, "four", "🎉 👩‍👩‍👧‍👦")
        await expect(ben.log.locator(".emoji")).to_have_text(["🎉 👩‍👩‍👧‍👦"])
        assert await anna.page.evaluate(INITIALS, [*NAMES]) == [*NAMES.values()]
        assert chromium.hosts() == {f"127.0.0.1:{world.port}"}


@pytest.mark.gen_test
async def test_the_gateway_restarts_between(folder: Path) -> None:
    port = free_port()
    demo = skyeim("demo", "--port", str(port), "--data-dir", "data")
    async with browser() as chromium:
        async with running(folder, *demo) as program:
            assert (await program.line("http://")).startswith(f"Open {url(port)} ")
            anna = await chromium.window(url(port), 1001)
            ben = await chromium.window(url(port), 1002)
            await anna.open("Ben Okafor")
            await ben.open("Anna Berg")
            await anna.say("before")
            await ben.expect_texts("before")
            program.process.send_signal(signal.SIGTERM)
            await program.exit_code()
        await expect(anna.banner).to_contain_text(re.compile("restarting|No connection|connecting"))
        await anna.say("while away", "and more")
        await anna.expect_tick("while away", "Waiting to be sent")
        async with running(folder, *demo) as program:
            await program.port()
            for window in (anna, ben):
                await expect(window.banner).to_be_hidden()
                await window.expect_texts("before", "while away", "and more")
            await anna.expect_tick("and more", "Read")


@pytest.mark.gen_test
async def test_a_maintenance_is_shown_until_it_was_read(make_world: MakeWorld) -> None:
    async with make_world(**DEMO) as world, browser() as chromium:
        anna = await chromium.window(url(world.port), 1001)
        await until(world.gateway.bus.ready.is_set)
        notice = Namespace(message="Back at <b>02:30</b>", begins=None, lasts=None)
        async with gateways(world.config) as operators:
            await broadcast(operators, notice)
        await expect(anna.banner).to_contain_text("Back at <b>02:30</b>")
        await anna.page.get_by_role("button", name="Close").click()
        await expect(anna.banner).to_be_hidden()


@pytest.mark.gen_test
async def test_the_network_is_cut_and_comes_back(make_world: MakeWorld) -> None:
    """A reload in between loses nothing of what was not sent."""
    async with (
        make_world(**DEMO) as world,
        network(world.port) as between,
        browser() as chromium,
    ):
        anna = await chromium.window(url(between.port), 1001)
        ben = await chromium.window(url(world.port), 1002)
        await anna.open("Demo group")
        await ben.open("Demo group")
        await ben.say(*numbered("before", 3))
        await anna.expect_texts(*numbered("before", 3))
        between.cut()
        await expect(anna.banner).to_contain_text("No connection.")
        await anna.say("from afar")
        await anna.expect_tick("from afar", "Waiting to be sent")
        await ben.say(*numbered("meanwhile", 60))
        await ben.expect_tick("meanwhile 59", "Sent")
        between.mend()
        await anna.page.get_by_role("button", name="Try now").click()
        shown = [*numbered("before", 3), *numbered("meanwhile", 60), "from afar"]
        await anna.expect_tick("from afar", "Sent")
        await anna.scroll_to_the_beginning()
        await anna.expect_texts(*shown)
        await ben.expect_texts(*shown)
        await expect(anna.banner).to_be_hidden()
        between.cut()
        await anna.say("kept over a reload")
        await anna.expect_tick("kept over a reload", "Waiting to be sent")
        between.mend()
        await anna.page.reload()
        await ben.expect_texts(*shown, "kept over a reload")
        await anna.expect_tick("kept over a reload", "Sent")
        assert (await anna.texts()).count("kept over a reload") == 1


@pytest.mark.gen_test
async def test_a_second_tab_takes_over_and_the_first_takes_it_back(make_world: MakeWorld) -> None:
    async with make_world(**DEMO) as world, browser() as chromium:
        first = await chromium.window(url(world.port), 1001)
        ben = await chromium.window(url(world.port), 1002)
        await first.open("Ben Okafor")
        await ben.open("Anna Berg")
        await first.say("from the first")
        second = await chromium.tab(first.page.context, url(world.port), 1001)
        await expect(first.banner).to_contain_text("in use in another window")
        await second.open("Ben Okafor")
        await second.say("from the second")
        await ben.say("to whoever it is")
        await first.page.get_by_role("button", name="Use it here").click()
        shown = "from the first", "from the second", "to whoever it is"
        await first.expect_texts(*shown)
        await expect(second.banner).to_contain_text("in use in another window")
        await first.say("back again")
        await ben.expect_texts(*shown, "back again")


@pytest.mark.gen_test
async def test_what_was_missed_is_there_after_an_absence(make_world: MakeWorld) -> None:
    """Offline messages, more than one window of them, and a group, whose page was never open."""
    async with make_world(**DEMO) as world, browser() as chromium:
        sender = await world.login(1001)
        for text in numbered("private", 130):
            await sender.chat(1002, text)
        for text in numbered("group", 60):
            await sender.send("group_chat", groupId="g_demo", content=text)
            await sender.expect("ack", status="sent")
        for text in ("one", "two"):
            await sender.chat(1003, text)
        mei = await chromium.window(url(world.port), 1003)
        await expect(mei.conversation("Anna Berg")).to_contain_text("2 unread")
        await sender.chat(1003, "three")
        await expect(mei.conversation("Anna Berg")).to_contain_text("three")
        await expect(mei.conversation("Anna Berg")).to_contain_text("3 unread")
        ben = await chromium.window(url(world.port), 1002)
        await expect(ben.conversation("Anna Berg")).to_contain_text("99+ unread")
        await expect(ben.conversation("Demo group")).to_contain_text("60 unread")
        await ben.open("Anna Berg")
        await expect(ben.message("private 129.")).to_be_visible()
        await ben.scroll_to_the_beginning()
        assert await ben.texts() == numbered("private", 130)
        await ben.open("Demo group")
        await expect(ben.message("group 59.")).to_be_visible()
        await expect(ben.conversation("Demo group")).not_to_contain_text("unread")
        await ben.scroll_to_the_beginning()
        assert await ben.texts() == numbered("group", 60)
        await ben.page.reload()
        await expect(ben.message("group 59.")).to_be_visible()
        await expect(ben.conversation("Demo group")).not_to_contain_text("unread")


@pytest.mark.gen_test
async def test_a_thousand_messages_of_history(make_world: MakeWorld) -> None:
    async with make_world(**DEMO) as world, browser() as chromium:
        rows = [
            {
                "msg_id": f"h{index}",
                "from_user_id": 1001 + index % 2,
                "to_user_id": 1002 - index % 2,
                "chat_type": 1,
                "content": f"history {index}.",
                "status": 1,
            }
            for index in range(1000)
        ]
        await world.execute(insert(messages).values(rows))
        anna = await chromium.window(url(world.port), 1001)
        await anna.open("Ben Okafor")
        await expect(anna.message("history 999.")).to_be_in_viewport()
        assert len(await anna.texts()) < 200
        await anna.scroll_to_the_beginning()
        assert await anna.texts() == numbered("history", 1000)
        await anna.page.get_by_role("button", name="To the newest message").click()
        await expect(anna.message("history 999.")).to_be_in_viewport()
        await anna.page.get_by_label("Search conversations and messages").fill("history 1.")
        await anna.page.get_by_role("region", name="Messages found").get_by_role("button").click()
        await expect(anna.message("history 1.").first).to_be_in_viewport()


@pytest.mark.gen_test
async def test_what_cannot_be_sent_says_why(make_world: MakeWorld) -> None:
    async with make_world(**DEMO) as world, browser() as chromium:
        anna = await chromium.window(url(world.port), 1001)
        await anna.open("Ben Okafor")
        await world.execute(delete(friends).where(friends.c.user_id == 1001))
        await world.execute(delete(friends).where(friends.c.friend_id == 1001))
        await anna.say("hello?")
        await expect(anna.message("hello?")).to_contain_text("Not sent: you are not friends.")
        await world.execute(insert(friends).values([
            {"user_id": 1001, "friend_id": 1002}, {"user_id": 1002, "friend_id": 1001},
        ]))  # fmt: skip
        await anna.page.get_by_role("button", name="Try again").click()
        await anna.expect_tick("hello?", "Sent")
        await anna.expect_texts("hello?")

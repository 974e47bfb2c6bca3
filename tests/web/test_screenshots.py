"""Pictures of the page for the README: `make screenshots`. Look at them before you commit them."""

import os
import time
from pathlib import Path

import pytest
from playwright.async_api import expect
from sqlalchemy import insert

from skyeim_ws.services.tables import friends, group_members, groups, messages
from tests.sdk.conftest import MakeWorld
from tests.web.test_page import DEMO, url
from tests.web.windows import Window, browser
from tests.world import World

IMAGES = Path(__file__).resolve().parent.parent.parent / "docs/images"
ANNA, BEN, MEI = 1001, 1002, 1003
DAY, HOUR, MINUTE = 86400, 3600, 60
OTHERS = {1004: "Luca Moretti", 1005: "Priya Nair", 1006: "Jonas Weber", 1007: "Aiko Tanaka"}

wanted = pytest.mark.skipif(not os.environ.get("SCREENSHOTS"), reason="asked for by SCREENSHOTS=1")


async def past(world: World) -> None:
    """Give Anna more friends, a second group and some days of messages."""
    now = int(time.time())
    seats = [(ANNA, friend, name) for friend, name in OTHERS.items()]
    pairs = [{"user_id": one, "friend_id": other, "remark": name} for one, other, name in seats]
    pairs += [
        {"user_id": other, "friend_id": one, "remark": "Anna Berg"} for one, other, _ in seats
    ]
    await world.execute(insert(friends).values(pairs))
    await world.execute(
        insert(groups).values(
            group_id="g_hike", name="Hike on Sunday", owner_id=1005, member_count=4
        )
    )
    members = {1005: "Priya Nair", 1006: "Jonas Weber", ANNA: "Anna Berg", BEN: "Ben Okafor"}
    await world.execute(insert(group_members).values([
        {"group_id": "g_hike", "user_id": user_id, "nickname": name, "read_seq": 1}
        for user_id, name in members.items()
    ]))  # fmt: skip

    def private(
        sender: int, receiver: int, ago: int, text: str, read: int = 1
    ) -> dict[str, object]:
        return {
            "msg_id": f"p{ago}", "from_user_id": sender, "to_user_id": receiver, "chat_type": 1,
            "content": text, "status": read, "created_at": now - ago,
        }  # fmt: skip

    told = [
        private(1007, ANNA, 5 * DAY, "The slides are in the folder, second version."),
        private(1004, ANNA, 2 * DAY, "Grazie! See you on Thursday."),
        private(1006, ANNA, DAY + 4 * HOUR, "Can you lend me the big backpack?", 0),
        private(ANNA, BEN, DAY + 120 * MINUTE, "Tomorrow I pull the plug on node two. Ready?"),
        private(BEN, ANNA, DAY + 118 * MINUTE, "Ready. I'll watch from here."),
        private(BEN, ANNA, DAY + 117 * MINUTE, "And I bet a coffee that somebody notices 😄"),
    ]
    await world.execute(insert(messages).values(sorted(told, key=lambda each: each["created_at"])))
    hike = [
        (1005, 26 * HOUR, 1, "Who is in for Sunday?"),
        (1006, 5 * HOUR, 2, "Me! Weather looks great."),
        (BEN, 4 * HOUR, 3, "I bring the map and the thermos"),
    ]
    await world.execute(insert(messages).values([
        {
            "msg_id": f"h{seq}", "from_user_id": sender, "to_user_id": 0, "chat_type": 2,
            "group_id": "g_hike", "seq": seq, "content": text, "created_at": now - ago,
        }
        for sender, ago, seq, text in hike
    ]))  # fmt: skip


async def shot(window: Window, name: str) -> None:
    """Take a picture of a window, without a blinking cursor."""
    IMAGES.mkdir(exist_ok=True)
    await window.page.mouse.move(0, 0)
    await window.page.screenshot(path=IMAGES / f"{name}.png", caret="hide", animations="disabled")


@wanted
@pytest.mark.gen_test
async def test_pictures(make_world: MakeWorld) -> None:
    async with make_world(**DEMO) as world, browser() as chromium:
        await past(world)
        wide = {"width": 1200, "height": 760}
        anna = await chromium.window(url(world.port), ANNA, viewport=wide)
        ben = await chromium.window(url(world.port), BEN, viewport=wide)
        mei = await chromium.window(url(world.port), MEI, viewport=wide, color_scheme="dark")
        await anna.open("Ben Okafor")
        await ben.open("Anna Berg")

        async def say(who: Window, text: str) -> None:
            await who.say(text)
            for window in (anna, ben):
                await expect(window.message(text.partition("\n")[0])).to_be_visible()

        await say(anna, "Node two is gone. Did you see anything?")
        await say(ben, "Nothing. Not a single message lost, and nobody was kicked out.")
        await say(ben, "The monitoring did notice, though.")
        await say(anna, "Then it is your coffee ☕")
        await say(
            ben, "Fair. For the notes, please add:\n • reconnects per minute\n • how long it took"
        )
        await say(anna, "Will do: https://wiki.example.com/failover")
        await mei.open("Demo group")
        await mei.say("Lunch at one?")
        await anna.expect_tick("Will do", "Read")
        await ben.field.press_sequentially("Thank you")
        await expect(anna.state).to_have_text("typing…")
        await expect(anna.conversation("Demo group")).to_contain_text("Lunch")
        await shot(anna, "page-wide")

        await anna.open("Demo group")
        await ben.open("Demo group")
        await anna.say("One is good. The new place?")
        await ben.say("Count me in")
        await mei.expect_texts("Lunch at one?", "One is good. The new place?", "Count me in")
        await ben.say("I'll get us the corner table")
        await mei.say("Perfect, see you there 🍜")
        await anna.field.press_sequentially("Great")
        main = mei.page.get_by_role("main")
        await expect(main.get_by_text("Anna Berg is typing…")).to_be_visible()
        await mei.expect_tick("Perfect", "Sent")
        await shot(mei, "page-dark")

        size = {"width": 360, "height": 720}
        phone = await chromium.window(url(world.port), ANNA, viewport=size, device_scale_factor=2)
        dot = phone.conversation("Ben Okafor").get_by_role("img", name="online")
        await expect(dot).to_be_visible()
        await shot(phone, "page-phone-list")
        await phone.open("Ben Okafor")
        await expect(phone.message("Will do")).to_be_visible()
        await expect(phone.state).to_have_text("online")
        await shot(phone, "page-phone")

"""The page for everybody: keyboard, screen reader, a small phone, light and dark; signing in."""

from pathlib import Path

import axe_playwright_python
import pytest
from playwright.async_api import expect

from tests.sdk.conftest import MakeWorld
from tests.web.test_page import DEMO, url
from tests.web.windows import Window, browser

AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text()


async def violations(window: Window) -> list[str]:
    """Return what axe-core finds wrong with what is shown."""
    await window.page.evaluate(AXE)
    found = await window.page.evaluate("() => axe.run().then(result => result.violations)")
    return [f"{each['id']}: {[node['html'] for node in each['nodes']]}" for each in found]


@pytest.mark.gen_test
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_finds_nothing(make_world: MakeWorld, scheme: str) -> None:
    async with make_world(**DEMO) as world, browser() as chromium:
        wide = await chromium.window(url(world.port), color_scheme=scheme)
        assert await violations(wide) == []
        await wide.page.get_by_role("button", name="Anna Berg").click()
        await expect(wide.conversation("Ben Okafor")).to_be_visible()
        assert await violations(wide) == []
        ben = await chromium.window(url(world.port), 1002, color_scheme=scheme)
        await wide.open("Demo group")
        await ben.open("Demo group")
        await wide.say("hello, see https://example.com")
        await ben.say("hello yourself")
        await wide.expect_texts("hello, see https://example.com", "hello yourself")
        await wide.open("Ben Okafor")
        await ben.open("Anna Berg")
        await wide.say("just us")
        await wide.expect_tick("just us", "Read")
        await wide.page.get_by_label("Search conversations and messages").fill("hello")
        await expect(wide.page.get_by_role("heading", name="Messages", exact=True)).to_be_visible()
        assert await violations(wide) == []
        size = {"width": 360, "height": 640}
        phone = await chromium.window(url(world.port), 1001, color_scheme=scheme, viewport=size)
        await phone.open("Demo group")
        await expect(phone.log.get_by_role("article")).to_have_count(2)
        assert await violations(phone) == []
        await expect(wide.banner).to_contain_text("in use in another window")
        assert await violations(wide) == []


@pytest.mark.gen_test
async def test_a_phone_of_360_pixels(make_world: MakeWorld) -> None:
    """One pane at a time, nothing beyond the edge, and the browser's own way back."""
    async with make_world(**DEMO) as world, browser() as chromium:
        size = {"width": 360, "height": 640}
        phone = await chromium.window(url(world.port), 1001, viewport=size, has_touch=True)
        await expect(phone.page.get_by_role("navigation")).to_be_visible()
        await expect(phone.page.get_by_role("main")).to_be_hidden()
        await phone.open("Ben Okafor")
        await phone.say("w" * 300)
        await phone.expect_tick("w", "Sent")
        await expect(phone.page.get_by_role("navigation")).to_be_hidden()
        width = await phone.page.evaluate("() => document.documentElement.scrollWidth")
        assert width == 360
        await phone.page.go_back()
        await expect(phone.page.get_by_role("navigation")).to_be_visible()
        await phone.open("Ben Okafor")
        await phone.page.get_by_role("button", name="Back to the conversations").click()
        await expect(phone.page.get_by_role("navigation")).to_be_visible()


@pytest.mark.gen_test
async def test_the_keyboard_alone(make_world: MakeWorld) -> None:
    async with make_world(**DEMO) as world, browser() as chromium:
        anna = await chromium.window(url(world.port))
        keyboard = anna.page.keyboard

        async def tab_to(name: str) -> None:
            focused = anna.page.locator("button:focus, a:focus").filter(has_text=name)
            for _ in range(12):
                await keyboard.press("Tab")
                if await focused.count():
                    return
            raise AssertionError(f"no way to {name}")

        await expect(anna.page.get_by_role("button", name="Anna Berg")).to_be_visible()
        await tab_to("Anna Berg")
        await keyboard.press("Enter")
        await expect(anna.conversation("Ben Okafor")).to_be_visible()
        await tab_to("Ben Okafor")
        await keyboard.press("Enter")
        await expect(anna.field).to_be_focused()
        await keyboard.type("first line")
        await keyboard.press("Shift+Enter")
        await keyboard.type("second line")
        await keyboard.press("Enter")
        await anna.expect_tick("first line", "Sent")
        assert await anna.texts() == ["first line\nsecond line"]
        await keyboard.press("Escape")
        await expect(anna.conversation("Ben Okafor")).to_be_focused()


@pytest.mark.gen_test
async def test_without_a_demo_one_signs_in_with_a_token(make_world: MakeWorld) -> None:
    async with make_world() as world, browser() as chromium:
        anna = await chromium.window(url(world.port))
        await anna.page.get_by_label("Access token").fill("wrong")
        await anna.page.get_by_role("button", name="Sign in").click()
        await expect(anna.banner).to_contain_text("You are signed out.")
        await anna.page.get_by_role("button", name="Sign in again").click()
        await anna.page.get_by_label("Access token").fill(world.token(1001))
        await anna.page.get_by_role("button", name="Sign in").click()
        await anna.open("Ben Okafor")
        await anna.say("hello")
        await anna.expect_tick("hello", "Sent")
        await anna.page.get_by_role("button", name="Sign out").click()
        await expect(anna.page.get_by_label("Access token")).to_be_visible()


@pytest.mark.gen_test
async def test_light_and_dark_can_be_chosen(make_world: MakeWorld) -> None:
    async with make_world(**DEMO) as world, browser() as chromium:
        anna = await chromium.window(url(world.port), color_scheme="light")
        background = "() => getComputedStyle(document.body).backgroundColor"
        light = await anna.page.evaluate(background)
        await anna.page.get_by_role("button", name="Switch light and dark").click()
        dark = await anna.page.evaluate(background)
        assert light != dark
        await anna.page.reload()
        await expect(anna.page.get_by_role("button", name="Anna Berg")).to_be_visible()
        assert await anna.page.evaluate(background) == dark

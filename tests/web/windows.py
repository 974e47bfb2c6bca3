"""Windows of Chromium in which people chat, and what a test sees in them."""

import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

from playwright.async_api import BrowserContext, Locator, Page, async_playwright, expect

NAMES = {1001: "Anna Berg", 1002: "Ben Okafor", 1003: "Mei Chen"}
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
DEADLINE = 20_000.0

expect.set_options(timeout=DEADLINE)


class Window:
    """A window in which one user has the chat page open."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.banner = page.get_by_role("status").first
        self.log = page.get_by_role("log")
        self.field = page.get_by_role("textbox", name="Message")
        self.title = page.locator(".thread-title")
        self.state = page.locator(".thread-state")

    def conversation(self, name: str) -> Locator:
        """Return the row of a conversation."""
        title = self.page.locator(".row-title").get_by_text(name, exact=True)
        return self.page.get_by_role("navigation").get_by_role("link").filter(has=title)

    async def open(self, name: str) -> None:
        """Open a conversation."""
        await self.conversation(name).click()
        await expect(self.title).to_have_text(name)

    async def say(self, *texts: str) -> None:
        """Type messages and send them."""
        for text in texts:
            await self.field.fill(text)
            await self.field.press("Enter")

    def message(self, text: str) -> Locator:
        """Return the message with this text."""
        return self.log.get_by_role("article").filter(has_text=text)

    async def expect_tick(self, text: str, label: str) -> None:
        """Wait until the mark of a message says so."""
        await expect(self.message(text).get_by_role("img", name=label, exact=True)).to_be_visible()

    async def texts(self) -> list[str]:
        """Return what is shown, in order."""
        shown: list[str] = await self.log.locator(".content").all_inner_texts()
        return shown

    async def scroll_to_the_beginning(self) -> None:
        """Scroll up, as people do, until there is nothing more."""
        top = self.page.get_by_text("This is where it began.")
        while not await top.is_visible():
            await self.page.locator(".messages").evaluate("each => { each.scrollTop = 0; }")
            await self.page.evaluate("() => new Promise(requestAnimationFrame)")

    async def expect_texts(self, *texts: str) -> None:
        """Wait until exactly this is shown, in this order."""
        await expect(self.log.locator(".content")).to_have_text(list(texts))


class Browser:
    """A Chromium with an empty profile; it notes what it asked for, and what went wrong."""

    def __init__(self, new_context: Callable[..., Awaitable[BrowserContext]]) -> None:
        self._new_context = new_context
        self.requests: list[str] = []
        self.errors: list[str] = []

    async def window(self, url: str, user_id: int | None = None, **options: Any) -> Window:
        """Open the page in a window of its own, as a user if one is named."""
        context = await self._new_context(**({"locale": "en-GB"} | options))
        return await self.tab(context, url, user_id)

    async def tab(self, context: BrowserContext, url: str, user_id: int | None = None) -> Window:
        """Open the page in another tab."""
        page = await context.new_page()
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("websocket", lambda socket: self.requests.append(socket.url))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda said: self._note(said.type, said.text))
        await page.goto(url)
        window = Window(page)
        if user_id is not None:
            await page.get_by_role("button", name=NAMES[user_id]).click()
            await expect(page.get_by_role("heading", name=NAMES[user_id])).to_be_visible()
        return window

    def _note(self, kind: str, text: str) -> None:
        # Chromium itself reports every request that fails; the tests cut the network.
        expected = "Failed to load resource", "WebSocket connection to"
        if kind in ("error", "warning") and not any(each in text for each in expected):
            self.errors.append(text)

    def hosts(self) -> set[str]:
        """Return with whom the browser has spoken."""
        return {urlsplit(url).netloc for url in self.requests}


@asynccontextmanager
async def browser() -> AsyncIterator[Browser]:
    """Run Debian's Chromium; without one the test fails."""
    chromium = shutil.which("chromium")
    assert chromium, "there is no Chromium: tools/install-browser installs it"
    async with async_playwright() as playwright:
        running = await playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        seen = Browser(running.new_context)
        yield seen
        await running.close()
        assert seen.errors == []

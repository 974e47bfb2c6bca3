"""A picture of the chat in a terminal for the README: `make screenshots`. Look at it."""

import os
from html import escape
from pathlib import Path

import pytest

from tests.cli.pty_screen import Terminal
from tests.cli.test_chat_screen import chat
from tests.sdk.conftest import MakeWorld, make_world, shared_redis  # noqa: F401

IMAGE = Path(__file__).resolve().parent.parent.parent / "docs/images/terminal.svg"
WIDTH, HEIGHT = 8.4, 18
COLORS = {
    "default": "#d8dee9",
    "brightblack": "#7b8794",
    "green": "#8fd18a",
    "cyan": "#6cc7d6",
    "magenta": "#d69ad6",
    "brown": "#e0c070",
    "blue": "#7fa8e8",
    "brightgreen": "#8fd18a",
    "brightred": "#f08080",
    "red": "#f08080",
}


def picture(terminal: Terminal) -> str:
    """Return the screen as SVG: a row of text for each line, a piece of it for each style."""
    columns, rows = terminal.size
    pieces = []
    for number, row in enumerate(terminal.pieces()):
        at = 8 + number * HEIGHT
        for column, text, style in row:
            x, color = 10 + column * WIDTH, COLORS.get(style.fg, style.fg)
            if style.reverse:
                width = len(text) * WIDTH
                pieces.append(
                    f'<rect x="{x:.1f}" y="{at}" width="{width:.1f}" '
                    f'height="{HEIGHT}" fill="#3b4656"/>'
                )
            x += (len(text) - len(text.lstrip())) * WIDTH  # SVG begins with what is no space
            weight = ' font-weight="bold"' if style.bold else ""
            shown = escape(text.strip())
            pieces.append(f'<text x="{x:.1f}" y="{at + 13}" fill="{color}"{weight}>{shown}</text>')
    width, height = columns * WIDTH + 20, rows * HEIGHT + 16
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" '
        f'width="{width:.0f}" height="{height}" font-size="14" '
        'font-family="ui-monospace, Menlo, Consolas, monospace">'
        f'<rect width="100%" height="100%" rx="8" fill="#1e2530"/>{"".join(pieces)}</svg>\n'
    )


@pytest.mark.gen_test
async def test_the_picture_of_the_terminal(make_world: MakeWorld) -> None:  # noqa: F811
    """It is drawn in all tests, and kept with SCREENSHOTS=1."""
    async with make_world() as world:
        ben, mei = await world.login(1002), await world.login(1003)
        await ben.chat(1001, "Lunch at one?")
        async with chat(world, 1001, "--to", "1002", rows=12) as anna:
            await anna.shows("Lunch at one?", "● online")
            await anna.enter("Yes, the usual place 🍜")
            await anna.shows("✓✓ you → Ben Okafor  Yes")
            await ben.send("read", peerId=1001)
            await anna.shows("✔✔ you → Ben Okafor  Yes")
            await mei.send(
                "group_chat", groupId="g_demo", content="Who is in the office on Friday?"
            )
            await anna.shows("Mei Chen → Demo group")
            await anna.enter("I am on my way")
            await anna.shows("✓✓ you → Ben Okafor  I am")
            await ben.chat(1001, "Good, I have a table by the window")
            await anna.shows("by the window")
            await ben.send("typing", toUserId=1001)
            await anna.type("See you in")
            await anna.shows("is typing…", "See you in")
            drawn = picture(anna)
    assert "Who is in the office on Friday?" in drawn
    if os.environ.get("SCREENSHOTS"):
        IMAGE.write_text(drawn)

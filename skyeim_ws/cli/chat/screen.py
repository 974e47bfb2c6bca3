"""The chat on a whole terminal: lines above, a status bar, and an input line below."""

from collections.abc import Callable
from typing import Any, Protocol

from prompt_toolkit import Application
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.data_structures import Point
from prompt_toolkit.filters import Condition
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.history import InMemoryHistory
from prompt_toolkit.input import Input
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.layout import BufferControl, FormattedTextControl, HSplit, Layout, Window
from prompt_toolkit.layout.dimension import Dimension
from prompt_toolkit.layout.processors import BeforeInput
from prompt_toolkit.output import Output
from prompt_toolkit.styles import Style

from skyeim_ws.cli.chat.lines import Line, Tick

KEPT = 1000
"""Lines that one can scroll back to; `/history` shows what is older."""

LATE = 100
"""Lines that may be on the screen."""

_JOINERS = "\u200d\ufe0f\u20e3"

INPUT_ROWS = 6
PAGE = 10

_NAMES = ("ansicyan", "ansimagenta", "ansiyellow", "ansiblue", "ansibrightgreen", "ansibrightred")

_STYLE = Style.from_dict(
    {
        "clock": "ansibrightblack",
        "note": "ansibrightblack italic",
        "you": "bold ansigreen",
        "tick": "ansibrightblack",
        "tick.read": "ansicyan",
        "tick.failed": "bold ansired",
        "status": "reverse",
        "prompt": "bold",
        **{f"name{index}": f"bold {color}" for index, color in enumerate(_NAMES)},
    }
)


class Typist(Protocol):
    """What the screen asks of the chat."""

    @property
    def status(self) -> str:
        """What stands in the status bar."""

    @property
    def prompt(self) -> str:
        """What stands before the input."""

    def typed(self, text: str) -> bool:
        """Take what was typed; return whether the user wants to leave."""

    def keys(self, text: str) -> None:
        """Take what stands in the input line, at each key."""


class Lines:
    """The lines as a scrolling pane: it follows the newest one, unless one has scrolled back."""

    def __init__(self) -> None:
        self._lines: list[Line] = []
        self._back = 0
        self.refresh: Callable[[], object] = lambda: None

    @property
    def scrolled(self) -> bool:
        """Whether the newest lines are below what is shown."""
        return self._back > 0

    @property
    def joined(self) -> bool:
        """Whether a line of late has characters that join others."""
        late = list(self._lines)[-LATE:]
        return any(mark in line.text for line in late for mark in _JOINERS)

    def add(self, line: Line) -> None:
        """Show a line at the end."""
        self._put(len(self._lines), line)

    def insert(self, line: Line) -> None:
        """Show a message before those that are newer, behind the last one that is older."""
        newer = [index for index, each in enumerate(self._lines) if each.id > line.id]
        older = [index for index, each in enumerate(self._lines) if 0 < each.id < line.id]
        behind = older[-1] + 1 if older else newer[0] if newer else 0
        self._put(behind if newer else len(self._lines), line)

    def _put(self, index: int, line: Line) -> None:
        self._lines.insert(index, line)
        del self._lines[:-KEPT]
        if self._back:  # what is being read stays in its place
            self._back = min(self._back + 1, len(self._lines) - 1)
        self.refresh()

    def changed(self, line: Line | None = None) -> None:
        """Show anew what has changed."""
        self.refresh()

    def scroll(self, lines: int) -> None:
        """Go back by so many lines, or forward where it is negative."""
        self._back = max(0, min(self._back + lines, len(self._lines) - 1))

    def fragments(self) -> StyleAndTextTuples:
        """Return what is shown, with the end of it as the place of the cursor."""
        shown = list(self._lines)[: len(self._lines) - self._back]
        found: StyleAndTextTuples = []
        for index, line in enumerate(shown):
            found += [("", "\n")] if index else []
            found += _fragments(line)
        return found

    def end(self) -> Point:
        """Return the end of what is shown, which the pane scrolls to."""
        rows = "".join(fragment[1] for fragment in self.fragments()).split("\n")
        return Point(x=max(len(rows[-1]) - 1, 0), y=len(rows) - 1)


def _fragments(line: Line) -> StyleAndTextTuples:
    if not line.who:
        return [("class:note", f"      {line.text}")]
    name = f"class:name{line.user_id % len(_NAMES)}" if line.user_id else "class:you"
    style = {Tick.READ: "class:tick.read", Tick.FAILED: "class:tick.failed"}
    tick = style.get(line.tick, "class:tick") if line.tick else ""
    return [
        ("class:clock", f"{line.clock} "),
        # Before the text: what stands behind an emoji is not where one thinks, on some terminals.
        (tick, f"{line.tick or '':2} "),
        (name, line.head),
        ("", f"  {line.text}"),
        ("class:tick.failed", line.tail),
    ]


def application(
    lines: Lines, typist: Typist, input: Input | None = None, output: Output | None = None
) -> Application[Any]:
    """Return the application; it ends when the user leaves."""

    def accept(buffer: Buffer) -> bool:
        lines.scroll(-KEPT)
        if typist.typed(buffer.text):
            app.exit()
        return False  # the line is emptied, and kept in its history

    buffer = Buffer(
        multiline=True,
        history=InMemoryHistory(),
        accept_handler=accept,
        on_text_changed=lambda changed: typist.keys(changed.text),
    )
    pane = Window(
        FormattedTextControl(
            lines.fragments, get_cursor_position=lines.end, show_cursor=False, focusable=False
        ),
        wrap_lines=True,
        dont_extend_height=True,
    )
    bar = Window(
        FormattedTextControl(lambda: _bar(typist.status, lines.scrolled)),
        height=1,
        style="class:status",
    )
    entry = Window(
        BufferControl(
            buffer,
            input_processors=[BeforeInput(lambda: typist.prompt, style="class:prompt")],
        ),
        height=Dimension(min=1, max=INPUT_ROWS),
        wrap_lines=True,
        dont_extend_height=True,
    )
    app: Application[Any] = Application(
        Layout(HSplit([Window(), pane, bar, entry]), focused_element=entry),
        key_bindings=_keys(lines, buffer),
        style=_STYLE,
        full_screen=True,
        input=input,
        output=output,
    )

    def refresh() -> None:
        if lines.joined and app.is_running:
            # Terminals do not agree how wide these are, so that what is drawn anew in parts tears.
            app.renderer.clear()
        app.invalidate()

    lines.refresh = refresh
    return app


def _bar(status: str, scrolled: bool) -> str:
    return f" {status}{'   ▼ newer lines below (PageDown)' if scrolled else ''}"


def _keys(lines: Lines, buffer: Buffer) -> KeyBindings:
    keys = KeyBindings()

    @keys.add("enter")
    def _(event: KeyPressEvent) -> None:
        buffer.validate_and_handle()

    @keys.add("escape", "enter")
    def _(event: KeyPressEvent) -> None:
        buffer.insert_text("\n")

    @keys.add("c-c")
    def _(event: KeyPressEvent) -> None:
        event.app.exit(exception=KeyboardInterrupt)

    @keys.add("c-d", filter=Condition(lambda: not buffer.text))
    def _(event: KeyPressEvent) -> None:
        event.app.exit()

    @keys.add("pageup")
    def _(event: KeyPressEvent) -> None:
        lines.scroll(PAGE)

    @keys.add("pagedown")
    def _(event: KeyPressEvent) -> None:
        lines.scroll(-PAGE)

    return keys

"""What the chat does: lines that were typed become messages, events become lines."""

import asyncio
import contextlib
import time
import uuid
from collections.abc import Coroutine, Iterable
from typing import Any

from skyeim_ws.cli.chat import words
from skyeim_ws.cli.chat.commands import HELP, Command, parse
from skyeim_ws.cli.chat.lines import Line, Tick, clean, content
from skyeim_ws.cli.chat.people import People, Target, group_positions
from skyeim_ws.cli.chat.transcript import Screen, Transcript
from skyeim_ws.client import (
    Connected,
    Delivered,
    Event,
    Message,
    Presence,
    Problem,
    Read,
    SkyeError,
    SkyeIM,
    State,
    StateChanged,
    Typing,
)

HISTORY = 20
"""Messages of a conversation that are shown at its start, and by `/history`."""

PRESENCE_SECONDS = 2.0
"""How long `/who` waits for it, right after the start."""


class Chat:
    """One user's chat over a client; `failed` says whether a message was not sent."""

    def __init__(
        self,
        client: SkyeIM,
        user_id: int,
        target: Target,
        screen: Screen,
        *,
        history: int = HISTORY,
    ) -> None:
        self.client = client
        self.target = target
        self.people = People(user_id)
        self.failed = False
        self.over = ""
        self._screen = screen
        self._transcript = Transcript(self.people, screen)
        self._length = history
        self._loading = asyncio.Lock()
        self._loaded = False
        self._present = asyncio.Event()
        self._trouble = "not connected yet"
        self._was_open = False
        self._typing: dict[tuple[int, str], None] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        client.on(Message, self._message)
        client.on(Delivered, lambda event: self._transcript.tick(event.msg_id, Tick.DELIVERED))
        client.on(Read, self._transcript.read_by)
        client.on(StateChanged, self._changed)
        client.on(Connected, lambda _: self._start(self.load()))
        client.on(Typing, self._types)
        client.on(Presence, self._presence)
        client.on(Event, self._event)
        client.on(Problem, lambda event: self._note(f"error: {clean(event.message)}"))

    # Start and end

    async def live(self) -> str:
        """Show what was said before, connect, and stay; return why it has ended, in words."""
        await self.load()
        try:
            await self.client.connect()
            reason = await self.client.until_stopped()
        except SkyeError as error:
            reason = error.reason
        return self.over or words.stopped(reason)

    async def close(self) -> None:
        """End what is under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.client.close()
        await asyncio.sleep(0)  # what was given up is told in the next turn of the loop

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        async def guarded() -> None:
            try:
                await work
            except SkyeError as error:
                self._note(words.refused(error))

        task = asyncio.create_task(guarded())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def load(self) -> None:
        """Learn names, show the history, follow the groups; later, where there is no gateway."""
        async with self._loading:
            if self._loaded:
                return
            with contextlib.suppress(SkyeError):
                await self.people.load(self.client.api)
                if self.target:
                    await self._open(self.target)
                positions = await group_positions(self.client.api, self.people.groups)
                for group_id, seq in positions.items():
                    self.client.follow(group_id, seq)
                self.client.watch(self.people.friends)
                self._loaded = True

    async def _open(self, target: Target) -> None:
        """Show the end of a conversation."""
        if target.group_id:
            await self.people.members(self.client.api, target.group_id)
        if self._length:
            await self._history(target)

    # What comes

    def _message(self, message: Message) -> None:
        self._typing.pop((message.from_user_id, message.group_id), None)
        self._transcript.show(message, live=True)

    def _changed(self, change: StateChanged) -> None:
        if change.state is State.WAITING:
            self._trouble = words.waiting(change, was_open=self._was_open)
            if change.code == 401 and not self._was_open:  # a fresh one was refused as well
                self.over = words.stopped("unauthorized")
                self._start(self.client.close())
        elif change.state is State.OPEN:
            self._trouble = ""
        self._was_open = change.state is State.OPEN
        self._screen.changed()

    def _types(self, event: Typing) -> None:
        key = (event.user_id, event.group_id)
        if event.active:
            self._typing[key] = None
        else:
            self._typing.pop(key, None)
        self._screen.changed()

    def _presence(self, _: Presence) -> None:
        self._present.set()
        self._screen.changed()

    def _event(self, event: Event) -> None:
        if event.type == "maintenance":
            self._note(f"maintenance: {clean(event.data.get('message', ''))}")

    # What is typed

    def typed(self, text: str) -> bool:
        """Take what was typed; return whether the user wants to leave."""
        if not text.strip():
            return False
        command = parse(text)
        if command is None:
            self.send(text.removeprefix("/") if text.startswith("//") else text)
            return False
        self._obey(command)
        return command.name == "quit"

    def keys(self, text: str) -> None:
        """Take what stands in the input line, at each key."""
        if text and not text.startswith("/") and self.target:
            self.client.typing(**self._to())

    def send(self, text: str) -> "asyncio.Future[Any] | None":
        """Send a message to whom is written to; return what comes of it, or None."""
        if not self.target:
            self._note("whom to? choose with /to N or /group G; /who lists them")
            return None
        msg_id, sent = str(uuid.uuid4()), None
        line = Line(clean(text), time.time(), "you", self.people.of(self.target), tick=Tick.WAITING)
        line.to_user_id = self.target.user_id
        self._transcript.add_ours(msg_id, line)
        try:
            sent = self.client.send(text, msg_id=msg_id, **self._to())
        except SkyeError as error:
            self._failed(line, error)
        else:
            sent.add_done_callback(lambda done: self._settled(line, done))
        return sent

    def _settled(self, line: Line, done: "asyncio.Future[Any]") -> None:
        error = None if done.cancelled() else done.exception()
        if isinstance(error, SkyeError):
            self._failed(line, error)
        elif line.tick is Tick.WAITING:
            line.tick = Tick.SENT
            self._screen.changed(line)

    def too_long(self) -> None:
        """Tell of a line that was no message, but longer than any."""
        self.failed = True
        self._note("✗ not sent: a line is longer than 1 MiB")

    def _failed(self, line: Line, error: SkyeError) -> None:
        away = self._trouble if error.reason == "closed" else ""
        line.tick, line.why = Tick.FAILED, away or words.refused(error)
        self.failed = True
        self._screen.changed(line)

    def _to(self) -> dict[str, Any]:
        if self.target.group_id:
            return {"group_id": self.target.group_id}
        return {"to": self.target.user_id}

    def _obey(self, command: Command) -> None:
        match command:
            case Command("to" | "group", target=Target() as target):
                self.target = target
                self._start(self._write_to(target))
            case Command("who"):
                self._start(self._who())
            case Command("history") if self.target:
                self._start(self._history(self.target))
            case Command("search", argument=keyword) if keyword:
                self._start(self._search(keyword))
            case Command("read") if self.target:
                self._mark_read()
            case Command("history" | "read"):
                self._note("which conversation? choose with /to N or /group G")
            case Command("quit"):
                pass
            case Command("help"):
                self._notes(HELP)
            case _:
                self._note(f"{command.wrong}; /help lists the commands")
        self._screen.changed()

    async def _write_to(self, target: Target) -> None:
        await self.load()
        self._note(f"writing to {self.people.of(target)}")
        await self._open(target)

    def _mark_read(self) -> None:
        if self.target.user_id:
            self.client.read(self.target.user_id)
        elif seq := self._transcript.newest_seq.get(self.target.group_id):
            self.client.read_group(self.target.group_id, seq)
        self._note(f"{self.people.of(self.target)}: marked as read")

    async def _who(self) -> None:
        await self.load()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PRESENCE_SECONDS):
                await self._present.wait()
        for user_id in self.people.friends:
            online = self.client.online(user_id)
            dot = {True: "● online", False: "○ away", None: ""}[online]
            self._note(f"{self.people.name(user_id)}  /to {user_id}  {dot}")
        for group_id, name in self.people.groups.items():
            self._note(f"{name}  /group {clean(group_id)}")
        if self.target.group_id:
            members = await self.people.members(self.client.api, self.target.group_id)
            named = ", ".join(self.people.name(each) for each in members)
            self._note(f"in {self.people.of(self.target)}: {named}")

    async def _history(self, target: Target) -> None:
        """Show what was said before what is shown."""
        which = {"group_id": target.group_id} if target.group_id else {"peer_id": target.user_id}
        transcript = self._transcript
        before = transcript.oldest.get(target)
        page = await self.client.api.history(before=before, limit=self._length, **which)
        messages = [each for each in reversed(page.messages) if not transcript.shows(each)]
        if not messages:
            none = "nothing earlier" if before else "no messages yet"
            self._note(f"{self.people.of(target)}: {none}")
            return
        self._note(f"earlier with {self.people.of(target)}")
        for message in messages:
            transcript.show(message)
        self._note("now")

    async def _search(self, keyword: str) -> None:
        found = await self.client.api.search(keyword)
        self._note(f"{len(found)} found")
        for each in reversed(found):
            text = content(each.content, each.content_type)
            name = self.people.name(each.from_user_id)
            self._note(f"{Line(text, each.created_at, name)}")

    # What is shown

    @property
    def prompt(self) -> str:
        """What stands before the input."""
        return f"{self.people.of(self.target)} > " if self.target else "> "

    def _note(self, text: str) -> None:
        self._screen.add(Line(text))

    def _notes(self, texts: Iterable[str]) -> None:
        for text in texts:
            self._note(text)

    @property
    def status(self) -> str:
        """Say in a line how things are: connection, whom is written to, who types."""
        parts = [f"{self._trouble}; trying …"] if self._trouble else []
        if self.target:
            online = self.client.online(self.target.user_id)
            dot = {True: " ● online", False: " ○ away", None: ""}[online]
            parts.append(f"to {self.people.of(self.target)}{dot}")
        else:
            parts.append("/who lists whom you can write to, /help the commands")
        if self._typing:
            names = ", ".join(self.people.name(user_id) for user_id, _ in self._typing)
            parts.append(f"{names} {'are' if len(self._typing) > 1 else 'is'} typing…")
        return " │ ".join(parts)

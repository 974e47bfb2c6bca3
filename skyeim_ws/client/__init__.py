"""The SkyeIM client for asyncio: one user's connection that comes back by itself, and its events.

It needs Python 3.11 and the library `websockets`, and nothing of the server
(`pip install skyeim-ws` brings both; with `--no-deps` beside `websockets` it is enough).

A bot that answers every private message:

    import asyncio
    from skyeim_ws.client import Message, SkyeIM

    async def main() -> None:
        client = SkyeIM("wss://chat.example.com/ws", get_token)

        def answer(message: Message) -> None:
            if not message.group_id:
                client.send(f"You said: {message.content}", to=message.from_user_id)

        client.on(Message, answer)
        async with client:
            print(await client.until_stopped())

    asyncio.run(main())

`send` keeps a message, and sends it again under the same msgId, until it is stored; await its
result to know when. All that is missed meanwhile comes as `Message`, once and in order.
`client.api` has the calls over HTTP. `SkyeError` says what was refused.
"""

from skyeim_ws.client.api import Api, Page
from skyeim_ws.client.connection import SkyeIM
from skyeim_ws.client.events import (
    Connected,
    Delivered,
    Event,
    Failed,
    GroupLost,
    Kicked,
    Message,
    Presence,
    Problem,
    Read,
    Sent,
    State,
    StateChanged,
    Typing,
)
from skyeim_ws.client.rules import SkyeError

__all__ = [
    "Api",
    "Connected",
    "Delivered",
    "Event",
    "Failed",
    "GroupLost",
    "Kicked",
    "Message",
    "Page",
    "Presence",
    "Problem",
    "Read",
    "Sent",
    "SkyeError",
    "SkyeIM",
    "State",
    "StateChanged",
    "Typing",
]

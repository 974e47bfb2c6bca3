"""Which users are online as far as their friends know, and what was told last."""

from collections.abc import Sequence

from skyeim_ws.logic.announcer import Position
from skyeim_ws.store import scripts
from skyeim_ws.store.keys import EPOCH_KEY, node_channel
from skyeim_ws.store.messages import FrameMessage, encode
from skyeim_ws.store.pipeline import Pipeline
from skyeim_ws.store.sessions import RedisSessions

TOLD_KEY = "ws:{told}"
_LAST_KEY = "ws:{told}:last"
_COUNT_KEY = "ws:{told}:count"
_LATER_KEY = "ws:{told}:later"

REMEMBERED = 10_000
"""Users of the last announcements, for nodes that did not hear them."""

DUE_AT_ONCE = 500


class RedisAnnouncements:
    """`announcer.Announcements` for one node."""

    def __init__(self, pipeline: Pipeline, sessions: RedisSessions, node: str) -> None:
        self._pipeline = pipeline
        self._sessions = sessions
        self._node = node
        self._tell = scripts.read("tell_presence")
        self._look_later = scripts.read("look_later")
        self._due = scripts.read("due")

    async def told(self, user_ids: Sequence[int]) -> list[bool]:
        """Return of which of the users friends believe that they are online."""
        [flags] = await self._pipeline.call(("SMISMEMBER", TOLD_KEY, *user_ids))
        return [flag == 1 for flag in flags]

    async def tell(
        self, user_id: int, friends: Sequence[int], frame: bytes, *, online: bool, again: bool
    ) -> bool:
        """Note it and tell the nodes of the friends; False if it was noted, and not told `again`.

        Whoever moves to another node meanwhile asks that who is online, as after any login.
        """
        nodes = await self._sessions.nodes(friends)
        nodes.pop(self._node, None)
        telling = [
            part
            for node, users in nodes.items()
            for part in (node_channel(node), encode(FrameMessage(self._node, users, frame)))
        ]
        [told] = await self._pipeline.call(
            (
                *("EVAL", self._tell, 3, TOLD_KEY, _LAST_KEY, _COUNT_KEY),
                *(user_id, "SADD" if online else "SREM", "1" if again else "0", REMEMBERED),
                *telling,
            )
        )
        return bool(told == 1)

    def later(self, user_ids: Sequence[int], seconds: float) -> None:
        """Have some node look at users after so many seconds, by the clock of Redis."""
        self._pipeline.submit(
            ("EVAL", self._look_later, 1, _LATER_KEY, round(1000 * seconds), *user_ids)
        )

    async def due(self) -> list[int]:
        """Take users whose time has come."""
        [users] = await self._pipeline.call(("EVAL", self._due, 1, _LATER_KEY, DUE_AT_ONCE))
        return [int(user) for user in users]

    async def position(self) -> Position:
        """Return how many announcements there were, and since which emptying of Redis."""
        count, epoch = await self._pipeline.call(("GET", _COUNT_KEY), ("GET", EPOCH_KEY))
        return Position(epoch or b"", int(count or 0))

    async def since(self, position: Position) -> list[int]:
        """Return the users of whom something was told since then, as far as it is remembered.

        If Redis was emptied since, these are all.
        """
        now = await self.position()
        after = position.number if position.epoch == now.epoch else 0
        [users] = await self._pipeline.call(("ZRANGEBYSCORE", _LAST_KEY, f"({after}", "+inf"))
        return [int(user) for user in users]

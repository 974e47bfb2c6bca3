"""The names of users and groups, and whom the user may write to."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from skyeim_ws.cli.chat.lines import clean
from skyeim_ws.client import Api, Message

UNREAD = 100
"""Unread messages of a group that come at the start; older ones are in its history."""


@dataclass(frozen=True, slots=True)
class Target:
    """Whom lines are sent to: a user, or a group, or nobody yet."""

    user_id: int = 0
    group_id: str = ""

    def __bool__(self) -> bool:
        return bool(self.user_id or self.group_id)


@dataclass(slots=True)
class People:
    """Friends and groups, as the gateway has told them."""

    user_id: int
    friends: list[int] = field(default_factory=list)
    groups: dict[str, str] = field(default_factory=dict)
    _names: dict[int, str] = field(default_factory=dict)

    async def load(self, api: Api) -> None:
        """Ask the gateway; raises SkyeError."""
        friends, groups = await api.friends(), await api.groups()
        self.friends = [each["friendId"] for each in friends]
        self.groups = {each["groupId"]: clean(each["name"]) for each in groups}
        self._learn(friends, "friendId", "remark")

    async def members(self, api: Api, group_id: str) -> list[int]:
        """Return the members of a group, and learn their names; raises SkyeError."""
        members = await api.members(group_id)
        self._learn(members, "userId", "nickname")
        return [each["userId"] for each in members]

    def _learn(self, rows: Iterable[dict[str, Any]], key: str, name: str) -> None:
        for row in rows:
            if row[name]:
                self._names.setdefault(row[key], clean(row[name]))

    def name(self, user_id: int) -> str:
        """Return the name of a user, or the number."""
        if user_id == self.user_id:
            return "you"
        return self._names.get(user_id, str(user_id))

    def group(self, group_id: str) -> str:
        """Return the name of a group, or its id."""
        return self.groups.get(group_id) or clean(group_id)

    def of(self, target: Target) -> str:
        """Return the name of whom is written to."""
        return self.group(target.group_id) if target.group_id else self.name(target.user_id)


async def group_positions(api: Api, groups: Iterable[str]) -> dict[str, int]:
    """Return for each group the seq from which on it is shown: what is unread, within bounds."""
    found = dict.fromkeys(groups, 0)
    for each in await api.conversations():
        if each.get("groupId") in found:
            last = Message.of(each["lastMessage"]).seq
            found[each["groupId"]] = max(0, last - min(each["unreadCount"], UNREAD))
    return found

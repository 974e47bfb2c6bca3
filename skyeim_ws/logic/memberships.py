"""In which groups the users of this node are: found at the login, and kept up."""

import asyncio
from collections.abc import Sequence, Set
from contextlib import suppress
from itertools import islice
from typing import Protocol

import structlog

from skyeim_ws.conn.client import Client
from skyeim_ws.conn.hub import Hub
from skyeim_ws.conn.state import State
from skyeim_ws.logic.group_channels import GroupChannels
from skyeim_ws.logic.ports import Groups, Refused, Unavailable
from skyeim_ws.logic.session_state import session_of
from skyeim_ws.logic.shared_state import NodeSessions, Presence
from skyeim_ws.logic.tasks import Tasks

log = structlog.get_logger()

HEARD_SECONDS = 0.5
"""How long a login waits until its groups are known, and heard."""

_RETRY_SECONDS = 1.0
_AT_ONCE = 200
"""Users whose groups are asked for at a time, when that was not possible at their login."""

_CHANGED = 10_000
"""Groups that are to be looked at, since their members have changed; more are left out."""


class SharedMembers(Protocol):
    """The members of groups as far as all nodes and services share them; in `store`."""

    async def listed(self, group_id: str, user_ids: Set[int]) -> Set[int]:
        """Return those of the users who are among them; raises Unavailable."""


class Memberships:
    """Has this node hear the groups of its users, and enters the users there as online.

    `run` asks again for the groups of users of whom they are not known, and looks whether a group
    that is not heard here has a user of this node among its members now.
    """

    def __init__(
        self,
        *,
        hub: Hub,
        groups: Groups,
        members: SharedMembers,
        channels: GroupChannels,
        node_sessions: NodeSessions,
        presence: Presence,
        tasks: Tasks,
    ) -> None:
        self._hub = hub
        self._groups = groups
        self._members = members
        self._channels = channels
        self._node_sessions = node_sessions
        self._presence = presence
        self._tasks = tasks
        self._unknown: dict[Client, None] = {}
        self._changed: dict[str, None] = {}
        self._wake = asyncio.Event()

    def __len__(self) -> int:
        """Count the users whose groups are not known."""
        return len(self._unknown)

    async def find(self, client: Client) -> None:
        """Find the groups of a user who has logged in, and wait until they are heard, for a moment.

        If it fails it is tried again later. Once the client is connected it is told what it may
        have missed until then.
        """
        try:
            group_ids = tuple(await self._groups.joined(client.user_id))
        except (Refused, Unavailable) as error:
            log.info("groups_unknown", user=client.user_id, error=str(error))
            self._unknown[client] = None
            self._wake.set()
            group_ids = session_of(client).group_ids
        if self._hub.get(client.user_id) is not client:
            return
        heard = self._join(client, group_ids)
        if heard is not None:
            await asyncio.wait({heard}, timeout=HEARD_SECONDS)
            heard.cancel()

    async def enter(self, client: Client) -> None:
        """Enter a user as online in all groups, and note that for whoever cleans up."""
        session = session_of(client)
        self._node_sessions.enter(client.user_id, client.conn_id, session.group_ids)
        try:
            await self._presence.enter(client.user_id, session.group_ids)
        except Unavailable as error:
            log.info("group_presence_not_written", user=client.user_id, error=str(error))

    def connected(self, client: Client) -> None:
        """Note that the client asks for what is older now: what is not heard yet, it may miss."""
        self._channels.missing(session_of(client).group_ids)

    def members_changed(self, group_ids: Sequence[str] | None) -> None:
        """Look whether users of this node are in these groups now; None: in any at all."""
        if group_ids is None:
            self._unknown.update(dict.fromkeys(self._hub))
        else:
            unheard = [each for each in group_ids if each not in self._channels]
            self._changed.update(dict.fromkeys(unheard[: _CHANGED - len(self._changed)]))
        self._wake.set()

    def members_known(self, group_id: str, members: frozenset[int]) -> None:
        """Bring a group's presence in line with its members, who may have changed."""
        joined = []
        for user_id in self._hub.users & members:
            client = self._hub.get(user_id)
            if client is not None and group_id not in session_of(client).group_ids:
                self._join(client, (*session_of(client).group_ids, group_id))
                joined.append(client)
        self._tasks.spawn(self._sync_group(group_id, members, joined))

    def _join(self, client: Client, group_ids: tuple[str, ...]) -> asyncio.Future[None] | None:
        session_of(client).group_ids = group_ids
        heard = self._channels.join(group_ids)
        if client.state is not State.CONNECTING:  # it has asked for what is older already
            self._channels.missing(group_ids)
        return heard

    async def run(self) -> None:
        """Find what was not found at once, for good."""
        while True:
            await self._wake.wait()
            some = list(islice(self._unknown, _AT_ONCE))
            for client in some:
                del self._unknown[client]
            before = len(self._unknown)
            await asyncio.gather(*map(self._find_again, some))
            if len(self._unknown) > before:
                await asyncio.sleep(_RETRY_SECONDS)
            for group_id in list(islice(self._changed, _AT_ONCE)):
                del self._changed[group_id]
                with suppress(Unavailable):  # when Redis is back, all users are looked at
                    await self._look_for_members(group_id)
            if not self._unknown and not self._changed:
                self._wake.clear()

    async def _find_again(self, client: Client) -> None:
        if self._hub.get(client.user_id) is client:
            before = session_of(client).group_ids
            await self.find(client)
            # Whoever has left meanwhile was taken out of its groups, and would stay in them.
            here = self._hub.get(client.user_id) is client
            if here and session_of(client).group_ids != before:
                await self.enter(client)

    async def _look_for_members(self, group_id: str) -> None:
        for user_id in await self._members.listed(group_id, self._hub.users):
            client = self._hub.get(user_id)
            if client is not None and group_id not in session_of(client).group_ids:
                self._join(client, (*session_of(client).group_ids, group_id))
                await self.enter(client)

    async def _sync_group(
        self, group_id: str, members: frozenset[int], joined: Sequence[Client]
    ) -> None:
        try:
            # The hub is asked here, not earlier: whoever left since would stay online for good.
            gone = await self._presence.sync_group(group_id, members, self._hub.users & members)
            here = [c for c in joined if self._hub.get(c.user_id) is c]
            await self._node_sessions.enter_again(
                [(c.user_id, c.conn_id, session_of(c).group_ids) for c in here]
            )
        except Unavailable as error:
            log.debug("group_presence_not_written", group=group_id, error=str(error))
            return
        for client in filter(None, map(self._hub.get, gone)):
            session = session_of(client)
            session.group_ids = tuple(each for each in session.group_ids if each != group_id)

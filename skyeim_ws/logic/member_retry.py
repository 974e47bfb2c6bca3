"""Look-ups of the members of a group: in whose name, and again while that may help."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence

import structlog

from skyeim_ws.contract.codes import Reason
from skyeim_ws.logic.ports import Members, Refused

log = structlog.get_logger()

RETRY_DELAYS = (0.1, 0.5, 1.0)
"""Seconds between look-ups while they fail, give or take a half: groups shall not try in step."""

NOBODY = 0
"""The asker where no user stands behind a look-up."""

_LOG_SECONDS = 10.0


class MemberRetry:
    """`conn.group_router.MemberSource` over the cache; it never raises."""

    def __init__(
        self,
        members: Members,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float],
    ) -> None:
        self._members = members
        self._sleep = sleep
        self._clock = clock
        self._quiet_until = 0.0
        self._suppressed = 0

    def cached(self, group_id: str) -> frozenset[int] | None:
        """Return the members if they are at hand without waiting."""
        return self._members.cached(group_id)

    async def find(self, group_id: str, asker_ids: Sequence[int]) -> frozenset[int] | None:
        """Return the members; None if no asker may know them, or after the last of some tries."""
        delays = iter(RETRY_DELAYS)
        while True:
            try:
                return await members_seen_by(self._members, group_id, asker_ids)
            except Refused:
                return None
            except Exception as error:  # whatever it is, the group must go on
                delay = next(delays, None)
                if delay is None:
                    self._note(group_id, error)
                    return None
                await self._sleep(delay * random.uniform(0.5, 1.5))  # noqa: S311 - no secret

    def _note(self, group_id: str, error: Exception) -> None:
        """Log that members are not to be had, one line in some seconds for all groups."""
        if self._clock() < self._quiet_until:
            self._suppressed += 1
            return
        self._quiet_until = self._clock() + _LOG_SECONDS
        log.warning(
            "group_members_unknown", group=group_id, error=str(error), suppressed=self._suppressed
        )
        self._suppressed = 0


async def members_seen_by(
    members: Members, group_id: str, asker_ids: Sequence[int]
) -> frozenset[int]:
    """Return the members as the first asker sees them who is one; raises Refused, Unavailable.

    Whoever has sent a stored message may have left the group since: if all have, they are asked
    for in nobody's name.
    """
    for asker_id in asker_ids:
        try:
            return await members.members(group_id, asker_id)
        except Refused as refused:
            # Other refusals are a good answer for the other askers too.
            if refused.reason is not Reason.NOT_MEMBER:
                raise
    return await members.members(group_id, NOBODY)

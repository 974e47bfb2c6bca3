"""What becomes of a message whose answer does not say it: the other services are asked."""

import asyncio

from skyeim_ws.contract.codes import Reason
from skyeim_ws.contract.names import EVERYONE
from skyeim_ws.logic.outgoing import SendOutcome
from skyeim_ws.logic.ports import Refused, Unavailable
from skyeim_ws.rpc.errors import RpcFailed, classify
from skyeim_ws.rpc.friends import FriendClient
from skyeim_ws.rpc.groups import GroupClient
from skyeim_ws.rpc.repeats import Repeats, Unclear, Why
from skyeim_ws.rpc.sending import Item, time_left

CONCURRENT_LOOK_UPS = 64


class Inquiry:
    """Asks about so many messages at a time, each within its deadline."""

    def __init__(self, repeats: Repeats, friends: FriendClient, groups: GroupClient) -> None:
        self._repeats = repeats
        self._friends = friends
        self._groups = groups
        self._slots = asyncio.Semaphore(CONCURRENT_LOOK_UPS)

    async def find_out(self, item: Item, unclear: Unclear) -> SendOutcome:
        """Return what a message gets that was denied without a reason, or may be stored already."""
        outcome: SendOutcome
        try:
            async with asyncio.timeout_at(item.deadline), self._slots:
                if unclear.why is Why.DENIED:
                    outcome = Refused(await self._why_denied(item))
                else:
                    outcome = await self._repeats.look_up(
                        item.message, unclear, time_left(item), item.newest_id
                    )
        except (Refused, Unavailable) as answer:
            outcome = answer
        except RpcFailed as failed:
            denied = Refused(Reason.NOT_MEMBER if item.message.group_id else Reason.NOT_FRIEND)
            outcome = classify(failed.code, failed.reason) or denied
        except TimeoutError:
            outcome = Unavailable("no time left")
        return outcome

    async def _why_denied(self, item: Item) -> Reason:
        message, left = item.message, time_left(item)
        if not message.group_id:
            return await self._friends.why_denied(message.from_user_id, message.to_user_id, left)
        return await self._groups.why_denied(
            message.group_id,
            message.from_user_id,
            at_all=EVERYONE in message.at_user_ids,
            timeout=left,
        )

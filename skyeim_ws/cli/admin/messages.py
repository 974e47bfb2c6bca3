"""The admin commands about messages: the history of a conversation, what is unread."""

from argparse import Namespace

import grpc

from skyeim_ws.cli.admin.calls import call
from skyeim_ws.cli.admin.output import Answer, fields, local_time, table
from skyeim_ws.contract.pb import message_pb2 as pb
from skyeim_ws.contract.pb.message_pb2_grpc import MessageStub

_PAGE = 100
"""Messages that the services return at a time."""

TYPES = {1: "text", 2: "picture", 3: "file", 4: "voice", 5: "video"}
STATUS = {0: "unread", 1: "read", 2: "recalled"}


async def history(channel: grpc.aio.Channel, arguments: Namespace) -> Answer:
    """Show the last messages of two users, or of a group as one of its members; oldest first."""
    found: list[pb.MessageInfo] = []
    more = True
    while more and len(found) < arguments.limit:
        before = found[-1].id if found else 0
        limit = min(_PAGE, arguments.limit - len(found))
        page, more = await page_before(channel, arguments, before, limit)
        more = more and bool(page)
        found += page
    found.reverse()
    text = table(
        ("ID", "TIME", "FROM", "SEQ" if arguments.group else "STATUS", "TYPE", "CONTENT"),
        (
            (
                each.id,
                local_time(each.created_at),
                each.from_user_id,
                each.seq if arguments.group else STATUS.get(each.status, each.status),
                TYPES.get(each.content_type, each.content_type),
                each.content,
            )
            for each in found
        ),
        empty="there are no messages",
    )
    return Answer(
        {"messages": [fields(each) for each in found], "hasMore": more},
        f"{text}\n(there are older messages: raise --limit)" if more else text,
    )


async def unread(channel: grpc.aio.Channel, arguments: Namespace) -> Answer:
    """Count the unread private messages to a user."""
    request = pb.GetUnreadCountReq(user_id=arguments.user)
    count = (await call(MessageStub(channel).GetUnreadCount, request)).count
    return Answer(
        {"userId": arguments.user, "count": count},
        f"{arguments.user} has {count or 'no'} unread private message{'s' * (count != 1)}",
    )


async def page_before(
    channel: grpc.aio.Channel, arguments: Namespace, before: int, limit: int = _PAGE
) -> tuple[list[pb.MessageInfo], bool]:
    """Return messages with ids below `before`, newest first, and whether there are more."""
    messages = MessageStub(channel)
    if arguments.group:
        of_group = await call(
            messages.GetGroupMessageList,
            pb.GetGroupMessageListReq(
                user_id=arguments.user, group_id=arguments.group, last_msg_id=before, limit=limit
            ),
        )
        return list(of_group.list), of_group.has_more
    private = await call(
        messages.GetMessageList,
        pb.GetMessageListReq(
            user_id=arguments.user, peer_id=arguments.peer, last_msg_id=before, limit=limit
        ),
    )
    return list(private.list), private.has_more

"""The admin command for one message: where it is now, and what it waits for."""

from argparse import Namespace
from collections.abc import Mapping
from typing import Any

import grpc

from skyeim_ws.cli.admin.calls import AdminError, NotOfferedError, call
from skyeim_ws.cli.admin.cluster import ANSWER_SECONDS
from skyeim_ws.cli.admin.messages import STATUS, TYPES, page_before
from skyeim_ws.cli.admin.output import Answer, fields, local_time, table
from skyeim_ws.cli.admin.users import Finding, connection_of, findings
from skyeim_ws.contract.pb import message_pb2 as pb
from skyeim_ws.contract.pb.message_pb2_grpc import MessageStub
from skyeim_ws.store.operators import Operators, UserState

_LOOKED_THROUGH = 10_000
"""Messages of a conversation that are compared at most."""

_READ = 1
_PRIVATE = 1


async def show(channel: grpc.aio.Channel, operators: Operators, arguments: Namespace) -> Answer:
    """Show what storage says of a message, and if it is private, how it is with its receiver."""
    message = await _find(channel, arguments)
    private = message.chat_type == _PRIVATE or not message.group_id
    found = await _of_private(operators, message) if private else _of_group(message)
    kept = fields(message)
    del kept["content"]
    rows = (
        ("id", message.id),
        ("stored", local_time(message.created_at)),
        ("from", message.from_user_id),
        ("to", message.to_user_id if private else f"group {message.group_id}, seq {message.seq}"),
        ("type", TYPES.get(message.content_type, message.content_type)),
        ("status", STATUS.get(message.status, message.status) if private else "-"),
    )
    told = "\n".join(f"{each.name}: {each.text}" for each in found)
    return Answer(
        {"message": kept, "findings": [each._asdict() for each in found]},
        f"{table(('msgId', message.msg_id), rows, empty='')}\n\n{told}",
    )


async def _find(channel: grpc.aio.Channel, arguments: Namespace) -> pb.MessageInfo:
    if arguments.user is not None:
        return await _look_through(channel, arguments)
    request = pb.FindMessageReq(msg_id=arguments.msg_id)
    try:
        return (await call(MessageStub(channel).FindMessage, request)).message
    except NotOfferedError:
        raise AdminError(
            "these services find no message by its msgId alone: name the conversation, "
            "with --user, and --peer or --group"
        ) from None


async def _look_through(channel: grpc.aio.Channel, arguments: Namespace) -> pb.MessageInfo:
    if arguments.peer is None and arguments.group is None:
        raise AdminError("name the other side too, with --peer or --group")
    before, seen, more = 0, 0, True
    while more and seen < _LOOKED_THROUGH:
        page, more = await page_before(channel, arguments, before)
        for message in page:
            if message.msg_id == arguments.msg_id:
                return message
        if not page:
            break
        before, seen = page[-1].id, seen + len(page)
    raise AdminError(f"no message with this msgId is among the last {seen} of this conversation")


async def _of_private(operators: Operators, message: pb.MessageInfo) -> list[Finding]:
    receiver = message.to_user_id
    if message.status == _READ:
        return [Finding("read", f"{receiver} has it, and has read it")]
    state = await operators.user(receiver)
    return [
        await _whereabouts(operators, message, state),
        *findings(state, await connection_of(operators, receiver, state)),
    ]


async def _whereabouts(operators: Operators, message: pb.MessageInfo, state: UserState) -> Finding:
    receiver = message.to_user_id
    held = await _held(operators, message, state)
    if held.get("heldBack"):
        return Finding("held_back", f"{receiver} gets it behind older ones, which come first")
    if held.get("unconfirmed"):
        return Finding("not_confirmed", f"written to {receiver}, whose client has not confirmed it")
    if await operators.is_queued(receiver, message.msg_id):
        return Finding("queued", f"waits for {receiver} in the offline queue")
    if state.missed:
        return Finding(
            "comes_with_unread", f"{receiver} gets it at the login, with all unread ones"
        )
    return Finding("confirmed", f"the client of {receiver} has confirmed it; it is not marked read")


async def _held(
    operators: Operators, message: pb.MessageInfo, state: UserState
) -> Mapping[str, Any]:
    """Return what the node of the receiver has of the message in its hands."""
    if not state.node:
        return {}
    about = {"user": message.to_user_id, "msgId": message.msg_id}
    answers = await operators.order([state.node], "user.message", about, ANSWER_SECONDS)
    return answers.get(state.node, {})


def _of_group(message: pb.MessageInfo) -> list[Finding]:
    return [
        Finding(
            "stored_in_group",
            "members who were connected have got it, the others fetch it by seq: "
            f"`skyeim-ws admin group members {message.group_id}` shows who has read up to where",
        )
    ]

"""Which messages may be stored: the form of a message, and the rules of friends and groups.

Pure: what the rules need to know is loaded beforehand, for a whole batch, as `Facts`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import grpc

from skyeim_ws.contract.codes import Reason
from skyeim_ws.contract.names import EVERYONE, MAX_CONTENT
from skyeim_ws.contract.pb import message_pb2 as pb
from skyeim_ws.services import errors
from skyeim_ws.services.errors import RefusedError
from skyeim_ws.services.tables import ACTIVE, ADMIN, BLOCKED, NORMAL, OWNER

MAX_GROUP_ID = 64
MAX_MENTIONS = 1_000
"""User ids that one message may mention."""


_MSG_ID = re.compile(r"[A-Za-z0-9_.:-]{1,64}")


class Draft(NamedTuple):
    """A message of good form; private if `group_id` is empty, else `to_user_id` is 0."""

    msg_id: str
    from_user_id: int
    to_user_id: int
    group_id: str
    content: str
    content_type: int
    at_user_ids: tuple[int, ...]


class Repeat(NamedTuple):
    """The item repeats an earlier one of the same batch."""

    of: Draft


@dataclass(frozen=True, slots=True)
class Facts:
    """What the rules need to know about a batch.

    `known`: what is stored already, by msg_id. `friendships`: status of the row
    (user_id, friend_id). `groups`: status by group_id. `members`: (role, mute) by
    (group_id, user_id).
    """

    known: Mapping[str, pb.MessageInfo]
    friendships: Mapping[tuple[int, int], int]
    groups: Mapping[str, int]
    members: Mapping[tuple[str, int], tuple[int, int]]


Decision: TypeAlias = Draft | pb.MessageInfo | Repeat | RefusedError
"""A Draft is to be stored, a MessageInfo is already."""


def draft_of(item: pb.SendItem) -> Draft | RefusedError:
    """Return the message of an item, or why its form is bad."""
    kind = item.WhichOneof("item")
    if kind == "private":
        return private_draft(item.private)
    if kind == "group":
        return group_draft(item.group)
    return errors.invalid("the item is empty")


def private_draft(request: pb.SendMessageReq) -> Draft | RefusedError:
    """Return the private message of a request, or why its form is bad."""
    to_user_id = request.to_user_id
    if to_user_id <= 0:
        return errors.invalid("to_user_id must be positive")
    return _draft(request, to_user_id, "", ())


def group_draft(request: pb.SendGroupMessageReq) -> Draft | RefusedError:
    """Return the group message of a request, or why its form is bad."""
    group_id, mentions = request.group_id, tuple(request.at_user_ids)
    if not 1 <= len(group_id) <= MAX_GROUP_ID:
        return errors.invalid(f"group_id must have 1 to {MAX_GROUP_ID} characters")
    if len(mentions) > MAX_MENTIONS:
        return errors.invalid("at_user_ids has too many entries")
    if any(user_id <= 0 and user_id != EVERYONE for user_id in mentions):
        return errors.invalid("at_user_ids must be positive, or -1 for everyone")
    return _draft(request, 0, group_id, mentions)


def decide(drafts: Sequence[Draft | RefusedError], facts: Facts) -> list[Decision]:
    """Return the decision on each item, in order; those of bad form keep their refusal."""
    decisions: list[Decision] = []
    first_uses: dict[str, Draft] = {}
    for draft in drafts:
        decision = draft if isinstance(draft, RefusedError) else _judge(draft, facts, first_uses)
        if isinstance(decision, Draft):
            first_uses[decision.msg_id] = decision
        decisions.append(decision)
    return decisions


def msg_id_conflict() -> RefusedError:
    """Return the refusal of a msg_id that has been used for another message."""
    return errors.already_exists(
        Reason.MSG_ID_CONFLICT,
        "this msg_id has been used for another message",
    )


def _draft(
    request: pb.SendMessageReq | pb.SendGroupMessageReq,
    to_user_id: int,
    group_id: str,
    mentions: tuple[int, ...],
) -> Draft | RefusedError:
    msg_id, from_user_id = request.msg_id, request.from_user_id
    content, content_type = request.content, request.content_type
    if not _MSG_ID.fullmatch(msg_id):
        return errors.invalid("msg_id must be 1 to 64 characters of [A-Za-z0-9_.:-]")
    if from_user_id <= 0:
        return errors.invalid("from_user_id must be positive")
    if not 1 <= len(content) <= MAX_CONTENT:
        return errors.invalid(f"content must have 1 to {MAX_CONTENT} characters")
    if not 1 <= content_type <= 5:
        return errors.invalid("content_type must be 1 to 5")
    return Draft(msg_id, from_user_id, to_user_id, group_id, content, content_type, mentions)


def _judge(draft: Draft, facts: Facts, first_uses: Mapping[str, Draft]) -> Decision:
    # A retry gets its first answer even if the friendship has ended since.
    known = facts.known.get(draft.msg_id)
    if known is not None:
        return known if _way(known) == _way(draft) else msg_id_conflict()
    first_use = first_uses.get(draft.msg_id)
    if first_use is not None:
        return Repeat(first_use) if _way(first_use) == _way(draft) else msg_id_conflict()
    refusal = _group_refusal(draft, facts) if draft.group_id else _private_refusal(draft, facts)
    return refusal or draft


def _way(message: Draft | pb.MessageInfo) -> tuple[int, int, str]:
    """Return from whom to whom a message goes: of a repeat it is that of the first."""
    # Existing databases may have a receiver beside a group, which says nothing there.
    to_user_id = 0 if message.group_id else message.to_user_id
    return message.from_user_id, to_user_id, message.group_id


def _private_refusal(draft: Draft, facts: Facts) -> RefusedError | None:
    sender, receiver = draft.from_user_id, draft.to_user_id
    theirs = facts.friendships.get((receiver, sender))
    ours = facts.friendships.get((sender, receiver))
    if theirs is None or ours is None or sender == receiver:
        return errors.denied(Reason.NOT_FRIEND, "you are not friends with this user")
    if BLOCKED in (theirs, ours):
        return errors.denied(Reason.BLOCKED, "one of you has blocked the other")
    if theirs != NORMAL or ours != NORMAL:
        return errors.denied(Reason.NOT_FRIEND, "you are not friends with this user")
    return None


def _group_refusal(draft: Draft, facts: Facts) -> RefusedError | None:
    if facts.groups.get(draft.group_id) != ACTIVE:
        return RefusedError(
            grpc.StatusCode.NOT_FOUND,
            Reason.GROUP_NOT_FOUND,
            "there is no such group, or it was dismissed",
        )
    member = facts.members.get((draft.group_id, draft.from_user_id))
    if member is None:
        return errors.denied(Reason.NOT_MEMBER, "you are not a member of this group")
    role, mute = member
    if mute and role != OWNER:
        return errors.denied(Reason.MUTED, "you are muted in this group")
    if EVERYONE in draft.at_user_ids and role not in (OWNER, ADMIN):
        return errors.denied(Reason.AT_ALL_DENIED, "only the owner and admins mention everyone")
    return None

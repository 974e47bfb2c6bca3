"""The one way in which messages are stored: a batch is one transaction of few statements.

Each item has its own outcome. Ids and the seq of each group follow the order of the items, and
seq has no gaps: it is allocated in the transaction that stores the message.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import structlog
from sqlalchemy import (
    BindParameter,
    Connection,
    Select,
    bindparam,
    func,
    insert,
    select,
    tuple_,
    update,
)
from sqlalchemy.exc import DataError, IntegrityError, OperationalError

from skyeim_ws.contract.pb import message_pb2 as pb
from skyeim_ws.services.db import Database, chunks
from skyeim_ws.services.errors import RefusedError, invalid
from skyeim_ws.services.history import INFO, info_of_row
from skyeim_ws.services.mysql import is_deadlock
from skyeim_ws.services.send_rules import (
    Decision,
    Draft,
    Facts,
    Repeat,
    decide,
    msg_id_conflict,
)
from skyeim_ws.services.tables import (
    GROUP,
    PRIVATE,
    UNREAD,
    friends,
    group_members,
    group_seqs,
    groups,
    messages,
    unix_now,
)

log = structlog.get_logger()


class Stored(NamedTuple):
    """Where and when a message was stored; `created_at` in Unix seconds, `seq` 0 if private.

    `first` is what the earlier call stored that this one repeats, None if there was none.
    """

    id: int
    msg_id: str
    created_at: int
    seq: int
    first: pb.MessageInfo | None = None


Outcome: TypeAlias = Stored | RefusedError

# Built once: to build and hash a statement costs more than to run it.
_KEYS: BindParameter[Any] = bindparam("keys", expanding=True)
KNOWN = INFO.where(messages.c.msg_id.in_(_KEYS))
FRIENDSHIPS = select(friends.c.user_id, friends.c.friend_id, friends.c.status).where(
    tuple_(friends.c.user_id, friends.c.friend_id).in_(_KEYS)
)
GROUPS = select(groups.c.group_id, groups.c.status).where(groups.c.group_id.in_(_KEYS))
MEMBERS = select(
    group_members.c.group_id,
    group_members.c.user_id,
    group_members.c.role,
    group_members.c.mute,
).where(tuple_(group_members.c.group_id, group_members.c.user_id).in_(_KEYS))
# In the order of the key, so that two writers never wait for each other.
SEQS = (
    select(group_seqs.c.group_id, group_seqs.c.seq)
    .where(group_seqs.c.group_id.in_(_KEYS))
    .order_by(group_seqs.c.group_id)
    .with_for_update()
)
LAST_SEQS = (
    select(messages.c.group_id, func.max(messages.c.seq))
    .where(messages.c.group_id.in_(_KEYS))
    .group_by(messages.c.group_id)
)
_ADVANCE = (
    update(group_seqs)
    .where(group_seqs.c.group_id == bindparam("of_group"))
    .values(seq=bindparam("last"))
)
_INSERT = insert(messages)
IDS = select(messages.c.msg_id, messages.c.id).where(messages.c.msg_id.in_(_KEYS))


async def store(database: Database, drafts: Sequence[Draft | RefusedError]) -> list[Outcome]:
    """Store the messages in one transaction; return one outcome per item, in order.

    Raises what `Database.run_write` raises; then nothing is known of any item, and a retry with
    the same msg_ids is safe.
    """
    if all(isinstance(draft, RefusedError) for draft in drafts):
        return [draft for draft in drafts if isinstance(draft, RefusedError)]
    work = partial(_store, drafts=drafts)
    try:
        return await database.run_write(work)
    except (IntegrityError, DataError, OperationalError) as error:
        if isinstance(error, OperationalError) and not is_deadlock(error):
            raise
        log.debug("batch_retried", items=len(drafts), error=type(error).__name__)
    try:
        # Another process was faster with the same msg_id or group; now its rows are seen.
        return await database.run_write(work)
    except (IntegrityError, DataError) as error:
        if len(drafts) == 1:
            return [_rejected(error)]
    # One item spoils the batch: the database takes it for a duplicate, or for too long, where the
    # rules do not. The others must not suffer for it.
    log.warning("batch_split", items=len(drafts))
    return [(await store(database, [draft]))[0] for draft in drafts]


def _rejected(error: IntegrityError | DataError) -> RefusedError:
    if isinstance(error, DataError):
        return invalid("the database cannot hold this message")
    return msg_id_conflict()


def _store(connection: Connection, drafts: Sequence[Draft | RefusedError]) -> list[Outcome]:
    facts = _load_facts(connection, [draft for draft in drafts if isinstance(draft, Draft)])
    decisions = decide(drafts, facts)
    new = [decision for decision in decisions if isinstance(decision, Draft)]
    stored = _insert(connection, new) if new else {}
    return [
        _outcome(draft, decision, stored) for draft, decision in zip(drafts, decisions, strict=True)
    ]


def _outcome(
    draft: Draft | RefusedError, decision: Decision, stored: Mapping[str, Stored]
) -> Outcome:
    if isinstance(draft, RefusedError):
        return draft
    if isinstance(decision, RefusedError):
        return decision
    if isinstance(decision, pb.MessageInfo):
        return Stored(decision.id, draft.msg_id, decision.created_at, decision.seq, decision)
    new = stored[draft.msg_id]
    return (
        new._replace(first=message_info(decision.of, new)) if isinstance(decision, Repeat) else new
    )


def message_info(draft: Draft, stored: Stored) -> pb.MessageInfo:
    """Return a message as it was stored just now."""
    return pb.MessageInfo(
        id=stored.id,
        msg_id=draft.msg_id,
        from_user_id=draft.from_user_id,
        to_user_id=draft.to_user_id,
        content=draft.content,
        content_type=draft.content_type,
        status=UNREAD,
        created_at=stored.created_at,
        chat_type=GROUP if draft.group_id else PRIVATE,
        group_id=draft.group_id,
        seq=stored.seq,
        at_user_ids=draft.at_user_ids,
    )


def _load_facts(connection: Connection, drafts: Sequence[Draft]) -> Facts:
    known = _select_in(connection, KNOWN, {draft.msg_id for draft in drafts})
    private = [draft for draft in drafts if not draft.group_id]
    pairs = {(draft.from_user_id, draft.to_user_id) for draft in private}
    pairs |= {(friend_id, user_id) for user_id, friend_id in pairs}
    friendships = _select_in(connection, FRIENDSHIPS, pairs)
    seats = {(draft.group_id, draft.from_user_id) for draft in drafts if draft.group_id}
    group_rows = _select_in(connection, GROUPS, {group_id for group_id, _ in seats})
    members = _select_in(connection, MEMBERS, seats)
    return Facts(
        known={info.msg_id: info for info in map(info_of_row, known)},
        friendships={(row[0], row[1]): row[2] for row in friendships},
        groups={row[0]: row[1] for row in group_rows},
        members={(row[0], row[1]): (row[2], row[3]) for row in members},
    )


def _insert(connection: Connection, drafts: Sequence[Draft]) -> dict[str, Stored]:
    """Insert the messages in order; return them by msg_id."""
    # Private messages count as group "": its row is the lock that makes their ids visible in
    # ascending order also where several transactions write, or a reader who asks for what is
    # above its last id would miss one that was committed late. In SQLite one writes at a time.
    counts = Counter(draft.group_id for draft in drafts)
    if connection.dialect.name == "sqlite":
        del counts[""]
    next_seqs = _allocate(connection, counts)
    now = unix_now()
    rows: list[dict[str, Any]] = []
    for draft in drafts:
        seq = 0
        if draft.group_id:
            seq = next_seqs[draft.group_id]
            next_seqs[draft.group_id] += 1
        rows.append(
            {
                "msg_id": draft.msg_id,
                "from_user_id": draft.from_user_id,
                "to_user_id": draft.to_user_id,
                "chat_type": GROUP if draft.group_id else PRIVATE,
                "group_id": draft.group_id,
                "seq": seq,
                "content": draft.content,
                "content_type": draft.content_type,
                "status": UNREAD,
                # Not NULL: some of the existing databases do not allow it.
                "at_user_ids": json.dumps(draft.at_user_ids) if draft.at_user_ids else "[]",
                "created_at": now,
                "updated_at": now,
            }
        )
    if len(rows) == 1:  # the database says its id without being asked
        (alone,) = rows
        ids = {alone["msg_id"]: connection.execute(_INSERT, alone).lastrowid}
    else:
        connection.execute(_INSERT, rows)
        ids = dict(_select_in(connection, IDS, [row["msg_id"] for row in rows]))
    return {
        row["msg_id"]: Stored(ids[row["msg_id"]], row["msg_id"], now, row["seq"]) for row in rows
    }


def _allocate(connection: Connection, counts: Mapping[str, int]) -> dict[str, int]:
    """Take `counts` numbers for each group; return the first of each."""
    if not counts:
        return {}
    last = {row[0]: row[1] for row in _select_in(connection, SEQS, counts)}
    missing = counts.keys() - last.keys()
    if missing:
        begun = dict.fromkeys(missing, 0)
        begun |= {row[0]: row[1] or 0 for row in _select_in(connection, LAST_SEQS, missing)}
        connection.execute(
            insert(group_seqs),
            [{"group_id": group_id, "seq": seq} for group_id, seq in sorted(begun.items())],
        )
        last |= begun
    connection.execute(
        _ADVANCE,
        [
            {"of_group": group_id, "last": last[group_id] + count}
            for group_id, count in sorted(counts.items())
        ],
    )
    return {group_id: last[group_id] + 1 for group_id in counts}


def _select_in(connection: Connection, statement: Select[Any], keys: Iterable[Any]) -> list[Any]:
    """Return the rows of `statement` whose key is one of `keys`, asked for in chunks."""
    rows: list[Any] = []
    for chunk in chunks(sorted(keys)):
        rows += connection.execute(statement, {"keys": chunk}).all()
    return rows

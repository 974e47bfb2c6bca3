"""The admin commands about users who are connected, or should be: what is known, and why."""

from argparse import Namespace
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from skyeim_ws.cli.admin.calls import AdminError
from skyeim_ws.cli.admin.cluster import ANSWER_SECONDS, order
from skyeim_ws.cli.admin.output import Answer, cell, counted, local_time, table
from skyeim_ws.store.operators import Operators, UserState

_REPAIR = "`skyeim-ws admin presence repair` mends it"
_SILENT = 5.0
"""Seconds after which an unconfirmed message says that the client does not answer."""


class Finding(NamedTuple):
    """What is worth knowing of a user, by a constant name, and in words."""

    name: str
    text: str


async def show(operators: Operators, arguments: Namespace) -> Answer:
    """Show where a user is, how the connection is, and what is wrong with either."""
    state = await operators.user(arguments.user)
    connection = await connection_of(operators, arguments.user, state)
    found = findings(state, connection)
    rows: list[tuple[object, object]] = [
        ("session", f"{state.node} {state.conn_id}" if state.node else "none"),
        ("shown online", cell("", state.online)),
        ("friends told", "online" if state.told_online else "offline"),
        ("queued", state.queued),
    ]
    if connection is not None and connection["here"]:
        left_out = ("here", "conn")
        rows += [(n, cell(n, v)) for n, v in connection.items() if n not in left_out]
    text = table(("user", str(arguments.user)), rows, empty="")
    told = "\n".join(f"{each.name}: {each.text}" for each in found)
    return Answer(
        {
            "userId": arguments.user,
            **msgspec.to_builtins(state),
            "connection": connection,
            "findings": [each._asdict() for each in found],
        },
        f"{text}\n\n{told}",
    )


async def kick(operators: Operators, arguments: Namespace) -> Answer:
    """End a user's connection with 4001: the client may not come back by itself."""
    return await _end(operators, arguments.user, "user.kick", "was signed out of")


async def disconnect(operators: Operators, arguments: Namespace) -> Answer:
    """End a user's connection with 1001: the client comes back in seconds, to any node."""
    return await _end(operators, arguments.user, "user.disconnect", "was sent away from")


async def queue(operators: Operators, arguments: Namespace) -> Answer:
    """Show the newest private messages that wait for a user, without their contents."""
    entries, unreadable, length = await operators.queue(arguments.user, arguments.limit)
    rows = ((e.id, local_time(e.created_at), e.from_user_id, e.msg_id) for e in entries)
    text = table(("ID", "TIME", "FROM", "MSGID"), rows, empty=f"nothing waits for {arguments.user}")
    if unreadable:
        text += f"\n({unreadable} entries are no messages: the next login removes them)"
    if length > len(entries) + unreadable:
        text += f"\n({length} in all: raise --limit)"
    return Answer(
        {
            "userId": arguments.user,
            "total": length,
            "unreadable": unreadable,
            "messages": msgspec.to_builtins(entries),
        },
        text,
    )


def findings(state: UserState, connection: Mapping[str, Any] | None) -> list[Finding]:
    """Return what is worth knowing; `connection` is what the node says, None if it is silent."""
    return [
        *(_of_session(state, connection) if state.node else _without_session(state)),
        *(
            [Finding("unread_at_next_login", "the next login gets all unread messages")]
            if state.missed
            else []
        ),
    ]


def _without_session(state: UserState) -> Iterator[Finding]:
    ended = "in order" if state.clean_end else "without a mark, or has never been"
    yield Finding("offline", f"there is no session: the last one has ended {ended}")
    if state.online:
        yield Finding("shown_online_wrongly", f"`online:users` has the user: {_REPAIR}")
    if state.told_online:
        yield Finding("friends_believe_online", f"friends were not told of the end: {_REPAIR}")
    if state.queued:
        yield Finding(
            "waits_in_queue", f"{counted(state.queued, 'message')} in the queue, for the next login"
        )


def _of_session(state: UserState, connection: Mapping[str, Any] | None) -> Iterator[Finding]:
    if connection is None:
        yield Finding(
            "node_silent",
            f"{state.node}, which has the session, does not answer: see `skyeim-ws admin node "
            "list`; if it is dead, the others clean up after it, and the next login gets all",
        )
        return
    if not connection["here"]:
        yield Finding(
            "session_without_connection",
            f"{state.node} has no connection of the user, though Redis says so: {_REPAIR}",
        )
        return
    yield Finding("online", f"connected at {state.node}")
    if not (state.online and state.listed_by_node):
        yield Finding("shown_offline_wrongly", f"`online:users` lacks the user: {_REPAIR}")
    if connection["catchUp"] != "end":
        yield Finding(
            "catching_up",
            f"gets older messages first ({connection['catchUp']}); "
            f"{connection['heldBack']} newer ones wait for them",
        )
    waits = connection["unconfirmed"] + connection["framesWaiting"]
    if waits and connection["secondsSilent"] > _SILENT:
        yield Finding(
            "client_does_not_answer",
            f"nothing was heard of the client for {connection['secondsSilent']:.0f} s; "
            f"{connection['unconfirmed']} messages are written and not confirmed. They stay in "
            "the queue until they are; PongTimeout ends the connection with 4005",
        )
    elif connection["readingPaused"]:
        yield Finding("sends_too_much", "the client sends faster than its messages are stored")


async def connection_of(
    operators: Operators, user_id: int, state: UserState
) -> Mapping[str, Any] | None:
    """Return what the node of a user's session says of the connection; None if it is silent."""
    if not state.node:
        return None
    answers = await operators.order([state.node], "user.show", {"user": user_id}, ANSWER_SECONDS)
    answer = answers.get(state.node)
    return None if answer is None or "error" in answer else answer


async def _end(operators: Operators, user_id: int, what: str, done: str) -> Answer:
    state = await operators.user(user_id)
    nothing = f"{user_id} is not connected: `skyeim-ws admin user show {user_id}` says more"
    if not state.node:
        raise AdminError(nothing)
    answer = await order(operators, state.node, what, {"user": user_id})
    if not answer["here"]:
        raise AdminError(nothing)
    return Answer(
        {"userId": user_id, "node": state.node, "conn": answer["conn"]},
        f"{user_id} {done} {state.node}",
    )

"""The table of the admin commands: which function does each, and which service it asks."""

from argparse import Namespace
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

import grpc

from skyeim_ws.cli.admin import friends as admin_friends
from skyeim_ws.cli.admin import groups as admin_groups
from skyeim_ws.cli.admin import messages as admin_messages
from skyeim_ws.cli.admin import presence as admin_presence
from skyeim_ws.cli.admin.calls import AdminError, ServiceName, addresses, connected, tls_of
from skyeim_ws.cli.admin.output import Answer, write, write_error
from skyeim_ws.config.tree import Config

_Command: TypeAlias = Callable[[grpc.aio.Channel, Namespace], Awaitable[Answer]]

_COMMANDS: Mapping[str, tuple[ServiceName, _Command]] = {
    "friend_add": ("friend", admin_friends.add),
    "friend_list": ("friend", admin_friends.list_friends),
    "friend_remove": ("friend", admin_friends.remove),
    "friend_block": ("friend", admin_friends.block),
    "group_create": ("group", admin_groups.create),
    "group_list": ("group", admin_groups.list_groups),
    "group_info": ("group", admin_groups.info),
    "group_members": ("group", admin_groups.members),
    "group_add": ("group", admin_groups.add),
    "group_kick": ("group", admin_groups.kick),
    "group_mute": ("group", admin_groups.mute),
    "group_role": ("group", admin_groups.role),
    "group_dismiss": ("group", admin_groups.dismiss),
    "message_history": ("message", admin_messages.history),
    "unread": ("message", admin_messages.unread),
}

PRESENCE_REPAIR = "presence_repair"
"""The one command that asks the gateways and no service."""


async def execute(config: Config, arguments: Namespace) -> int:
    """Run the command that the arguments name, print its answer; return the exit code."""
    try:
        if arguments.command == PRESENCE_REPAIR:
            answer = await admin_presence.repair(config)
        else:
            answer = await _ask_service(config, arguments)
    except AdminError as error:
        write_error(str(error))
        return 1
    write(answer, as_json=arguments.json)
    return 0


async def _ask_service(config: Config, arguments: Namespace) -> Answer:
    service, command = _COMMANDS[arguments.command]
    async with connected(await addresses(config, service), tls_of(config, service)) as channel:
        return await command(channel, arguments)

"""The tables of the admin commands: which function does each, and whom it asks."""

from argparse import Namespace
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from typing import TypeAlias

import grpc

from skyeim_ws.cli.admin import friends as admin_friends
from skyeim_ws.cli.admin import groups as admin_groups
from skyeim_ws.cli.admin import messages as admin_messages
from skyeim_ws.cli.admin import nodes as admin_nodes
from skyeim_ws.cli.admin import presence as admin_presence
from skyeim_ws.cli.admin import trace as admin_trace
from skyeim_ws.cli.admin import users as admin_users
from skyeim_ws.cli.admin import whereabouts as admin_whereabouts
from skyeim_ws.cli.admin.calls import AdminError, ServiceName, addresses, connected, tls_of
from skyeim_ws.cli.admin.cluster import gateways
from skyeim_ws.cli.admin.output import Answer, write, write_error
from skyeim_ws.config.tree import Config
from skyeim_ws.store.operators import Operators

_Command: TypeAlias = Callable[[grpc.aio.Channel, Namespace], Awaitable[Answer]]
_CommandOfBoth: TypeAlias = Callable[[grpc.aio.Channel, Operators, Namespace], Awaitable[Answer]]

_OF_SERVICES: Mapping[str, tuple[ServiceName, _Command]] = {
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

_OF_GATEWAYS: Mapping[str, Callable[[Operators, Namespace], Awaitable[Answer]]] = {
    "broadcast": admin_nodes.broadcast,
    "node_drain": admin_nodes.drain,
    "node_list": admin_nodes.list_nodes,
    "node_show": admin_nodes.show,
    "presence_check": admin_presence.check,
    "presence_repair": admin_presence.repair,
    "user_disconnect": admin_users.disconnect,
    "user_kick": admin_users.kick,
    "user_queue": admin_users.queue,
    "user_show": admin_users.show,
}

_OF_BOTH: Mapping[str, tuple[ServiceName, _CommandOfBoth]] = {
    "group_members_online": ("group", admin_groups.members_online),
    "message_show": ("message", admin_whereabouts.show),
}


async def execute(config: Config, arguments: Namespace) -> int:
    """Run the command that the arguments name, print its answer; return the exit code."""
    try:
        answer = await _ask(config, arguments)
    except AdminError as error:
        write_error(str(error))
        return 1
    write(answer, as_json=arguments.json)
    return 0


async def _ask(config: Config, arguments: Namespace) -> Answer:
    name = arguments.command
    async with AsyncExitStack() as stack:

        async def channel(service: ServiceName) -> grpc.aio.Channel:
            found = await addresses(config, service)
            return await stack.enter_async_context(connected(found, tls_of(config, service)))

        if name in _OF_SERVICES:
            service, of_service = _OF_SERVICES[name]
            return await of_service(await channel(service), arguments)
        operators = await stack.enter_async_context(gateways(config))
        if name in _OF_GATEWAYS:
            return await _OF_GATEWAYS[name](operators, arguments)
        if name == "trace":
            return await admin_trace.show(lambda: channel("message"), operators, arguments)
        service, of_both = _OF_BOTH[name]
        return await of_both(await channel(service), operators, arguments)

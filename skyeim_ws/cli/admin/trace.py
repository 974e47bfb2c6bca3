"""The command `trace`: what became of a message, step by step, and where it is now."""

from argparse import Namespace
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime

import grpc
import msgspec

from skyeim_ws.cli.admin import whereabouts
from skyeim_ws.cli.admin.calls import AdminError
from skyeim_ws.cli.admin.output import Answer, cell, table
from skyeim_ws.store.operators import Operators

_NOT_TRACED = (
    "not_traced: no gateway has noted its steps; `Trace` in the configuration chooses whose are"
)


async def show(
    channel: Callable[[], Awaitable[grpc.aio.Channel]], operators: Operators, arguments: Namespace
) -> Answer:
    """Show the steps that gateways have noted of a message, and what storage and queues say.

    `channel` connects to the Message service; what was noted is shown also if that is away.
    """
    lines, _ = await operators.trace(arguments.msg_id)
    try:
        now = await whereabouts.show(await channel(), operators, arguments)
    except AdminError as error:
        if not lines:
            raise
        # It was refused, say; or the services do not answer.
        now = Answer({"message": None, "findings": []}, f"storage: {error}")
    steps = (
        (_time(line.at), line.node, line.step, line.user or "-", _about(line.about))
        for line in lines
    )
    shown = table(("TIME", "NODE", "STEP", "USER", "HOW"), steps, empty=_NOT_TRACED)
    return Answer(
        {"msgId": arguments.msg_id, "trace": msgspec.to_builtins(lines), **now.data},
        f"{shown}\n\n{now.text}",
    )


def _time(seconds: float) -> str:
    local = datetime.fromtimestamp(seconds, UTC).astimezone()
    return local.isoformat(timespec="milliseconds")


def _about(about: Mapping[str, object]) -> str:
    return " ".join(f"{name}={cell(name, value)}" for name, value in about.items())

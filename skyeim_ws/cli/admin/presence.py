"""The admin command for who is online: all gateways compare it with the truth."""

from argparse import Namespace

from skyeim_ws.cli.admin.calls import AdminError
from skyeim_ws.cli.admin.cluster import ANSWER_SECONDS, listed
from skyeim_ws.cli.admin.output import Answer
from skyeim_ws.store.operators import Operators


async def repair(operators: Operators, _arguments: Namespace) -> Answer:
    """Have all gateways compare who is online with the truth, now."""
    nodes = [seen.node for seen in await listed(operators)]
    answers = await operators.order(nodes, "presence.repair", {}, ANSWER_SECONDS)
    silent = [node for node in nodes if node not in answers]
    if len(silent) == len(nodes):
        raise AdminError("no gateway answers: see `skyeim-ws admin node list`, and their logs")
    text = f"{len(answers)} gateways compare who is online with the truth: it takes seconds"
    if silent:
        text += f"\nno answer from {', '.join(silent)}"
    return Answer({"asked": len(answers), "silent": silent}, text)

"""The admin commands for who is online: is the count right, and compare it with the truth."""

from argparse import Namespace

from skyeim_ws.cli.admin.calls import AdminError
from skyeim_ws.cli.admin.cluster import ANSWER_SECONDS, listed
from skyeim_ws.cli.admin.output import Answer, counted, table
from skyeim_ws.store.operators import Operators

_SHOWN = 10
"""Users that are named for each cause; JSON has them all."""


async def check(operators: Operators, _arguments: Namespace) -> Answer:
    """Compare the count of users online with the connections, and name whoever is counted wrongly.

    Who comes or goes meanwhile may be named as well: what is wrong stays at a second look.
    """
    nodes = [seen.node for seen in await listed(operators)]
    said = await operators.order(nodes, "node.show", {}, ANSWER_SECONDS)
    answers = {node: answer for node, answer in said.items() if "error" not in answer}
    connected = sum(answer["gauges"]["connections"] for answer in answers.values())
    shown = await operators.shown_online()
    wrong = await operators.online_wrongly()
    causes = {
        "shown_online_without_session": sorted(user for user in wrong if not wrong[user]),
        "shown_online_by_dead_session": sorted(user for user in wrong if wrong[user]),
        "shown_offline_wrongly": sorted(await operators.offline_wrongly(nodes)),
    }
    rows = (
        (name, len(users), ", ".join(map(str, users[:_SHOWN])) + (" ..." * (len(users) > _SHOWN)))
        for name, users in causes.items()
        if users
    )
    text = table(("CAUSE", "USERS", "WHO"), rows, empty="nobody is counted wrongly")
    silent = [node for node in nodes if node not in answers]
    if silent:
        text += f"\nno answer from {', '.join(silent)}: their users are counted, not asked"
    if any(causes.values()):
        text += "\n`skyeim-ws admin presence repair` mends it; the gateways do within minutes"
    return Answer(
        {"shownOnline": shown, "connected": connected, "silent": silent, **causes},
        f"shown online: {counted(shown, 'user')}, connected: {connected}\n\n{text}",
    )


async def repair(operators: Operators, _arguments: Namespace) -> Answer:
    """Have all gateways compare who is online with the truth, now."""
    nodes = [seen.node for seen in await listed(operators)]
    answers = await operators.order(nodes, "presence.repair", {}, ANSWER_SECONDS)
    silent = [node for node in nodes if node not in answers]
    if len(silent) == len(nodes):
        raise AdminError("no gateway answers: see `skyeim-ws admin node list`, and their logs")
    text = f"asked {counted(len(answers), 'gateway')}; it takes seconds"
    if silent:
        text += f"\nno answer from {', '.join(silent)}"
    return Answer({"asked": len(answers), "silent": silent}, text)

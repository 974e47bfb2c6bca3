"""The admin commands about gateways: which there are, how each is, a word to all their users."""

import time
from argparse import Namespace
from collections.abc import Mapping
from typing import Any

import msgspec

from skyeim_ws.cli.admin.calls import AdminError
from skyeim_ws.cli.admin.cluster import ANSWER_SECONDS, find, listed, order
from skyeim_ws.cli.admin.output import Answer, cell, counted, local_time, table
from skyeim_ws.store.operators import Operators
from skyeim_ws.store.records import NodeRecord, Seen


async def list_nodes(operators: Operators, _arguments: Namespace) -> Answer:
    """Show all gateways and how each of them is."""
    nodes = await listed(operators)
    answers = await operators.order([each.node for each in nodes], "node.show", {}, ANSWER_SECONDS)
    shown = [_described(seen, answers.get(seen.node)) for seen in nodes]
    rows = (
        (
            each["node"],
            each["version"] or "?",
            each["format"],
            each["state"],
            "?" if each["connections"] is None else each["connections"],
            local_time(int(str(each["startedAt"]))),
            f"{each['secondsSilent']:.0f} s ago",
            each["host"] or "?",
        )
        for each in shown
    )
    headings = ("NODE", "VERSION", "FORMAT", "STATE", "USERS", "STARTED", "SEEN", "HOST")
    return Answer({"nodes": shown}, table(headings, rows, empty=""))


async def show(operators: Operators, arguments: Namespace) -> Answer:
    """Show all that a gateway says of itself."""
    seen = await find(operators, arguments.node)
    answer = await order(operators, seen.node, "node.show", {})
    described = _described(seen, answer) | {
        "loopLag": answer["loopLag"],
        "gauges": answer["gauges"],
        "counters": answer["counters"],
    }
    rows = [
        *((name, value) for name, value in described.items() if not isinstance(value, dict)),
        *answer["gauges"].items(),
        *((name, f"{value} since the start") for name, value in answer["counters"].items()),
    ]
    text = table(("node", seen.node), ((n, cell(n, v)) for n, v in rows if n != "node"), empty="")
    return Answer(described, text)


async def drain(operators: Operators, arguments: Namespace) -> Answer:
    """Empty a gateway that goes on running, or have it take clients again."""
    seen = await find(operators, arguments.node)
    if arguments.cancel:
        answer = await order(operators, seen.node, "node.undrain", {})
        left = counted(answer["clients"], "client")
        text = f"{seen.node} takes clients again; {left} had not left"
        return Answer({"node": seen.node, **answer}, text)
    if not arguments.force:
        await _others_take_over(operators, seen)
    answer = await order(operators, seen.node, "node.drain", {})
    return Answer(
        {"node": seen.node, **answer},
        f"{seen.node} sends {counted(answer['clients'], 'client')} away within "
        f"{answer['seconds']:g} s and takes no others: `skyeim-ws admin node list` shows how many "
        "are left, `--cancel` undoes it",
    )


async def _others_take_over(operators: Operators, leaving: Seen) -> None:
    others = [seen.node for seen in await listed(operators) if seen.node != leaving.node]
    answers = await operators.order(others, "node.show", {}, ANSWER_SECONDS) if others else {}
    if not any("error" not in each and not each["draining"] for each in answers.values()):
        raise AdminError(
            f"no other gateway takes the clients of {leaving.node}: start one, or say --force"
        )


async def broadcast(operators: Operators, arguments: Namespace) -> Answer:
    """Tell everybody who is connected of a maintenance, as the event `maintenance`."""
    notice: dict[str, object] = {"message": arguments.message}
    if arguments.begins is not None:
        notice["startsAt"] = int(time.time() + arguments.begins)
    if arguments.lasts is not None:
        notice["endsAt"] = int(time.time() + (arguments.begins or 0) + arguments.lasts)
    nodes = [seen.node for seen in await listed(operators)]
    answers = await operators.order(nodes, "broadcast", notice, ANSWER_SECONDS)
    told = {node: answer["users"] for node, answer in answers.items() if "users" in answer}
    if not told:
        raise AdminError("no gateway answers: see `skyeim-ws admin node list`, and their logs")
    missing = [node for node in nodes if node not in told]
    text = f"told {counted(sum(told.values()), 'user')} on {counted(len(told), 'gateway')}"
    if missing:
        text += f"\nnot told: the users of {', '.join(missing)}, which did not answer"
    return Answer({"users": sum(told.values()), "nodes": told, "silent": missing}, text)


def _described(seen: Seen, answer: Mapping[str, Any] | None) -> dict[str, object]:
    record = seen.record or NodeRecord()
    asked = answer is not None and "error" not in answer
    return {
        **msgspec.to_builtins(record),
        "node": seen.node,
        "state": _state(answer),
        "problems": answer["problems"] if asked and answer else None,
        "connections": answer["gauges"]["connections"] if asked and answer else None,
        "secondsSilent": round(seen.silent, 1),
    }


def _state(answer: Mapping[str, Any] | None) -> str:
    if answer is None:
        return "no answer"
    if "error" in answer:
        return str(answer["error"])
    if answer["draining"]:
        return "draining"
    return ", ".join(answer["problems"]) or "ready"

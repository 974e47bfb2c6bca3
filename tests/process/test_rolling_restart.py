"""Two nodes behind nginx are killed and restarted under load: nobody is refused, nothing is lost.

With 60 clients, and with 1,000 in the long form.
"""

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from tornado.simple_httpclient import SimpleAsyncHTTPClient

from skyeim_ws.contract.codes import CloseCode
from tests.long import LONG
from tests.ports import free_port
from tests.process.crowd import Crowd, Return, crowd
from tests.process.test_nginx import needs_nginx, node, node_config, proxy, trusting
from tests.spread import BOUND, unevenness
from tests.store.servers import Server
from tests.waiting import DEADLINE, until
from tests.world import World, world

USERS = range(5001, 6001) if LONG else range(5001, 5061)
PAUSE = 5.0 if LONG else 0.5

LOGIN_RATE = 25
"""What a node of this test can take on the machine that runs all nodes, clients and TLS as well."""

pytestmark = needs_nginx


async def call(here: World, port: int, codes: list[int], stop: asyncio.Event) -> None:
    """Call over HTTP again and again; keep each status."""
    client = SimpleAsyncHTTPClient(force_instance=True)
    try:
        while not stop.is_set():
            answer = await client.fetch(
                f"https://127.0.0.1:{port}/message/offline",
                headers={"Authorization": f"Bearer {here.token(1003)}"},
                ssl_options=trusting(),
                raise_error=False,
            )
            codes.append(answer.code)
    finally:
        client.close()


async def restarted(books: Crowd, stack: AsyncExitStack, place: Path) -> list[Return]:
    """Restart a node; return how its clients came back, when all of them are back."""
    before = len(books.returns)
    await stack.aclose()
    await stack.enter_async_context(node(place))
    await until(lambda: not books.away)
    return books.returns[before:]


@pytest.mark.gen_test
async def test_nobody_notices_a_killed_node_and_a_rolling_restart(
    server: Server, folder: Path, tmp_path: Path
) -> None:
    async with AsyncExitStack() as stack:
        here = await stack.enter_async_context(world(server.socket, tmp_path))
        ports, places = [free_port(), free_port()], [folder / "one", folder / "two"]
        nodes = [AsyncExitStack(), AsyncExitStack()]
        programs = []
        port = await stack.enter_async_context(proxy(folder, ports))
        for own, place, inner in zip(ports, places, nodes, strict=True):
            place.mkdir()
            config = node_config(here, server.socket, place.name, own)
            config = config.replace("WaitTime: 2s", f"WaitTime: 2s, LoginRate: {LOGIN_RATE}")
            (place / "ws.yaml").write_text(config)
            await stack.enter_async_context(inner)
            programs.append(await inner.enter_async_context(node(place)))
        codes: list[int] = []
        url = f"wss://127.0.0.1:{port}/ws"
        books = await stack.enter_async_context(crowd(here, url, USERS, PAUSE, trusting()))
        calling = asyncio.create_task(call(here, port, codes, books.stop))
        stack.callback(calling.cancel)

        programs[0].process.kill()
        await programs[0].exit_code()
        await until(lambda: books.returns and not books.away)
        assert {each.code for each in books.returns} == {1006}
        await restarted(books, nodes[0], places[0])

        # Everybody is on the second node now.
        for inner, place in reversed(list(zip(nodes, places, strict=True))):
            returns = await restarted(books, inner, place)
            assert {each.code for each in returns} == {CloseCode.GOING_AWAY}
            back = [each.back for each in returns]
            spread = min(back), max(back)
            assert len(back) >= len(USERS) // 4
            assert unevenness(back, *spread) < BOUND
            assert unevenness([spread[0]] * len(back), *spread) > BOUND, "a herd must not pass"
        assert books.refused == []
        books.stop.set()
        async with asyncio.timeout(DEADLINE):
            await calling
        assert Counter(codes).keys() == {200}
    lines = (folder / "skyeim-ws.access.log").read_text().splitlines()
    assert {line.partition(" GET ")[2].split()[1] for line in lines} == {"101", "200"}

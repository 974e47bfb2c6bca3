"""Clients that were written against another gateway are served as they are."""

import pytest
from sqlalchemy import insert

from skyeim_ws.services.tables import GROUP, messages
from tests.gateway.conftest import MakeWorld
from tests.gateway.test_http import decoded


@pytest.mark.gen_test
async def test_what_they_write_instead_of_nothing_is_nothing(make_world: MakeWorld) -> None:
    async with make_world() as world:
        alice, bob = await world.login(1001), await world.login(1002)
        for text in ('{"type":"ping"}', '{"type":"ping","data":null}', '{"Type":"ping"}'):
            await alice.connection.send(text)
            await alice.expect("pong")
        await alice.connection.send('{"type":"offline_pull","data":null}')
        await alice.expect("offline_messages")
        for nothing in ('"msgId":"","contentType":0', '"msgId":null,"contentType":null'):
            text = '{"type":"chat","data":{"toUserId":1002,"content":"hi",%s}}'
            await alice.connection.send(text % nothing)
            msg_id = (await alice.expect("ack", status="sent"))["msgId"]
            assert (await bob.expect("chat", msgId=msg_id))["contentType"] == 1
        await alice.connection.send(
            '{"TYPE":"chat","Data":{"ToUserID":1002,"Content":"hi","msgid":"m-1","from":1001}}'
        )
        await bob.expect("chat", msgId="m-1")
        await alice.expect("ack", msgId="m-1", status="sent")
        await alice.connection.send('{"type":"chat","data":{"ToUserID":1002,"MsgId":"m-2"}}')
        await alice.expect("ack", msgId="m-2", status="failed", reason="invalid")
        assert (await alice.expect("error"))["msgId"] == "m-2"
        await alice.connection.send('{"type":"chat","data":null}')
        await alice.expect("ack", status="failed", reason="invalid")


@pytest.mark.gen_test
async def test_a_message_with_half_a_character_is_refused_by_its_name(
    make_world: MakeWorld,
) -> None:
    async with make_world() as world:
        alice = await world.login(1001)
        for to in ('"toUserId":1002', '"groupId":"g_demo"'):
            kind = "chat" if "User" in to else "group_chat"
            data = '{%s,"content":"\\ud83d","msgId":"half"}' % to  # noqa: UP031 - it is full of braces
            await alice.connection.send('{"type":"' + kind + '","data":' + data + "}")
            await alice.expect("ack", msgId="half", status="failed", reason="invalid")
            assert (await alice.expect("error"))["msgId"] == "half"
        await alice.connection.send('{"type":"ping","data":{"msgId":"half","x":"\\ud83d"}}')
        assert "msgId" not in await alice.expect("error", code=30001)


@pytest.mark.gen_test
async def test_a_limit_above_the_maximum_is_lowered_to_it(make_world: MakeWorld) -> None:
    async with make_world() as world:
        stored = [
            {"msg_id": f"p-{n}", "from_user_id": 1001, "to_user_id": 1002, "content": "x"}
            for n in range(510)
        ]
        await world.execute(insert(messages).values(stored))
        grouped = [
            {"msg_id": f"g-{n}", "from_user_id": 1001, "content": "x", "seq": n + 1}
            | {"chat_type": GROUP, "group_id": "g_demo"}
            for n in range(510)
        ]
        await world.execute(insert(messages).values(grouped))
        for path, default, most in (
            ("/message/offline", 100, 200),
            ("/message/history?peerId=1001", 20, 500),
            ("/message/group/history?groupId=g_demo", 20, 500),
            ("/message/group/sync?groupId=g_demo", 200, 200),
        ):
            and_ = "&" if "?" in path else "?"
            for query, count in (
                ("", default),
                (f"{and_}limit=7", 7),
                (f"{and_}limit={most}", most),
                (f"{and_}limit={most + 1}", most),
                (f"{and_}limit=1000000", most),
            ):
                data = decoded(await world.get(path + query, 1002))["data"]
                assert (len(data["list"]), data["hasMore"]) == (count, True), path + query

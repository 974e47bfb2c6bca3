"""Clients that were written against another gateway are served as they are."""

import pytest

from tests.gateway.conftest import MakeWorld


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

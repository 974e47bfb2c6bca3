"""People are told in their own language why something did not work."""

import json
from typing import Any

import pytest
from tornado.httpclient import HTTPResponse

from tests.gateway.conftest import MakeWorld
from tests.world import User, World

CHINESE = {"language": "zh"}
NOT_FRIENDS = {"en": "you are not friends with this user", "zh": "你们还不是好友"}
KICKED = {"en": "a newer login took this place", "zh": "账号已在别处登录"}


async def speaking(world: World, user_id: int, language: str) -> User:
    """Log in with a client that names its language."""
    return await world.login(user_id, additional_headers={"Accept-Language": language})


async def refusal(user: User) -> str:
    """Return the message of a refused chat."""
    await user.send("chat", toUserId=9, content="hello")
    await user.expect("ack", status="failed", reason="not_friend")
    message: str = (await user.expect("error"))["message"]
    return message


@pytest.mark.gen_test
@pytest.mark.parametrize("settings", [{}, CHINESE])
async def test_who_names_no_language_gets_the_configured_one(
    make_world: MakeWorld, settings: dict[str, Any]
) -> None:
    language = settings.get("language", "en")
    async with make_world(settings=settings) as world:
        older = await world.login(1001)
        assert await refusal(older) == NOT_FRIENDS[language]
        await world.login(1001)
        assert (await older.expect("kicked"))["reason"] == KICKED[language]
        assert await older.close_code() == 4001
        assert older.connection.close_reason == KICKED[language]
        answer = await world.get("/friend/list")
        expected = {"en": "the token is missing", "zh": "缺少令牌"}
        assert json.loads(answer.body) == {"code": 401, "message": expected[language]}


@pytest.mark.gen_test
async def test_each_connection_speaks_its_own_language(make_world: MakeWorld) -> None:
    async with make_world(settings=CHINESE) as world:
        english = await speaking(world, 1001, "en-GB,zh;q=0.5")
        chinese = await speaking(world, 1002, "zh-CN")
        other = await speaking(world, 1003, "de")
        assert await refusal(english) == NOT_FRIENDS["en"]
        assert await refusal(chinese) == await refusal(other) == NOT_FRIENDS["zh"]
        await english.send("nonsense")
        assert await english.expect("error") == {
            "code": 30013,
            "message": "unknown type 'nonsense'",
        }
        await chinese.send("nonsense")
        assert await chinese.expect("error") == {"code": 30013, "message": "未知的类型 'nonsense'"}
        await chinese.connection.send(b"\0")
        assert await chinese.close_code() == 1003
        assert chinese.connection.close_reason == "只接受文本帧"


@pytest.mark.gen_test
async def test_what_is_wrong_with_a_frame_is_told_without_the_words_of_a_library(
    make_world: MakeWorld,
) -> None:
    async with make_world() as world:
        alice = await world.login(1001)
        for data, name in (
            ({"content": "x"}, "toUserId"),
            ({"toUserId": "1002", "content": "x"}, "toUserId"),
            ({"toUserId": 1002, "content": "x", "contentType": 9}, "contentType"),
            ({"toUserId": 1002, "content": "x", "msgId": "not ok"}, "msgId"),
        ):
            await alice.send("chat", **data)
            message = (await alice.expect("error"))["message"]
            assert message == f"{name}: missing, out of range or of the wrong type"
        await alice.send("group_chat", groupId="g_demo", content="x", atUserIds=[1, "x"])
        assert (await alice.expect("error"))["message"].startswith("atUserIds[1]: ")
        await alice.send("typing")
        assert (await alice.expect("error"))["message"].startswith("toUserId or groupId: ")
        await alice.connection.send("[]")
        assert (await alice.expect("error"))["message"].startswith("this is no frame: ")


@pytest.mark.gen_test
async def test_a_msg_id_that_is_refused_is_repeated_as_written_and_cut(
    make_world: MakeWorld,
) -> None:
    async with make_world() as world:
        alice = await world.login(1001)
        for written, repeated in (("not ok", "not ok"), ("消息 1", "消息 1"), ("m" * 65, "m" * 64)):
            await alice.send("chat", toUserId=1002, content="x", msgId=written)
            ack = await alice.expect("ack", status="failed")
            assert (ack["msgId"], ack["reason"]) == (repeated, "invalid")
            assert (await alice.expect("error"))["msgId"] == repeated


@pytest.mark.gen_test
async def test_answers_over_http_are_in_the_callers_language(make_world: MakeWorld) -> None:
    async with make_world() as world:

        async def asked(path: str, **options: Any) -> HTTPResponse:
            headers = {
                "Authorization": f"Bearer {world.token(1001)}",
                "Accept-Language": "zh-TW,zh;q=0.9",
            }
            return await world.fetch(path, headers=headers, **options)

        for path, status, code, message in (
            ("/nowhere", 404, 404, "此路径不存在"),
            ("/friend/list?page=0", 400, 30001, "page：需要 1 到 1000000 之间的整数"),
            ("/message/search?keyword=", 400, 30001, "keyword：需要 1 到 256 个字符"),
            ("/message/group/sync?groupId=g_none", 403, 30006, "你不是该群的成员"),
            ("/ws?confirm=x", 426, 426, "此路径用于 WebSocket：Upgrade 必须为 websocket"),
        ):
            answer = await asked(path)
            assert answer.code == status, path
            assert json.loads(answer.body) == {"code": code, "message": message}
        answer = await asked("/message/read", method="POST", body=b"{}")
        assert json.loads(answer.body)["message"] == "peerId：缺失、超出范围或类型错误"
        answer = await asked("/message/read", method="POST", body=b"x")
        assert json.loads(answer.body)["message"] == "请求正文不是所需的 JSON"
        answer = await asked("/message/read", method="DELETE")
        assert json.loads(answer.body)["message"] == "此路径不支持该方法"


@pytest.mark.gen_test
async def test_what_a_service_refuses_is_told_in_our_words(make_world: MakeWorld) -> None:
    async with make_world() as world:
        alice = await speaking(world, 1001, "zh")
        await alice.send("group_chat", groupId="g_none", content="x", msgId="m-1")
        failed = await alice.expect("error")
        assert failed == {"code": 30005, "message": "群组不存在或已解散", "msgId": "m-1"}

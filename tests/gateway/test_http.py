"""What services, load balancers and operators ask over HTTP."""

import json
from typing import Any

import pytest
from tornado.httpclient import HTTPResponse

from skyeim_ws.config.tree import DevServerConf, PrometheusConf, PushEventConf, ShutdownConf
from skyeim_ws.ops.build import build
from skyeim_ws.services import history
from tests.gateway.conftest import MakeWorld
from tests.gateway.raw import raw_user
from tests.ports import free_port
from tests.waiting import until_async
from tests.world import PUSH_SECRET, User, World

SECRET_HEADER = "X-Skyeim-Push-Secret"


def decoded(response: HTTPResponse, status: int = 200) -> dict[str, Any]:
    """Return the JSON body of an answer that must have this status."""
    assert response.code == status
    assert response.headers["Content-Type"].startswith("application/json")
    body: dict[str, Any] = json.loads(response.body)
    return body


async def say(user: User, content: str) -> dict[str, Any]:
    await user.send("group_chat", groupId="g_demo", content=content)
    return await user.expect("ack", status="sent")


async def received_all(world: World, user_id: int, count: int) -> None:
    """Wait until the messages for someone who is away are in the queue."""

    async def reached() -> bool:
        return bool(await world.redis.llen(f"offline:private:{user_id}") == count)

    await until_async(reached)


async def is_ok(world: World) -> bool:
    return bool(decoded(await world.get("/health"))["status"] == "ok")


@pytest.mark.gen_test
async def test_health_counts_the_connections(make_world: MakeWorld) -> None:
    async with make_world() as world:
        # The services are connected to beside the start.
        await until_async(lambda: is_ok(world))
        assert decoded(await world.get("/health")) == {"status": "ok", "online": 0, **build()}
        await world.login(1001)
        await world.login(1002)
        assert decoded(await world.get("/health")) == {"status": "ok", "online": 2, **build()}


@pytest.mark.gen_test
async def test_other_paths_and_methods_are_refused_in_json(make_world: MakeWorld) -> None:
    async with make_world() as world:
        for path in ("/nowhere", "//", "/api/v2/message/offline", "/api/v1/health"):
            assert decoded(await world.get(path), 404)["code"] == 404
        assert decoded(await world.get("/api/push"), 401)["code"] == 401
        assert (await world.fetch("/health", method="DELETE")).code == 405


@pytest.mark.gen_test
async def test_a_push_for_a_user_reaches_him_untouched(make_world: MakeWorld) -> None:
    async with make_world() as world:
        alice, bob = await world.login(1001), await world.login(1002)
        data = {"requestId": 5, "text": "你好 <b>", "deep": {"list": [1, 2.5, None, True]}}
        for kind in ("friend_request", "friend_request_handled", "group_invitation", "anything"):
            body = {"type": "user", "userId": 1001, "notificationType": kind, "data": data}
            answer = decoded(await world.push(body))
            assert answer == {"code": 0, "message": "success"}
            assert await alice.expect(kind) == data
        assert {frame["type"] for frame in await bob.quiet()} <= {"online"}


@pytest.mark.gen_test
async def test_a_pushed_number_arrives_digit_for_digit(make_world: MakeWorld) -> None:
    async with make_world() as world, raw_user(world, 1001) as alice:
        await alice.expect("connected")
        await world.push(
            b'{"type":"user","userId":1001,"notificationType":"n",'
            b'"data":{ "id" : 9007199254740993, "rate":1.10 }}'
        )
        _, payload = await alice.read_frame()
        assert payload == b'{"type":"n","data":{"id":9007199254740993,"rate":1.10}}'


@pytest.mark.gen_test
async def test_a_push_for_someone_who_is_away_succeeds_and_is_not_kept(
    make_world: MakeWorld,
) -> None:
    async with make_world() as world:
        body = {"type": "user", "userId": 1001, "notificationType": "friend_request", "data": {}}
        assert decoded(await world.push(body))["code"] == 0
        alice = await world.login(1001)
        assert await alice.quiet() == []


@pytest.mark.gen_test
@pytest.mark.parametrize("path", ["/api/push", "/api/push/event"])
async def test_a_push_for_a_group_reaches_its_members(make_world: MakeWorld, path: str) -> None:
    async with make_world() as world:
        members = [await world.login(user_id) for user_id in (1001, 1002, 1003)]
        stranger = await world.login(1004)
        for kind in ("updateGroup", "memberUpdate", "joinGroup"):
            body = {"groupId": "g_demo", "eventType": kind, "eventData": {"name": "Tea"}}
            if path == "/api/push":
                body["type"] = "group"
            assert decoded(await world.push(body, path)) == {"code": 0, "message": "success"}
            for user in members:
                assert await user.expect(kind) == {"name": "Tea"}
        assert await stranger.quiet() == []


@pytest.mark.gen_test
async def test_a_push_for_a_group_leaves_out_whom_it_names(make_world: MakeWorld) -> None:
    async with make_world() as world:
        bob, alice = await world.login(1002), await world.login(1001)
        body = {
            "type": "group",
            "groupId": "g_demo",
            "eventType": "joinGroup",
            "eventData": {},
            "exceptUserIds": [1001],
        }
        assert decoded(await world.push(body)) == {"code": 0, "message": "success"}
        await bob.expect("joinGroup")
        assert {frame["type"] for frame in await alice.quiet()} <= {"online"}


@pytest.mark.gen_test
async def test_a_push_needs_the_secret(make_world: MakeWorld) -> None:
    body = json.dumps(
        {"type": "user", "userId": 1001, "notificationType": "friend_request", "data": {}}
    )
    async with make_world() as world:
        alice = await world.login(1001)
        for path in ("/api/push", "/api/push/event"):
            for headers in (
                {},
                {SECRET_HEADER: ""},
                {SECRET_HEADER: "wrong"},
                {SECRET_HEADER: PUSH_SECRET + "x"},
                {"Authorization": f"Bearer {world.token(1001)}"},
            ):
                response = await world.fetch(path, method="POST", body=body, headers=headers)
                assert decoded(response, 401) == {"code": 401, "message": "Unauthorized"}
        assert await alice.quiet() == []


@pytest.mark.gen_test
async def test_without_a_secret_this_machine_may_push(make_world: MakeWorld) -> None:
    async with make_world(settings={"push_event": PushEventConf()}) as world:
        alice = await world.login(1001)
        body = {"type": "user", "userId": 1001, "notificationType": "friend_request", "data": {}}
        response = await world.fetch("/api/push", method="POST", body=json.dumps(body))
        assert decoded(response)["code"] == 0
        await alice.expect("friend_request")


@pytest.mark.gen_test
async def test_a_malformed_push_gets_400(make_world: MakeWorld) -> None:
    user: dict[str, Any] = {"type": "user", "userId": 1001, "notificationType": "n", "data": {}}
    group: dict[str, Any] = {"type": "group", "groupId": "g_demo", "eventType": "e"}
    bodies: list[Any] = [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b'{"type":"user","userId":1001,"notificationType":"n","data":NaN}',
        {},
        {"type": "other"},
        user | {"userId": 0},
        user | {"userId": "1001"},
        user | {"notificationType": ""},
        user | {"notificationType": "n" * 65},
        group | {"groupId": ""},
        group | {"groupId": 5},
        group | {"eventType": 5},
    ]
    async with make_world() as world:
        for body in bodies:
            assert decoded(await world.push(body), 400)["code"] == 400, body
        for body in (b"{", {"groupId": "g_demo"}, {"eventType": "e"}):
            answer = decoded(await world.push(body, "/api/push/event"), 400)
            assert answer["code"] == 400, body


@pytest.mark.gen_test
@pytest.mark.parametrize("prefix", ["", "/api/v1"])
async def test_group_sync_lists_what_came_after_a_seq(make_world: MakeWorld, prefix: str) -> None:
    path = f"{prefix}/message/group/sync"
    async with make_world() as world:
        alice = await world.login(1001)
        sent = [await say(alice, f"message {number}") for number in range(1, 6)]
        answer = decoded(await world.get(f"{path}?groupId=g_demo&seq=2&limit=2", 1002))
        assert (answer["code"], answer["message"]) == (200, "success")
        assert answer["data"]["hasMore"] is True
        assert [message["seq"] for message in answer["data"]["list"]] == [3, 4]
        [first, _] = answer["data"]["list"]
        assert first == {
            "id": sent[2]["id"],
            "msgId": sent[2]["msgId"],
            "fromUserId": 1001,
            "toUserId": 0,
            "chatType": 2,
            "groupId": "g_demo",
            "content": "message 3",
            "contentType": 1,
            "status": 0,
            "createdAt": first["createdAt"],
            "seq": 3,
            "atUserIds": [],
        }
        answer = decoded(await world.get(f"{path}?groupId=g_demo&seq=4", 1002))
        assert [message["seq"] for message in answer["data"]["list"]] == [5]
        assert answer["data"]["hasMore"] is False
        answer = decoded(await world.get(f"{path}?groupId=g_demo", 1002))
        assert [message["seq"] for message in answer["data"]["list"]] == [1, 2, 3, 4, 5]


@pytest.mark.gen_test
@pytest.mark.parametrize("prefix", ["", "/api/v1"])
async def test_offline_lists_the_unread_messages_oldest_first(
    make_world: MakeWorld, prefix: str
) -> None:
    path = f"{prefix}/message/offline"
    async with make_world() as world:
        alice = await world.login(1001)
        sent = [await alice.chat(1003, f"message {number}") for number in range(5)]
        await received_all(world, 1003, 5)
        answer = decoded(await world.get(f"{path}?skip=1&limit=2", 1003))
        assert (answer["code"], answer["message"]) == (200, "success")
        data = answer["data"]
        assert (data["total"], data["hasMore"]) == (5, True)
        assert [message["msgId"] for message in data["list"]] == [m["msgId"] for m in sent[1:3]]
        assert (data["list"][0]["chatType"], data["list"][0]["toUserId"]) == (1, 1003)
        data = decoded(await world.get(f"{path}?skip=3", 1003))["data"]
        assert (len(data["list"]), data["total"], data["hasMore"]) == (2, 5, False)
        assert decoded(await world.get(path, 1001))["data"]["list"] == []


@pytest.mark.gen_test
@pytest.mark.parametrize("prefix", ["", "/api/v1"])
async def test_history_goes_back_from_the_newest(make_world: MakeWorld, prefix: str) -> None:
    async with make_world() as world:
        alice, bob = await world.login(1001), await world.login(1002)
        ids = []
        for number in range(3):
            ids.append((await alice.chat(1002, f"{number}"))["id"])
            ids.append((await bob.chat(1001, f"{number}"))["id"])
        await alice.chat(1003, "to somebody else")
        path = f"{prefix}/message/history?peerId=1002"
        data = decoded(await world.get(f"{path}&limit=4", 1001))["data"]
        assert [message["id"] for message in data["list"]] == ids[:1:-1]
        assert data["hasMore"] is True
        data = decoded(await world.get(f"{path}&lastMsgId={ids[2]}", 1001))["data"]
        assert [message["id"] for message in data["list"]] == ids[1::-1]
        assert data["hasMore"] is False
        grouped = [(await say(alice, f"{number}"))["id"] for number in range(3)]
        path = f"{prefix}/message/group/history?groupId=g_demo"
        data = decoded(await world.get(f"{path}&limit=2", 1002))["data"]
        assert [message["id"] for message in data["list"]] == grouped[:0:-1]
        data = decoded(await world.get(f"{path}&lastMsgId={grouped[1]}", 1002))["data"]
        assert [message["id"] for message in data["list"]] == grouped[:1]
        assert decoded(await world.get(path, 1004), 403)["code"] == 30006


@pytest.mark.gen_test
@pytest.mark.parametrize("prefix", ["", "/api/v1"])
async def test_marks_set_over_http_count_and_tell_the_peer(
    make_world: MakeWorld, prefix: str
) -> None:
    async with make_world() as world:
        alice = await world.login(1001)
        for number in range(3):
            await alice.chat(1002, "hello", msgId=f"m-{number}")

        async def unread(query: str = "") -> int:
            answer = decoded(await world.get(f"{prefix}/message/unread/count{query}", 1002))
            return int(answer["data"]["count"])

        async def post(path: str, body: bytes) -> HTTPResponse:
            headers = {"Authorization": f"Bearer {world.token(1002)}"}
            return await world.fetch(prefix + path, method="POST", body=body, headers=headers)

        assert [await unread(), await unread("?peerId=1001"), await unread("?peerId=1003")] == [
            3,
            3,
            0,
        ]
        answer = decoded(await post("/message/read", b'{"peerId":1001,"msgIds":["m-1"]}'))
        assert answer == {"code": 200, "message": "success", "data": {"count": 1}}
        assert (await alice.expect("read", userId=1002))["msgIds"] == ["m-1"]
        assert decoded(await post("/message/read", b'{"peerId":1001}'))["data"] == {"count": 2}
        assert await unread() == 0
        await say(alice, "hello")
        answer = decoded(await post("/message/group/read", b'{"groupId":"g_demo","readSeq":1}'))
        assert answer["data"] == {"success": True}
        for path in ("/message/read", "/message/group/read"):
            assert decoded(await post(path, b"{"), 400)["code"] == 30001
            assert decoded(await world.fetch(path, method="POST", body=b"{}"), 401)["code"] == 401


@pytest.mark.gen_test
async def test_user_calls_need_a_token(make_world: MakeWorld) -> None:
    async with make_world() as world:
        for path in ("/message/group/sync?groupId=g_demo", "/message/offline"):
            for prefix in ("", "/api/v1"):
                assert decoded(await world.get(prefix + path), 401)["code"] == 401
            token = world.token(1001)
            assert (
                await world.get(f"{path}{'&' if '?' in path else '?'}token={token}")
            ).code == 200


@pytest.mark.gen_test
async def test_the_errors_of_user_calls_have_status_and_code(make_world: MakeWorld) -> None:
    async with make_world(rpc_timeout=300) as world:
        for path, user_id, status, code in (
            ("/message/group/sync", 1001, 400, 30001),
            ("/message/group/sync?groupId=", 1001, 400, 30001),
            ("/message/group/sync?groupId=" + "g" * 65, 1001, 400, 30001),
            ("/message/group/sync?groupId=g_demo&seq=-1", 1001, 400, 30001),
            ("/message/group/sync?groupId=g_demo&seq=x", 1001, 400, 30001),
            ("/message/group/sync?groupId=g_demo&limit=0", 1001, 400, 30001),
            ("/message/group/sync?groupId=g_demo", 1004, 403, 30006),
            ("/message/offline?skip=-1", 1001, 400, 30001),
            ("/message/offline?limit=0", 1001, 400, 30001),
            ("/message/search", 1001, 400, 30001),
            ("/message/search?keyword=" + "x" * 257, 1001, 400, 30001),
            ("/message/search?keyword=%20", 1001, 400, 30001),
            ("/message/at-me?groupId=g_demo", 1004, 403, 30006),
            ("/message/at-me?groupId=g_none", 1001, 403, 30006),
            ("/message/at-me?lastMsgId=x", 1001, 400, 30001),
            ("/message/conversations?before=-1", 1001, 400, 30001),
        ):
            answer = decoded(await world.get(path, user_id), status)
            assert answer["code"] == code, path
            assert answer["message"]
        await world.stop_services()
        for path in (
            "/message/group/sync?groupId=g_demo",
            "/message/offline",
            "/message/search?keyword=x",
            "/message/at-me",
            "/message/conversations",
        ):
            assert decoded(await world.get(path, 1001), 503)["code"] == 30011


@pytest.mark.gen_test
async def test_a_group_is_read_by_its_members_alone_also_from_a_service_that_shows_it_to_all(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "require_member", lambda *_: None)
    async with make_world() as world:
        alice = await world.login(1001)
        await alice.send("group_chat", groupId="g_demo", content="among us")
        await alice.expect("ack", status="sent")
        for path in ("/message/group/sync", "/message/group/history"):
            for group_id in ("g_demo", "g_none"):
                stranger = decoded(await world.get(f"{path}?groupId={group_id}", 1004), 403)
                assert stranger["code"] == 30006
                assert "data" not in stranger
            member = decoded(await world.get(f"{path}?groupId=g_demo", 1002))
            assert [message["content"] for message in member["data"]["list"]] == ["among us"]


@pytest.mark.gen_test
async def test_operators_get_health_and_metrics(make_world: MakeWorld) -> None:
    dev, prometheus = free_port(), free_port()
    settings = {
        "dev_server": DevServerConf(enabled=True, port=dev),
        "prometheus": PrometheusConf(host="127.0.0.1", port=prometheus, path="/numbers"),
    }
    async with make_world(settings=settings) as world:
        alice, bob = await world.login(1001), await world.login(1002)
        await alice.chat(1002, "hello")
        await bob.expect("chat")
        await alice.expect("ack", status="delivered")

        async def ask(port: int, path: str) -> HTTPResponse:
            return await world.http.fetch(f"http://127.0.0.1:{port}{path}", raise_error=False)

        assert (await ask(dev, "/healthz")).code == 200
        for port, path in ((dev, "/metrics"), (prometheus, "/numbers")):
            response = await ask(port, path)
            assert response.code == 200
            assert response.headers["Content-Type"].startswith("text/plain")
            lines = response.body.decode().splitlines()
            assert 'skyeim_ws_connections{process="gateway"} 2.0' in lines
            assert 'skyeim_ws_connections_opened_total{process="gateway"} 2.0' in lines
            assert 'skyeim_ws_deliveries_confirmed_total{process="gateway"} 1.0' in lines
            assert 'skyeim_ws_redis_healthy{process="gateway"} 1.0' in lines
            assert 'skyeim_ws_rpc_endpoints_ready{process="gateway",service="message"} 1.0' in lines
        # The users' port shows none of it, and that of the metrics nothing else.
        assert (await world.get("/metrics")).code == 404
        assert (await ask(prometheus, "/healthz")).code == 404
        await world.gateway.drain.stop(ShutdownConf(wrap_up_time=0, wait_time=5))
        assert (await ask(dev, "/healthz")).code == 503

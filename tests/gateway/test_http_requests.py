"""What the HTTP edge makes of requests that are odd, wrong, or meant to harm."""

import json
from typing import Any

import pytest
from structlog.testing import capture_logs

from skyeim_ws.config.tree import PushEventConf
from tests.gateway.conftest import MakeWorld
from tests.gateway.http_raw import Answer, ask, exchange
from tests.gateway.raw import raw_user
from tests.gateway.test_handshake import signed
from tests.world import PUSH_SECRET, World

EVENT = {"type": "user", "userId": 1001, "notificationType": "n", "data": {"a": 1}}
SECRET = f"X-Skyeim-Push-Secret: {PUSH_SECRET}"
MODES = {mode: {"mode": mode, "push_event": PushEventConf()} for mode in ("dev", "test", "pro")}
KEY = "AAAAAAAAAAAAAAAAAAAAAA=="


async def push(world: World, *headers: str, body: bytes | None = None) -> Answer:
    data = json.dumps(EVENT).encode() if body is None else body
    length = f"Content-Length: {len(data)}"
    return await ask(world, "POST /api/push HTTP/1.1", length, *headers, body=data)


async def upgrade(
    world: World, version: str = "HTTP/1.1", target: str = "/ws", **changed: str | None
) -> Answer:
    """Ask for an upgrade that is good but for these headers; None leaves one out."""
    headers = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": KEY,
    } | {name.replace("_", "-"): value for name, value in changed.items()}
    lines = [f"{name}: {value}" for name, value in headers.items() if value is not None]
    return await ask(world, f"GET {target} {version}", *lines, user_id=1001)


# Pushes.


@pytest.mark.gen_test
async def test_a_push_that_is_not_utf8_is_refused_and_nobody_disconnected(
    make_world: MakeWorld,
) -> None:
    async with make_world() as world, raw_user(world, 1001) as alice:
        await alice.expect("connected")
        for body in (
            b'{"type":"user","userId":1001,"notificationType":"n","data":{"a":"\xff"}}',
            b'{"type":"user","userId":1001,"notificationType":"n","data":{"\xc3\x28":1}}',
            b'{"type":"user","userId":1001,"notificationType":"n","other":"\xff"}',
            b'{"type":"group","groupId":"g_demo","eventType":"e","eventData":"\xed\xa0\x80"}',
        ):
            answer = await push(world, SECRET, body=body)
            assert (answer.status, answer.json["code"]) == (400, 400), body
        assert (await push(world, SECRET)).status == 200
        assert await alice.expect("n") == {"a": 1}


@pytest.mark.gen_test
async def test_a_browser_cannot_push_secret_or_not(make_world: MakeWorld) -> None:
    async with make_world() as world:
        for header in ("Origin: http://localhost", "Origin: null", "Sec-Fetch-Site: same-origin"):
            answer = await push(world, SECRET, header)
            assert (answer.status, answer.json["message"]) == (401, "Unauthorized"), header
    async with make_world(settings=MODES["test"]) as world:
        assert (await push(world)).status == 200
        assert (await push(world, "Origin: http://localhost")).status == 401


@pytest.mark.gen_test
async def test_without_a_secret_a_caller_behind_a_proxy_is_not_this_machine(
    make_world: MakeWorld,
) -> None:
    async with make_world(settings=MODES["dev"]) as world:
        for name in (
            *("X-Forwarded-For", "X-Forwarded-Proto", "x-forwarded-host", "X-Real-IP", "Forwarded"),
            *("Via", "CF-Connecting-IP", "True-Client-IP", "X-Client-IP"),
        ):
            assert (await push(world, f"{name}: 127.0.0.1")).status == 401, name
        assert (await push(world)).status == 200


@pytest.mark.gen_test
async def test_without_a_secret_only_our_own_services_push_in_production(
    make_world: MakeWorld,
) -> None:
    own = {"mode": "pro", "push_event": PushEventConf(own_secret="made at the start")}
    async with make_world(settings=own) as world:
        assert (await push(world)).status == 401
        assert (await push(world, "X-Skyeim-Push-Secret: made at the start")).status == 200
    async with make_world(settings=MODES["pro"]) as world:
        assert (await push(world)).status == 401
        assert (await push(world, "X-Skyeim-Push-Secret: ")).status == 401


# Bodies.


@pytest.mark.gen_test
async def test_a_body_is_not_read_before_its_sender_is_known(make_world: MakeWorld) -> None:
    """The body that is announced never comes, and the answer does not wait for it."""
    async with make_world() as world:
        for status, head in (
            *((401, "POST /api/push"), (401, "POST /message/read"), (401, "POST /ws")),
            *((404, "POST /nowhere"), (400, "GET /health"), (204, "OPTIONS /health")),
            *((405, "POST /health"), (204, "OPTIONS /message/read"), (401, "OPTIONS /api/push")),
        ):
            answer = await ask(world, f"{head} HTTP/1.1", "Content-Length: 1000000", body=b"{")
            assert answer.status == status, head
            assert status == 204 or answer.json["code"] == status, head


@pytest.mark.gen_test
async def test_a_body_that_is_too_large_gets_413_also_in_pieces(make_world: MakeWorld) -> None:
    piece = b"10000\r\n" + b" " * 65536 + b"\r\n"
    async with make_world() as world:
        head = "POST /api/push HTTP/1.1"
        announced = await ask(world, head, SECRET, "Content-Length: 1048577")
        assert (announced.status, announced.json["code"]) == (413, 413)
        pieces = await ask(world, head, SECRET, "Transfer-Encoding: chunked", body=piece * 17)
        assert (pieces.status, pieces.json["code"]) == (413, 413)
        exact = json.dumps(EVENT).encode().ljust(1048576)
        assert (await push(world, SECRET, body=exact)).status == 200


@pytest.mark.gen_test
async def test_a_length_that_is_no_number_gets_400_in_json(make_world: MakeWorld) -> None:
    async with make_world() as world:
        for length in ("-1", "+1", "1_0", "x", "9" * 30):
            head = "POST /api/push HTTP/1.1"
            answer = await ask(world, head, SECRET, f"Content-Length: {length}")
            assert answer.status in (400, 413), length
            assert answer.json["code"] == answer.status, length


@pytest.mark.gen_test
async def test_every_malformed_body_of_a_user_gets_400(make_world: MakeWorld) -> None:
    bodies = (b"", b"{", b"\xff", b"[]", b"{}", b'{"peerId":"\xff"}', b'{"peerId":1,"x":"\xff"}')
    deep = b'{"peerId":1,"x":' + b"[" * 100_000
    async with make_world() as world:
        for body in (*bodies, deep, b'{"peerId":' + b"9" * 5_000 + b"}", b'{"peerId":NaN}'):
            head = "POST /message/read HTTP/1.1"
            length = f"Content-Length: {len(body)}"
            answer = await ask(world, head, length, body=body, user_id=1001)
            assert (answer.status, answer.json["code"]) == (400, 30001), body[:80]


# Paths, methods, forms of a request.


@pytest.mark.gen_test
async def test_a_wrong_method_is_told_the_right_ones_in_json(make_world: MakeWorld) -> None:
    async with make_world() as world:
        for method, path, user_id, allowed in (
            ("DELETE", "/health", None, {"GET", "OPTIONS"}),
            ("BREW", "/health", None, {"GET", "OPTIONS"}),
            ("POST", "/message/offline", 1001, {"GET", "OPTIONS"}),
            ("GET", "/message/read", 1001, {"POST", "OPTIONS"}),
            ("POST", "/ws", 1001, {"GET"}),
            ("BREW", "/ws", 1001, {"GET"}),
        ):
            answer = await ask(world, f"{method} {path} HTTP/1.1", user_id=user_id)
            assert (answer.status, answer.json["code"]) == (405, 405), path
            assert set(answer.headers["allow"].split(", ")) == allowed, path
        answer = await ask(world, "PUT /api/push HTTP/1.1", SECRET)
        assert (answer.status, answer.headers["allow"]) == (405, "POST")


@pytest.mark.gen_test
async def test_a_target_may_name_scheme_and_host(make_world: MakeWorld) -> None:
    async with make_world() as world:
        for target in ("http://chat.example/health", "HTTPS://chat.example:10300/health?x=1"):
            assert (await ask(world, f"GET {target} HTTP/1.1")).json["online"] == 0
        target = f"ws://chat.example/ws?token={world.token(1001)}"
        assert (await upgrade(world, target=target)).status == 101
        for target in ("http://chat.example/none", "ftp://chat.example/health", "*"):
            assert (await ask(world, f"GET {target} HTTP/1.1")).json["code"] == 404, target


@pytest.mark.gen_test
async def test_an_upgrade_has_to_be_one(make_world: MakeWorld) -> None:
    async with make_world() as world:
        alice = await world.login(1001)
        for status, version, changed in (
            (505, "HTTP/1.0", {}),
            (505, "HTTP/1.2", {}),
            (426, "HTTP/1.1", {"Upgrade": None}),
            (426, "HTTP/1.1", {"Upgrade": "h2c"}),
            (426, "HTTP/1.1", {"Sec_WebSocket_Version": None}),
            (426, "HTTP/1.1", {"Sec_WebSocket_Version": "8"}),
            (400, "HTTP/1.1", {"Connection": "close"}),
            (400, "HTTP/1.1", {"Sec_WebSocket_Key": None}),
            (400, "HTTP/1.1", {"Sec_WebSocket_Key": ""}),
            (400, "HTTP/1.1", {"Sec_WebSocket_Key": "no base64!"}),
            (400, "HTTP/1.1", {"Sec_WebSocket_Key": "AAAA"}),
            (400, "HTTP/1.1", {"Sec_WebSocket_Key": KEY + KEY}),
            (400, "HTTP/1.1", {"Content_Length": "5"}),
            (400, "HTTP/1.1", {"Transfer_Encoding": "chunked"}),
        ):
            answer = await upgrade(world, version, **changed)
            assert answer.status == status, (version, changed)
            assert answer.json["code"] == status
        assert (await upgrade(world, Sec_WebSocket_Version="8")).headers[
            "sec-websocket-version"
        ] == "13"
        # Nobody was let in, so nobody took the place of the one who is here.
        assert await alice.quiet() == []


@pytest.mark.gen_test
async def test_an_upgrade_may_be_offered_with_others(make_world: MakeWorld) -> None:
    async with make_world() as world:
        for changed in (
            {"Upgrade": "websocket, h2c"},
            {"Upgrade": "h2c,WebSocket"},
            {"Connection": "keep-alive, upgrade"},
        ):
            assert (await upgrade(world, **changed)).status == 101, changed


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "data",
    [
        b"GET /health HTTP/9.9\r\nHost: x\r\n\r\n",
        b"GET /health HTTP/1.1\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: x\r\nno header\r\n\r\n",
        b"hello\r\n\r\n",
        b"POST /api/push HTTP/1.1\r\nHost: x\r\nSECRET\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"POST /api/push HTTP/1.1\r\nHost: x\r\nSECRET\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
    ],
)
async def test_what_is_no_http_is_told_so_in_json(make_world: MakeWorld, data: bytes) -> None:
    async with make_world() as world:
        answer = await exchange(world.port, data.replace(b"SECRET", SECRET.encode()))
        assert (answer.status, answer.json["code"]) == (400, 400)


# Numbers and tokens.


@pytest.mark.gen_test
async def test_resume_is_a_number_or_400(make_world: MakeWorld) -> None:
    async with make_world() as world:
        for resume in (
            *("", "-1", "%2B1", "1_0", "x", "1%20", "%201", "%D9%A1", "%FF", "1.5"),
            *("9" * 19, "9223372036854775808", "0" * 20 + "1", "1" * 5_000),
            "92233720368547758070000000000000000000",
        ):
            answer = await upgrade(world, target=f"/ws?resume={resume}")
            assert (answer.status, answer.json["code"]) == (400, 400), resume
        for resume in ("0", "9223372036854775807", "0000000000000000001"):
            assert (await upgrade(world, target=f"/ws?resume={resume}")).status == 101, resume


@pytest.mark.gen_test
async def test_numbers_in_a_query_are_digits(make_world: MakeWorld) -> None:
    async with make_world() as world:
        for path in (
            "/message/offline?limit=",
            "/message/offline?skip=",
            "/message/history?peerId=",
            "/message/history?peerId=1002&lastMsgId=",
            "/message/group/sync?groupId=g_demo&seq=",
            "/message/unread/count?peerId=",
        ):
            for number in ("%2B1", "%201", "1%20", "1_0", "%D9%A1", "-1", "1" * 20):
                answer = await ask(world, f"GET {path}{number} HTTP/1.1", user_id=1001)
                assert (answer.status, answer.json["code"]) == (400, 30001), path + number


@pytest.mark.gen_test
async def test_a_claim_that_is_out_of_range_gets_401(make_world: MakeWorld) -> None:
    big: list[Any] = [10**400, 10**4_000, 2**63, float("inf"), float("nan"), -1, 0, "1e9", [], {}]
    async with make_world() as world:
        for claim in ("exp", "iat", "nbf", "userId"):
            for value in (*big, True, None) if claim in ("exp", "userId") else big[:2]:
                token = signed(**{claim: value})
                answer = await ask(
                    world, "GET /message/offline HTTP/1.1", f"Authorization: Bearer {token}"
                )
                assert (answer.status, answer.json["code"]) == (401, 401), (claim, value)


# Pages of other origins.


@pytest.mark.gen_test
async def test_listed_pages_may_ask_and_others_may_not(make_world: MakeWorld) -> None:
    origins = ("https://*.example.com", "http://[::1]:8080")
    async with make_world(origins=origins) as world:
        for path in ("/health", "/message/offline", "/api/v1/message/read", "/friend/list"):
            for origin in ("https://a.example.com", "http://[0::1]:8080"):
                wanted = "Access-Control-Request-Method: GET"
                answer = await ask(world, f"OPTIONS {path} HTTP/1.1", f"Origin: {origin}", wanted)
                assert answer.status == 204, path
                assert answer.headers["access-control-allow-origin"] == origin
                assert "Authorization" in answer.headers["access-control-allow-headers"]
                assert answer.headers["vary"] == "Origin"
                assert "access-control-allow-credentials" not in answer.headers
                methods = answer.headers["access-control-allow-methods"].split(", ")
                assert ("POST" if path.endswith("read") else "GET") in methods
                # Errors too, or the page could not read why.
                answer = await ask(world, f"DELETE {path} HTTP/1.1", f"Origin: {origin}")
                assert answer.status in (401, 405)
                assert answer.headers["access-control-allow-origin"] == origin
            for origin in ("https://example.com", "http://localhost", "null", "https://[", "x"):
                answer = await ask(world, f"OPTIONS {path} HTTP/1.1", f"Origin: {origin}")
                assert (answer.status, answer.json["code"]) == (403, 403), origin
                assert "access-control-allow-origin" not in answer.headers
        answer = await ask(world, "OPTIONS /api/push HTTP/1.1", "Origin: https://a.example.com")
        assert answer.status == 401


@pytest.mark.gen_test
@pytest.mark.parametrize(("mode", "allowed"), [("dev", True), ("test", True), ("pro", False)])
async def test_without_a_list_pages_may_ask_on_a_desk_alone(
    make_world: MakeWorld, mode: str, *, allowed: bool
) -> None:
    async with make_world(settings={"mode": mode}) as world:
        origin = "Origin: https://anywhere.example"
        answer = await ask(world, "OPTIONS /message/offline HTTP/1.1", origin)
        assert answer.status == (204 if allowed else 403)
        answer = await ask(world, "GET /health HTTP/1.1", origin)
        assert answer.status == 200
        assert ("access-control-allow-origin" in answer.headers) is allowed


@pytest.mark.gen_test
async def test_the_host_of_a_request_is_no_permission(make_world: MakeWorld) -> None:
    async with make_world(origins=("https://chat.example.com",)) as world:
        for changed in (
            {"Origin": "http://localhost"},
            {"Origin": "http://localhost", "Sec_Fetch_Site": "same-origin"},
        ):
            answer = await upgrade(world, **changed)
            assert (answer.status, answer.json["code"]) == (403, 403), changed
        good = {"Origin": "https://chat.example.com", "Sec_Fetch_Site": "cross-site"}
        assert (await upgrade(world, **good)).status == 101


@pytest.mark.gen_test
async def test_an_origin_that_is_none_gets_403_also_without_a_list(make_world: MakeWorld) -> None:
    async with make_world() as world:
        for origin in ("http://[::1", "x", "https://", "https://a, https://b"):
            assert (await upgrade(world, Origin=origin)).status == 403, origin
        for origin in ("null", "file://", "https://anywhere.example"):
            assert (await upgrade(world, Origin=origin)).status == 101, origin


# Proxies.


@pytest.mark.gen_test
async def test_behind_a_trusted_proxy_the_log_has_the_clients_address(
    make_world: MakeWorld,
) -> None:
    for proxies, remote in ((("127.0.0.0/8",), "203.0.113.9"), ((), "127.0.0.1")):
        async with make_world(settings={"trusted_proxies": proxies}) as world:
            with capture_logs() as lines:
                headers = ("X-Forwarded-For: 6.6.6.6, 203.0.113.9",)
                assert (await ask(world, "GET /ws HTTP/1.1", *headers)).status == 401
            [line] = [line for line in lines if line["event"] == "handshake_refused"]
            assert line["remote"] == remote

"""Who is let in, and how the others are told."""

import asyncio
import json
import logging
import os
import socket
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import jwt
import pytest
from structlog.testing import capture_logs
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidMessage, InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.typing import Origin, Subprotocol

from skyeim_ws.config.tree import Auth
from skyeim_ws.conn.state import State
from skyeim_ws.handler import tokens
from skyeim_ws.ops import log_lines
from tests.conn.openssl import change_keys
from tests.gateway.conftest import MakeWorld
from tests.gateway.raw import raw_user
from tests.waiting import DEADLINE, until
from tests.world import SECRET, World

OLD_SECRET = "the secret of last year, longer than 32 bytes"
TLS = Path(__file__).parent / "tls"


def signed(secret: str = SECRET, algorithm: str = "HS256", **claims: Any) -> str:
    """Return a token that is good but for these claims; None leaves a claim out."""
    good = {"userId": 1001, "tokenType": 0, "exp": int(time.time()) + 3600}
    left = {name: value for name, value in (good | claims).items() if value is not None}
    # Zeros at the end change nothing in HMAC and keep the library quiet about the length.
    return jwt.encode(left, secret.encode().ljust(64, b"\0"), algorithm=algorithm)


def unsigned() -> str:
    return jwt.encode({"userId": 1001, "exp": int(time.time()) + 3600}, "", algorithm="none")


def tampered() -> str:
    """Return a token whose claims were changed after it was signed."""
    head, _, signature = signed().split(".")
    return ".".join((head, signed(userId=1002).split(".")[1], signature))


async def refusal(world: World, query: str = "", **options: Any) -> Response:
    """Return the answer to a handshake that must not succeed."""
    with pytest.raises(InvalidStatus) as refused:
        await connect(f"ws://127.0.0.1:{world.port}/ws{query}", **options)
    return refused.value.response


def body(response: Response) -> dict[str, Any]:
    assert response.headers["Content-Type"].startswith("application/json")
    decoded: dict[str, Any] = json.loads(response.body or b"")
    return decoded


@pytest.mark.gen_test
async def test_the_first_frame_says_who_and_where_one_is(make_world: MakeWorld) -> None:
    async with make_world() as world:
        before = int(time.time())
        await world.login(1002)
        alice = await world.dial(1001)
        frame = await alice.receive()
        assert frame["type"] == "connected"
        data = frame["data"]
        assert data == {
            "userId": 1001,
            "onlineCount": 2,
            "connectedAt": data["connectedAt"],
            "connId": data["connId"],
            "server": "test-gateway",
        }
        assert before <= data["connectedAt"] <= time.time()
        assert data["connId"]


@pytest.mark.gen_test
async def test_a_token_is_taken_from_query_header_or_subprotocol(make_world: MakeWorld) -> None:
    async with make_world() as world:
        address = f"ws://127.0.0.1:{world.port}/ws"
        token = world.token(1001)
        by_query = await world.login(1001, url=f"{address}?token={token}")
        assert by_query.connection.subprotocol is None
        header = {"Authorization": f"Bearer {token}"}
        by_header = await world.login(1001, url=address, additional_headers=header)
        assert by_header.connection.subprotocol is None
        # RFC 7235: the name of the scheme is in any case.
        await world.login(
            1001, url=address, additional_headers={"Authorization": f"bEARER {token}"}
        )
        offered = [Subprotocol("bearer"), Subprotocol(token)]
        by_subprotocol = await world.login(1001, url=address, subprotocols=offered)
        assert by_subprotocol.connection.subprotocol == "bearer"


@pytest.mark.gen_test
async def test_good_tokens_of_other_issuers_are_taken(make_world: MakeWorld) -> None:
    async with make_world() as world:
        now = int(time.time())
        for claims in (
            {"userId": "1001"},
            {"tokenType": None},
            {"iss": "im-auth", "username": "alice", "iat": now - 5, "nbf": now - 5},
        ):
            address = f"ws://127.0.0.1:{world.port}/ws?token={signed(**claims)}"
            await world.login(1001, url=address)


@pytest.mark.gen_test
async def test_every_bad_token_gets_401_before_the_upgrade(make_world: MakeWorld) -> None:
    now = int(time.time())
    bad = {
        "empty": "",
        "malformed": "no.token.atall",
        "not even three parts": "abc",
        "expired": signed(exp=now - 60),
        "without expiry": signed(exp=None),
        "not yet valid": signed(nbf=now + 600),
        "wrong signature": signed("another secret, just as long as this one"),
        "tampered": tampered(),
        "alg none": unsigned(),
        "alg HS512": signed(algorithm="HS512"),
        "alg HS384": signed(algorithm="HS384"),
        "refresh token": signed(tokenType=1),
        "refresh token in words": signed(tokenType="1"),
        "previous secret that is not set": signed(OLD_SECRET),
        "no user": signed(userId=None),
        "user 0": signed(userId=0),
        "user below 0": signed(userId=-1),
        "user in words": signed(userId="alice"),
        "user with a fraction": signed(userId=1.5),
        "user of two words": signed(userId="1001 1002"),
        "user true": signed(userId=True),
        "user past int64": signed(userId=2**63),
        "user list": signed(userId=[1001]),
    }
    async with make_world() as world:
        for name, token in bad.items():
            response = await refusal(world, f"?token={token}")
            assert response.status_code == 401, name
            answer = body(response)
            assert answer.keys() == {"code", "message"}, name
            assert answer["code"] == 401, name
            assert answer["message"], name
            assert token not in answer["message"] or not token, name
        assert len(world.gateway.hub) == 0


@pytest.mark.gen_test
async def test_no_token_at_all_gets_401_wherever_it_is_missing(make_world: MakeWorld) -> None:
    async with make_world() as world:
        for options in (
            {},
            {"additional_headers": {"Authorization": "Basic YTpi"}},
            {"additional_headers": {"Authorization": "Bearer"}},
            {"subprotocols": ["bearer"]},
            {"subprotocols": ["chat", world.token(1001)]},
        ):
            response = await refusal(world, **options)
            assert response.status_code == 401, options
            assert body(response)["code"] == 401


@pytest.mark.gen_test
async def test_the_previous_secret_is_accepted_where_it_is_set(make_world: MakeWorld) -> None:
    auth = Auth(access_secret=SECRET, prev_secret=OLD_SECRET)
    async with make_world(settings={"auth": auth}) as world:
        for secret in (SECRET, OLD_SECRET):
            token = tokens.issue(secret, 1001, ttl=60)
            await world.login(1001, url=f"ws://127.0.0.1:{world.port}/ws?token={token}")
        third = signed("a third secret, longer than 32 bytes, too")
        assert (await refusal(world, f"?token={third}")).status_code == 401


@pytest.mark.gen_test
async def test_without_a_list_any_origin_may_connect(make_world: MakeWorld) -> None:
    async with make_world() as world:
        await world.login(1001, origin=Origin("https://anywhere.example"))


@pytest.mark.gen_test
async def test_only_listed_origins_may_connect(make_world: MakeWorld) -> None:
    origins = ("https://chat.example.com", "https://*.example.org")
    async with make_world(origins=origins) as world:
        await world.login(1001, origin=Origin("https://chat.example.com"))
        await world.login(1001, origin=Origin("https://eu.example.org"))
        await world.login(1001)  # no browser, no origin
        for origin in (
            "https://example.com",
            "http://chat.example.com",
            "https://chat.example.com.evil.example",
            "https://example.org.evil.example",
            "null",
        ):
            response = await refusal(world, f"?token={world.token(1002)}", origin=Origin(origin))
            assert response.status_code == 403, origin
        assert 1002 not in world.gateway.hub


@pytest.mark.gen_test
async def test_nothing_but_acks_may_be_asked_to_confirm(make_world: MakeWorld) -> None:
    async with make_world() as world:
        for value in ("pong", "", "ACK"):
            response = await refusal(world, f"?token={world.token(1001)}&confirm={value}")
            assert response.status_code == 400, value
        await world.login(1001, url=world.url(1001, confirm="ack"))


@pytest.mark.gen_test
async def test_a_device_has_1_to_64_characters(make_world: MakeWorld) -> None:
    async with make_world() as world:
        await world.login(1001, url=world.url(1001, device="d" * 64))
        client = world.gateway.hub.get(1001)
        assert client is not None
        assert client.device == "d" * 64
        for device in ("d" * 65, "", "%ff"):
            response = await refusal(world, f"?token={world.token(1001)}&device={device}")
            assert response.status_code == 400, device
            assert body(response)["code"] == 400


@pytest.mark.gen_test
async def test_a_token_shows_up_in_no_log(
    make_world: MakeWorld, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with make_world(origins=("https://chat.example.com",)) as world:
        good, bad = world.token(1001), signed("another secret, just as long as this one")
        with capture_logs() as events:
            await world.login(1001, url=f"ws://127.0.0.1:{world.port}/ws?token={good}")
            await refusal(world, f"?token={bad}")
            await refusal(world, additional_headers={"Authorization": f"Bearer {bad}"})
            await refusal(world, subprotocols=["bearer", bad])
            await refusal(world, f"?token={good}", origin=Origin("https://evil.example"))
            await refusal(world, f"?token={good}&device=%ff")
            await world.get(f"/ws?token={good}")
            await world.get(f"/nowhere?token={good}")
            await world.get(f"/message/offline?token={good}&skip=%ff")
            again = await world.login(1001, url=f"ws://127.0.0.1:{world.port}/ws?token={good}")
            await again.connection.close()
        # What Tornado says passes through the same mask on its way to the log.
        said = [
            log_lines.mask_secrets(logging.getLogger(), "info", {"event": record.getMessage()})
            for record in caplog.records
            if record.name.startswith("tornado")
        ]
        assert {"connection_opened", "handshake_refused"} <= {event["event"] for event in events}
        written = repr([events, said])
        for token in (good, bad):
            assert token not in written
            assert token.rsplit(".", 1)[1] not in written


@pytest.mark.gen_test
async def test_with_a_certificate_everything_goes_over_tls(make_world: MakeWorld) -> None:
    certificate = TLS / "localhost-cert.pem"
    files = {"cert_file": str(certificate), "key_file": str(TLS / "localhost-key.pem")}
    trust = ssl.create_default_context(cafile=str(certificate))
    async with make_world(settings=files) as world:
        alice, bob = [
            await world.login(
                user_id,
                url=world.url(user_id).replace("ws://", "wss://"),
                ssl=trust,
            )
            for user_id in (1001, 1002)
        ]
        # More than one TLS record holds, many times over.
        content = "x" * 16384
        sent = [await alice.chat(1002, content) for _ in range(5)]
        received = [await bob.expect("chat") for _ in sent]
        assert [message["id"] for message in received] == [ack["id"] for ack in sent]
        for _ in range(5):
            await alice.send("group_chat", groupId="g_demo", content=content)
        seqs = [(await bob.expect("group_chat"))["seq"] for _ in range(5)]
        assert seqs == [1, 2, 3, 4, 5]
        assert {message["content"] for message in received} == {content}
        health = await world.http.fetch(f"https://127.0.0.1:{world.port}/health", ssl_options=trust)
        assert json.loads(health.body)["online"] == 2
        with pytest.raises((InvalidMessage, ConnectionError)):
            await connect(world.url(1003))


@pytest.mark.gen_test
async def test_frames_that_come_with_the_request_are_all_read(make_world: MakeWorld) -> None:
    """A client that does not wait for the answer: more than one read of ours holds."""
    ping = json.dumps({"type": "ping", "data": {"filler": "x" * 1_000}}).encode()
    ahead = b"".join(Frame(Opcode.TEXT, ping).serialize(mask=True) for _ in range(40))
    async with make_world(rate_limit=0) as world, raw_user(world, 1001, ahead=ahead) as user:
        for _ in range(40):
            await user.expect("pong")


def handshake(world: World, user_id: int, query: str = "") -> bytes:
    """Return a whole request, as clients write it."""
    return (
        f"GET /ws?token={world.token(user_id)}{query} HTTP/1.1\r\nHost: localhost\r\n"
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    ).encode()


@pytest.mark.gen_test
async def test_who_has_gone_before_the_answer_takes_no_place(make_world: MakeWorld) -> None:
    """As after a stall: the client has given up, and is connected elsewhere."""
    async with make_world() as world:
        alice = await world.login(1001)
        with socket.create_connection(("127.0.0.1", world.port)) as impatient:
            impatient.sendall(handshake(world, 1001))
        await until(lambda: world.gateway.stats.connections_opened == 2)
        assert "kicked" not in [frame["type"] for frame in await alice.quiet()]
        await alice.chat(1002, "still here")


async def answer_to(world: World, *pieces: bytes) -> list[str]:
    """Write a request in pieces, each when the one before was read; return the answer's head.

    In lower case, and without the time.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
    for piece in pieces:
        writer.write(piece)
        await world.get("/health")  # connections are looked at in the order of their coming
    async with asyncio.timeout(DEADLINE):
        head = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    lines = head.decode().lower().splitlines()
    return [line for line in lines if not line.startswith("date:")]


@pytest.mark.gen_test
async def test_a_handshake_in_pieces_gets_the_same_answer(make_world: MakeWorld) -> None:
    """One that comes as a whole is answered without Tornado, any other by it."""
    async with make_world() as world:
        whole = handshake(world, 1001)
        at_once = await answer_to(world, whole)
        in_pieces = await answer_to(world, whole[:20], whole[20:])
        assert at_once == in_pieces
        assert at_once[0] == "http/1.1 101 switching protocols"
        refused = handshake(world, 1001, "&device=" + "d" * 65)
        at_once = await answer_to(world, refused)
        assert at_once == await answer_to(world, refused[:20], refused[20:])
        assert at_once[0] == "http/1.1 400 bad request"


def upgrade(world: World, trust: ssl.SSLContext) -> ssl.SSLSocket:
    """Return a connection of a user over TLS; this blocks."""
    plain = socket.create_connection(("127.0.0.1", world.port))
    secured = trust.wrap_socket(plain, server_hostname="localhost")
    secured.sendall(handshake(world, 1001))
    assert secured.recv(4_096).startswith(b"HTTP/1.1 101 ")
    return secured


@asynccontextmanager
async def secured_user(make_world: MakeWorld) -> AsyncIterator[tuple[World, ssl.SSLSocket]]:
    """Run a world over TLS, with user 1001 in it."""
    certificate = TLS / "localhost-cert.pem"
    files = {"cert_file": str(certificate), "key_file": str(TLS / "localhost-key.pem")}
    trust = ssl.create_default_context(cafile=str(certificate))
    async with make_world(settings=files) as world:
        with await asyncio.to_thread(upgrade, world, trust) as secured:
            await until(lambda: 1001 in world.gateway.hub)
            yield world, secured


@pytest.mark.gen_test
async def test_a_connection_that_breaks_its_tls_is_gone_at_once(make_world: MakeWorld) -> None:
    async with secured_user(make_world) as (world, secured):
        client = world.gateway.hub.get(1001)
        await until(lambda: client is not None and client.state is State.OPEN)
        with socket.socket(fileno=os.dup(secured.fileno())) as raw:
            # A record that is good, and one that is not.
            secured.send(Frame(Opcode.PING, b"").serialize(mask=True))
            raw.send(b"\x17\x03\x03\x00\x08no TLS!!")
            await until(lambda: 1001 not in world.gateway.hub)


@pytest.mark.gen_test
async def test_a_client_that_only_changes_its_keys_is_cut_off(make_world: MakeWorld) -> None:
    async with secured_user(make_world) as (world, secured):
        change_keys(secured, 2_000, both=False)
        await until(lambda: 1001 not in world.gateway.hub)


@pytest.mark.gen_test
async def test_what_is_no_tls_is_told_in_a_line_of_the_log(make_world: MakeWorld) -> None:
    certificate = TLS / "localhost-cert.pem"
    files = {"cert_file": str(certificate), "key_file": str(TLS / "localhost-key.pem")}
    async with make_world(settings=files) as world:
        with capture_logs() as logs:
            reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
            writer.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            async with asyncio.timeout(DEADLINE):
                assert await reader.read() == b""
            writer.close()
            await writer.wait_closed()
        told = [line for line in logs if line["log_level"] in ("warning", "error")]
        expected = {"event": "tls_failed", "error": "HTTP_REQUEST", "remote": "127.0.0.1"}
        assert told == [expected | {"log_level": "warning"}]

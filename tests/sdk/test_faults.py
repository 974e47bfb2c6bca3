"""What a client sees of every fault, with each SDK: nothing lost, nothing twice, in order."""

import asyncio
import signal
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.ports import free_port
from tests.process.conftest import folder, running, skyeim, token  # noqa: F401
from tests.sdk.conftest import MakeWorld
from tests.sdk.network import network
from tests.sdk.people import MakePerson, Person

BY_SDK = "http://127.0.0.1:{}"


async def send(sender: Person, texts: list[str], **target: object) -> list[int]:
    """Hand messages to the client, and wait for none of them."""
    return [sender.begin("send", content=text, **target) for text in texts]


async def all_sent(sender: Person, numbers: list[int]) -> None:
    """Wait until every one of them is stored."""
    for number in numbers:
        assert "result" in await sender.answer(number)


def texts(prefix: str, count: int) -> list[str]:
    return [f"{prefix}{index}" for index in range(count)]


@pytest.fixture
def port() -> int:
    """A port that is free for a program that is started again and again."""
    return free_port()


@pytest.mark.gen_test
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
async def test_a_gateway_is_killed_or_stopped_and_comes_back(
    folder: Path,  # noqa: F811
    port: int,
    end: signal.Signals,
    person: MakePerson,
) -> None:
    """With SIGTERM there is 1001 with a slot, and no attempt before it."""
    demo = skyeim("demo", "--port", str(port), "--data-dir", "data")
    url = BY_SDK.format(port)
    async with AsyncExitStack() as people:
        async with running(folder, *demo) as program:
            await program.port()
            alice = await people.enter_async_context(person(url, token(1001)))
            bob = await people.enter_async_context(person(url, token(1002)))
            await bob.ask("follow", groupId="g_demo", seq=0)
            numbers = await send(alice, texts("before ", 10), to=1002)
            numbers += await send(alice, texts("all ", 10), groupId="g_demo")
            await bob.until_shown(2)
            program.process.send_signal(end)
            await alice.until(lambda: "waiting" in alice.states)
            await program.exit_code()
        waiting = next(each for each in alice.events("state") if each["state"] == "waiting")
        assert waiting["code"] == (1001 if end == signal.SIGTERM else 1006)
        assert waiting["reason"].startswith("retry_after_ms=" if end == signal.SIGTERM else "")
        numbers += await send(alice, texts("away ", 5), to=1002)
        numbers += await send(alice, texts("all away ", 5), groupId="g_demo")
        async with running(folder, *demo) as program:
            await program.port()
            await all_sent(alice, numbers)
            await bob.until_shown(30)
            private = [each["content"] for each in bob.events("message") if "seq" not in each]
            assert private == texts("before ", 10) + texts("away ", 5)
            assert [each for each in bob.shown() if each not in private] == (
                texts("all ", 10) + texts("all away ", 5)
            )


@pytest.mark.gen_test
async def test_a_newer_login_ends_it_until_it_is_told_to_come_back(
    make_world: MakeWorld, person: MakePerson
) -> None:
    """4001."""
    async with make_world() as world:
        url = BY_SDK.format(world.port)
        async with person(url, world.token(1001)) as first:
            async with person(url, world.token(1001)) as second:
                await first.until(lambda: first.states[-1] == "stopped")
                assert first.events("state")[-1]["reason"] == "kicked"
                assert len(first.events("kicked")) == 1
                number = first.begin("send", to=1002, content="later")
                await first.ask("connect")
                assert "result" in await first.answer(number)
                await second.until(lambda: second.states[-1] == "stopped")
            assert first.states[-1] == "open"


@pytest.mark.gen_test
async def test_who_reads_too_slowly_is_closed_and_gets_the_rest(
    make_world: MakeWorld, person: MakePerson
) -> None:
    """4002."""
    async with (
        make_world(send_queue_bytes=65536, close_timeout=60.0) as world,
        network(world.port) as between,
    ):
        bob_token, big = world.token(1002), "x" * 16000
        async with (
            person(BY_SDK.format(world.port), world.token(1001)) as alice,
            person(BY_SDK.format(between.port), bob_token, pingInterval=10**6) as bob,
        ):
            between.freeze()
            numbers = await send(alice, [f"{index} {big}" for index in range(200)], to=1002)
            await all_sent(alice, numbers)
            between.mend()
            await bob.until_shown(200)
            assert [int(text.split()[0]) for text in bob.shown()] == list(range(200))
            codes = [data.get("code") for data in bob.events("state")]
            assert codes.count(4002) >= 1


@pytest.mark.gen_test
async def test_who_reads_a_group_too_slowly_fetches_what_was_left_out(
    make_world: MakeWorld, person: MakePerson
) -> None:
    """`group_behind`: the connection stays."""
    async with make_world() as world, network(world.port) as between:
        big = "x" * 8000
        async with (
            person(BY_SDK.format(world.port), world.token(1001)) as alice,
            person(BY_SDK.format(between.port), world.token(1002), pingInterval=10**6) as bob,
        ):
            await bob.ask("follow", groupId="g_demo", seq=0)
            between.freeze()
            numbers = await send(
                alice, [f"{index} {big}" for index in range(150)], groupId="g_demo"
            )
            await all_sent(alice, numbers)
            between.mend()
            await bob.until_shown(150)
            assert [int(text.split()[0]) for text in bob.shown()] == list(range(150))
            assert bob.events("group_behind")
            assert bob.states.count("open") == 1


@pytest.mark.gen_test
async def test_a_token_is_renewed_on_the_connection(
    make_world: MakeWorld, person: MakePerson
) -> None:
    async with make_world() as world:
        url = BY_SDK.format(world.port)
        brief = {"ttl": 2.0}
        async with (
            person(url, world.token(1001, **brief), world.token(1001)) as alice,
            person(url, world.token(1003, **brief), fixed=True) as carol,
        ):
            await carol.until(lambda: carol.states[-1] == "stopped")
            assert carol.events("state")[-1]["reason"] == "token_expired"
            await alice.ask("send", to=1002, content="still here")
            assert alice.states == ["token", "connecting", "open"]


@pytest.mark.gen_test
async def test_a_token_that_expires_is_followed_by_a_fresh_one(
    make_world: MakeWorld, person: MakePerson
) -> None:
    """4003: the renewal was refused."""
    async with make_world() as world:
        tokens = world.token(1001, ttl=2.0), "wrong", world.token(1001)
        async with person(BY_SDK.format(world.port), *tokens) as alice:
            await alice.until(lambda: alice.states.count("open") == 2)
            await alice.ask("send", to=1002, content="here again")
            codes = [data["code"] for data in alice.events("state") if "code" in data]
            assert codes == [4003]
            assert [error["code"] for error in alice.events("error")] == [30001]


@pytest.mark.gen_test
async def test_a_token_that_is_not_taken(make_world: MakeWorld, person: MakePerson) -> None:
    """A page cannot see a 401: a fixed token is found out, a function is asked for another one."""
    async with make_world() as world:
        url = BY_SDK.format(world.port)
        async with (
            person(url, "wrong", fixed=True, connect=False) as carol,
            person(url, "wrong", world.token(1001)) as alice,
        ):
            answer = await carol.answer(carol.begin("connect"))
            assert answer["reason"] == "unauthorized"
            assert alice.states[-1] == "open"


@pytest.mark.gen_test
async def test_a_network_that_goes_silent_is_noticed(
    make_world: MakeWorld, person: MakePerson
) -> None:
    """Half-open: nothing comes, nothing is closed."""
    async with make_world() as world, network(world.port) as between:
        url = BY_SDK.format(between.port)
        async with (
            person(url, world.token(1001), pongTimeout=500) as alice,
            person(BY_SDK.format(world.port), world.token(1002)) as bob,
        ):
            await alice.ask("send", to=1002, content="0")
            between.lose()
            numbers = await send(alice, ["1", "2"], to=1002)
            back = await send(bob, ["3", "4"], to=1001)
            await all_sent(alice, numbers)
            await all_sent(bob, back)
            await bob.until_shown(3)
            await alice.until_shown(2)
            assert (bob.shown(), alice.shown()) == (["0", "1", "2"], ["3", "4"])
            assert alice.states.count("open") == 2
            between.cut()  # or the old connection keeps the process of alice


@pytest.mark.gen_test
async def test_a_network_that_breaks_again_and_again(
    make_world: MakeWorld, person: MakePerson
) -> None:
    async with make_world() as world, network(world.port) as between:
        url = BY_SDK.format(between.port)
        async with (
            person(url, world.token(1001)) as alice,
            person(url, world.token(1002)) as bob,
        ):
            await bob.ask("follow", groupId="g_demo", seq=0)
            numbers: list[int] = []
            for turn in range(3):
                numbers += await send(alice, texts(f"{turn} ", 10), to=1002)
                numbers += await send(alice, texts(f"all {turn} ", 10), groupId="g_demo")
                await bob.until_shown(turn * 20 + 1)
                between.cut()
                numbers += await send(alice, texts(f"{turn} away ", 1), to=1002)
                await alice.until(lambda: alice.states[-1] == "waiting")
                between.mend()
                await alice.until(lambda: alice.states[-1] == "open")
            await all_sent(alice, numbers)
            await bob.until_shown(63)
            groups = [each for each in bob.events("message") if "seq" in each]
            assert [each["seq"] for each in groups] == list(range(1, 31))
            private = [each["content"] for each in bob.events("message") if "seq" not in each]
            assert private == [
                text for t in range(3) for text in [*texts(f"{t} ", 10), *texts(f"{t} away ", 1)]
            ]


@pytest.mark.gen_test
async def test_too_fast_is_slowed_down_not_lost(make_world: MakeWorld, person: MakePerson) -> None:
    """30009."""
    async with make_world(rate_limit=20, rate_burst=20) as world:
        url = BY_SDK.format(world.port)
        async with person(url, world.token(1001)) as alice, person(url, world.token(1002)) as bob:
            numbers = await send(alice, texts("", 60), to=1002)
            await all_sent(alice, numbers)
            await bob.until_shown(60)
            assert bob.shown() == texts("", 60)
            assert {each["reason"] for each in alice.events("refused")} == {"rate_limited"}


@pytest.mark.gen_test
async def test_busy_is_tried_again(make_world: MakeWorld, person: MakePerson) -> None:
    """30010."""
    async with make_world(send_backlog=1) as world:
        url = BY_SDK.format(world.port)
        async with (
            person(url, world.token(1001)) as alice,
            person(url, world.token(1002)) as bob,
            person(url, world.token(1003)) as carol,
        ):
            numbers = await send(alice, texts("b", 5), to=1002)
            numbers += await send(alice, texts("c", 5), to=1003)
            numbers += await send(alice, texts("g", 5), groupId="g_demo")
            await all_sent(alice, numbers)
            for user, mine in ((bob, "b"), (carol, "c")):
                await user.until_shown(10)
                private = [each for each in user.shown() if each[0] != "g"]
                assert private == texts(mine, 5)
                assert [each for each in user.shown() if each[0] == "g"] == texts("g", 5)
            assert {each["reason"] for each in alice.events("refused")} == {"busy"}


@pytest.mark.gen_test
async def test_a_long_absence(make_world: MakeWorld, person: MakePerson) -> None:
    """More than a window, and more than a pull, come in order; so does the group."""
    async with make_world() as world:
        url = BY_SDK.format(world.port)
        async with person(url, world.token(1001)) as alice:
            async with person(url, world.token(1002)) as bob:
                await bob.ask("follow", groupId="g_demo", seq=0)
                await alice.ask("send", to=1002, content="hello")
                await bob.until_shown(1)
                state = await bob.ask("snapshot")
            numbers = await send(alice, texts("", 250), to=1002)
            numbers += await send(alice, texts("g", 250), groupId="g_demo")
            await all_sent(alice, numbers)
            async with person(url, world.token(1002)) as new:
                await new.until_shown(250)
                assert new.shown() == texts("", 250)
            async with person(url, world.token(1002), state=state) as bob:
                await bob.until_shown(500)
                assert [each for each in bob.shown() if each[0] != "g"] == texts("", 250)
                assert [each for each in bob.shown() if each[0] == "g"] == texts("g", 250)


@pytest.mark.gen_test
async def test_receipts_typing_and_presence(make_world: MakeWorld, person: MakePerson) -> None:
    async with make_world() as world:
        url = BY_SDK.format(world.port)
        async with person(url, world.token(1001)) as alice:
            await alice.ask("watch", userIds=[1002])
            async with person(url, world.token(1002)) as bob:
                await alice.until(lambda: alice.events("presence")[-1:] == [
                    {"userId": 1002, "online": True}
                ])  # fmt: skip
                sent = await alice.ask("send", to=1002, content="hello")
                await alice.until(lambda: alice.events("delivered"))
                assert alice.events("delivered") == [{"msgId": sent["msgId"]}]
                await bob.ask("read", peerId=1001, msgIds=None)
                await alice.until(lambda: alice.events("read"))
                assert alice.events("read") == [{"userId": 1002, "msgIds": None}]
                await bob.ask("typing", to=1001)
                await bob.ask("typing", to=1001)
                await alice.until(lambda: alice.events("typing"))
                assert alice.events("typing") == [{"userId": 1002, "active": True}]
                refused = await alice.answer(alice.begin("send", to=4711, content="x"))
                assert (refused["reason"], refused["code"]) == ("not_friend", 30004)
            await alice.until(lambda: alice.events("presence")[-1]["online"] is False)
            history = await alice.ask("api", call="history", query={"peerId": 1002})
            assert [each["content"] for each in history["list"]] == ["hello"]
        await asyncio.sleep(0)

"""A msgId that is stored already: same sender and receiver, or a conflict, whatever the server."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from grpc import StatusCode

from skyeim_ws.contract.codes import Reason
from skyeim_ws.contract.pb import message_pb2 as pb
from skyeim_ws.logic.outgoing import Outgoing, SendOutcome, Stored
from skyeim_ws.logic.ports import Refused, Unavailable
from skyeim_ws.rpc.batcher import Batcher
from skyeim_ws.rpc.repeats import PAGE, PAGES
from tests.rpc.servers import Answers, Storage, batching, grouped, private, serving

REFUSING = {"SendMessage": StatusCode.UNKNOWN, "SendGroupMessage": StatusCode.INTERNAL}
"""What existing servers do with a repeat."""

NAMING_IT = dict(REFUSING)
TELLING_NOTHING = dict.fromkeys(REFUSING, StatusCode.OK)
SAYING_SO = dict.fromkeys(REFUSING, StatusCode.ALREADY_EXISTS)


@pytest.fixture
def address(tmp_path: Path) -> str:
    return f"unix:{tmp_path / 's'}"


async def send(batcher: Batcher, messages: Iterable[Outgoing]) -> list[SendOutcome]:
    """Send one after the other, as if by nodes that know nothing of each other."""
    outcomes = []
    for message in messages:
        answers = Answers()
        answers.submit(batcher, [message])
        await answers.wait(1)
        outcomes.append(answers.outcomes[message.msg_id])
    return outcomes


def shown(outcome: SendOutcome) -> object:
    """What is delivered, or why nothing is."""
    if isinstance(outcome, Refused):
        return outcome.reason
    if isinstance(outcome, Unavailable):
        return "rpc_error"
    return outcome.id, outcome.seq, "" if outcome.first is None else outcome.first.content


@pytest.mark.parametrize("repeats", [REFUSING, TELLING_NOTHING, SAYING_SO])
@pytest.mark.gen_test
async def test_a_retry_has_its_first_answer_and_what_is_stored_counts(
    address: str, repeats: dict[str, StatusCode]
) -> None:
    storage = Storage(repeats)
    async with serving(address, message=storage.unary_methods), batching(address) as batcher:
        await send(batcher, [private("a", content="first"), grouped("b")])
        again = [private("a", content="forged"), grouped("b", at_user_ids=[-1])]
        outcomes = await send(batcher, again)
    assert [shown(outcome) for outcome in outcomes] == [(1, 0, "first"), (2, 2, "hi")]
    assert isinstance(outcomes[1], Stored)
    assert outcomes[1].first == grouped("b")
    assert storage.stored == ["a", "b"]


@pytest.mark.parametrize(
    ("repeats", "expected"),
    [
        # It cannot be told from any other trouble, and the message is not where it would be.
        (REFUSING, "rpc_error"),
        (NAMING_IT, Reason.MSG_ID_CONFLICT),
        (TELLING_NOTHING, Reason.MSG_ID_CONFLICT),
        (SAYING_SO, Reason.MSG_ID_CONFLICT),
    ],
)
@pytest.mark.gen_test
async def test_a_msg_id_of_another_message_brings_nothing_to_anyone(
    address: str, repeats: dict[str, StatusCode], expected: object
) -> None:
    storage = Storage(repeats)
    if repeats is NAMING_IT:
        storage.complaint = "Error 1062 (23000): Duplicate entry 'a' for key 'uk_msg_id'"
    async with serving(address, message=storage.unary_methods), batching(address) as batcher:
        await send(batcher, [private("a"), grouped("b")])
        outcomes = await send(
            batcher,
            [private("a", to=9), grouped("a"), grouped("b", group_id="h"), private("b")],
        )
        by_the_other = await send(batcher, [private("a", sender=2, to=1), grouped("b", sender=2)])
    assert [shown(outcome) for outcome in outcomes] == [expected] * 4
    assert [shown(outcome) for outcome in by_the_other] == [Reason.MSG_ID_CONFLICT] * 2


@pytest.mark.gen_test
async def test_a_server_that_is_seen_to_refuse_repeats_is_not_asked_about_every_message(
    address: str,
) -> None:
    storage = Storage(REFUSING)
    async with serving(address, message=storage.unary_methods), batching(address) as batcher:
        await send(batcher, [private("a"), private("b"), private("a")])
        before = storage.pages
        assert [shown(outcome) for outcome in await send(batcher, [private("c")])] == [(3, 0, "")]
        assert storage.pages == before
        # One kind of message says nothing of the other.
        await send(batcher, [grouped("d")])
        assert storage.pages == before + 1


@pytest.mark.gen_test
async def test_trouble_after_storing_is_no_refusal_of_a_repeat(address: str) -> None:
    storage = Storage(TELLING_NOTHING)
    methods = storage.unary_methods

    async def store_and_fail(request: Any, context: Any) -> None:
        await storage.send_message(request, context)
        await context.abort(StatusCode.UNKNOWN, "lost")

    methods["SendMessage"] = store_and_fail
    async with serving(address, message=methods), batching(address) as batcher:
        [outcome] = await send(batcher, [private("a")])
        assert shown(outcome) == (1, 0, "hi")
        assert not batcher.repeats.refused


@pytest.mark.gen_test
async def test_a_repeat_is_found_some_pages_back_and_no_further(address: str) -> None:
    storage = Storage(SAYING_SO)
    near, far = PAGE * PAGES, PAGE * PAGES + 1
    storage.infos = {
        f"m{n}": pb.MessageInfo(
            id=n, msg_id=f"m{n}", from_user_id=1, to_user_id=2, content=f"text {n}"
        )
        for n in range(1, far + 1)
    }
    async with serving(address, message=storage.unary_methods), batching(address) as batcher:
        outcomes = await send(batcher, [private(f"m{far + 1 - near}"), private("m1")])
    assert [shown(outcome) for outcome in outcomes] == [(2, 0, "text 2"), "rpc_error"]


@pytest.mark.parametrize("tells", [True, False])
@pytest.mark.gen_test
async def test_a_batch_delivers_what_is_stored(address: str, tells: bool) -> None:
    """Also with a server that says no more than that it is a repeat."""
    storage = Storage()
    first: dict[str, Any] = {"from_user_id": 1, "content": "first", "content_type": 1}
    known = [
        pb.MessageInfo(id=1, msg_id="a", to_user_id=2, **first),
        pb.MessageInfo(id=2, msg_id="b", group_id="g", seq=5, chat_type=2, **first),
    ]
    storage.infos = {info.msg_id: info for info in known}

    async def send_batch(request: Any, context: Any) -> pb.SendBatchResp:
        found = [getattr(item, item.WhichOneof("item")).msg_id for item in request.items]
        return pb.SendBatchResp(
            results=[
                pb.SendResult(
                    id=info.id,
                    msg_id=info.msg_id,
                    seq=info.seq,
                    duplicate=True,
                    message=info if tells else None,
                )
                for msg_id in found
                for info in known
                if info.msg_id == msg_id
            ]
        )

    methods = storage.unary_methods | {"SendBatch": send_batch}
    async with serving(address, message=methods), batching(address) as batcher:
        outcomes = await send(
            batcher,
            [
                private("a", content="forged"),
                grouped("b"),
                private("a", to=9),
                private("a", sender=2, to=1),
                grouped("a"),
                grouped("b", group_id="h"),
            ],
        )
        assert storage.pages == (0 if tells else 6)
    assert [shown(outcome) for outcome in outcomes] == [
        (1, 0, "first"),
        (2, 5, "first"),
        *[Reason.MSG_ID_CONFLICT] * 4,
    ]

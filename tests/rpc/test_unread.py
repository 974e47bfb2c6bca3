"""Servers that cannot page what is unread, nor look a msgId up: all of it is found all the same."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyeim_ws.contract.pb import message_pb2 as pb
from skyeim_ws.logic.ports import HistoryMessage
from skyeim_ws.rpc.messages import MessageClient
from skyeim_ws.rpc.unread import all_unread
from tests.rpc.servers import pooling, serving

ME = 1


def info(number: int, sender: int, *, status: int = 0, receiver: int = ME) -> pb.MessageInfo:
    return pb.MessageInfo(
        id=number,
        msg_id=f"m{number}",
        from_user_id=sender,
        to_user_id=receiver,
        chat_type=1,
        status=status,
    )


class OldServer:
    """A Message service of another make, whose list of unread messages ends after `most`."""

    def __init__(self, stored: list[pb.MessageInfo], most: int) -> None:
        self.stored = stored
        self.most = most
        self.calls: list[str] = []

    @property
    def methods(self) -> dict[str, Any]:
        return {
            "GetUnreadMessages": self.unread,
            "GetUnreadCount": self.count,
            "GetMessageList": self.page,
        }

    def due(self, peer_id: int) -> list[pb.MessageInfo]:
        return [
            each
            for each in self.stored
            if each.to_user_id == ME and not each.status and peer_id in (0, each.from_user_id)
        ]

    async def unread(self, request: Any, context: Any) -> pb.GetUnreadMessagesResp:
        self.calls.append("unread")
        return pb.GetUnreadMessagesResp(list=self.due(request.peer_id)[: self.most])

    async def count(self, request: Any, context: Any) -> pb.GetUnreadCountResp:
        return pb.GetUnreadCountResp(count=len(self.due(request.peer_id)))

    async def page(self, request: Any, context: Any) -> pb.GetMessageListResp:
        self.calls.append("page")
        between = [
            each
            for each in reversed(self.stored)
            if {each.from_user_id, each.to_user_id} == {ME, request.peer_id}
            and (not request.last_msg_id or each.id < request.last_msg_id)
        ]
        size = request.limit
        return pb.GetMessageListResp(list=between[:size], has_more=len(between) > size)


async def friends(user_id: int) -> frozenset[int]:
    return frozenset({2, 3, 4})


@pytest.mark.gen_test
async def test_a_list_that_is_whole_is_all_that_is_asked_for(tmp_path: Path) -> None:
    server = OldServer([info(number, 2) for number in range(1, 31)], most=100)
    address = f"unix:{tmp_path / 's'}"
    async with serving(address, message=server.methods), pooling(address) as pool:
        client = MessageClient(pool, friends)
        page, more = await client.unread_page(ME, 10, after_id=5, skip=20)
        assert ([message.id for message in page], more) == (list(range(26, 31)), False)
        page, more = await client.unread_page(ME, 10, skip=3)
        assert ([message.id for message in page], more) == (list(range(4, 14)), True)
    assert server.calls == ["unread", "unread"]


@pytest.mark.gen_test
async def test_a_list_that_is_a_part_is_completed_from_the_conversations(tmp_path: Path) -> None:
    """Read ones stand between, and those to others; 9 is no friend, but the part names it."""
    stored = [
        info(number, (9, 2, 3)[number % 3], status=int(number % 7 == 0)) for number in range(1, 700)
    ]
    stored += [info(number, ME, receiver=2) for number in range(700, 720)]
    server = OldServer(stored, most=50)
    expected = [each.id for each in server.due(0)]
    address = f"unix:{tmp_path / 's'}"
    async with serving(address, message=server.methods), pooling(address) as pool:
        client = MessageClient(pool, friends)
        found: list[int] = []
        more = True
        while more:
            page, more = await client.unread_page(ME, 200, after_id=found[-1] if found else 0)
            found += [message.id for message in page]
        assert found == expected
        # Whatever the message is, its sender is found by its msgId.
        last = server.due(0)[-1]
        assert await client.senders(ME, [last.msg_id, "none"]) == {last.msg_id: last.from_user_id}


@pytest.mark.gen_test
async def test_the_sender_is_looked_for_where_it_is_cheap_first(tmp_path: Path) -> None:
    server = OldServer([info(number, 2, status=1) for number in range(1, 301)], most=100)
    address = f"unix:{tmp_path / 's'}"
    async with serving(address, message=server.methods), pooling(address) as pool:
        client = MessageClient(pool, friends)
        assert await client.senders(ME, ["m299", "m300"], 2) == {"m299": 2, "m300": 2}
        assert server.calls == ["page"]
        assert await client.senders(ME, ["m1"], 2) == {}
        assert await client.senders(ME, ["m300"], 3) == {}


class Lists:
    """The same in memory, for any stock of messages."""

    def __init__(self, senders: list[int], most: int) -> None:
        self.messages = [
            HistoryMessage(n + 1, f"m{n}", sender, ME, 1, "", "x", 1, 0, 0, 0, [])
            for n, sender in enumerate(senders)
        ]
        self.most = most

    async def unread(self, user_id: int, peer_id: int = 0) -> list[HistoryMessage]:
        return self._of(peer_id)[: self.most]

    async def unread_count(self, user_id: int, peer_id: int = 0) -> int:
        return len(self._of(peer_id))

    async def history(
        self, user_id: int, peer_id: int, last_msg_id: int, limit: int
    ) -> tuple[list[HistoryMessage], bool]:
        older = [m for m in self._of(peer_id) if not last_msg_id or m.id < last_msg_id][::-1]
        return older[:limit], len(older) > limit

    def _of(self, peer_id: int) -> list[HistoryMessage]:
        return [each for each in self.messages if peer_id in (0, each.from_user_id)]


@given(senders=st.lists(st.sampled_from([2, 3, 4]), max_size=250), most=st.integers(0, 300))
def test_all_that_friends_have_sent_is_found(senders: list[int], most: int) -> None:
    lists = Lists(senders, most)
    found = run(all_unread(lists, friends, ME))
    assert found == lists.messages


def run(work: Any) -> Any:
    """Return what a coroutine returns that waits for nothing."""
    try:
        work.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("it waits")

"""Whatever succeeds and fails, and however it interleaves, the order holds and none is lost."""

import asyncio
import tempfile
from pathlib import Path
from typing import NamedTuple

import pytest
from grpc import StatusCode
from hypothesis import given, settings
from hypothesis import strategies as st

from skyeim_ws.logic.outgoing import Outgoing, Stored
from tests.rpc.servers import Answers, Storage, batching, grouped, private, serving

REFUSALS = [
    (StatusCode.PERMISSION_DENIED, "blocked"),
    (StatusCode.INVALID_ARGUMENT, ""),
    (StatusCode.INTERNAL, ""),
]


class Step(NamedTuple):
    """A message to submit, what becomes of it, and how many turns of the loop to let pass."""

    sender: int
    group: int | None
    refusal: int | None
    turns: int


steps = st.lists(
    st.builds(
        Step,
        st.integers(1, 3),
        st.none() | st.integers(1, 2),
        st.none() | st.integers(0, len(REFUSALS) - 1),
        st.integers(0, 3),
    ),
    min_size=1,
    max_size=25,
)


def keys_of(message: Outgoing) -> list[str]:
    return [f"sender {message.from_user_id}", f"group {message.group_id}"][
        : 2 if message.group_id else 1
    ]


async def run(script: list[Step], *, batches: bool, address: str) -> tuple[list[Outgoing], Answers]:
    storage, answers = Storage(), Answers()
    messages: list[Outgoing] = []
    methods = storage.batch_methods if batches else storage.unary_methods
    async with serving(address, message=methods), batching(address, batch_size=4) as batcher:
        for number, step in enumerate(script):
            msg_id = f"m{number}"
            if step.refusal is not None:
                storage.denied[msg_id] = REFUSALS[step.refusal]
            message = (
                private(msg_id, step.sender)
                if step.group is None
                else grouped(msg_id, step.sender, f"g{step.group}")
            )
            messages.append(message)
            answers.submit(batcher, [message])
            for _ in range(step.turns):
                await asyncio.sleep(0)
        await answers.wait(len(messages))
        assert batcher.pending == 0
    for message in messages:
        is_stored = isinstance(answers.outcomes[message.msg_id], Stored)
        assert is_stored == (message.msg_id not in storage.denied)
    in_order_of_ids = sorted(
        (outcome.id, msg_id)
        for msg_id, outcome in answers.outcomes.items()
        if isinstance(outcome, Stored)
    )
    assert [msg_id for _, msg_id in in_order_of_ids] == storage.stored
    return messages, answers


@pytest.mark.parametrize("batches", [True, False])
@settings(max_examples=20, derandomize=True)
@given(script=steps)
def test_answers_keep_the_order_of_submission(batches: bool, script: list[Step]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        address = f"unix:{Path(folder) / 's'}"
        # Not asyncio.run: it would drop the loop that the fixtures of other tests have left.
        with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
            messages, answers = runner.run(run(script, batches=batches, address=address))
    submitted = [message.msg_id for message in messages]
    if batches:
        assert answers.order == submitted
        return
    for key in {key for message in messages for key in keys_of(message)}:
        expected = [message.msg_id for message in messages if key in keys_of(message)]
        assert [msg_id for msg_id in answers.order if msg_id in expected] == expected

"""The keyed queue: order within a key, freedom between keys."""

from hypothesis import given
from hypothesis import strategies as st

from skyeim_ws.rpc.keyed_queue import KeyedQueue


class Item:
    def __init__(self, number: int, keys: list[str]) -> None:
        self.number = number
        self.keys = keys


keys = st.lists(st.sampled_from("abcd"), min_size=1, max_size=3, unique=True)
steps = st.lists(st.one_of(keys, st.just("take"), st.integers(0, 7)), max_size=60)


@given(steps)
def test_items_of_one_key_follow_each_other_and_none_is_lost(
    script: list[list[str] | str | int],
) -> None:
    queue: KeyedQueue[Item] = KeyedQueue()
    added: list[Item] = []
    taken: list[Item] = []
    under_way: list[Item] = []

    def take() -> bool:
        item = queue.take()
        if item is None:
            return False
        assert not any(set(item.keys) & set(other.keys) for other in under_way)
        under_way.append(item)
        taken.append(item)
        return True

    for step in script:
        if isinstance(step, list):
            added.append(Item(len(added), step))
            queue.add(added[-1], step)
        elif isinstance(step, int):
            if under_way:
                queue.finish(under_way.pop(step % len(under_way)))
        else:
            take()
    while take() or under_way:
        if under_way:
            queue.finish(under_way.pop())

    assert sorted(item.number for item in taken) == list(range(len(added)))
    for key in "abcd":
        numbers = [item.number for item in taken if key in item.keys]
        assert numbers == sorted(numbers)
    assert len(queue) == 0


def test_an_item_waits_only_for_its_own_keys() -> None:
    queue: KeyedQueue[str] = KeyedQueue()
    queue.add("first", ["a"])
    queue.add("second", ["a", "b"])
    queue.add("third", ["c"])
    assert [queue.take(), queue.take(), queue.take()] == ["first", "third", None]
    queue.finish("first")
    assert queue.take() == "second"

"""What is remembered of single members and refusals, and how much of it."""

from hypothesis import given
from hypothesis import strategies as st

from skyeim_ws.contract.codes import Reason
from skyeim_ws.store.seats import Seat, Seats

CAPACITY = 5


def test_an_answer_holds_until_its_time() -> None:
    seats = Seats(CAPACITY)
    seats.put("g", 1, Seat(Reason.NOT_MEMBER, 10.0))
    assert seats.find("g", 1, 9.9) == (Reason.NOT_MEMBER, 10.0)
    assert seats.find("g", 1, 10.0) is None
    assert seats.find("g", 2, 0.0) is None
    assert seats.find("h", 1, 0.0) is None


steps = st.one_of(
    st.tuples(st.just("put"), st.sampled_from("ghi"), st.integers(1, 4)),
    st.tuples(st.just("forget"), st.sampled_from("ghi"), st.just(0)),
    st.tuples(st.just("clear"), st.just(""), st.just(0)),
)


@given(st.lists(steps, max_size=40))
def test_it_holds_the_last_answers_and_never_more_than_it_may(
    script: list[tuple[str, str, int]],
) -> None:
    seats = Seats(CAPACITY)
    for number, (step, group_id, user_id) in enumerate(script):
        if step == "put":
            seats.put(group_id, user_id, Seat(None, 1.0 + number))
            assert len(seats) == 0 or seats.find(group_id, user_id, 0.0) == (None, 1.0 + number)
        elif step == "forget":
            seats.forget(group_id)
            assert all(seats.find(group_id, user, 0.0) is None for user in range(1, 5))
        else:
            seats.clear()
        found = [seats.find(g, user, 0.0) for g in "ghi" for user in range(1, 5)]
        assert len(seats) == len([seat for seat in found if seat]) <= CAPACITY

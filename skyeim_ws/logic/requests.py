"""Requests that wait for a service: bounded per client, with an answer for every failure."""

from collections import Counter
from collections.abc import Coroutine
from typing import Any

from skyeim_ws.conn.client import Client
from skyeim_ws.contract.codes import Reason
from skyeim_ws.contract.spans import end_span
from skyeim_ws.logic.answers import refuse
from skyeim_ws.logic.ports import Refused, Unavailable
from skyeim_ws.logic.session_state import session_of
from skyeim_ws.logic.tasks import Tasks


class Requests:
    """Runs what a frame of a client asks for, beside its connection.

    A client has at most `max_in_flight` of them under way, and among them `max_look_ups` for what
    nobody waits for.
    """

    def __init__(self, tasks: Tasks, max_in_flight: int, max_look_ups: int) -> None:
        self._tasks = tasks
        self._max_in_flight = max_in_flight
        self._max_look_ups = max_look_ups
        self._looking_up: Counter[Client] = Counter()

    @property
    def looking_up(self) -> int:
        """Count the look-ups under way, over all clients."""
        return self._looking_up.total()

    def run(self, client: Client, kind: str, work: Coroutine[Any, Any, None]) -> bool:
        """Start the work of a request, from the next turn of the loop on.

        If too many are under way it is refused as busy, never begins, and False is returned.
        """
        session = session_of(client)
        if session.asking >= self._max_in_flight:
            client.context.stats.busy += 1
            work.close()
            refuse(client, kind, Reason.BUSY)
            return False
        session.asking += 1
        self._tasks.spawn(self._guard(client, kind, work), client)
        return True

    def run_if_free(self, client: Client, work: Coroutine[Any, Any, None]) -> None:
        """Start work to which there is no answer, or leave it out when there is too much of it."""
        session = session_of(client)
        free = self._looking_up[client] < self._max_look_ups
        if free and session.asking < self._max_in_flight:
            session.asking += 1
            self._looking_up[client] += 1
            self._tasks.spawn(self._look_up(client, work), client)
        else:
            work.close()
            client.context.stats.frames_shed += 1

    async def _look_up(self, client: Client, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Refused:
            client.context.stats.typing_refused += 1
        except Unavailable:
            client.context.stats.frames_shed += 1
        finally:
            end_span()
            session_of(client).asking -= 1
            self._looking_up[client] -= 1
            if not self._looking_up[client]:
                del self._looking_up[client]

    async def _guard(self, client: Client, kind: str, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Refused as refused:
            end_span(refused.reason)
            refuse(client, kind, refused.reason, refused.phrase)
        except Unavailable:
            end_span(Reason.RPC_ERROR)
            refuse(client, kind, Reason.RPC_ERROR)
        finally:
            end_span()
            session_of(client).asking -= 1

"""Requests that wait for a service: bounded per client, with an answer for every failure."""

from collections.abc import Coroutine
from typing import Any

from skyeim_ws.conn.client import Client
from skyeim_ws.contract.codes import Reason
from skyeim_ws.logic.answers import refuse
from skyeim_ws.logic.ports import Refused, Unavailable
from skyeim_ws.logic.tasks import Tasks


class Requests:
    """Runs what a frame of a client asks for, beside its connection.

    A client has at most `max_in_flight` of them under way.
    """

    def __init__(self, tasks: Tasks, max_in_flight: int) -> None:
        self._tasks = tasks
        self._max_in_flight = max_in_flight

    def admit(self, client: Client) -> bool:
        """Count one more request of the client; False if it has too many under way."""
        if client.in_flight >= self._max_in_flight:
            client.context.stats.busy += 1
            return False
        client.in_flight += 1
        return True

    def done(self, client: Client) -> None:
        """Count a request as answered."""
        client.in_flight -= 1

    def run(self, client: Client, kind: str, work: Coroutine[Any, Any, None]) -> bool:
        """Start the work of a request, from the next turn of the loop on.

        If too many are under way it is refused as busy, never begins, and False is returned.
        """
        if not self.admit(client):
            work.close()
            refuse(client, kind, Reason.BUSY)
            return False
        self._tasks.spawn(self._guard(client, kind, work), client)
        return True

    async def _guard(self, client: Client, kind: str, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Refused as refused:
            refuse(client, kind, refused.reason, str(refused))
        except Unavailable:
            refuse(client, kind, Reason.RPC_ERROR)
        finally:
            self.done(client)

"""How many messages of one client are under way; what it sends ahead of the answers waits."""

from collections import deque
from collections.abc import Callable

from skyeim_ws.conn.client import Client
from skyeim_ws.logic.outgoing import Outgoing
from skyeim_ws.logic.session_state import Session


class SendWindow:
    """Begins at most `max_in_flight` sends of a client, the others in their turn and in order.

    Of a client for which `send_ahead` messages wait nothing is read until half of them have gone:
    the kernel's buffers fill, and the client's own send has to wait. What was sent before the end
    of a connection is stored after it. `begin` tells whether the send is under way now; then `done`
    follows.
    """

    def __init__(
        self, begin: Callable[[Client, Outgoing], bool], *, max_in_flight: int, send_ahead: int
    ) -> None:
        self.waiting = 0
        self._begin = begin
        self._max_in_flight = max_in_flight
        self._send_ahead = send_ahead

    def submit(self, client: Client, message: Outgoing) -> None:
        """Begin a send, or have it wait behind the earlier ones."""
        session: Session = client.session  # no call for each message
        if session.ahead is None and session.sending < self._max_in_flight:
            session.sending += self._begin(client, message)
            return
        if session.ahead is None:
            session.ahead = deque()
        session.ahead.append(message)
        self.waiting += 1
        if len(session.ahead) >= self._send_ahead:
            client.set_reading(on=False)

    def done(self, client: Client) -> None:
        """Count a send as answered, and begin those whose turn has come."""
        session: Session = client.session  # no call for each message
        session.sending -= 1
        if session.ahead is not None:
            self._go_on(client, session, session.ahead)

    def _go_on(self, client: Client, session: Session, ahead: deque[Outgoing]) -> None:
        while ahead and session.sending < self._max_in_flight:
            self.waiting -= 1
            session.sending += self._begin(client, ahead.popleft())
        if not ahead:
            session.ahead = None
        if len(ahead) <= self._send_ahead // 2:
            client.set_reading(on=True)

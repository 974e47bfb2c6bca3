"""What the logic remembers of a connection, for as long as that lives."""

import sys
from collections import deque

import msgspec

from skyeim_ws.conn.client import Client
from skyeim_ws.conn.ending import NOBODY, Successor
from skyeim_ws.logic.outgoing import Outgoing


class Session(msgspec.Struct, eq=False, gc=False):
    """The state of one session; the handshake puts one into `Client.session`."""

    resume_after: int | None = None
    """The largest message id that the client said it holds."""
    group_ids: tuple[str, ...] = ()
    """The groups in which the user was entered as online."""
    pushed_from: int | None = None
    """From which id on the offline queue was pushed, or comes by itself: the client asks for what
    is older."""
    all_pushed: bool = False
    """Whether windows have reached its end: what it has besides the unconfirmed came later."""
    pulling: bool = False
    """Whether an older window is being read."""
    in_node_sessions: bool = False
    """Whether the other nodes would clean up after this connection, should this node die."""
    brought_unread: float = 0.0
    """When it was brought what is unread, since Redis or the subscription went away; in monotonic
    seconds, 0 if it was not."""
    replaced: bool = False
    """Whether a newer login has taken its place."""
    sending: int = 0
    """Messages that are being stored."""
    asking: int = 0
    """Other requests, and look-ups, that wait for a service."""
    ahead: deque[Outgoing] | None = None
    """Messages that wait for those; None while there are none."""
    confirmed: int = 0
    """The id of a message that was confirmed last, or of a greater one before."""
    watermark: int = 0
    """The id below which all is confirmed or stands in the queue, as Redis has it."""
    proposed: int = sys.maxsize
    """What Redis may have by now instead; not known before it has answered the first time."""
    kicked_as: str = ""
    """The id under which it was kicked, before the answer to its claim gave it that id."""
    kicked_by: Successor = NOBODY
    """By which connection."""

    def known_watermark(self, watermark: int) -> None:
        """Take what Redis has; what was proposed may still reach it."""
        unknown = self.proposed == sys.maxsize
        self.watermark = watermark
        self.proposed = watermark if unknown else max(self.proposed, watermark)


def session_of(client: Client) -> Session:
    """Return the session of a connection."""
    session: Session = client.session
    return session

"""One WebSocket connection: frames in, a bounded write queue out, and its state."""

import asyncio
import random
from collections.abc import Iterable
from typing import Any

import structlog
from tornado.web import HTTPError
from tornado.websocket import WebSocketHandler, WebSocketProtocol

from skyeim_ws.conn import ending, traced
from skyeim_ws.conn.context import ClientContext
from skyeim_ws.conn.ending import NOBODY, Successor
from skyeim_ws.conn.fields import ClientFields
from skyeim_ws.conn.flusher import ACKS_OF_A_MESSAGE, MAX_WRITE
from skyeim_ws.conn.framing import Opcode, encode
from skyeim_ws.conn.ledger import Delivery
from skyeim_ws.conn.messages import chat_frame, hint_frames
from skyeim_ws.conn.outbox import ACCEPTED, FOLDED, OVERFLOW
from skyeim_ws.conn.rate import Verdict
from skyeim_ws.conn.state import State
from skyeim_ws.conn.tornado_private import Upgrade, forget_request
from skyeim_ws.conn.transport import Source
from skyeim_ws.conn.wire import Wire
from skyeim_ws.contract.codes import CloseCode
from skyeim_ws.contract.texts import Phrase, Text

log = structlog.get_logger()

# A member of an enum costs a look-up of its own each time, on the way of every frame.
_CONNECTING, _OPEN, _DRAINING, _CLOSED = State


class Client(WebSocketHandler, ClientFields):
    """A connected user; a subclass adds the handshake and calls `identify`."""

    __slots__ = ("_ended", "_flush_pending", "context", "state")

    def initialize(self, context: "ClientContext[Client]") -> None:
        """Take what the process shares; Tornado calls this for every request."""
        self.context = context
        self.set_up(context.limits, context.stats, context.flusher, context.clock())
        self.state = _CONNECTING
        self._flush_pending = False
        self._ended = False

    # What Tornado calls.

    def get_websocket_protocol(self) -> WebSocketProtocol | None:
        """Use our own reader and writer for the one version of the protocol there is."""
        if self.request.headers.get("Sec-WebSocket-Version") != "13":
            return None
        return Upgrade(self.upgraded).as_protocol()

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """Log a fault of ours without the request: its URL may hold a token."""
        if not isinstance(value, HTTPError):
            log.error("handshake_failed", exc_info=(typ, value, tb))

    async def upgraded(self, source: Source) -> None:
        """Take the connection over; no frame is read before the session is set up."""
        self._wire = Wire(self, source, self.context.poller, self.context.limits.max_message_size)
        await self.open()
        # In a turn of its own: Tornado is about to end the request.
        asyncio.get_running_loop().call_soon(forget_request, self)
        self._wire.start()

    async def open(self, *args: str, **kwargs: str) -> None:
        """Set up the session."""
        self.stats.connections_opened += 1
        self.last_seen = self.opened_at = now = self.context.clock()
        # A random phase of the interval: a crowd that came at once is not pinged at once.
        phase = random.random()  # noqa: S311 - not a secret
        self.next_ping = now + self.context.limits.ping_interval * phase
        self.next_check = min(self.next_ping, self.expires_at)
        self.context.timer_wheel.add(self)
        try:
            await self.context.events.opened(self)
        except Exception:
            log.exception("session_setup_failed", user=self.user_id, conn=self.conn_id)
            self.disconnect(CloseCode.INTERNAL_ERROR, Text.INTERNAL_ERROR())
        took = self.context.clock() - now
        self.stats.timings.note("slow_login", took, user=self.user_id, conn=self.conn_id)

    # What the wire calls.

    def on_frame(self) -> None:
        """Note a sign of life."""
        self.frames_in += 1
        self.last_seen = self.context.clock()

    def on_message(self, message: str | bytes) -> None:
        """Hand a text frame on, unless the client sends too fast."""
        if self.state is not _OPEN:
            return
        self.stats.frames_received += 1
        self.context.events.received(self, message)  # type: ignore[arg-type] # it is text

    def on_pong(self, data: bytes) -> None:
        """Confirm what the pong proves to have arrived."""
        confirmed = self.ledger.pong(data)
        if confirmed is None:
            self.count_frame()
        elif confirmed:
            self.stats.deliveries_confirmed += len(confirmed)
            self.context.events.confirmed(self, confirmed)
        if self.ledger.wants_ping:
            self.context.awaiting_confirmation.add(self)

    def on_peer_close(self) -> None:
        """Leave the service; the answers to what came before the close frame are written first."""
        if self.state is _OPEN and self.outbox:
            self._leave(self.outbox.take(self.outbox.size))
        elif self.state < _DRAINING:
            self._leave(b"")
        self.ending = self.ending or ending.BY_CLIENT

    def on_closed(self, code: int | None) -> None:
        """Clean up after the socket is closed, whoever closed it; `code` is what the peer gave."""
        self._end()
        self._set_state(_CLOSED)
        self.stats.connections_closed += 1
        traffic = None if self._wire is None else self._wire.traffic
        ending.tell(self, self.ending or ending.LOST, code, traffic, self.context.clock())

    # What the gateway calls.

    def count_frame(self) -> Verdict:
        """Count a frame against the rate limit; a client that floods is closed."""
        verdict = self.bucket.take(self.context.clock())
        if verdict is Verdict.FLOODING and self.state is _OPEN:
            self.stats.flooding += 1
            self.disconnect(CloseCode.FLOODING, Text.FLOODING())
        return verdict

    def start(self, frames: Iterable[bytes], deliveries: Iterable[Delivery]) -> None:
        """Open the session: these frames and deliveries go before what came in meanwhile."""
        if self.state is not _CONNECTING:
            return
        opening = list(frames)
        # The ledger is in the order of writing, and live messages may already wait in it.
        waiting = self.ledger.drain()
        for delivery in deliveries:
            opening.append(chat_frame(delivery.data))
            self.ledger.add(delivery)
            self.acks_due += ACKS_OF_A_MESSAGE
        for delivery in waiting:
            self.ledger.add(delivery)
        self.outbox.prepend(opening)
        self.frames_out += len(opening)
        self._set_state(_OPEN)
        if self._wire is not None:
            self.direct = self._wire.direct
        self.request_flush()

    def send(self, frame: bytes) -> None:
        """Queue a frame that must arrive; a client that is too slow for it is dropped."""
        if self.state >= _DRAINING:
            return
        put = self.outbox.put(frame)
        if put is OVERFLOW:
            # One turn of the loop may bring more than the outbox holds, as when a group's queue
            # is released; only a peer that does not take what is written is slow.
            self._write()
            put = self.outbox.put(frame)
        if put is OVERFLOW:
            self._drop_slow()
            return
        self.stats.frames_queued += 1
        self.frames_out += 1
        if not self._flush_pending:  # no call for each frame
            self._flush_pending = True
            self.flusher.add(self)

    def send_group(self, frame: bytes, group_id: str, seq: int) -> None:
        """Queue a message of a group; a client that is too slow gets a hint of it instead."""
        if self.state >= _DRAINING:
            return
        if self.outbox.crowded:
            self._write()
        put = self.outbox.put_group(frame, group_id, seq)
        if put is OVERFLOW:
            self._drop_slow()
            return
        if put is FOLDED:
            self.stats.group_frames_folded += 1
        else:
            self.acks_due += ACKS_OF_A_MESSAGE
            self.stats.frames_queued += 1
            self.frames_out += 1
        self.request_flush()

    def offer(self, frame: bytes) -> None:
        """Queue a frame that nobody misses: typing, presence."""
        if self.state >= _DRAINING:
            return
        if self.outbox.offer(frame) is ACCEPTED:
            self.frames_out += 1
            self.request_flush()
        else:
            self.stats.frames_shed += 1

    def deliver(self, delivery: Delivery) -> None:
        """Queue a private message and remember it until the client has confirmed it.

        What a client that is too slow has not confirmed is returned, this message included.
        """
        ledger_full = self.ledger.full
        self.ledger.add(delivery)
        if self.stats.trace.on:
            traced.written(self, delivery)
        self.acks_due += ACKS_OF_A_MESSAGE
        if ledger_full:
            self._drop_slow()
        else:
            self.send(chat_frame(delivery.data))

    def confirm(self, msg_ids: Iterable[str]) -> list[Delivery]:
        """Take a client's own acknowledgements; return those that were not confirmed before."""
        found = [self.ledger.confirm(msg_id) for msg_id in msg_ids]
        confirmed = [delivery for delivery in found if delivery is not None]
        if confirmed:
            self.stats.deliveries_confirmed += len(confirmed)
            self.context.events.confirmed(self, confirmed)
        return confirmed

    def renew(self, expires_at: float) -> None:
        """Let the connection live until `expires_at`, on the context's clock."""
        self.context.timer_wheel.discard(self)
        self.expires_at = expires_at
        self.next_check = min(self.next_check, expires_at)
        self.context.timer_wheel.add(self)

    def disconnect(
        self,
        code: CloseCode,
        reason: Phrase,
        farewell: bytes = b"",
        successor: Successor = NOBODY,
    ) -> None:
        """Close the connection: what is queued, the farewell frame, then the close frame.

        The client is out of service when this returns; the peer has some seconds to answer. The
        log names the `successor`.
        """
        if self.state >= _DRAINING or self._wire is None:
            return
        self.ending = ending.by_gateway(code, reason, successor)
        # Nothing waits in order for a peer that does not read; its messages are returned.
        opening = self.state is _CONNECTING or code is CloseCode.SLOW_CONSUMER
        last = b"" if opening or not self.outbox else self.outbox.take(self.outbox.size)
        self._leave(last + farewell)
        self._wire.close(code, reason.spoken(self.language))

    def set_reading(self, *, on: bool) -> None:
        """Read from the client, or pause."""
        if self._wire is not None:
            (self._wire.resume if on else self._wire.pause)()

    def write_queued(self) -> None:
        """Write what is queued; called by the flusher, once per turn of the loop."""
        if self.state is _OPEN and self.ledger.wants_ping:
            now = self.context.clock()
            if now - self.last_ping >= self.context.limits.confirm_interval:
                self._flush_pending = True  # the ping leaves with the rest
                self.put_ping(now)
            else:
                self.context.awaiting_confirmation.add(self)
        self._flush_pending = False
        self._write()

    def write_rest(self, data: memoryview) -> None:
        """Write what the socket has not taken, before anything else."""
        if self._wire is not None:
            self._wire.send(data)

    def on_drained(self) -> None:
        """Go on writing: what had to wait is written."""
        if self.state is _OPEN and self._wire is not None:
            self.direct = self._wire.direct
            self.write_queued()

    def _write(self) -> None:
        """Write what is queued and nothing else: no ping that would confirm what is not in it."""
        outbox = self.outbox
        while self.state is _OPEN and self.direct is not None and (outbox.size or outbox.behind):
            if not outbox.size:
                outbox.prepend(hint_frames(outbox.take_behind()))
            try:
                sent = self.direct(data := outbox.take(MAX_WRITE))
            except OSError:
                sent = 0  # full, or gone: `write_rest` finds out which
            if sent != len(data):
                self.write_rest(memoryview(data)[sent:])

    def request_flush(self) -> None:
        """Write what is queued, and a ping if one is due, at the end of this turn."""
        if not self._flush_pending:
            self._flush_pending = True
            self.flusher.add(self)

    def put_ping(self, now: float) -> None:
        """Queue a ping; one that is under way already is not repeated."""
        if self.ledger.ping_under_way:
            return
        self.last_ping = now
        self.context.awaiting_confirmation.discard(self)
        self.send(encode(Opcode.PING, self.ledger.next_ping()))

    def _drop_slow(self) -> None:
        self.stats.slow_consumers += 1
        self.disconnect(CloseCode.SLOW_CONSUMER, Text.SLOW_CONSUMER())

    def _leave(self, last: bytes) -> None:
        """Write this and nothing after it; a close frame follows."""
        self.outbox.clear()
        self._set_state(_DRAINING)
        self._end()
        if last and self._wire is not None:
            self._wire.send(last)

    def _end(self) -> None:
        """Leave the service, once: nothing is routed here any more."""
        if self._ended or self._wire is None:
            return
        self._ended = True
        self.context.awaiting_confirmation.discard(self)
        self.context.timer_wheel.discard(self)
        undelivered = self.ledger.drain()
        self.unconfirmed = len(undelivered)
        self.context.events.ended(self, undelivered)

    def _set_state(self, state: State) -> None:
        old, self.state = self.state, self.state.advanced_to(state)
        log.debug(
            "connection_state",
            user=self.user_id,
            conn=self.conn_id,
            old=old.name,
            new=state.name,
            code=self.ending and self.ending.code,
        )

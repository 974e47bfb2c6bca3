"""Messages that are stored by one call: its request, and what its answer says of each; pure."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from grpc import StatusCode

from skyeim_ws.contract.pb import message_pb2 as pb
from skyeim_ws.contract.spans import Span, within
from skyeim_ws.logic.outgoing import SendOutcome
from skyeim_ws.logic.ports import Refused, Unavailable
from skyeim_ws.rpc import sending
from skyeim_ws.rpc.errors import status_code
from skyeim_ws.rpc.repeats import Unclear
from skyeim_ws.rpc.sending import Item


class Batch:
    """Items in the order of submission; what does not fit on the wire is refused without a call."""

    def __init__(self, items: Sequence[Item]) -> None:
        self.items = items
        self._requests: list[pb.SendItem | Refused] = []
        self.spans: list[Span] = []
        sent: list[pb.SendItem] = []
        for item in items:
            message = item.message
            request = sending.batch_item(message)
            self._requests.append(request)
            if not isinstance(request, Refused):
                sent.append(request)
            if message.span is not None:
                self.spans.append(message.span)
        self.request = pb.SendBatchReq(items=sent)
        self.size = len(sent)

    @contextmanager
    def traced(self) -> Iterator[None]:
        """Store the messages in the first trace of theirs, if there is one; the others name it."""
        for span in self.spans[1:]:
            span.attributes["batch.trace_id"] = self.spans[0].trace_id
        with within(self.spans[0] if self.spans else None):
            yield

    def failed(self, reason: str) -> list[SendOutcome | Unclear]:
        """Return the outcome of each item when the whole call has failed."""
        failure = Unavailable(reason)
        return [each if isinstance(each, Refused) else failure for each in self._requests]

    def outcomes(self, answer: pb.SendBatchResp) -> list[SendOutcome | Unclear] | None:
        """Return the outcome of each item; None if the answer does not fit the request."""
        results = iter(answer.results)
        if len(answer.results) != self.size:
            return None
        found: list[SendOutcome | Unclear] = []
        for item, request in zip(self.items, self._requests, strict=True):
            if isinstance(request, Refused):
                found.append(request)
                continue
            result = next(results)
            if not sending.answers(item.message, result):
                return None
            found.append(sending.outcome(item.message, result))
        return found


def failures(answer: pb.SendBatchResp) -> set[StatusCode]:
    """Return the statuses with which items have failed."""
    return {status_code(result.code) for result in answer.results if result.code}

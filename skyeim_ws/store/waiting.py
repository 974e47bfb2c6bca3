"""What waits for Redis, durable operations and calls, and what becomes of it without room."""

from collections import OrderedDict, deque
from collections.abc import Collection, Sequence

import structlog

from skyeim_ws.store.operation import Operation

log = structlog.get_logger()


class Waiting:
    """Durable operations, `size` at most, and calls by their numbers, in the order of their coming.

    `dropped` counts durable operations that found no room; they have `overflowed` until somebody
    who has made room says otherwise.
    """

    def __init__(self, size: int) -> None:
        self.durable: deque[Operation] = deque()
        self.calls: OrderedDict[int, Operation] = OrderedDict()
        self.dropped = 0
        self.overflowed = False
        self._size = size

    def __bool__(self) -> bool:
        return bool(self.durable or self.calls)

    def add(self, operation: Operation) -> None:
        """Add a durable operation; the oldest is dropped if there is no room."""
        self.durable.append(operation)
        self._trim()

    def take(self, most: int) -> list[Operation]:
        """Take the oldest operations of both kinds, but no call for which nobody waits."""
        durable, calls = self.durable, self.calls
        batch: list[Operation] = []
        while len(batch) < most and (durable or calls):
            if durable and (not calls or durable[0].number < next(iter(calls))):
                batch.append(durable.popleft())
                continue
            _, operation = calls.popitem(last=False)
            if operation.answer is None or not operation.answer.done():
                batch.append(operation)
        return batch

    def put_back(self, batch: Sequence[Operation]) -> None:
        """Put durable operations back in their order; calls fail, they are sent once only."""
        self.durable.extendleft(operation for operation in reversed(batch) if operation.durable)
        for operation in batch:
            if not operation.durable:
                operation.fail("Redis was lost")
        self._trim()

    def report_late(self, since: float) -> None:
        """Tell those who wait since this time, or longer, that Redis has not taken it yet."""
        for operation in self.durable:
            if operation.since > since:
                break
            operation.report(None)

    def drop(self, operations: Collection[Operation]) -> None:
        """Give up durable operations."""
        self.dropped += len(operations)
        for operation in operations:
            operation.fail("too many operations wait for Redis")
        if not self.overflowed:
            # Once for each outage; the line of the recovery says how many they were.
            self.overflowed = True
            log.error("redis_operations_dropped", buffer_size=self._size)

    def _trim(self) -> None:
        excess = len(self.durable) - self._size
        if excess > 0:
            self.drop([self.durable.popleft() for _ in range(excess)])

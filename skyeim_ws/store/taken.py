"""What Redis has taken in the last seconds, and may not know any more when it is back."""

from collections import deque

from skyeim_ws.store.operation import Operation

TAKEN_SECONDS = 3.0
"""With `appendfsync everysec` Redis answers before a write is in its file, as long as the disk is
slow, but for 2 s at most. So a Redis that is killed forgets what came in that time."""


class Taken:
    """The last `size` of these operations, those that have `forgotten`; times in seconds."""

    def __init__(self, size: int) -> None:
        self._lately: deque[tuple[float, Operation]] = deque(maxlen=size)

    def add(self, operation: Operation, now: float) -> None:
        """Keep an operation that Redis has taken now."""
        self._lately.append((now, operation))

    def trim(self, now: float) -> None:
        """Let go of what Redis has in its file, as it has answered now."""
        while self._lately and self._lately[0][0] < now - TAKEN_SECONDS:
            self._lately.popleft()

    def take_back(self) -> list[Operation]:
        """Return all, to be sent again; from now on each must not be dropped without a word."""
        operations = [operation for _, operation in self._lately]
        self._lately.clear()
        for operation in operations:
            operation.dropped = operation.forgotten
        return operations

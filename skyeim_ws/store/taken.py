"""What Redis has taken in the last seconds, and may not know any more when it is back."""

from collections import deque
from collections.abc import Callable

from skyeim_ws.store.operation import Operation

TAKEN_SECONDS = 3.0
"""With `appendfsync everysec` Redis answers before a write is in its file, as long as the disk is
slow, but for 2 s at most. So a Redis that is killed forgets what came in that time."""

MAX_BYTES = 4 * 1024 * 1024
"""Of what is kept whole. Of what is beyond it is known who is concerned."""

_Note = Callable[[], None]


class Taken:
    """The last of these operations, which have `forgotten`; times in seconds.

    The newest `size` are kept whole, up to `MAX_BYTES`; of as many before them, `forgotten` is,
    once for those that are equal.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._lately: deque[tuple[float, int, Operation]] = deque()
        self._bytes = 0
        self._notes: dict[_Note, float] = {}

    def add(self, operation: Operation, now: float) -> None:
        """Keep an operation that Redis has taken now."""
        arguments = [each for command in operation.commands for each in command]
        size = sum([len(each) for each in arguments if isinstance(each, bytes)])
        self._lately.append((now, size, operation))
        self._bytes += size
        while len(self._lately) > self._size or self._bytes > MAX_BYTES:
            self._note_oldest()

    def trim(self, now: float) -> None:
        """Let go of what Redis has in its file, as it has answered now."""
        past = now - TAKEN_SECONDS
        while self._lately and self._lately[0][0] < past:
            self._bytes -= self._lately.popleft()[1]
        while self._notes and self._notes[next(iter(self._notes))] < past:
            del self._notes[next(iter(self._notes))]

    def take_back(self) -> tuple[list[Operation], list[_Note]]:
        """Return what is to be sent again, and the `forgotten` of the rest, which is to be called.

        What is sent again must not be dropped without a word from now on.
        """
        operations, notes = [operation for _, _, operation in self._lately], [*self._notes]
        self._lately.clear()
        self._notes.clear()
        self._bytes = 0
        for operation in operations:
            operation.dropped = operation.forgotten
        return operations, notes

    def _note_oldest(self) -> None:
        time, size, operation = self._lately.popleft()
        self._bytes -= size
        if operation.forgotten is not None:
            self._notes.pop(operation.forgotten, None)  # in the order of their times
            self._notes[operation.forgotten] = time
            if len(self._notes) > self._size:
                del self._notes[next(iter(self._notes))]

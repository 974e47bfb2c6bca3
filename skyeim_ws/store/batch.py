"""Operations that leave in one write, and what its answers say of each."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog

from skyeim_ws.store.operation import Operation, text
from skyeim_ws.store.read_only import is_denied, is_read_only
from skyeim_ws.store.shard import Command

log = structlog.get_logger()


@dataclass(slots=True)
class Settled:
    """What became of the operations of a batch.

    Redis has `taken` those that have `forgotten`; it takes no writes now for those that go `again`,
    and says so by `refusal`. It has refused `failed` of them for good, which may be that it has
    `denied` the right to them.
    """

    taken: list[Operation] = field(default_factory=list)
    again: list[Operation] = field(default_factory=list)
    refusal: Exception | None = None
    failed: int = 0
    denied: bool = False


class Batch:
    """Some operations. `began` is when they were sent, in seconds on the clock of the loop."""

    def __init__(self, operations: Sequence[Operation], began: float) -> None:
        self.operations = operations
        self.began = began
        self.commands: list[Command] = []
        self.durable = False
        for operation in operations:
            self.commands += operation.commands
            self.durable |= operation.durable or operation.each

    def settle(self, answers: list[Any]) -> Settled:
        """Pass the answers to the commands on."""
        found = Settled()
        failures: list[tuple[str, Exception]] = []
        position = 0
        for operation in self.operations:
            own = answers[position : position + len(operation.commands)]
            position += len(own)
            if errors := [answer for answer in own if isinstance(answer, Exception)]:
                if refusals := [error for error in errors if is_read_only(error)]:
                    found.refusal = found.refusal or refusals[0]
                    found.again.append(operation)
                    continue
                failures.append((str(operation.commands[own.index(errors[0])][0]), errors[0]))
                if not operation.each:
                    operation.fail(text(errors[0]))
                    continue
            operation.settle(own)
            if not errors and operation.forgotten is not None:
                found.taken.append(operation)
        if failures:
            # One line for a whole write: a key of the wrong type would give one for each message.
            found.failed = len(failures)
            found.denied = any(is_denied(error) for _, error in failures)
            command, error = failures[0]
            log.error(
                "redis_command_failed", command=command, error=text(error), count=found.failed
            )
        return found

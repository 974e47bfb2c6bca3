"""The gateway's own command line, on request without one of the parts that keep messages safe.

A test of conservation that still passes without them would be worth nothing.
"""

import os
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from skyeim_ws.cli import main as cli
from skyeim_ws.conn.seq_order import SeqOrder, Verdict
from skyeim_ws.contract.message_trace import MessageTrace
from skyeim_ws.logic.catch_up import CatchUp
from skyeim_ws.logic.delivery import PrivateDelivery
from skyeim_ws.logic.watermarks import Watermarks
from skyeim_ws.store import scripts


def without_ledger() -> None:
    """Forget what a connection leaves unconfirmed."""
    _replace(PrivateDelivery, "return_undelivered", lambda *_: None)


def without_queueing() -> None:
    """Tell the receiver's node of a message, and queue nothing."""
    read = scripts.read

    def read_without_push(*names: str) -> str:
        text = read(*names)
        if "queue_private" in names:
            assert "\nplace(" in text
            text = text.replace("\nplace(", "\nlocal _ = ARGV[4] == '' and place(")
        return text

    _replace(scripts, "read", read_without_push)


def without_reconciliation() -> None:
    """Neither read queues again after an outage, nor fetch what died with a node."""
    _replace(CatchUp, "reread", lambda *_: None)
    _replace(CatchUp, "fetch", lambda *_: None)


TRACED = "CHAOS_TRACED"
"""The variable that has each node note the way of messages in a file beside its configuration."""


def without_counting_anew() -> None:
    """Take a lower `seq` for a late one, whatever storage says."""
    judge = SeqOrder.judge

    def never_anew(*about: Any) -> Verdict:
        verdict = judge(*about)
        return Verdict.LATE if verdict is Verdict.ANEW else verdict

    _replace(SeqOrder, "judge", never_anew)


def without_watermarks() -> None:
    """Write nowhere how far users have confirmed all."""
    _replace(Watermarks, "confirmed", lambda *_: None)


MUTANTS: dict[str, Callable[[], None]] = {
    "ledger": without_ledger,
    "queueing": without_queueing,
    "reconciliation": without_reconciliation,
    "watermarks": without_watermarks,
    "counting anew": without_counting_anew,
}


def _replace(owner: object, name: str, value: Any) -> None:
    assert hasattr(owner, name)
    setattr(owner, name, value)


def _trace_to(path: Path) -> None:
    """Note in a file what becomes of each message: the trace in Redis would go with its data."""
    file = path.open("a", buffering=1)

    def write(_: MessageTrace, step: str, msg_id: str, user: int, **about: Any) -> None:
        file.write(f"{datetime.now(UTC):%H:%M:%S.%f} {msg_id} {step} {user} {about}\n")

    _replace(MessageTrace, "write", write)


def main(argv: Sequence[str]) -> int:
    """Run the gateway with a configuration; the second argument names what to leave out."""
    config, without = argv
    if without:
        MUTANTS[without]()
    if os.environ.get(TRACED):
        _trace_to(Path(config).with_suffix(".trace"))
    return cli.main(["serve", "-f", config])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""The gateway's own command line, on request without one of the parts that keep messages safe.

A test of conservation that still passes without them would be worth nothing.
"""

import sys
from collections.abc import Callable, Sequence
from typing import Any

from skyeim_ws.cli import main as cli
from skyeim_ws.logic.catch_up import CatchUp
from skyeim_ws.logic.delivery import PrivateDelivery
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


MUTANTS: dict[str, Callable[[], None]] = {
    "ledger": without_ledger,
    "queueing": without_queueing,
    "reconciliation": without_reconciliation,
}


def _replace(owner: object, name: str, value: Any) -> None:
    assert hasattr(owner, name)
    setattr(owner, name, value)


def main(argv: Sequence[str]) -> int:
    """Run the gateway with a configuration; the second argument names what to leave out."""
    config, without = argv
    if without:
        MUTANTS[without]()
    return cli.main(["serve", "-f", config])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

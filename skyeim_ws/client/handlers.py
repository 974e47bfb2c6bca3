"""Who is told what: the application's functions, by the class of the event."""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from skyeim_ws.client.events import AnyEvent

E = TypeVar("E")


@dataclass(slots=True)
class Handlers:
    """Functions that are called at events; what one of them raises stops nobody else."""

    _handlers: dict[type, list[Callable[[Any], object]]] = field(default_factory=dict)

    def on(self, kind: type[E], handler: Callable[[E], object]) -> Callable[[], None]:
        """Add a function; return one that takes it away."""
        handlers = self._handlers.setdefault(kind, [])
        handlers.append(handler)

        def off() -> None:
            with contextlib.suppress(ValueError):
                handlers.remove(handler)

        return off

    def tell(self, event: AnyEvent) -> None:
        """Call the functions for this event."""
        for handler in list(self._handlers.get(type(event), ())):
            try:
                handler(event)
            except Exception as error:
                asyncio.get_running_loop().call_exception_handler(
                    {"message": "a handler of the SkyeIM client has failed", "exception": error}
                )

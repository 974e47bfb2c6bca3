"""Has a gateway of a test keep what passes through it, for the look at the end of all tests.

Whoever is at the other end, a browser, an SDK or a chat in a terminal: here all frames pass. The
first few of each kind are kept, since a test may send a hundred thousand that are alike.
"""

import importlib.abc
import importlib.util
import json
import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

FOLDER_VARIABLE = "SKYEIM_TEST_TRAFFIC"

OF_A_KIND = 5
"""Frames that a process keeps of those that are alike, in each test."""

_LOOKED_AT = 400
_KIND = re.compile(r'"(?:type|status|reason)":"\w{1,40}"|"\w{1,40}":')


@cache
def _file(folder: str, _process: int) -> int:
    # Kept open: a test may leave the process no descriptor.
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
    return os.open(Path(folder, f"{os.getpid()}.jsonl"), flags, 0o600)


_kept: Counter[tuple[str, ...]] = Counter()


def keep(way: str, text: str, *about: str) -> None:
    """Keep a text that has passed: `out`, `in`, `in by an SDK`, or `answer` to a call."""
    test = os.environ.get("PYTEST_CURRENT_TEST", "").partition(" ")[0]
    kind = (test, way, *about, *_KIND.findall(text[:_LOOKED_AT]))
    _kept[kind] += 1
    folder = os.environ.get(FOLDER_VARIABLE)
    if folder and _kept[kind] <= OF_A_KIND:
        line = json.dumps({"test": test, "way": way, "text": text, "about": about})
        os.write(_file(folder, os.getpid()), line.encode() + b"\n")


def _frames(messages: Any) -> None:
    """Keep all frames that are made for clients."""
    encode = messages.encode

    def kept(opcode: Any, payload: bytes) -> bytes:
        keep("out", payload.decode(errors="replace"))
        frame: bytes = encode(opcode, payload)
        return frame

    messages.encode = kept


def _dispatch(module: Any) -> None:
    """Keep all frames that clients send."""
    dispatch = module.Dispatcher.dispatch

    def kept(self: Any, client: Any, text: str) -> None:
        # Those who have their own acks alone count are our clients, and must do nothing wrong.
        keep("in" if client.ledger.pongs_confirm else "in by an SDK", text)
        dispatch(self, client, text)

    module.Dispatcher.dispatch = kept


def _answers(base: Any) -> None:
    """Keep all answers in JSON."""
    finish = base.JsonHandler.finish

    def kept(self: Any, chunk: Any = None) -> Any:
        if isinstance(chunk, bytes):
            about = self.request.method, self.request.path, str(self.get_status())
            keep("answer", chunk.decode(errors="replace"), *about)
        return finish(self, chunk)

    base.JsonHandler.finish = kept


_CHANGES: dict[str, Callable[[Any], None]] = {
    "skyeim_ws.conn.messages": _frames,
    "skyeim_ws.logic.dispatch": _dispatch,
    "skyeim_ws.handler.base": _answers,
}


class _Finder(importlib.abc.MetaPathFinder):
    """Changes modules when they are imported: most processes of the tests import none of them."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name not in _CHANGES:
            return None
        sys.meta_path.remove(self)
        try:
            spec = importlib.util.find_spec(name)
        finally:
            sys.meta_path.insert(0, self)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def changed(module: ModuleType) -> None:
                execute(module)
                _CHANGES[name](module)

            spec.loader.exec_module = changed  # type: ignore[method-assign]
        return spec


def keep_what_passes() -> None:
    """Keep what passes from now on."""
    for name in _CHANGES.keys() & sys.modules.keys():
        _CHANGES[name](sys.modules[name])
    sys.meta_path.insert(0, _Finder())

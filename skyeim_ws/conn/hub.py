"""Which user is on which connection of this process, and nothing else."""

from collections.abc import Iterator, Set

from skyeim_ws.conn.client import Client
from skyeim_ws.conn.ledger import Delivery


class Hub:
    """The map of the connected users; one connection per user."""

    def __init__(self) -> None:
        self._clients: dict[int, Client] = {}

    def __len__(self) -> int:
        return len(self._clients)

    def __contains__(self, user_id: int) -> bool:
        return user_id in self._clients

    def __iter__(self) -> Iterator[Client]:
        """Iterate over a snapshot, so that clients may leave meanwhile."""
        return iter(list(self._clients.values()))

    @property
    def users(self) -> Set[int]:
        """A live view of the connected users."""
        return self._clients.keys()

    def get(self, user_id: int) -> Client | None:
        """Return the connection of the user, if it is here."""
        return self._clients.get(user_id)

    def register(self, client: Client) -> Client | None:
        """Enter the connection; return the one whose place it took."""
        previous = self._clients.get(client.user_id)
        self._clients[client.user_id] = client
        return previous

    def unregister(self, client: Client) -> bool:
        """Remove the connection itself, never its successor; whether it was there."""
        if self._clients.get(client.user_id) is not client:
            return False
        del self._clients[client.user_id]
        return True

    def send_to_user(self, user_id: int, frame: bytes) -> bool:
        """Queue a frame for the user; False if the user is not here."""
        client = self._clients.get(user_id)
        if client is None:
            return False
        client.send(frame)
        return True

    def deliver(self, user_id: int, delivery: Delivery) -> bool:
        """Queue a private message for the user; False if the user is not here."""
        client = self._clients.get(user_id)
        if client is None:
            return False
        client.deliver(delivery)
        return True

    def fan_out(self, user_ids: Set[int], frame: bytes, sender_id: int = 0) -> int:
        """Queue one frame for all of the users who are here, but not for its sender."""
        here = self._here(user_ids, sender_id)
        for client in here:
            client.send(frame)
        return len(here)

    def fan_out_group(
        self, members: Set[int], frame: bytes, *, group_id: str, seq: int, sender_id: int
    ) -> int:
        """Queue a message of a group for all members who are here, but not for its sender."""
        here = self._here(members, sender_id)
        for client in here:
            client.send_group(frame, group_id, seq)
        return len(here)

    def offer(self, user_ids: Set[int], frame: bytes, sender_id: int = 0) -> int:
        """Queue a frame that may be shed."""
        here = self._here(user_ids, sender_id)
        for client in here:
            client.offer(frame)
        return len(here)

    def _here(self, user_ids: Set[int], sender_id: int) -> list[Client]:
        clients = self._clients
        # The intersection of a key view and a set walks the smaller of the two. The list is a
        # copy: a slow consumer leaves the map while the frames are put.
        return [clients[user_id] for user_id in clients.keys() & user_ids if user_id != sender_id]

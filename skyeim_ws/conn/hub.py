"""Which user is on which connection of this process, and frames to several of them."""

from collections.abc import Iterator, Set

from skyeim_ws.conn.client import Client
from skyeim_ws.conn.flusher import Flusher, Receiver

_REMEMBERED_RECEIVERS = 100_000
"""Over all groups."""


class Hub:
    """The map of the connected users; one connection per user."""

    def __init__(self, flusher: Flusher) -> None:
        self._clients: dict[int, Client] = {}
        self._flusher = flusher
        # Who of a group is here: what it was found from, and the list. Good until anybody comes
        # or goes; else each message would look for every member again.
        self._found: dict[str, tuple[Set[int], list[Receiver]]] = {}
        self._remembered = 0

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
        self._forget()
        return previous

    def unregister(self, client: Client) -> bool:
        """Remove the connection itself, never its successor; whether it was there."""
        if self._clients.get(client.user_id) is not client:
            return False
        del self._clients[client.user_id]
        self._forget()
        return True

    def send_to_user(self, user_id: int, frame: bytes) -> bool:
        """Queue a frame for the user; False if the user is not here."""
        client = self._clients.get(user_id)
        if client is None:
            return False
        client.send(frame)
        return True

    def fan_out(self, user_ids: Set[int], frame: bytes) -> int:
        """Queue a frame for all of the users who are here; return how many."""
        here = self._here(user_ids)
        for client in here:
            client.send(frame)
        return len(here)

    def fan_out_group(
        self, members: Set[int], frame: bytes, *, group_id: str, seq: int, sender_id: int
    ) -> None:
        """Write a frame of a group to all members who are here, but not to its sender.

        At the end of this turn, behind what each of them has queued by then.
        """
        receivers = self._receivers(group_id, members)
        self._flusher.fan_out(group_id, receivers, frame, seq, sender_id)

    def offer(self, user_ids: Set[int], frame: bytes, sender_id: int = 0) -> None:
        """Queue a frame that may be shed, for all of the users who are here, but its sender."""
        for client in self._here(user_ids, sender_id):
            client.offer(frame)

    def _receivers(self, group_id: str, members: Set[int]) -> list[Receiver]:
        found = self._found.get(group_id)
        if found is not None and found[0] is members:
            return found[1]
        receivers: list[Receiver] = list(self._here(members))
        self._remembered += len(receivers)
        if self._remembered > _REMEMBERED_RECEIVERS:
            self._forget()
            self._remembered = len(receivers)
        self._found[group_id] = (members, receivers)
        return receivers

    def _forget(self) -> None:
        self._found.clear()
        self._remembered = 0

    def _here(self, user_ids: Set[int], sender_id: int = 0) -> list[Client]:
        """Return who is here, in a list of its own: the map changes while slow ones are dropped."""
        clients = self._clients
        if len(clients) < len(user_ids):
            # The intersection of a key view would walk the other set, whichever is smaller.
            return [
                c for user_id, c in clients.items() if user_id in user_ids and user_id != sender_id
            ]
        return [
            clients[user_id] for user_id in user_ids if user_id in clients and user_id != sender_id
        ]

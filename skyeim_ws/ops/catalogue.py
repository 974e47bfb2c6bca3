"""The metrics, a row for each: the scrape is made of it, and the documentation held against it."""

from enum import StrEnum
from typing import NamedTuple

from skyeim_ws.contract.timing import BATCH_MESSAGES, DELIVERED, SENT

PREFIX = "skyeim_ws_"


class Kind(StrEnum):
    """What Prometheus has to do with the numbers."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Metric(NamedTuple):
    """A row: its name and help are as they are scraped.

    `event` is that of the timings in which it is found; without one it is read from what the
    process measures, under its `key`.
    """

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    event: str = ""

    @property
    def key(self) -> str:
        """The name within the program."""
        return self.name.removeprefix(PREFIX).removesuffix("_total")


def _counter(key: str, help: str, *labels: str) -> Metric:
    return Metric(f"{PREFIX}{key}_total", Kind.COUNTER, help, labels)


def _gauge(key: str, help: str, *labels: str) -> Metric:
    return Metric(PREFIX + key, Kind.GAUGE, help, labels)


def _seconds(key: str, help: str, event: str) -> Metric:
    return Metric(f"{PREFIX}{key}_seconds", Kind.HISTOGRAM, help, (), event)


PROCESS_UP = _gauge("process_up", "1 if the process answers, 0 if it is being started again")

PROCESS = (
    PROCESS_UP,
    _gauge("build_info", "1, with version and commit of the program", "version", "commit"),
    _gauge("log_lines_waiting", "lines of the log that are not written yet"),
    _counter("log_lines_dropped", "lines of the log that were lost: nobody read fast enough"),
    _seconds("loop_lag", "how late the event loop was, five times a second", "slow_turn"),
)

GATEWAY = (
    *PROCESS,
    _gauge("problems", "1 for each reason for which the process is not ready", "problem"),
    _gauge("other_nodes", "other nodes that live, as this one sees it in Redis"),
    # Connections
    _gauge("connections", "users connected now"),
    _counter("connections_opened", "handshakes that were accepted"),
    _counter("connections_closed", "connections that have ended"),
    _counter("closes", "connections that have ended, by close code", "code"),
    _counter("kicked", "connections whose place a newer login took, here or on another node"),
    _counter("slow_consumers", "connections closed with 4002"),
    _counter("flooding", "connections closed with 4004"),
    _counter("heartbeat_timeouts", "connections closed with 4005"),
    _gauge("handshakes", "connections whose callers have not shown a token yet"),
    _counter("handshakes_dropped", "of those, closed because there were too many"),
    _counter("accept_pauses", "times that there was no descriptor left for a new connection"),
    _seconds("login", "from the upgrade until the session is set up", "slow_login"),
    _gauge("login_rate", "logins in a second that a node can take besides its work"),
    _counter("logins_limited", "logins refused with 429"),
    # Messages
    _seconds("send_to_sent", "from the frame of a message until its sender was told sent", SENT),
    _seconds(
        "send_to_delivered",
        "from the frame of a private message until its sender was told delivered",
        DELIVERED,
    ),
    _counter("refusals", "requests of clients that were answered with an error", "reason"),
    _counter("rate_limited", "frames refused with rate_limited"),
    _counter("busy", "requests refused with busy"),
    _counter("frames_received", "text frames from clients"),
    _counter("frames_queued", "frames for clients, but typing, presence and the first ones"),
    _counter("frames_shed", "typing and presence frames that were dropped"),
    _counter("deliveries_confirmed", "private messages that clients have confirmed"),
    _counter("deliveries_returned", "private messages queued since their connection ended"),
    _gauge("sends_under_way", "messages that are being stored"),
    _gauge("sends_ahead", "messages that wait behind those of their senders"),
    _counter("messages_stored", "messages that are stored, repeats included"),
    Metric(
        PREFIX + BATCH_MESSAGES,
        Kind.HISTOGRAM,
        "messages that were stored together",
        (),
        BATCH_MESSAGES,
    ),
    _seconds("batch", "until the Message service has answered a batch", "slow_batch"),
    # Older messages
    _counter("offline_pushed", "messages of offline queues that were pushed to clients"),
    _gauge("catch_ups_under_way", "clients that get older messages before live ones"),
    _counter("catch_ups", "times that a client had to get older messages first"),
    # Groups
    _counter("group_routed", "group frames handed out, those of other nodes included"),
    _counter("group_dropped", "group frames whose members could not be found"),
    _counter("group_frames_folded", "group frames for which slow clients got group_behind"),
    _counter("groups_refused", "messages and typing for a group beyond MaxActiveGroups"),
    _counter("group_seqs_refused", "live messages of groups whose seq is not stored"),
    _counter("typing_refused", "typing in foreign groups or to strangers"),
    _gauge("groups_active", "groups with something waiting"),
    _gauge("group_channels", "groups that have members here, or had some lately"),
    _gauge("group_channels_heard", "those of them that the node hears from the others"),
    _gauge("group_channels_beyond", "those that it does not, beyond MaxGroupChannels"),
    _gauge("group_channels_doubtful", "those that are still to be compared with what is stored"),
    _gauge("group_frames_queued", "frames that wait in all groups"),
    _gauge("member_look_ups_under_way", "groups whose members are being looked up"),
    _seconds("member_look_up", "until the members of a group were found", "slow_members"),
    _gauge("memberships_remembered", "answers about single users of groups in memory"),
    _gauge("memberships_unknown", "users whose groups could not be asked for yet"),
    # HTTP, in the names of go-zero
    Metric(
        "http_server_requests_duration_ms",
        Kind.HISTOGRAM,
        "HTTP requests, but those that became connections, in ms",
        ("path", "method", "code"),
        "slow_http",
    ),
    Metric(
        "http_server_requests_code_total",
        Kind.COUNTER,
        "the same requests by status code",
        ("path", "method", "code"),
        "slow_http",
    ),
    _counter("calls_limited", "HTTP calls of users refused with 429"),
    _gauge("calls_under_way", "HTTP calls of users whose answers have not been read yet"),
    _gauge("look_ups_under_way", "look-ups for clients without an answer, as for typing"),
    # The services, in the names of go-zero and of our own
    Metric(
        "rpc_client_requests_duration_ms",
        Kind.HISTOGRAM,
        "calls of the services with all their tries, in ms",
        ("method",),
        "slow_rpc",
    ),
    Metric(
        "rpc_client_requests_code_total",
        Kind.COUNTER,
        "the same calls by the number of their gRPC status",
        ("method", "code"),
        "slow_rpc",
    ),
    _gauge("rpc_endpoints", "addresses known of a service", "service"),
    _gauge("rpc_endpoints_ready", "those of them that are connected", "service"),
    _counter("rpc_endpoint_changes", "times that other addresses were found", "service"),
    _gauge("rpc_methods_throttled", "methods that are spared since most calls fail", "service"),
    _counter("rpc_calls_refused", "calls that were not made for that", "service"),
    # Redis, in the names of go-zero and of our own
    Metric(
        "redis_client_requests_duration_ms",
        Kind.HISTOGRAM,
        "writes to Redis with all that was waiting, in ms",
        ("command",),
        "slow_redis",
    ),
    Metric(
        "redis_client_requests_error_total",
        Kind.COUNTER,
        "those writes that had no answer",
        ("command", "error"),
        "slow_redis",
    ),
    _gauge("redis_healthy", "1 if Redis answers"),
    _gauge("redis_operations_waiting", "writes that wait for Redis"),
    _counter("redis_operations_dropped", "writes lost because too many waited"),
    _counter("redis_operations_failed", "writes and calls that Redis has refused"),
    _gauge("bus_subscribed", "1 if the node hears the others"),
    _counter("bus_subscriptions", "times that the node began to hear the others"),
    _counter("bus_heard", "what was heard on the channels between nodes"),
    # Presence
    _gauge("logins_to_undo", "users who have left and still stand in Redis"),
    _gauge("users_to_announce", "users of whom friends may have to be told"),
    # The webhook
    _gauge("webhook_notices_waiting", "notices that wait for the push service, on all nodes"),
    _counter("webhook_notices_dropped", "notices dropped because too many waited"),
    _counter("webhook_notices_posted", "notices that the push service has taken"),
    _counter("webhook_notices_refused", "notices that it has refused for good"),
    _counter("webhook_posts_failed", "POSTs without an answer, or to be tried later"),
    _gauge("webhook_group_messages_waiting", "messages of groups: who is away is not known yet"),
    # Traces of messages
    _gauge("message_trace_lines_waiting", "lines of traces that wait for Redis"),
    _counter("message_trace_lines_dropped", "lines of traces dropped because too many waited"),
    _counter("message_trace_lines_written", "lines of traces that were written"),
    # Traces of requests
    _counter("spans_exported", "spans that were exported"),
    _counter("spans_not_exported", "spans that the receiver has not taken"),
)

SERVICES = (
    *PROCESS,
    Metric(
        "rpc_server_requests_duration_ms",
        Kind.HISTOGRAM,
        "calls of our services, in ms",
        ("method",),
        "slow_call",
    ),
    Metric(
        "rpc_server_requests_code_total",
        Kind.COUNTER,
        "the same calls by the number of their gRPC status",
        ("method", "code"),
        "slow_call",
    ),
    _gauge("events_waiting", "changes of which the gateway or Redis has not been told yet"),
)

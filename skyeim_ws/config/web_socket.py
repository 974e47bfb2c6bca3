"""The limits of connections, and of the queues behind them."""

from dataclasses import dataclass, field

from skyeim_ws.config.kinds import Count, CountOrOff, MessageSize, Seconds, SecondsOrNone
from skyeim_ws.contract.names import LONGEST_FRAME


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSocketConf:
    """The limits of connections and of the queues behind them; sizes in bytes, times in seconds.

    `offline_buffer_size` bounds what memory holds of the offline queue while Redis is away,
    `ledger_size` the unconfirmed messages of one connection, `max_in_flight` what one client has
    under way at the services, its sends and its other requests each, `send_ahead` the messages that
    wait behind those, `send_backlog` the messages of all clients that wait for storage.
    `max_handshakes` and `max_conns_per_ip` bound the connections that have not shown a token,
    `login_*` the logins of a user, `call_*` its calls over HTTP, and `calls_at_once` those whose
    answer it has not read. `rate_limit` is in frames per second and client, `call_rate` in calls; 0
    switches a limit off.
    """

    ping_interval: Seconds = 54.0
    pong_timeout: Seconds = 60.0
    handshake_timeout: Seconds = 10.0
    close_timeout: Seconds = 5.0
    answer_timeout: Seconds = 60.0
    max_message_size: MessageSize = LONGEST_FRAME
    send_queue_size: Count = 256
    send_queue_bytes: Count = 1048576
    offline_push_limit: Count = 20
    offline_queue_size: Count = 10000
    offline_ttl: Seconds = field(default=720 * 3600.0, metadata={"key": "OfflineTTL"})
    offline_buffer_size: Count = 10000
    group_queue_size: Count = 256
    max_active_groups: Count = 10000
    max_seq_jump: Count = 100
    ledger_size: Count = 1024
    max_in_flight: Count = 128
    send_ahead: Count = 1000
    max_look_ups: Count = 8
    send_batch_size: Count = 256
    send_backlog: Count = 10000
    recent_acks: Count = 10000
    member_cache_size: Count = 10000
    member_look_ups: Count = 64
    group_channel_linger: Seconds = 60.0
    max_group_channels: Count = 200000
    member_refusal_ttl: Seconds = field(default=5.0, metadata={"key": "MemberRefusalTTL"})
    confirm_interval: Seconds = 0.5
    node_renew_interval: Seconds = 5.0
    node_dead_after: Seconds = 15.0
    presence_check_interval: Seconds = 120.0
    origins: tuple[str, ...] = ()
    rate_limit: CountOrOff = 200
    rate_burst: Count = 400
    max_handshakes: Count = 8192
    max_conns_per_ip: CountOrOff = 4096
    login_burst: CountOrOff = 60
    login_interval: SecondsOrNone = 5.0
    call_rate: CountOrOff = 50
    call_burst: Count = 500
    calls_at_once: CountOrOff = 32

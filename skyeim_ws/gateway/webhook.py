"""The webhook of a gateway: started if one is configured, and what it measures."""

import asyncio
from collections.abc import Callable
from functools import partial

import structlog

from skyeim_ws.config.webhook import WebhookConf
from skyeim_ws.conn.hub import Hub
from skyeim_ws.contract.cancellation import cancel_and_wait
from skyeim_ws.gateway.backends import Store
from skyeim_ws.gateway.supervisor import Supervisor
from skyeim_ws.logic.chat import Sending
from skyeim_ws.logic.ports import Members, Unavailable
from skyeim_ws.store.notices import RedisNotices
from skyeim_ws.webhook.groups import GroupNotices
from skyeim_ws.webhook.post import Post
from skyeim_ws.webhook.worker import Webhook

log = structlog.get_logger()

_LAST_SECONDS = 2.0
"""How long the last notices of group messages may take at the end."""


def start_webhook(
    conf: WebhookConf,
    store: Store,
    supervisor: Supervisor,
    *,
    hub: Hub,
    members: Members,
    sending: Sending,
) -> Callable[[], dict[str, int]]:
    """Start to post what waits, if that is configured; return what reads the gauges."""
    notices = store.notices
    if notices is None:
        return partial(gauges, None, None, None)
    seconds = conf.timeout / 1000
    post = Post(conf.url, conf.secret, seconds)
    webhook = Webhook(notices, post, seconds)
    posting = asyncio.create_task(webhook.run())

    async def close() -> None:
        await cancel_and_wait(posting)
        post.close()
        notices.release()

    supervisor.keep("webhook", posting, close)
    if not conf.groups:
        return partial(gauges, notices, webhook, None)
    groups = GroupNotices(notices, members, store.presence, hub.users, size=conf.queue_size)
    telling = asyncio.create_task(groups.run())

    async def close_groups() -> None:
        await cancel_and_wait(telling)
        try:
            async with asyncio.timeout(_LAST_SECONDS):
                await groups.tell()
        except (TimeoutError, Unavailable):
            log.warning("webhook_groups_not_told", messages=len(groups))

    supervisor.keep("webhook_groups", telling, close_groups)
    sending.on_group_stored = groups.stored
    return partial(gauges, notices, webhook, groups)


def gauges(
    notices: RedisNotices | None, webhook: Webhook | None, groups: GroupNotices | None
) -> dict[str, int]:
    """Return all gauges, 0 without a webhook, so that a dashboard finds them everywhere."""
    return {
        "webhook_notices_waiting": notices.waiting if notices else 0,
        "webhook_notices_dropped": notices.dropped if notices else 0,
        "webhook_notices_posted": webhook.posted if webhook else 0,
        "webhook_notices_refused": webhook.refused if webhook else 0,
        "webhook_posts_failed": webhook.failures if webhook else 0,
        "webhook_group_messages_waiting": len(groups) if groups else 0,
    }

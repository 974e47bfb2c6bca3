"""The webhook of a gateway: started if one is configured, and what it measures."""

import asyncio
from collections.abc import Callable
from functools import partial

from skyeim_ws.config.webhook import WebhookConf
from skyeim_ws.gateway.supervisor import Supervisor
from skyeim_ws.store.cancellation import cancel_and_wait
from skyeim_ws.store.notices import RedisNotices
from skyeim_ws.webhook.post import Post
from skyeim_ws.webhook.worker import Webhook


def start_webhook(
    conf: WebhookConf, notices: RedisNotices | None, supervisor: Supervisor
) -> Callable[[], dict[str, int]]:
    """Start to post what waits, unless there are no `notices`; return what reads the gauges."""
    if notices is None:
        return partial(_gauges, None, None)
    seconds = conf.timeout / 1000
    post = Post(conf.url, conf.secret, seconds)
    webhook = Webhook(notices, post, seconds)
    task = asyncio.create_task(webhook.run())

    async def close() -> None:
        await cancel_and_wait(task)
        post.close()
        notices.release()

    supervisor.keep("webhook", task, close)
    return partial(_gauges, notices, webhook)


def _gauges(notices: RedisNotices | None, webhook: Webhook | None) -> dict[str, int]:
    """Return all gauges, 0 without a webhook, so that a dashboard finds them everywhere."""
    return {
        "webhook_notices_waiting": notices.waiting if notices else 0,
        "webhook_notices_dropped": notices.dropped if notices else 0,
        "webhook_notices_posted": webhook.posted if webhook else 0,
        "webhook_notices_refused": webhook.refused if webhook else 0,
        "webhook_posts_failed": webhook.failures if webhook else 0,
    }

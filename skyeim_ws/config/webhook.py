"""The push service that is told of messages for users who are away, and what makes sense there."""

from dataclasses import dataclass, field
from typing import Annotated
from urllib.parse import urlsplit

from msgspec import Meta

from skyeim_ws.config.errors import ConfigError

MIN_SECRET_BYTES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookConf:
    """Where notices are posted; nowhere without a `url`. `timeout` in milliseconds.

    `content` puts that of the message into its notice; `groups` has members of groups told too;
    `queue_size` bounds what waits.
    """

    url: str = ""
    secret: str = field(default="", repr=False)
    timeout: Annotated[int, Meta(ge=1)] = 5000
    content: bool = False
    groups: bool = True
    queue_size: Annotated[int, Meta(ge=1)] = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class OfflineConf:
    """What is done for users who are away."""

    webhook: WebhookConf = WebhookConf()


def check_webhook(path: str, webhook: WebhookConf) -> None:
    """Refuse what nobody can post to, and notices that nobody can check; raises ConfigError."""
    if not webhook.url:
        return
    # What was found is not shown: an address may hold a password or a key.
    if not _is_url(webhook.url):
        problem = "must be a URL, http:// or https:// with a host and without a password"
        raise ConfigError(path, problem, field="Offline.Webhook.Url")
    if len(webhook.secret.encode()) < MIN_SECRET_BYTES:
        problem = f"must have at least {MIN_SECRET_BYTES} bytes: the receiver knows us by it"
        raise ConfigError(path, problem, field="Offline.Webhook.Secret")


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return False
    plain = text.isascii() and text.isprintable() and " " not in text
    host = bool(parts.hostname) and parts.username is None and port != 0
    return parts.scheme in ("http", "https") and plain and host
